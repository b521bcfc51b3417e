"""Metrics on masks and images against reference libraries, naive definitions and hand-worked values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from catalog.errors import PredictionError
from evaluation.metrics import (
    PSNR_CAP,
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

SIDE = 24


def random_masks(rng, count=12):
    """Masks of all densities, the first two empty."""
    return [np.zeros((SIDE, SIDE), bool) if i < 2 else rng.random((SIDE, SIDE)) < i / count for i in range(count)]


def random_image(rng, shape=(SIDE, SIDE, 3)):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def naive_gres(predictions, truths):
    """The GRES definitions, pixel by pixel: cIoU and gIoU with no-target samples."""
    total_intersection = total_union = 0
    per_sample = []
    for prediction, truth in zip(predictions, truths, strict=True):
        intersection = union = 0
        for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
            intersection += p and t
            union += p or t
        total_intersection += intersection
        total_union += union
        if truth.any():
            per_sample.append(intersection / union)
        else:
            per_sample.append(0.0 if prediction.any() else 1.0)
    return total_intersection / total_union, sum(per_sample) / len(per_sample)


def test_ciou_and_giou_equal_a_naive_reading_of_gres():
    rng = np.random.default_rng(0)
    predictions, truths = random_masks(rng), random_masks(rng)
    truths[1], truths[5] = truths[5], truths[1]  # no-target left empty, no-target marked, target missed
    overlaps = [mask_overlap(p, t) for p, t in zip(predictions, truths, strict=True)]
    expected_ciou, expected_giou = naive_gres(predictions, truths)
    assert cumulative_iou(overlaps) == pytest.approx(expected_ciou, abs=1e-12)
    assert generalized_iou(overlaps) == pytest.approx(expected_giou, abs=1e-12)


def test_ciou_equals_torchmetrics():
    torch = pytest.importorskip("torch")
    from torchmetrics.classification import BinaryJaccardIndex

    rng = np.random.default_rng(1)
    predictions, truths = np.stack(random_masks(rng)), np.stack(random_masks(rng)[::-1])
    expected = BinaryJaccardIndex()(torch.from_numpy(predictions).int(), torch.from_numpy(truths).int())
    overlaps = [mask_overlap(p, t) for p, t in zip(predictions, truths, strict=True)]
    assert cumulative_iou(overlaps) == pytest.approx(float(expected), abs=1e-6)


def test_miou_equals_torchmetrics_on_label_maps():
    """One binary sample per class present equals the label map's confusion matrix, as classes partition it."""
    torch = pytest.importorskip("torch")
    from torchmetrics.classification import MulticlassJaccardIndex

    rng = np.random.default_rng(2)
    predictions, truths = (rng.integers(0, 4, (5, SIDE, SIDE)) for _ in range(2))
    overlaps = [
        (label, mask_overlap(p == label, t == label))
        for p, t in zip(predictions, truths, strict=True)
        for label in range(4)
    ]
    expected = MulticlassJaccardIndex(4, average="macro")(torch.from_numpy(predictions), torch.from_numpy(truths))
    assert mean_iou(overlaps) == pytest.approx(float(expected), abs=1e-6)


def test_miou_weighs_classes_not_samples():
    overlaps = [("cat", Overlap(1, 2)), ("cat", Overlap(1, 2)), ("dog", Overlap(4, 4)), ("void", Overlap(0, 0))]
    assert mean_iou(overlaps) == (0.5 + 1.0) / 2
    assert cumulative_iou(overlap for _, overlap in overlaps) == 6 / 8


def test_empty_masks():
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    left_empty, marked, missed = (mask_overlap(*pair) for pair in [(empty, empty), (full, empty), (empty, full)])
    assert (left_empty, marked, missed) == ((0, 0), (0, 16), (0, 16))
    assert cumulative_iou([left_empty]) is None  # 0/0 adds nothing
    assert cumulative_iou([left_empty, mask_overlap(full, full)]) == 1.0
    assert generalized_iou([left_empty, marked, missed]) == 1 / 3
    assert cumulative_iou([]) is generalized_iou([]) is mean_iou([]) is None


