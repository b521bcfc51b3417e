"""Training samples: sample i of a run depends on (seed, i) and the mix, never on ranks, workers or batches."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from catalog.digests import array_digest, bytes_digest
from catalog.errors import RowRejected, UserError
from catalog.roots import Roots
from catalog.samples import render_sample
from catalog.schema import VISION_TASKS
from trainer.adaptation import SUFFIXES, render_adaptation
from trainer.config import LATENT_STRIDE, TrainingConfig
from trainer.diffusion import CONDITIONING_DROPOUT, NUM_TIMESTEPS
from trainer.latent_cache import CachedStates, LatentCache
from trainer.plan import TrainingPlan

LATENT_CHANNELS = 4

_UNREAD_ROW = {"pair_id": "", "vision_task": VISION_TASKS[0], "position": -1}
"""Stands for a row whose part of the mix is damaged; nothing of it is ever learned or counted."""

_TRAINER_STREAM = 1
"""Third word of a sample's seed, so that the trainer's draws are independent of the renderer's."""


@dataclass(frozen=True)
class Draw:
    """Everything random that the trainer adds to sample ``index``."""

    drop_text: bool
    drop_image: bool
    timestep: int
    """t of equation 1, in [0, 1000)."""
    target_noise: np.ndarray
    """Of the autoencoder's posterior, standard normal float32 (4, h, w)."""
    noise: np.ndarray
    """epsilon of equation 1, standard normal float32 (4, h, w)."""


def draw(seed: int, index: int, config: TrainingConfig) -> Draw:
    """The draws of one sample, from (seed, index) alone."""
    generator = np.random.default_rng((seed, index, _TRAINER_STREAM))
    side = config.image_size // LATENT_STRIDE
    shape = (LATENT_CHANNELS, side, side)
    drop_text, drop_image = CONDITIONING_DROPOUT[config.conditioning_dropout].draw(generator.random())
    return Draw(
        drop_text=drop_text,
        drop_image=drop_image,
        timestep=int(generator.integers(NUM_TIMESTEPS)),
        target_noise=generator.standard_normal(shape, dtype=np.float32),
        noise=generator.standard_normal(shape, dtype=np.float32),
    )


@dataclass(frozen=True)
class RejectedRow:
    """A mix row that could not be rendered."""

    index: int
    position: int
    pair_id: str
    reason: str | None
    """One of catalog.reasons; None where not the row but the catalog's place is at fault, which always stops."""
    detail: str


@dataclass(frozen=True)
class TrainingSample:
    """One rendered row and its draws; an empty picture of weight 0 where ``rejected`` says why."""

    index: int
    pair_id: str
    vision_task: str
    instruction: str
    """As the text encoder gets it: empty where the text was dropped."""
    source: np.ndarray
    """uint8 (S, S, 3) RGB; without a pixel in stage 1, and where ``states`` stand for both pictures."""
    target: np.ndarray
    draw: Draw
    states: CachedStates | None = None
    rejected: RejectedRow | None = None

    def digest(self) -> int:
        """64 bits over all that this sample brings into the loss; sums of them do not depend on order."""
        words = (self.index, self.pair_id, self.instruction, self.draw.drop_image, self.draw.timestep)
        arrays = (self.source, self.target, self.draw.target_noise, self.draw.noise)
        cached = b"" if self.states is None else self.states.to_bytes()
        facts = (*words, self.rejected is None, *[array_digest(array) for array in arrays], bytes_digest(cached))
        return int.from_bytes(hashlib.blake2b(repr(facts).encode(), digest_size=8).digest(), "little", signed=True)


class TrainingSamples(Dataset[TrainingSample]):
    """Sample ``index`` of a run: any whole number from 0 on."""

    def __init__(
        self, plan: TrainingPlan, roots: Roots, config: TrainingConfig, cache: LatentCache | None = None
    ) -> None:
        self._plan = plan
        self._roots = roots
        self._config = config
        self._options = config.render.at_size(config.image_size)
        self._cache = cache
        self._no_source = np.zeros((0, 0, 3), np.uint8)

    def __getitem__(self, index: int) -> TrainingSample:
        """Render one sample. What cannot be rendered is returned, not raised: the loop tells all ranks."""
        drawn = draw(self._config.seed, index, self._config)
        row: Mapping[str, Any] = _UNREAD_ROW
        try:
            row = self._plan.row(index)
            states = None if self._cache is None else self._cache.find(row, self._config.render)
            if states is not None:
                return self._from_cache(index, row, drawn, states)
            instruction, source, target = self._render(row, index)
        except UserError as error:
            return self._reject(index, row, drawn, error)
        return TrainingSample(
            index=index,
            pair_id=row["pair_id"],
            vision_task=row["vision_task"],
            instruction="" if drawn.drop_text else instruction,
            source=source,
            target=target,
            draw=drawn,
        )

    def _from_cache(self, index: int, row: Mapping[str, Any], drawn: Draw, states: CachedStates) -> TrainingSample:
        return TrainingSample(
            index=index,
            pair_id=row["pair_id"],
            vision_task=row["vision_task"],
            instruction="" if drawn.drop_text else row["instruction"],
            source=self._no_source,
            target=self._no_source,
            draw=drawn,
            states=states,
        )

    def _render(self, row: Mapping[str, Any], index: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Text, source and target; in stage 1 there is no source."""
        config, options = self._config, self._options
        if config.image_condition:
            sample = render_sample(row, self._roots, seed=config.seed, index=index, options=options)
            return sample.instruction, sample.source, sample.target
        pair = render_adaptation(
            row,
            self._roots,
            seed=config.seed,
            index=index,
            options=options,
            plain_share=config.plain_share,
            suffixes=Path(config.suffixes) if config.suffixes else SUFFIXES,
        )
        return pair.prompt, self._no_source, pair.picture

    def _reject(self, index: int, row: Mapping[str, Any], drawn: Draw, error: UserError) -> TrainingSample:
        reason, detail = None, str(error)
        if isinstance(error, RowRejected):
            reason, detail = str(error.reason), error.detail
        black = np.zeros((self._config.image_size, self._config.image_size, 3), np.uint8)
        return TrainingSample(
            index=index,
            pair_id=row["pair_id"],
            vision_task=row["vision_task"],
            instruction="",
            source=black if self._config.image_condition else self._no_source,
            target=black,
            draw=drawn,
            rejected=RejectedRow(index, row["position"], row["pair_id"], reason, detail),
        )
