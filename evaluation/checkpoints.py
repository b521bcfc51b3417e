"""A trained checkpoint as a predictor, sampled by our own code.

It is the pipeline folder that training exports, or one file in Stable Diffusion v1's original layout: the official
InstructDiffusion and InstructPix2Pix checkpoints are such files.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.digests import file_digest, value_digest
from catalog.errors import CheckpointError, ConfigError
from catalog.samples import Sample
from evaluation.metrics import Image
from trainer.config import TOKENIZER

if TYPE_CHECKING:
    from trainer.models import Models

_INDEX = "model_index.json"


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How images are sampled. Defaults are those of `trainer.inference.edit`."""

    num_steps: int = 100
    """Sampling steps (official code: 100 with Euler ancestral; the paper does not say)."""
    text_guidance: float = 7.5
    """InstructPix2Pix's scale; official code: 5.0 for editing, 7.5 segmentation, 6.0 keypoints."""
    image_guidance: float = 1.5
    """InstructPix2Pix's scale; official code: 1.25 for editing, 1.5 segmentation, 0.5 keypoints."""
    guidance: str = "ip2p"
    """``ip2p`` or ``official``: how the predictions are combined."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ConfigError(f"steps must be at least 1. Got {self.num_steps}")
        if not all(0 <= scale < math.inf for scale in (self.text_guidance, self.image_guidance)):
            given = f"text {self.text_guidance}, image {self.image_guidance}"
            raise ConfigError(f"guidance scales must be finite and not negative. Got {given}")


def edit_samples(
    models: "Models", samples: Sequence[Sample], seeds: Sequence[int], sampling: SamplingOptions
) -> list[Image]:
    """The edited sources, each with noise from its own seed."""
    from trainer.inference import edit

    return edit(
        models,
        [sample.source for sample in samples],
        [sample.instruction for sample in samples],
        num_steps=sampling.num_steps,
        text_guidance=sampling.text_guidance,
        image_guidance=sampling.image_guidance,
        guidance=sampling.guidance,  # type: ignore[arg-type]
        seed=seeds,
    )


class CheckpointPredictor:
    """Samples a checkpoint. The networks are loaded when the first prediction is asked for."""

    def __init__(
        self, folder: Path, sampling: SamplingOptions, device: str = "cpu", tokenizer: str = TOKENIZER
    ) -> None:
        """Digest the checkpoint's files.

        Args:
            folder: pipeline folder with ``model_index.json``, or a single file (`trainer.single_file`).
            sampling: options.
            device: "cpu" or "cuda".
            tokenizer: folder or hub id of the tokenizer of a single file, which has none.

        Raises:
            CheckpointError: not a pipeline folder.
        """
        self._folder = folder
        self._sampling = sampling
        self._device = device
        self._tokenizer = tokenizer
        self._models: Models | None = None
        self.checkpoint_sha256: str | None = checkpoint_digest(folder)
        self.autoencoder: Mapping[str, Any] = {"device": device, "libraries": library_versions()}
        self.options: Mapping[str, Any] = {**asdict(sampling), **self.autoencoder}

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """The edited sources, each with noise from its own seed."""
        return edit_samples(self._load(), samples, seeds, self._sampling)

    def reconstruct(self, images: Sequence[Image]) -> list[Image]:
        """Each image through the autoencoder: mode of the posterior, decoded; nothing is sampled."""
        from trainer.inference import reconstruct

        return reconstruct(self._load(), images)

    def _load(self) -> "Models":
        if self._models is None:
            import torch

            from trainer.models import load_models

            if self._device == "cuda" and not torch.cuda.is_available():
                raise ConfigError("device cuda needs a CUDA GPU and there is none here: use --device cpu")
            models = load_models(self._folder, tokenizer=self._tokenizer)
            self._models = models.to(torch.device(self._device))
        return self._models


def library_versions() -> dict[str, str]:
    """Versions of what computes."""
    return {name: version(name) for name in ("torch", "diffusers", "transformers")}


def checkpoint_digest(folder: Path) -> str:
    """Digest over names and bytes of all files below a pipeline folder; of a single file, its SHA-256.

    Raises:
        CheckpointError: no such folder, or no ``model_index.json`` in it.
    """
    if folder.is_file():
        return file_digest(folder)
    _require_pipeline(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return value_digest({path.relative_to(folder).as_posix(): file_digest(path) for path in files})


def image_size(folder: Path, largest: int = 256) -> int:
    """Side of the square images that the checkpoint is made for, at most ``largest`` (paper section 4.1: 256).

    A single file does not say: Stable Diffusion v1 takes any side, so ``largest``.

    Raises:
        CheckpointError: no pipeline folder, or the UNet's or autoencoder's configuration is missing or malformed.
    """
    if folder.is_file():
        return largest
    _require_pipeline(folder)
    unet, autoencoder = _read_config(folder / "unet"), _read_config(folder / "vae")
    try:
        stride = 2 ** (len(autoencoder["block_out_channels"]) - 1)
        side: int = min(largest, int(unet["sample_size"]) * stride)
        return side
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder} must give sample_size and block_out_channels in its configurations ({error}): set --size"
        ) from error


def _require_pipeline(folder: Path) -> None:
    if not (folder / _INDEX).is_file():
        what = f"has no {_INDEX}" if folder.is_dir() else "is not a folder"
        raise CheckpointError(
            f"a checkpoint must be a pipeline folder as training exports it, but {folder} {what}: "
            "give the folder named 'pipeline' of a finished training run, or a checkpoint file"
        )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a diffusers configuration: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must be a JSON object. Got {type(value).__name__}")
    return value
