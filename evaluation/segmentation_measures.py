"""What is measured on masks: referring expressions one by one, and classes merged into one label map per image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import Case
from evaluation.decoders import Decoder
from evaluation.intervals import Share, ratio_interval
from evaluation.measured import Metric, image_of
from evaluation.metric_names import NO_TARGET_PIXELS, SWEPT_METRICS
from evaluation.metrics import Image, Overlap, cumulative_iou, generalized_iou, mask_overlap, mean_iou

_REFERENCE_SIDE = 480
"""GRES pictures are 480 x 480; the no-target rule counts pixels of such a picture, whatever the size here."""

_PRECISIONS = {"pr70": 0.7, "pr80": 0.8, "pr90": 0.9}


class _Reading(NamedTuple):
    """One sample: pixels marked, pixels that should be, pixels of both."""

    image: str
    label: str | None
    marked: int
    target: int
    overlap: Overlap
    size: int

    def under(self, rule: int) -> "_Reading":
        """The reading under a no-target rule: a mask of fewer pixels counts as empty."""
        if self.marked >= rule * (self.size / _REFERENCE_SIDE) ** 2:
            return self
        return self._replace(marked=0, overlap=Overlap(0, self.target))

    @property
    def iou(self) -> float:
        """1 for a no-target sample that is left empty."""
        return self.overlap.intersection / self.overlap.union if self.overlap.union else 1.0


class SegmentationMeasure:
    """Masks read from the colour that the instruction names (paper section 4.3; GRES, Liu et al. 2023, section 3)."""

    def __init__(self, decoder: Decoder, no_target_pixels: int = 0, sweep: bool = False) -> None:
        """Empty.

        Args:
            decoder: reads masks.
            no_target_pixels: a mask of fewer pixels, on a picture of 480 x 480, counts as empty. The GRES models
                decide "no target" by a head of their own; a picture can only be left unmarked.
            sweep: metrics under each of `NO_TARGET_PIXELS` too, where a sample has no target.
        """
        self._decoder = decoder
        self._rule = no_target_pixels
        self._sweep = sweep
        self._readings: list[_Reading] = []

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Decode each mask and count its pixels against the true one."""
        for case, prediction in zip(cases, predictions, strict=True):
            sample = case.sample
            assert sample.mask is not None, sample.pair_id
            marked = self._decoder.read_mask(sample, prediction) > 0.5
            self._readings.append(
                _Reading(
                    image=image_of(case),
                    label=case.row["label"],
                    marked=int(np.count_nonzero(marked)),
                    target=int(np.count_nonzero(sample.mask)),
                    overlap=mask_overlap(marked, sample.mask),
                    size=sample.view.size,
                )
            )

    def metrics(self) -> list[Metric]:
        """CIoU, gIoU, mIoU over those with a class label, N-acc, T-acc and Pr@X; then the sweep."""
        metrics = _measure([reading.under(self._rule) for reading in self._readings])
        if self._sweep and any(not reading.target for reading in self._readings):
            for rule in NO_TARGET_PIXELS:
                swept = _measure([reading.under(rule) for reading in self._readings])
                metrics += [one._replace(name=f"{one.name}@{rule}px") for one in swept if one.name in SWEPT_METRICS]
        return metrics


def _measure(readings: Sequence[_Reading]) -> list[Metric]:
    overlaps = [one.overlap for one in readings]
    labelled = [one for one in readings if one.label]
    empty, targeted = [one for one in readings if not one.target], [one for one in readings if one.target]

    def shares(name: str, samples: Sequence[_Reading], parts: Sequence[float]) -> Metric:
        entries = [Share(one.image, part) for one, part in zip(samples, parts, strict=True)]
        return Metric(name, sum(parts) / len(parts) if parts else None, len(parts), None, ratio_interval(entries))

    def cumulated(samples: Sequence[_Reading], by_label: bool) -> list[Share]:
        return [Share(one.image, *one.overlap, one.label if by_label else None) for one in samples]

    return [
        Metric("ciou", cumulative_iou(overlaps), len(readings), None, ratio_interval(cumulated(readings, False))),
        shares("giou", readings, [one.iou for one in readings])._replace(value=generalized_iou(overlaps)),
        Metric(
            "miou",
            mean_iou((one.label, one.overlap) for one in labelled),
            len(labelled),
            None,
            ratio_interval(cumulated(labelled, True)),
        ),
        shares("n_acc", empty, [float(not one.marked) for one in empty]),
        shares("t_acc", targeted, [float(one.marked > 0) for one in targeted]),
        *(shares(name, targeted, [float(one.iou >= least) for one in targeted]) for name, least in _PRECISIONS.items()),
    ]


class SemanticMeasure:
    """Class-wise cumulative IoU of label maps that are merged from one answer per class (paper section 4.3).

    Merging rule: a pixel goes to the class, among those that mark it (score above 0.5), whose score is highest; of
    equal ones to the first by name; marked by none, it has no class. Pixels without a true class are left out. Each
    class's intersections and unions are summed over all images; mIoU is the mean over classes that occur.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._image: str | None = None
        self._labels: list[str] = []
        self._best: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._merged: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._truth: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._shares: list[Share] = []
        self._single: list[Share] = []
        self._finished: set[str] = set()

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Merge each answer into its image's map; samples of one image come one after the other, by label."""
        for case, prediction in zip(cases, predictions, strict=True):
            sample, image = case.sample, image_of(case)
            assert sample.mask is not None, sample.pair_id
            if image != self._image:
                self._finish()
                assert image not in self._finished, "samples of one image come one after the other"
                self._image, self._labels = image, []
                self._best = np.full(sample.mask.shape, 0.5, np.float32)
                self._merged = np.full(sample.mask.shape, -1, np.int32)
                self._truth = np.full(sample.mask.shape, -1, np.int32)
            place = len(self._labels)
            self._labels.append(case.row["label"])
            scores = self._decoder.read_mask(sample, prediction)
            better = scores > self._best
            self._best[better], self._merged[better] = scores[better], place
            self._truth[sample.mask] = place
            self._single.append(Share(image, *mask_overlap(scores > 0.5, sample.mask)))

    def metrics(self) -> list[Metric]:
        """MIoU of the merged maps; beside it cIoU of the answers one by one."""
        self._finish()
        classes: dict[str, list[Overlap]] = {}
        for share in self._shares:
            classes.setdefault(str(share.column), []).append(Overlap(int(share.part), int(share.whole)))
        pairs = [(label, overlap) for label, overlaps in classes.items() for overlap in overlaps]
        single = [Overlap(int(share.part), int(share.whole)) for share in self._single]
        return [
            Metric("miou", mean_iou(pairs), len(self._single), None, ratio_interval(self._shares)),
            Metric("ciou", cumulative_iou(single), len(single), None, ratio_interval(self._single)),
        ]

    def _finish(self) -> None:
        """Count the map of the image that is complete."""
        if self._image is None:
            return
        labelled = self._truth >= 0
        for place, label in enumerate(self._labels):
            overlap = mask_overlap((self._merged == place) & labelled, self._truth == place)
            self._shares.append(Share(self._image, *overlap, label))
        self._finished.add(self._image)
        self._image = None
