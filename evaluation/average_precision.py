"""Average precision as COCO defines it, computed by pycocotools: what boxes and keypoints share."""

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Interval, percentiles, resamples


@dataclass(frozen=True)
class AveragePrecision:
    """AP over thresholds 0.50:0.05:0.95 of IoU or OKS, at 0.50 and at 0.75, mean over labels; shares in [0, 1]."""

    ap: float
    ap50: float
    ap75: float
    ap_interval: Interval | None = None
    """95 %, over images or what they are of: `evaluation.intervals`. So for the next two."""
    ap50_interval: Interval | None = None
    ap75_interval: Interval | None = None

    @classmethod
    def of(cls, evaluator: Any, intervals: Mapping[str, Any]) -> "AveragePrecision":
        """What an evaluator found, of all areas and as many answers as it takes."""
        by_threshold = evaluator.eval["precision"][:, :, :, 0, -1].mean(axis=(1, 2))  # (thresholds, recalls, labels)
        mean, at_50, at_75 = (float(one) for one in (by_threshold.mean(), by_threshold[0], by_threshold[5]))
        return cls(mean, at_50, at_75, **intervals)


def match_answers(
    kind: Literal["bbox", "keypoints"],
    annotations: list[dict[str, Any]],
    results: list[dict[str, Any]],
    images: Sequence[int],
    labels: Sequence[int],
    sigmas: NDArray[np.float64] | None = None,
) -> Any:
    """A pycocotools evaluator that has matched and accumulated.

    Args:
        kind: what is compared.
        annotations: as in a COCO file. Of any size: areas are not told apart.
        results: likewise, with scores. Their own ``area`` counts: pycocotools' ``loadRes`` would take one from the
            joints, and a result that is far off would be ignored.
        images: ids of all images.
        labels: ids of all categories.
        sigmas: fall-off of each joint as a share of the object's scale.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def index(rows: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        categories = [{"id": label, "name": str(label)} for label in labels]
        coco.dataset = {"images": [{"id": image} for image in images], "categories": categories, "annotations": rows}
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by print
        evaluator = COCOeval(index(annotations), index(results), kind)
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, math.inf]], ["all"]
        if sigmas is not None:
            evaluator.params.kpt_oks_sigmas = sigmas
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


class MatchedCurves:
    """Average precision for any weights of the images, from matches that pycocotools made once.

    An image of weight 2 counts as if it were there twice: its objects, and its predictions one after the other.
    """

    def __init__(self, evaluator: Any) -> None:
        """Gather what the evaluator found, of one category, area range and number of detections."""
        found = [one for one in evaluator.evalImgs if one is not None]
        scores = np.concatenate([one["dtScores"] for one in found])
        order = np.argsort(-scores, kind="mergesort")  # as pycocotools: ties stay in the order of the images
        ignored = np.concatenate([one["dtIgnore"] for one in found], axis=1)[:, order].astype(bool)
        matched = np.concatenate([one["dtMatches"] for one in found], axis=1)[:, order] > 0
        self._right, self._wrong = matched & ~ignored, ~matched & ~ignored  # (thresholds, predictions)
        self._image = np.repeat(np.arange(len(found)), [len(one["dtScores"]) for one in found])[order]
        self._objects = np.array([np.count_nonzero(np.asarray(one["gtIgnore"]) == 0) for one in found], np.float64)
        self._recalls = evaluator.params.recThrs

    def precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean precision at the 101 recalls by threshold; NaN where the weights leave no object."""
        total = weights @ self._objects
        if not total:
            return np.full(len(self._right), np.nan)
        each = weights[self._image]
        right, wrong = np.cumsum(self._right * each, axis=1), np.cumsum(self._wrong * each, axis=1)
        precision = right / (right + wrong + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        values = np.zeros((len(right), len(self._recalls)))
        for row, (recall, best) in enumerate(zip(right / total, envelope, strict=True)):
            places = np.searchsorted(recall, self._recalls, side="left")
            reached = places < len(best)
            values[row, reached] = best[places[reached]]
        return np.asarray(values.mean(axis=1))

    def intervals(self) -> dict[str, Interval | None]:
        """Bootstrap intervals over images, by the fields of `AveragePrecision`; none for fewer than two."""
        count = len(self._objects)
        if count < 2:
            return {}
        return intervals_of([self.precision(row) for weights in resamples(count) for row in weights])


def intervals_of(resampled: Sequence[NDArray[np.float64]]) -> dict[str, Interval | None]:
    """Intervals by the fields of `AveragePrecision`, from the precision by threshold of each resample."""
    values = np.array(resampled)
    columns = {"ap": values.mean(axis=1), "ap50": values[:, 0], "ap75": values[:, 5]}
    return {f"{name}_interval": percentiles(column) for name, column in columns.items()}
