"""Membranes: the smoothest values over a region that agree with given values around it (Laplace's equation)."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SWEEPS = 6
_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4


def stretch_membrane(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill the pixels that are not known with a harmonic interpolation of those that are.

    Coarse to fine: each level starts from the coarser one and is relaxed by a few Jacobi sweeps (cascadic
    multigrid), so the cost is linear in the pixels. Close to the exact solution, not equal to it.

    Args:
        values: float32 (H, W, C); unknown pixels are ignored.
        known: bool (H, W), at least one True.

    Returns:
        float32 (H, W, C), equal to ``values`` where known.
    """
    height, width = known.shape
    if known.all() or max(height, width) == 1:
        return np.where(known[..., None], values, _mean(values, known))
    weight = known.astype(np.float32)[..., None]
    size = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight = _halve(weight, size)
    coarse = _halve(values * weight, size) / np.maximum(coarse_weight, 1e-6)
    coarse = stretch_membrane(coarse, coarse_weight[..., 0] > 0)
    grown = cv2.resize(coarse, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
    result = np.where(known[..., None], values, _with_channels(grown)[:height, :width])
    for _ in range(_SWEEPS):
        relaxed = cv2.filter2D(result, -1, _CROSS, borderType=cv2.BORDER_REPLICATE)
        result = np.where(known[..., None], values, _with_channels(relaxed))
    return result


def _halve(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    height, width = values.shape[:2]
    even = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return _with_channels(cv2.resize(even, size, interpolation=cv2.INTER_AREA))


def _with_channels(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """OpenCV drops a single channel's axis."""
    return values if values.ndim == 3 else values[..., None]


def _mean(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = values[known].mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean
