"""What is measured on the predictions of a benchmark: one class per vision task, fed batch by batch.

A measure keeps a few numbers per sample, never images, so a benchmark of any size fits in memory.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from catalog.errors import BackendError, RowRejected
from catalog.targets import decode_mask_target
from catalog.views import View
from evaluation.cases import Case
from evaluation.keypoint_metrics import KeypointTruth, keypoint_precision
from evaluation.keypoint_reading import ReadJoints, merge_joints, read_joints, read_truth
from evaluation.metrics import (
    PSNR_CAP,
    Image,
    Mask,
    OutsideChange,
    Overlap,
    cumulative_iou,
    generalized_iou,
    mask_overlap,
    mean,
    mean_iou,
    outside_change,
    psnr,
    ssim,
)
from tasks.backends.calls import call_batch
from tasks.backends.protocols import AestheticScorer, PairSimilarity
from tasks.backends.registry import backend_id

_LANCZOS_REACH = 3


@dataclass(frozen=True)
class HelperModels:
    """The backends behind metrics that need one."""

    pair_similarity: PairSimilarity
    aesthetic_scorer: AestheticScorer

    def ids(self) -> list[str]:
        """``role=name@revision`` of each."""
        return [
            backend_id("pair_similarity", self.pair_similarity),
            backend_id("aesthetic_scorer", self.aesthetic_scorer),
        ]


class Metric(NamedTuple):
    """One number about a benchmark."""

    name: str
    value: float | None
    """None where nothing could be measured."""
    num_samples: int
    """Samples that went into the value."""
    backend: str | None = None


class Measure(Protocol):
    """Collects observations, then turns them into metrics."""

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Take in one batch."""
        ...

    def metrics(self) -> list[Metric]:
        """All metrics of what was observed."""
        ...


def make_measure(vision_task: str, helpers: HelperModels) -> Measure:
    """The measure of a vision task."""
    if vision_task == "image_editing":
        return EditingMeasure(helpers)
    return _PLAIN[vision_task]()


class SegmentationMeasure:
    """Masks read from the colour that the instruction names (paper section 4.3)."""

    def __init__(self) -> None:
        self._overlaps: list[Overlap] = []
        self._labelled: list[tuple[str, Overlap]] = []

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Decode each mask and count its pixels against the true one."""
        for case, prediction in zip(cases, predictions, strict=True):
            sample = case.sample
            assert sample.mask is not None, sample.pair_id
            mask = decode_mask_target(sample.source, prediction, sample.colors[0][1])
            overlap = mask_overlap(mask, sample.mask)
            self._overlaps.append(overlap)
            if case.row["label"]:
                self._labelled.append((case.row["label"], overlap))

    def metrics(self) -> list[Metric]:
        """CIoU and gIoU over all samples, mIoU over those with a class label."""
        return [
            Metric("ciou", cumulative_iou(self._overlaps), len(self._overlaps)),
            Metric("giou", generalized_iou(self._overlaps), len(self._overlaps)),
            Metric("miou", mean_iou(self._labelled), len(self._labelled)),
        ]


class KeypointMeasure:
    """Joints read from the discs that were asked for, moved back to the source image (paper section 4.2)."""

    def __init__(self) -> None:
        self._parts: dict[str, list[ReadJoints]] = {}  # by pair: one per sample
        self._truths: dict[str, KeypointTruth] = {}

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Decode the discs of each sample."""
        for case, prediction in zip(cases, predictions, strict=True):
            pair_id = case.sample.pair_id
            self._parts.setdefault(pair_id, []).append(read_joints(case.sample, prediction))
            self._truths.setdefault(pair_id, read_truth(case.row))

    def metrics(self) -> list[Metric]:
        """AP, AP at 0.50 and at 0.75, over people."""
        people = [merge_joints(parts) for parts in self._parts.values()]
        precision = keypoint_precision(people, list(self._truths.values()))
        values = (None, None, None) if precision is None else (precision.ap, precision.ap50, precision.ap75)
        return [Metric(name, value, len(people)) for name, value in zip(("ap", "ap50", "ap75"), values, strict=True)]


