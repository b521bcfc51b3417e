"""Examples that the post-processor learns from: what was asked for, an output, and the truth behind it.

An output is either a drawing, spoiled as a diffusion model spoils it (`evaluation.artefacts`), or what a checkpoint
really made of the same instruction (`evaluation.generated_outputs`): its mistakes are the ones to be read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from catalog.drawing_colors import Rgb, color_table
from catalog.errors import MixError, RowRejected
from catalog.parquet_streams import reading_mix
from catalog.render_styles import RenderOptions, RenderStyle
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from catalog.schema import MIX
from catalog.targets import disc_radius
from evaluation.artefacts import spoil
from evaluation.heatmaps import draw_heatmap
from evaluation.metrics import Image
from evaluation.network_decoder import SIGMA_SHARE
from evaluation.postprocessor import network_inputs

TASKS = ("segmentation", "keypoint_detection")
_ABSENT = 0.15
"""Share of examples that ask for what was not drawn: the answer is an empty mask, or a heatmap without a peak."""
_PEAK_WEIGHT = 20.0
"""Weight of a heatmap's peak against its ground, which is most of it."""
_ATTEMPTS = 20

GeneratedOutput = tuple[Sample, Image]
"""A sample, and what a checkpoint answered to it."""


@dataclass(frozen=True)
class ExampleSource:
    """Where examples come from."""

    rows: Sequence[Mapping[str, Any]]
    roots: Roots
    style: RenderStyle
    size: int
    """Side in pixels."""
    strength: float
    """How much drawings are spoiled at most, in [0, 1]."""
    seed: int
    generated: Sequence[GeneratedOutput] = ()
    generated_share: float = 0.0
    """Share of the examples whose output is a checkpoint's."""

    def example(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (1, 11, S, S), targets and weights (1, 2, S, S): a function of (seed, number)."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, number])))
        if self.generated and rng.random() < self.generated_share:
            sample, output = self.generated[int(rng.integers(len(self.generated)))]
            colors, place, absent = _ask(sample, rng, may_lack_mask=True)
        else:
            sample = draw_sample(self.rows, self.roots, number, rng, self.style.at_size(self.size), self.seed)
            colors, place, absent = _ask(sample, rng, may_lack_mask=False)
            drawing = sample.source if absent and sample.mask is not None else sample.target
            output = spoil(drawing, sample.source, colors[place], rng, self.strength * rng.random())
        targets, weights = self._truth(sample, place, absent)
        radius = disc_radius(self.size, self.style.radius)
        inputs = network_inputs(sample.source, output, colors, self.style.alpha, radius)[place : place + 1]
        return inputs, torch.from_numpy(targets), torch.from_numpy(weights)

    def _truth(self, sample: Sample, place: int, absent: bool) -> tuple[np.ndarray, np.ndarray]:
        targets, weights = np.zeros((2, 1, 2, self.size, self.size), np.float32)
        if sample.mask is not None:
            targets[0, 0] = 0 if absent else sample.mask
            weights[0, 0] = 1
            return targets, weights
        assert sample.keypoints is not None
        point = None if absent else (float(sample.keypoints[place][0]), float(sample.keypoints[place][1]))
        sigma = SIGMA_SHARE * disc_radius(self.size, self.style.radius)
        targets[0, 1] = draw_heatmap(point, self.size, self.size, sigma)
        weights[0, 1] = 1 + _PEAK_WEIGHT * targets[0, 1]
        return targets, weights


def _ask(sample: Sample, rng: np.random.Generator, *, may_lack_mask: bool) -> tuple[list[Rgb], int, bool]:
    """Colours, the place of the one that is asked about, and whether that is of something that was not drawn.

    Of a mask that a checkpoint drew, what was not drawn is another colour; of one that is drawn here, the drawing is
    left out instead.
    """
    absent = rng.random() < _ABSENT
    colors = [rgb for _, rgb in sample.colors]
    place = int(rng.integers(len(colors)))
    if absent and sample.mask is None:  # one more joint is asked for
        return [*colors, _other_color(colors, "keypoint_detection", rng)], len(colors), True
    if absent and may_lack_mask:
        return [_other_color(colors, "segmentation", rng)], 0, True
    return colors, place, absent


def draw_sample(
    rows: Sequence[Mapping[str, Any]],
    roots: Roots,
    number: int,
    rng: np.random.Generator,
    options: RenderOptions,
    seed: int,
) -> Sample:
    """A rendered row, masks and joints as often; rows that cannot be drawn at this size are passed over."""
    kinds = [kind for kind in TASKS if any(row["vision_task"] == kind for row in rows)]
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


def _other_color(used: Sequence[Rgb], vision_task: str, rng: np.random.Generator) -> Rgb:
    """A colour that nothing of the sample was drawn in."""
    free = [rgb for rgb in color_table(vision_task).values() if rgb not in used]
    return free[int(rng.integers(len(free)))]


def read_rows(mix: Path) -> list[dict[str, Any]]:
    """Training rows of a mix that are drawn on. Raises MixError where there is none."""
    if not mix.is_file():
        raise MixError(f"there is no mix at {mix}: make one with `python -m catalog mix`")
    with reading_mix(mix):
        wanted = [("split", "=", "train"), ("vision_task", "in", TASKS)]
        rows: list[dict[str, Any]] = pq.read_table(mix, columns=MIX.names, filters=wanted).to_pylist()
    drawn = {row["pair_id"]: row for row in rows if row["target_image"] is None}
    if not drawn:
        raise MixError(f"{mix} must have training rows of segmentation or keypoint detection, but has none")
    return list(drawn.values())
