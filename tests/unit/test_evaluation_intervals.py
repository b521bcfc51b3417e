"""Bootstrap intervals: against a naive resampling, and what they must not depend on."""

import numpy as np
import pytest

from evaluation.average_precision import MatchedCurves
from evaluation.intervals import NUM_RESAMPLES, Share, bootstrap, ratio_interval, resamples
from evaluation.keypoint_metrics import KeypointPrediction, KeypointTruth, keypoint_precision


def test_a_mean_by_naive_resampling():
    """The mean of 200 draws: its interval is about 1.96 standard errors to each side."""
    values = np.random.default_rng(0).normal(5, 2, 200)
    low, high = ratio_interval([Share(f"photo {place}", value) for place, value in enumerate(values)])
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_samples_of_one_photo_stay_together():
    """Ten equal sentences about each of 20 photos say no more than one does."""
    values = np.random.default_rng(1).random(20)
    one = [Share(f"photo {place:02d}", value) for place, value in enumerate(values)]
    assert ratio_interval(one * 10) == pytest.approx(ratio_interval(one))


def test_ratios_by_class_as_resampled_by_hand():
    rng = np.random.default_rng(2)
    shares = [Share(f"{place % 7}", *sorted(rng.random(2)), column=f"class {place % 3}") for place in range(40)]
    by_hand = []
    for weights in (row for chunk in resamples(7) for row in chunk):
        ratios = []
        for label in ("class 0", "class 1", "class 2"):
            drawn = [(weights[int(one.image)], one) for one in shares if one.column == label]
            whole = sum(weight * one.whole for weight, one in drawn)
            ratios += [sum(weight * one.part for weight, one in drawn) / whole] if whole else []
        by_hand.append(np.mean(ratios))
    assert len(by_hand) == NUM_RESAMPLES
    assert ratio_interval(shares) == pytest.approx(tuple(np.percentile(by_hand, (2.5, 97.5))), abs=1e-12)
    assert ratio_interval(shares[::-1]) == pytest.approx(ratio_interval(shares), abs=1e-12)


def test_too_little_to_say_anything():
    assert ratio_interval([]) is None
    assert ratio_interval([Share("photo", 1.0), Share("photo", 0.0)]) is None
    assert ratio_interval([Share("a", 0.0, 0.0), Share("b", 0.0, 0.0)]) is None
    assert bootstrap(1, lambda weights: weights[:, 0]) is None


def people(rng, count):
    """People in pairs on one image, found more or less."""
    predictions, truths = [], []
    for place in range(count):
        points = {name: tuple(rng.uniform(0, 100, 2)) for name in ("nose", "left hip", "right hip")}
        off = {name: (x + rng.normal(0, 6), y + rng.normal(0, 6)) for name, (x, y) in points.items()}
        predictions.append(KeypointPrediction(off, float(rng.random())))
        truths.append(KeypointTruth(f"photo {place // 2:03d}", points, 5000.0))
    return predictions, truths


def test_weighted_curves_are_those_of_pycocotools(monkeypatch):
    """With weights of one, and with some images there several times."""
    found = []
    make = MatchedCurves.__init__

    def keep(self, evaluator):
        make(self, evaluator)
        found.append(self)

    monkeypatch.setattr(MatchedCurves, "__init__", keep)
    rng = np.random.default_rng(3)
    predictions, truths = people(rng, 60)
    whole = keypoint_precision(predictions, truths, intervals=True)
    (curves,) = found
    assert 0.2 < whole.ap < 0.9
    assert whole.ap_interval[0] < whole.ap < whole.ap_interval[1]
    plain = curves.precision(np.ones(30))
    assert (plain.mean(), plain[0], plain[5]) == pytest.approx((whole.ap, whole.ap50, whole.ap75), abs=1e-12)
    weights = rng.integers(0, 3, 30)
    repeated = [
        (prediction, KeypointTruth(f"{truth.image} copy {copy}", truth.keypoints, truth.area))
        for prediction, truth in zip(predictions, truths, strict=True)
        for copy in range(weights[int(truth.image[-3:])])
    ]
    expected = keypoint_precision(*zip(*repeated, strict=True))
    assert curves.precision(weights.astype(float)).mean() == pytest.approx(expected.ap, abs=1e-12)
