"""Pictures at their own resolution: cut into squares of the evaluated size, and put together again.

GoPro is evaluated at 1280 x 720 (paper section 4.4) with a network for 256 x 256. Tiles lie side by side from the top
left; the last one of a row or column is moved back to end with the picture. Where two overlap, the mean counts.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from catalog.views import View
from evaluation.metrics import Image


def tile_views(height: int, width: int, size: int) -> list[View]:
    """Windows of ``size`` pixels that cover a picture; a side shorter than that is filled up with black."""
    return [View(x, y, size, size, size) for y in _starts(height, size) for x in _starts(width, size)]


def _starts(side: int, size: int) -> Iterator[int]:
    yield from range(0, max(1, side - size + 1), size)
    if side > size and side % size:
        yield side - size


class TileCanvas:
    """One picture, filled tile by tile."""

    def __init__(self, height: int, width: int) -> None:
        self._sums: NDArray[np.float64] = np.zeros((height, width, 3))
        self._counts: NDArray[np.int64] = np.zeros((height, width, 1), np.int64)

    def put(self, view: View, tile: Image) -> None:
        """Add a tile; what reaches beyond the picture is dropped."""
        height, width = self._counts.shape[:2]
        rows, columns = min(view.size, height - view.y), min(view.size, width - view.x)
        inside = np.s_[view.y : view.y + rows, view.x : view.x + columns]
        self._sums[inside] += tile[:rows, :columns]
        self._counts[inside] += 1

    def picture(self) -> Image:
        """Uint8 (H, W, 3); every pixel must be covered."""
        assert self._counts.all(), "tiles cover the picture"
        return np.rint(self._sums / self._counts).astype(np.uint8)
