"""Trains the post-processor on rendered targets that were spoiled as a diffusion model spoils them.

Source pictures, regions and joints are those of a mix's training rows; what is drawn, how it is spoiled and which
colour is asked for come from (seed, number of the example), so the same command gives the same weights on the same
machine.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from catalog.drawing_colors import Rgb, color_table
from catalog.durable import write_file
from catalog.errors import ConfigError, MixError, RowRejected
from catalog.parquet_streams import mix_digest, reading_mix
from catalog.render_styles import RenderOptions, RenderStyle
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from catalog.schema import MIX
from catalog.targets import disc_radius
from evaluation.artefacts import spoil
from evaluation.code_version import code_version
from evaluation.heatmaps import draw_heatmap
from evaluation.network_decoder import SIGMA_SHARE, save_network
from evaluation.postprocessor import STRIDE, Postprocessor, network_inputs

_TASKS = ("segmentation", "keypoint_detection")
_ABSENT = 0.15
"""Share of examples that ask for what was not drawn: the answer is an empty mask, or a heatmap without a peak."""
_PEAK_WEIGHT = 20.0
"""Weight of a heatmap's peak against its ground, which is most of it."""
_ATTEMPTS = 20

Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss)."""


@dataclass(frozen=True, kw_only=True)
class DecoderTraining:
    """How the post-processor is trained. The paper gives nothing; these are ours."""

    num_steps: int = 4000
    batch_size: int = 8
    """Examples per step."""
    learning_rate: float = 1e-3
    """Of AdamW, falling to 0 along a half cosine."""
    width: int = 16
    """Channels on the finest level."""
    size: int = 256
    """Side of the pictures in pixels."""
    strength: float = 1.0
    """How much drawings are spoiled at most, in [0, 1]."""
    seed: int = 0

    def __post_init__(self) -> None:
        rules = [
            (self.num_steps >= 1, "steps must be at least 1", self.num_steps),
            (self.batch_size >= 1, "batch size must be at least 1", self.batch_size),
            (0 < self.learning_rate <= 1, "learning rate must be in (0, 1]", self.learning_rate),
            (self.width >= 4 and self.width % 4 == 0, "width must be a multiple of 4", self.width),
            (self.size >= 32 and self.size % STRIDE == 0, f"size must be a multiple of {STRIDE} from 32", self.size),
            (0 <= self.strength <= 1, "strength must be in [0, 1]", self.strength),
            (self.seed >= 0, "seed must not be negative", self.seed),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise ConfigError(f"{rule}. Got {value!r}")


def train_decoder(
    mix: Path,
    output: Path,
    options: DecoderTraining,
    style: RenderStyle,
    progress: Progress = lambda done, total, loss: None,
) -> list[float]:
    """Train on a mix's training rows and write the checkpoint.

    Args:
        mix: its segmentation and keypoint rows are used; ``roots.json`` beside it.
        output: the safetensors file; ``.json`` beside it keeps options and losses.
        options: see there.
        style: how targets are drawn: as the model was trained.
        progress: called after each step.

    Returns:
        The loss of each step.

    Raises:
        MixError: no mix, or no row to draw from.
    """
    rows, roots = _read_rows(mix), Roots.read(mix.parent / "roots.json")
    torch.manual_seed(options.seed)
    network = Postprocessor(options.width).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.num_steps)
    losses = []
    for step in range(options.num_steps):
        first = step * options.batch_size
        examples = [_example(rows, roots, first + place, options, style) for place in range(options.batch_size)]
        inputs, targets, weights = (torch.cat(parts) for parts in zip(*examples, strict=True))
        loss = _loss(network(inputs), targets, weights)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        progress(step + 1, options.num_steps, losses[-1])
    facts = {**asdict(options), "alpha": style.alpha, "radius": style.radius, "mix_sha256": mix_digest(mix)}
    save_network(output, network, {**facts, "code_version": code_version()})
    write_file(output.with_suffix(".json"), [json.dumps({**facts, "losses": losses}, indent=1).encode()])
    return losses


def _loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted binary cross entropy of both maps, (B, 2, H, W) each."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (each * weights).sum() / weights.sum()


def _example(
    rows: Sequence[Mapping[str, Any]], roots: Roots, number: int, options: DecoderTraining, style: RenderStyle
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (1, 11, S, S), targets and weights (1, 2, S, S) of one example."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([options.seed, number])))
    sample = _draw(rows, roots, number, rng, style.at_size(options.size), options.seed)
    is_mask = sample.mask is not None
    absent = rng.random() < _ABSENT
    colors = [rgb for _, rgb in sample.colors]
    place = int(rng.integers(len(colors)))
    if absent and not is_mask:  # one more joint is asked for, and was not drawn
        colors, place = [*colors, _other_color(colors, rng)], len(colors)
    drawing = sample.source if absent and is_mask else sample.target
    output = spoil(drawing, sample.source, colors[place], rng, options.strength * rng.random())
    radius = disc_radius(options.size, style.radius)
    targets, weights = np.zeros((2, 1, 2, options.size, options.size), np.float32)
    if is_mask:
        targets[0, 0] = 0 if absent else sample.mask
        weights[0, 0] = 1
    else:
        assert sample.keypoints is not None
        point = None if absent else (float(sample.keypoints[place][0]), float(sample.keypoints[place][1]))
        targets[0, 1] = draw_heatmap(point, options.size, options.size, SIGMA_SHARE * radius)
        weights[0, 1] = 1 + _PEAK_WEIGHT * targets[0, 1]
    inputs = network_inputs(sample.source, output, colors, style.alpha, radius)[place : place + 1]
    return inputs, torch.from_numpy(targets), torch.from_numpy(weights)


def _draw(
    rows: Sequence[Mapping[str, Any]],
    roots: Roots,
    number: int,
    rng: np.random.Generator,
    options: RenderOptions,
    seed: int,
) -> Sample:
    """A rendered row, masks and joints as often; rows that cannot be drawn at this size are passed over."""
    kinds = [kind for kind in _TASKS if any(row["vision_task"] == kind for row in rows)]
    kind = kinds[int(rng.integers(len(kinds)))]
    wanted = [row for row in rows if row["vision_task"] == kind]
    for _ in range(_ATTEMPTS):
        try:
            return render_sample(
                wanted[int(rng.integers(len(wanted)))], roots, seed=seed, index=number, options=options
            )
        except RowRejected as error:
            last = error
    raise MixError(f"{_ATTEMPTS} rows in a row cannot be drawn (the last: {last}): mend the mix's images")


def _other_color(used: Sequence[Rgb], rng: np.random.Generator) -> Rgb:
    """A colour that no joint of the sample was drawn in."""
    free = [rgb for rgb in color_table("keypoint_detection").values() if rgb not in used]
    return free[int(rng.integers(len(free)))]


def _read_rows(mix: Path) -> list[dict[str, Any]]:
    if not mix.is_file():
        raise MixError(f"there is no mix at {mix}: make one with `python -m catalog mix`")
    with reading_mix(mix):
        wanted = [("split", "=", "train"), ("vision_task", "in", _TASKS)]
        rows: list[dict[str, Any]] = pq.read_table(mix, columns=MIX.names, filters=wanted).to_pylist()
    drawn = {row["pair_id"]: row for row in rows if row["target_image"] is None}
    if not drawn:
        raise MixError(f"{mix} must have training rows of segmentation or keypoint detection, but has none")
    return list(drawn.values())
