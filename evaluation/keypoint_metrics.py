"""Average precision of keypoints by object keypoint similarity, computed by pycocotools (paper section 4.2).

Ground-truth boxes: one prediction per annotated object, matched within its image as COCO does. Scores decide
in which order COCO walks along the precision-recall curve; equal ones are taken by image name, so that the
order of the rows does not matter.
"""

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import PredictionError
from evaluation.intervals import Interval, percentiles, resamples

Point = tuple[float, float]

COCO_SIGMAS = {
    "nose": 0.026,
    "left eye": 0.025,
    "right eye": 0.025,
    "left ear": 0.035,
    "right ear": 0.035,
    "left shoulder": 0.079,
    "right shoulder": 0.079,
    "left elbow": 0.072,
    "right elbow": 0.072,
    "left wrist": 0.062,
    "right wrist": 0.062,
    "left hip": 0.107,
    "right hip": 0.107,
    "left knee": 0.087,
    "right knee": 0.087,
    "left ankle": 0.089,
    "right ankle": 0.089,
}
"""Fall-off of each joint as a share of the object's scale (pycocotools, ``Params.setKpParams``)."""

OTHER_SIGMA = 0.035
"""For joints that COCO does not have; AP-10K uses it for neck and root of tail."""

_MISSING_DISTANCE = 1e3
"""A joint that was not found lies this many object scales away: its similarity is exactly 0."""


@dataclass(frozen=True)
class KeypointTruth:
    """One annotated object: the joints that were asked for and are labelled, in pixels of its image."""

    image: str
    """Objects of one image compete for each other's predictions."""
    keypoints: Mapping[str, Point]
    area: float
    """Square pixels of the object's segment; of its box where there is no segment."""


@dataclass(frozen=True)
class KeypointPrediction:
    """What was read from one output image, in pixels of the source image."""

    points: Mapping[str, Point | None]
    """Place of each asked joint; None where it was not found."""
    score: float
    """Confidence, any scale."""


@dataclass(frozen=True)
class KeypointPrecision:
    """AP over OKS thresholds 0.50:0.05:0.95, at 0.50 and at 0.75; shares in [0, 1]."""

    ap: float
    ap50: float
    ap75: float
    ap_interval: Interval | None = None
    """95 %, over images: `evaluation.intervals`. So for the next two."""
    ap50_interval: Interval | None = None
    ap75_interval: Interval | None = None


def keypoint_precision(
    predictions: Sequence[KeypointPrediction], truths: Sequence[KeypointTruth], *, intervals: bool = False
) -> KeypointPrecision | None:
    """AP of ``predictions[i]`` for ``truths[i]``; None where no truth has a labelled joint.

    Args:
        predictions: one per truth; a joint that is not among its points counts as not found.
        truths: the annotated objects. Those without a labelled joint are ignored, as in COCO.
        intervals: whether to resample images.

    Raises:
        PredictionError: other counts, a joint that is not finite, or an area that is not positive.
    """
    if len(predictions) != len(truths):
        raise PredictionError(f"{len(truths)} objects need as many predictions. Got {len(predictions)}")
    if not any(truth.keypoints for truth in truths):
        return None
    names = list(COCO_SIGMAS)
    names += sorted({name for truth in truths for name in truth.keypoints} - set(names))
    images = {image: place for place, image in enumerate(sorted({truth.image for truth in truths}), 1)}
    annotations, results = [], []
    for place, (prediction, truth) in enumerate(zip(predictions, truths, strict=True), 1):
        _check(prediction, truth)
        shared = {"id": place, "image_id": images[truth.image], "category_id": 1, "area": truth.area}
        annotations.append({**shared, **_annotation(truth, names)})
        results.append({**shared, **_result(prediction, truth, names)})
    return _evaluate(annotations, results, list(images.values()), names, intervals)


def _annotation(truth: KeypointTruth, names: Sequence[str]) -> dict[str, Any]:
    keypoints: list[float] = []
    for name in names:
        keypoints += [*truth.keypoints[name], 2] if name in truth.keypoints else [0.0, 0.0, 0]
    # The box matters to pycocotools only for objects without a joint; those are ignored whatever it is.
    return {
        "keypoints": keypoints,
        "num_keypoints": len(truth.keypoints),
        "iscrowd": 0,
        "bbox": [0.0, 0.0, 1.0, 1.0],
    }


def _result(prediction: KeypointPrediction, truth: KeypointTruth, names: Sequence[str]) -> dict[str, Any]:
    away = -_MISSING_DISTANCE * math.sqrt(truth.area)
    keypoints: list[float] = []
    for name in names:
        point = prediction.points.get(name)
        keypoints += [*(point if point is not None else (away, away)), 1]
    return {"keypoints": keypoints, "score": prediction.score}


def _evaluate(
    annotations: list[dict[str, Any]],
    results: list[dict[str, Any]],
    images: list[int],
    names: Sequence[str],
    intervals: bool,
) -> KeypointPrecision:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def index(rows: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in images],
            "categories": [{"id": 1, "name": "object"}],
            "annotations": rows,
        }
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by print
        # Not `loadRes`: it takes a result's area from its joints, and one that is far off would be ignored.
        evaluator = COCOeval(index(annotations), index(results), "keypoints")
        evaluator.params.kpt_oks_sigmas = np.array([COCO_SIGMAS.get(name, OTHER_SIGMA) for name in names])
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, math.inf]], ["all"]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, 0, 0, 0]  # (thresholds, recalls)
    found = MatchedCurves(evaluator).intervals() if intervals else {}
    return KeypointPrecision(
        ap=float(precision.mean()), ap50=float(precision[0].mean()), ap75=float(precision[5].mean()), **found
    )


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
        """Mean precision at the 101 recalls by OKS threshold; NaN where the weights leave no object."""
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
        """Bootstrap intervals over images, by the fields of `KeypointPrecision`."""
        count = len(self._objects)
        if count < 2:
            return {}
        values = np.array([self.precision(row) for weights in resamples(count) for row in weights])
        columns = {"ap": values.mean(axis=1), "ap50": values[:, 0], "ap75": values[:, 5]}
        return {f"{name}_interval": percentiles(column) for name, column in columns.items()}


def _check(prediction: KeypointPrediction, truth: KeypointTruth) -> None:
    if not (math.isfinite(truth.area) and truth.area > 0):
        raise PredictionError(f"an object's area must be positive. Got {truth.area} in image {truth.image}")
    if not math.isfinite(prediction.score):
        raise PredictionError(f"a score must be finite. Got {prediction.score} in image {truth.image}")
    for points in (prediction.points, truth.keypoints):
        for name, point in points.items():
            if point is not None and not all(map(math.isfinite, point)):
                raise PredictionError(f"joint {name!r} must lie at finite pixels. Got {point} in image {truth.image}")
