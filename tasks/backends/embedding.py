"""Embedded embedder: where in the image which colours and edges are."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.backends.protocols import Image, library_revision

_SIDE = 96  # pixels; every image is seen at this size
_GRID = 3  # cells per side
_NUM_HUES = 8
_NUM_GREYS = 4
_NUM_DIRECTIONS = 8
_VIVID = 64.0  # difference of the largest and smallest channel from which a pixel has a hue and no grey


class HistogramEmbedder:
    """Histograms of hue, grey level and edge direction over a 3 x 3 grid: 180 numbers, compared by cosine.

    Counts are replaced by their square roots, so that the inner product is Bhattacharyya's coefficient, in [0, 1].
    """

    name = "histogram"
    device = "cpu"

    def __init__(self) -> None:
        self.revision = library_revision(1, opencv=cv2.__version__, numpy=np.__version__)

    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """See `protocols.Embedder`; D is 180."""
        rows = [_describe(image) for image in images]
        size = _GRID * _GRID * (_NUM_HUES + _NUM_GREYS + _NUM_DIRECTIONS)
        return np.stack(rows) if rows else np.empty((0, size), np.float32)


def _describe(image: Image) -> NDArray[np.float32]:
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    colour = np.concatenate([_grid_histogram(*part) for part in _colours(small)], axis=1)
    edges = _grid_histogram(*_edges(small))
    parts = [np.sqrt(part / np.maximum(part.sum(), 1e-12)).ravel() for part in (colour, edges)]
    vector = np.concatenate(parts)
    unit: NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


_Binned = tuple[NDArray[np.float64], NDArray[np.float64], int, bool]
"""(position in bins, weight, number of bins, whether the last bin is next to the first), per pixel."""


def _colours(image: NDArray[np.float32]) -> list[_Binned]:
    """Hues weighted by vividness, grey levels by its absence."""
    high, low = image.max(axis=2), image.min(axis=2)
    vivid = np.clip((high - low) / _VIVID, 0, 1).astype(np.float64)
    hue = cv2.cvtColor(image / 255, cv2.COLOR_RGB2HSV)[..., 0].astype(np.float64) / 360 * _NUM_HUES
    grey = image.mean(axis=2, dtype=np.float64) / 255 * (_NUM_GREYS - 1)
    return [(hue, vivid, _NUM_HUES, True), (grey, 1 - vivid, _NUM_GREYS, False)]


def _edges(image: NDArray[np.float32]) -> _Binned:
    """Directions of luminance gradients, opposite ones alike, weighted by their length."""
    luminance = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    right, down = (cv2.Sobel(luminance, cv2.CV_64F, *order) for order in ((1, 0), (0, 1)))
    direction = np.mod(np.arctan2(down, right), np.pi) / np.pi * _NUM_DIRECTIONS
    return direction, np.hypot(right, down), _NUM_DIRECTIONS, True


def _grid_histogram(
    position: NDArray[np.float64], weight: NDArray[np.float64], num_bins: int, circular: bool
) -> NDArray[np.float64]:
    """(cells, bins): each pixel shared between the two nearest bins of its cell."""
    cell = np.arange(_SIDE) * _GRID // _SIDE
    cells = cell[:, None] * _GRID + cell
    low = np.floor(position).astype(np.intp)
    histogram = np.zeros(_GRID * _GRID * num_bins)
    for bins, share in ((low, 1 - (position - low)), (low + 1, position - low)):
        bins = bins % num_bins if circular else np.minimum(bins, num_bins - 1)
        index = cells * num_bins + bins
        histogram += np.bincount(index.ravel(), (weight * share).ravel(), minlength=len(histogram))
    return histogram.reshape(_GRID * _GRID, num_bins)