@pytest.mark.parametrize("shape", [(SIDE, SIDE, 3), (16, 40, 3)])
def test_psnr_and_ssim_equal_scikit_image(shape):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    rng = np.random.default_rng(3)
    truth = random_image(rng, shape)
    noisy = np.clip(truth + rng.normal(0, 12, shape), 0, 255).astype(np.uint8)
    assert psnr(noisy, truth) == pytest.approx(peak_signal_noise_ratio(truth, noisy, data_range=255), abs=1e-9)
    expected = structural_similarity(
        truth, noisy, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(noisy, truth) == pytest.approx(expected, abs=1e-9)


def test_psnr_equals_torchmetrics_and_does_not_wrap():
    torch = pytest.importorskip("torch")
    from torchmetrics.image import PeakSignalNoiseRatio

    dark, light = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 250, np.uint8)
    expected = PeakSignalNoiseRatio(data_range=255.0)(torch.from_numpy(dark).float(), torch.from_numpy(light).float())
    assert psnr(dark, light) == pytest.approx(float(expected), abs=1e-4)
    assert psnr(dark, light) == psnr(light, dark)  # uint8 subtraction without a cast would not be symmetric


def test_psnr_does_not_guess_the_range_from_the_values():
    truth, prediction = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)
    assert psnr(prediction, truth) == pytest.approx(20 * math.log10(255), abs=1e-12)


def test_psnr_of_equal_images_is_the_cap():
    image = np.full((256, 256, 3), 7, np.uint8)
    almost = image.copy()
    almost[0, 0, 0] += 1
    assert psnr(image, image) == PSNR_CAP == psnr(almost, image)
    assert ssim(image, image) == pytest.approx(1.0)


def test_outside_change_by_hand():
    source = np.zeros((4, 4, 3), np.uint8)
    prediction = source.copy()
    prediction[0, 0] = 200  # inside: free
    prediction[3, 3, 1] = 30  # outside: 1 of 12 pixels, 30 levels over 36 values
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    assert outside_change(prediction, source, mask) == (30 / 36, 1 / 12)
    assert outside_change(source, source, mask) == (0.0, 0.0)
    assert outside_change(prediction, source, np.ones((4, 4), bool)) is None


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.uint8, (6, 5, 3)), hnp.arrays(np.uint8, (6, 5, 3)), hnp.arrays(np.bool_, (6, 5)), st.integers(0, 255)
)
def test_outside_change_ignores_the_inside(prediction, source, mask, level):
    other = prediction.copy()
    other[mask] = level
    assert outside_change(other, source, mask) == outside_change(prediction, source, mask)


def test_mean_does_not_depend_on_order():
    values = [1e16, 1.0, -1e16, 3.0]
    assert mean(values) == mean(values[::-1]) == 1.0
    assert mean([]) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_mean_refuses_what_is_not_finite(value):
    with pytest.raises(PredictionError, match="not finite"):
        mean([1.0, value])


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_wrong_arrays_are_refused_in_one_sentence(metric):
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(PredictionError, match=r"one shape. Got \(16, 15, 3\) against \(16, 16, 3\)"):
        metric(image[:, 1:], image)
    with pytest.raises(PredictionError, match=r"uint8 arrays of 3 axes\. Got float64"):
        metric(np.full(image.shape, np.nan), image)


def test_wrong_masks_are_refused():
    mask = np.zeros((4, 4), bool)
    with pytest.raises(PredictionError, match="one shape"):
        mask_overlap(mask[1:], mask)
    with pytest.raises(PredictionError, match="bool arrays"):
        mask_overlap(mask.astype(np.uint8), mask)
    with pytest.raises(PredictionError, match="11 pixels"):
        ssim(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))
