"""Holes and how a filled hole goes back into its picture: outside it, not one pixel changes."""

import cv2
import numpy as np

_REFERENCE_SIDE = 512  # pixels of the shorter side that dilation and feather are given for


def feathered_alpha(mask: np.ndarray, dilation: float, feather: float) -> np.ndarray:
    """How much of the fill shows at each pixel.

    Args:
        mask: bool (H, W), the region.
        dilation: pixels at a shorter side of 512 by which the region grows; there alpha is 1.
        feather: pixels at a shorter side of 512 over which alpha then falls to 0.

    Returns:
        float32 (H, W) in [0, 1]. The hole to fill is where it is above 0.
    """
    scale = min(mask.shape) / _REFERENCE_SIDE
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ramp = 1 - (distance - dilation * scale) / (feather * scale + 1)
    alpha: np.ndarray = np.clip(ramp, 0, 1).astype(np.float32)
    return alpha


def composite(source: np.ndarray, fill: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend ``fill`` over ``source`` (uint8 (H, W, 3) each); where alpha is 0 the source stays as it is, exactly."""
    result = source.copy()
    shows = alpha > 0
    if not shows.any():
        return result
    rows, columns = (np.flatnonzero(shows.any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # most of a photo is not touched
    weight = alpha[box][..., None]
    blend = np.rint(weight * fill[box] + (1 - weight) * source[box]).astype(np.uint8)
    result[box] = np.where(weight > 0, blend, source[box])
    return result
