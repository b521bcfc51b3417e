"""Pure metrics on masks, images and cosines. Keypoint precision is in `evaluation.keypoint_metrics`.

Conventions: images are uint8 ``HxWx3`` RGB, masks bool ``HxW``; shares and IoUs are in [0, 1]. A metric of
nothing (no sample, no pixel to compare) is None, never 0 and never NaN.
"""

import math
from collections.abc import Hashable, Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.errors import PredictionError

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PSNR_CAP = 100.0
"""dB. Equal images have no noise and an infinite ratio, which would swallow every mean: each image counts at
most this much, as in WDNet's script. One wrong level in one value of a 256x256 image is worth 101.1 dB."""

_LEVELS = 255.0
_WINDOW, _SIGMA = 11, 1.5  # SSIM: Wang et al. 2004, section III.C
_C1, _C2 = (0.01 * _LEVELS) ** 2, (0.03 * _LEVELS) ** 2


class Overlap(NamedTuple):
    """Pixels that a predicted and a true mask share, and pixels of either."""

    intersection: int
    union: int


def mask_overlap(prediction: Mask, truth: Mask) -> Overlap:
    """Intersection and union in pixels.

    Raises:
        PredictionError: other shapes or types.
    """
    _check_alike(prediction, truth, np.bool_, 2)
    return Overlap(int(np.count_nonzero(prediction & truth)), int(np.count_nonzero(prediction | truth)))


def cumulative_iou(overlaps: Iterable[Overlap]) -> float | None:
    """cIoU: sum of intersections over sum of unions (paper section 4.3; GRES, Liu et al. 2023).

    A no-target sample that is left empty adds nothing; one that is marked adds its marked area to the union;
    a target that is missed adds its own area. None where all unions are empty.
    """
    intersection = union = 0
    for overlap in overlaps:
        intersection += overlap.intersection
        union += overlap.union
    return intersection / union if union else None


def generalized_iou(overlaps: Iterable[Overlap]) -> float | None:
    """gIoU: mean IoU over samples, where a no-target sample counts 1 if left empty and 0 if not (GRES)."""
    return mean(overlap.intersection / overlap.union if overlap.union else 1.0 for overlap in overlaps)


def mean_iou(overlaps: Iterable[tuple[Hashable, Overlap]]) -> float | None:
    """mIoU: mean over classes of each class's cumulative IoU (paper section 4.3).

    Args:
        overlaps: (class, overlap) of each sample. Classes without a pixel in either mask are left out.
    """
    classes: dict[Hashable, list[Overlap]] = {}
    for label, overlap in overlaps:
        classes.setdefault(label, []).append(overlap)
    values = [cumulative_iou(of_class) for of_class in classes.values()]
    return mean(value for value in values if value is not None)


def psnr(prediction: Image, truth: Image) -> float:
    """Peak signal-to-noise ratio of 8-bit RGB images in dB: ``10 log10(255^2 / MSE)``, at most `PSNR_CAP`.

    The mean squared error is over all pixels and channels; nothing is cropped (paper section 4.4).

    Raises:
        PredictionError: other shapes or types.
    """
    _check_alike(prediction, truth, np.uint8, 3)
    error = float(np.mean(np.square(prediction.astype(np.float64) - truth.astype(np.float64))))
    return min(PSNR_CAP, 10.0 * math.log10(_LEVELS**2 / error)) if error else PSNR_CAP


def ssim(prediction: Image, truth: Image) -> float:
    """Structural similarity in [-1, 1]: Gaussian window of 11 pixels, sigma 1.5, mean of the three channels.

    Wang et al. 2004, equation 13; only windows that lie inside the image count.

    Raises:
        PredictionError: other shapes or types, or a side under 11 pixels.
    """
    _check_alike(prediction, truth, np.uint8, 3)
    if min(truth.shape[:2]) < _WINDOW:
        raise PredictionError(f"SSIM needs sides of at least {_WINDOW} pixels. Got {truth.shape[:2]}")
    x, y = prediction.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)) / (
        (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    )
    return float(similarity.mean())


class OutsideChange(NamedTuple):
    """What an edit did where it had no business."""

    mean_difference: float
    """Mean absolute difference over pixels and channels, levels of 255."""
    changed_share: float
    """Share of the pixels outside that differ at all."""


def outside_change(prediction: Image, source: Image, edit_mask: Mask) -> OutsideChange | None:
    """Change outside ``edit_mask``; None where the mask covers the whole image.

    Raises:
        PredictionError: other shapes or types.
    """
    _check_alike(prediction, source, np.uint8, 3)
    _check_alike(edit_mask, source[..., 0].astype(bool), np.bool_, 2)
    outside = ~edit_mask
    if not outside.any():
        return None
    difference = np.abs(prediction[outside].astype(np.int16) - source[outside].astype(np.int16))  # (pixels, 3)
    return OutsideChange(float(difference.mean()), float(difference.any(axis=1).mean()))


def inside_difference(prediction: Image, target: Image, edit_mask: Mask) -> float | None:
    """Mean absolute difference to the true edit inside ``edit_mask``, levels of 255; None where the mask is empty.

    Raises:
        PredictionError: other shapes or types.
    """
    _check_alike(prediction, target, np.uint8, 3)
    _check_alike(edit_mask, target[..., 0].astype(bool), np.bool_, 2)
    if not edit_mask.any():
        return None
    return float(np.abs(prediction[edit_mask].astype(np.int16) - target[edit_mask].astype(np.int16)).mean())


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean, exactly rounded and so independent of order; None of nothing.

    Raises:
        PredictionError: a value is NaN or infinite.
    """
    listed = [float(value) for value in values]
    if not all(map(math.isfinite, listed)):
        raise PredictionError("a metric got a value that is not finite: look for NaN in the predictions")
    return math.fsum(listed) / len(listed) if listed else None


def _blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred = cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA)
    border = _WINDOW // 2
    return np.asarray(blurred[border:-border, border:-border], np.float64)


def _check_alike(value: NDArray, reference: NDArray, dtype: type[np.generic], num_axes: int) -> None:
    for array in (value, reference):
        if array.dtype != dtype or array.ndim != num_axes:
            raise PredictionError(
                f"a metric compares {np.dtype(dtype).name} arrays of {num_axes} axes. "
                f"Got {array.dtype} of shape {array.shape}"
            )
    if value.shape != reference.shape:
        raise PredictionError(f"prediction and truth must have one shape. Got {value.shape} against {reference.shape}")
