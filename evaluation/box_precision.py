"""Average precision of boxes by intersection over union: COCO's detection metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import PredictionError
from evaluation.average_precision import AveragePrecision, MatchedCurves, intervals_of, match_answers
from evaluation.intervals import Interval, resamples

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class TrueBox:
    """One annotated object."""

    image: str
    label: str
    box: Box


@dataclass(frozen=True)
class FoundBox:
    """One box that was read from an output image."""

    image: str
    label: str
    box: Box
    score: float
    """Confidence, any scale: the order along the precision-recall curve."""


def box_precision(
    found: Sequence[FoundBox],
    truths: Sequence[TrueBox],
    *,
    intervals: bool = True,
    photos: Mapping[str, str] | None = None,
) -> AveragePrecision | None:
    """AP of boxes, each compared with the true ones of its image and label; None where there is no true one.

    Args:
        found: answers.
        truths: annotated objects.
        intervals: whether to work them out.
        photos: image to photo, which is what intervals resample, where several questions, each an "image" of its
            own, are asked about one; None: each image is a photo.

    Raises:
        PredictionError: a box or score that is not finite, or a true box without area.
    """
    if not truths:
        return None
    _check(found, truths)
    images = {name: place for place, name in enumerate(sorted({one.image for one in truths}), 1)}
    labels = {name: place for place, name in enumerate(sorted({one.label for one in truths}), 1)}
    annotations = [_annotation(one, place, images, labels) for place, one in enumerate(truths, 1)]
    known = [one for one in found if one.image in images and one.label in labels]
    results = [
        {**_annotation(one, place, images, labels), "score": one.score} for place, one in enumerate(_ordered(known), 1)
    ]
    evaluator = match_answers("bbox", annotations, results, list(images.values()), list(labels.values()))
    asked = [(photos or {}).get(name, name) for name in images]
    return AveragePrecision.of(evaluator, _intervals(evaluator, len(labels), asked) if intervals else {})


def _ordered(found: Sequence[FoundBox]) -> list[FoundBox]:
    """By what they are, so that equal scores do not depend on the order of rows."""
    return sorted(found, key=lambda one: (one.image, one.label, one.box))


def _annotation(one: TrueBox | FoundBox, place: int, images: dict[str, int], labels: dict[str, int]) -> dict[str, Any]:
    return {
        "id": place,
        "image_id": images[one.image],
        "category_id": labels[one.label],
        "bbox": list(one.box),
        "area": one.box[2] * one.box[3],
        "iscrowd": 0,
    }


@dataclass(frozen=True)
class _OfLabel:
    """What `MatchedCurves` reads of an evaluator, of one label."""

    evalImgs: list[Any]
    params: Any


def _intervals(evaluator: Any, num_labels: int, photos: Sequence[str]) -> dict[str, Interval | None]:
    """Bootstrap intervals over photos, by the fields of `AveragePrecision`; none for fewer than two.

    ``photos`` are those of images 1, 2, ... in the evaluator's order.
    """
    names = {name: number for number, name in enumerate(sorted(set(photos)))}
    if len(names) < 2:
        return {}
    count, place = len(photos), [names[name] for name in photos]
    curves: list[tuple[MatchedCurves, NDArray[np.int64]]] = []
    for label in range(num_labels):  # pycocotools lists images within areas within labels
        part = [one for one in evaluator.evalImgs[label * count : (label + 1) * count] if one is not None]
        members = np.array([place[one["image_id"] - 1] for one in part])
        curves.append((MatchedCurves(_OfLabel(part, evaluator.params)), members))
    values = []
    for weights in resamples(len(names)):
        for row in weights:
            by_label = np.array([curve.precision(row[members]) for curve, members in curves])
            seen = ~np.isnan(by_label[:, 0])
            values.append(by_label[seen].mean(axis=0) if seen.any() else np.full(by_label.shape[1], np.nan))
    return intervals_of(values)


def _check(found: Sequence[FoundBox], truths: Sequence[TrueBox]) -> None:
    boxes = [(one.image, one.box) for one in found] + [(one.image, one.box) for one in truths]
    for image, box in boxes:
        if not all(map(math.isfinite, box)):
            raise PredictionError(f"a box must be finite. Got {box} in image {image}")
    for truth in truths:
        if not (truth.box[2] > 0 and truth.box[3] > 0):
            raise PredictionError(f"a true box must have an area. Got {truth.box} in image {truth.image}")
    for one in found:
        if not math.isfinite(one.score):
            raise PredictionError(f"a score must be finite. Got {one.score} in image {one.image}")