class EnhancementMeasure:
    """Closeness to the true picture (paper section 4.4)."""

    def __init__(self) -> None:
        self._psnr: list[float] = []
        self._ssim: list[float] = []

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Compare each prediction with its target."""
        for case, prediction in zip(cases, predictions, strict=True):
            self._psnr.append(psnr(prediction, case.sample.target))
            self._ssim.append(ssim(prediction, case.sample.target))

    def metrics(self) -> list[Metric]:
        """Means of PSNR and SSIM, and the share of samples whose PSNR is capped."""
        return [*_psnr_metrics(self._psnr), Metric("ssim", mean(self._ssim), len(self._ssim))]


class EditingMeasure:
    """What the edit says, how it looks, and what it left alone (paper section 4.5).

    The paper warns that an almost unchanged image may score high: similarity of source and prediction and PSNR
    against the target stand beside its two numbers for that reason.
    """

    def __init__(self, helpers: HelperModels) -> None:
        self._helpers = helpers
        self._similarities: list[Mapping[str, float]] = []
        self._aesthetics: list[float] = []
        self._outside: list[OutsideChange] = []
        self._psnr: list[float] = []

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Ask the helper models about a batch, and compare pixels."""
        sources = [case.sample.source for case in cases]
        captions = [[case.row[f"{side}_caption"] for case in cases] for side in ("source", "target")]
        self._similarities += _call(
            cases, "pair_similarity", self._helpers.pair_similarity, sources, list(predictions), *captions
        )
        self._aesthetics += _call(cases, "aesthetic_scorer", self._helpers.aesthetic_scorer, list(predictions))
        for case, prediction in zip(cases, predictions, strict=True):
            self._psnr.append(psnr(prediction, case.sample.target))
            if case.sample.edit_mask is not None:
                reached = reached_mask(case.sample.edit_mask, case.sample.view)
                change = outside_change(prediction, case.sample.source, reached)
                self._outside += [] if change is None else [change]

    def metrics(self) -> list[Metric]:
        """Means over the samples; those without a caption, or without a pixel outside, count where they can."""
        similarity, aesthetic = self._helpers.ids()
        return [
            self._similarity("text_similarity", "target_text_similarity", similarity),
            self._similarity("source_similarity", "image_similarity", similarity),
            Metric("aesthetic", mean(self._aesthetics), len(self._aesthetics), aesthetic),
            Metric("outside_difference", mean(c.mean_difference for c in self._outside), len(self._outside)),
            Metric("outside_changed_share", mean(c.changed_share for c in self._outside), len(self._outside)),
            *_psnr_metrics(self._psnr),
        ]

    def _similarity(self, name: str, key: str, backend: str) -> Metric:
        # NaN: the backend cannot tell for this caption. Anything else that is not finite was refused before.
        values = [row[key] for row in self._similarities if row[key] == row[key]]
        return Metric(name, mean(values), len(values), backend)


_PLAIN: dict[str, type[SegmentationMeasure] | type[KeypointMeasure] | type[EnhancementMeasure]] = {
    "segmentation": SegmentationMeasure,
    "keypoint_detection": KeypointMeasure,
    "image_enhancement": EnhancementMeasure,
}


def reached_mask(edit_mask: Mask, view: View) -> Mask:
    """``edit_mask`` and the pixels that resizing mixed with it: there even the true target differs from the source.

    Lanczos weighs pixels up to three away, of the larger of the two grids; one more for the mask's own rounding.
    """
    scales = [view.size / side for side in (view.width, view.height) if side != view.size]
    reach = max((math.ceil(_LANCZOS_REACH * max(1.0, scale)) + 1 for scale in scales), default=0)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(edit_mask.astype(np.uint8), kernel), np.bool_)


def _psnr_metrics(values: Sequence[float]) -> list[Metric]:
    capped = mean(float(value >= PSNR_CAP) for value in values)
    return [Metric("psnr", mean(values), len(values)), Metric("capped_share", capped, len(values))]


def _call(cases: Sequence[Case], role: str, backend: Any, *columns: Sequence[Any]) -> list[Any]:
    """A backend's answer for every case, or an error: a missing answer would make another mean."""
    answers = call_batch(role, backend, *columns)
    for case, answer in zip(cases, answers, strict=True):
        if isinstance(answer, RowRejected):
            raise BackendError(f"no {role} for the prediction of pair {case.sample.pair_id}: {answer}") from answer
    return answers
