"""Keypoint precision against pycocotools used the ordinary way, a naive OKS, and hand-worked values."""

import contextlib
import io
import math

import numpy as np
import pytest

from catalog.errors import PredictionError
from evaluation.keypoint_metrics import (
    COCO_SIGMAS,
    OTHER_SIGMA,
    KeypointPrediction,
    KeypointTruth,
    keypoint_precision,
)

NAMES = list(COCO_SIGMAS)
AREA = 900.0


def random_truths(rng, count=30, per_image=2):
    """Objects with one to five labelled joints each, two to an image."""
    truths = []
    for place in range(count):
        names = rng.choice(NAMES, size=rng.integers(1, 6), replace=False)
        keypoints = {str(name): tuple(rng.uniform(0, 100, 2).tolist()) for name in names}
        truths.append(KeypointTruth(f"image {place // per_image}", keypoints, float(rng.uniform(400, 4000))))
    return truths


def found(points, score=1.0):
    return KeypointPrediction(points, score)


def jitter(truths, rng, scale):
    return [
        found(
            {name: (x + rng.normal(0, scale), y + rng.normal(0, scale)) for name, (x, y) in truth.keypoints.items()},
            float(rng.integers(3)),
        )
        for truth in truths
    ]


def coco_by_the_book(predictions, truths):
    """AP as the pycocotools demo computes it: annotation file, result list, loadRes, summarize."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = {name: place for place, name in enumerate(sorted({truth.image for truth in truths}))}
    annotations, results = [], []
    for place, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        flat, result = [], []
        for name in NAMES:
            flat += [*truth.keypoints[name], 2] if name in truth.keypoints else [0, 0, 0]
            result += [*prediction.points.get(name, (0, 0)), 1]
        shared = {"image_id": images[truth.image], "category_id": 1}
        box = {"area": truth.area, "bbox": [0, 0, 9, 9], "iscrowd": 0}
        annotations.append({**shared, **box, "id": place + 1, "keypoints": flat, "num_keypoints": len(truth.keypoints)})
        results.append({**shared, "keypoints": result, "score": prediction.score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        truth_set.dataset = {
            "images": [{"id": image} for image in images.values()],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": annotations,
            "info": {},
        }
        truth_set.createIndex()
        evaluator = COCOeval(truth_set, truth_set.loadRes(results), "keypoints")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[:3]


@pytest.mark.parametrize("scale", [0.5, 3.0, 8.0])
def test_precision_equals_pycocotools(scale):
    rng = np.random.default_rng(int(scale * 10))
    truths = random_truths(rng)
    predictions = jitter(truths, rng, scale)
    result = keypoint_precision(predictions, truths)
    expected = coco_by_the_book(predictions, truths)
    assert (result.ap, result.ap50, result.ap75) == pytest.approx(tuple(expected), abs=1e-9)
    assert 0 < result.ap < 1


def test_oracle_is_one_and_shuffled_oracle_is_worse():
    truths = random_truths(np.random.default_rng(0))
    oracle = [found(dict(truth.keypoints)) for truth in truths]
    assert keypoint_precision(oracle, truths).ap == pytest.approx(1.0, abs=1e-12)
    assert keypoint_precision(oracle[2:] + oracle[:2], truths).ap < 0.1


def test_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(3)
    truths = random_truths(rng, per_image=1)
    predictions = jitter(truths, rng, 3.0)
    order = rng.permutation(len(truths))
    shuffled = keypoint_precision([predictions[i] for i in order], [truths[i] for i in order])
    assert shuffled == keypoint_precision(predictions, truths)


def test_nothing_found_is_zero():
    truths = random_truths(np.random.default_rng(1))
    assert keypoint_precision([found({}) for _ in truths], truths).ap == 0.0
    nothing = [found(dict.fromkeys(truth.keypoints)) for truth in truths]
    assert keypoint_precision(nothing, truths).ap == 0.0


def test_a_missing_joint_counts_as_zero_by_hand():
    """One of two joints found: OKS 0.5, which passes the threshold 0.50 alone: AP 1/10."""
    truth = KeypointTruth("a", {"nose": (10.0, 10.0), "left eye": (20.0, 10.0)}, AREA)
    result = keypoint_precision([found({"nose": (10.0, 10.0), "left eye": None})], [truth])
    assert (result.ap, result.ap50, result.ap75) == pytest.approx((0.1, 1.0, 0.0), abs=1e-12)


@pytest.mark.parametrize(("name", "sigma"), [("left hip", 0.107), ("tail", OTHER_SIGMA)])
def test_similarity_by_hand(name, sigma):
    """At a distance worth OKS 0.72 the thresholds 0.50 to 0.70 pass: AP 5/10."""
    distance = math.sqrt(-math.log(0.72) * 2 * AREA * (2 * sigma) ** 2)
    truth = KeypointTruth("a", {name: (50.0, 50.0)}, AREA)
    assert keypoint_precision([found({name: (50.0 + distance, 50.0)})], [truth]).ap == pytest.approx(0.5, abs=1e-12)


def test_objects_without_a_joint_are_ignored():
    truths = [KeypointTruth("a", {"nose": (1.0, 1.0)}, AREA), KeypointTruth("b", {}, AREA)]
    assert keypoint_precision([found({"nose": (1.0, 1.0)}), found({"nose": (3.0, 3.0)})], truths).ap == pytest.approx(
        1.0
    )
    assert keypoint_precision([found({})], truths[1:]) is None
    assert keypoint_precision([], []) is None


def test_precision_is_silent(capsys):
    keypoint_precision([found({})], [KeypointTruth("a", {"nose": (1.0, 1.0)}, AREA)])
    assert capsys.readouterr().out == ""


def test_bad_input_is_one_sentence():
    truth = KeypointTruth("a", {"nose": (1.0, 1.0)}, AREA)
    with pytest.raises(PredictionError, match=r"1 objects need as many predictions\. Got 0"):
        keypoint_precision([], [truth])
    with pytest.raises(PredictionError, match="'nose' must lie at finite pixels"):
        keypoint_precision([found({"nose": (math.nan, 1.0)})], [truth])
    with pytest.raises(PredictionError, match="area must be positive"):
        keypoint_precision([found({})], [KeypointTruth("a", {"nose": (1.0, 1.0)}, 0.0)])
    with pytest.raises(PredictionError, match="score must be finite"):
        keypoint_precision([found({}, math.nan)], [truth])
