"""Average precision of keypoints by object keypoint similarity (paper section 4.2).

Ground-truth boxes: one prediction per annotated object, matched within its image as COCO does. Scores decide
in which order COCO walks along the precision-recall curve; equal ones are taken by image name, so that the
order of the rows does not matter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog.errors import PredictionError
from evaluation.average_precision import AveragePrecision, MatchedCurves, match_answers

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


def keypoint_precision(
    predictions: Sequence[KeypointPrediction], truths: Sequence[KeypointTruth], *, intervals: bool = False
) -> AveragePrecision | None:
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
    sigmas = np.array([COCO_SIGMAS.get(name, OTHER_SIGMA) for name in names])
    evaluator = match_answers("keypoints", annotations, results, list(images.values()), [1], sigmas)
    return AveragePrecision.of(evaluator, MatchedCurves(evaluator).intervals() if intervals else {})


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


def _check(prediction: KeypointPrediction, truth: KeypointTruth) -> None:
    if not (math.isfinite(truth.area) and truth.area > 0):
        raise PredictionError(f"an object's area must be positive. Got {truth.area} in image {truth.image}")
    if not math.isfinite(prediction.score):
        raise PredictionError(f"a score must be finite. Got {prediction.score} in image {truth.image}")
    for points in (prediction.points, truth.keypoints):
        for name, point in points.items():
            if point is not None and not all(map(math.isfinite, point)):
                raise PredictionError(f"joint {name!r} must lie at finite pixels. Got {point} in image {truth.image}")
