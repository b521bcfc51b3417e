"""Average precision of boxes by intersection over union, computed by pycocotools: COCO's detection metric."""

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
from evaluation.keypoint_metrics import MatchedCurves

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


@dataclass(frozen=True)
class BoxPrecision:
    """AP over IoU thresholds 0.50:0.05:0.95, at 0.50 and at 0.75, mean over labels; shares in [0, 1]."""

    ap: float
    ap50: float
    ap75: float
    ap_interval: Interval | None = None
    """95 %, over images or what they are of: `evaluation.intervals`. So for the next two."""
    ap50_interval: Interval | None = None
    ap75_interval: Interval | None = None


def box_precision(
    found: Sequence[FoundBox],
    truths: Sequence[TrueBox],
    *,
    intervals: bool = True,
    photos: Mapping[str, str] | None = None,
) -> BoxPrecision | None:
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
    evaluator = _evaluate(annotations, results, list(images.values()), list(labels.values()))
    precision = evaluator.eval["precision"][:, :, :, 0, -1]  # (thresholds, recalls, labels)
    by_threshold = precision.mean(axis=(1, 2))
    return BoxPrecision(
        ap=float(by_threshold.mean()),
        ap50=float(by_threshold[0]),
        ap75=float(by_threshold[5]),
        **(
            _intervals(evaluator, len(labels), [(photos or {}).get(name, name) for name in images]) if intervals else {}
        ),
    )


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


def _evaluate(
    annotations: list[dict[str, Any]], results: list[dict[str, Any]], images: list[int], labels: list[int]
) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def index(rows: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in images],
            "categories": [{"id": label, "name": str(label)} for label in labels],
            "annotations": rows,
        }
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by print
        evaluator = COCOeval(index(annotations), index(results), "bbox")
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, math.inf]], ["all"]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


@dataclass(frozen=True)
class _OfLabel:
    """What `MatchedCurves` reads of an evaluator, of one label."""

    evalImgs: list[Any]
    params: Any


def _intervals(evaluator: Any, num_labels: int, photos: Sequence[str]) -> dict[str, Interval | None]:
    """Bootstrap intervals over photos, by the fields of `BoxPrecision`; none for fewer than two.

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
    table = np.array(values)
    columns = {"ap": table.mean(axis=1), "ap50": table[:, 0], "ap75": table[:, 5]}
    return {f"{name}_interval": percentiles(column) for name, column in columns.items()}


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
