"""Heatmaps of joints: drawn for training, and their peaks found to a fraction of a pixel."""

import numpy as np
from numpy.typing import NDArray

MIN_PEAK = 0.1
"""A heatmap that nowhere reaches this has no joint: a disc of which 55 % has the colour reaches it untrained."""


def draw_heatmap(point: tuple[float, float] | None, height: int, width: int, sigma: float) -> NDArray[np.float32]:
    """Float32 (H, W): a Gaussian of height 1 at (x, y) in pixels; zeros for a joint that is not there."""
    if point is None:
        return np.zeros((height, width), np.float32)
    rows, columns = np.ogrid[:height, :width]
    squares = np.square(columns - point[0]) + np.square(rows - point[1])
    return np.exp(-squares / (2 * sigma**2)).astype(np.float32)


def find_peak(heatmap: NDArray[np.float32], sigma: float) -> tuple[tuple[float, float] | None, float]:
    """Place of the highest peak, (x, y) in pixels, and its height; None under `MIN_PEAK`.

    A Gaussian's logarithm is a paraboloid: one is fitted to the pixels above half of the peak, weighted by their
    squares, and its top taken. So the place of a drawn heatmap is exact, also where the border cuts it. A flat or
    hollow top, which has no such place within two sigma, stands for its highest pixel.
    """
    height = float(heatmap.max(initial=0.0))
    if height < MIN_PEAK:
        return None, height
    row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    reach = max(2, round(1.5 * sigma))
    top, left = max(0, int(row) - reach), max(0, int(column) - reach)
    window = heatmap[top : row + reach + 1, left : column + reach + 1].astype(np.float64)
    used = window > 0.5 * height
    y, x = np.nonzero(used)[0] - (row - top), np.nonzero(used)[1] - (column - left)
    weights = window[used]
    terms = np.stack([np.ones_like(weights), x, y, x**2 + y**2], axis=1)
    fit = np.linalg.lstsq(terms * weights[:, None], np.log(weights) * weights, rcond=None)[0]
    step = -fit[1:3] / (2 * fit[3]) if fit[3] < 0 else np.zeros(2)
    if np.abs(step).max() > 2 * sigma:
        step = np.zeros(2)
    return (float(column + step[0]), float(row + step[1])), height
