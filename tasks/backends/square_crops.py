"""The square around a region that a model of fixed input size sees, and the way back into the picture."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.backends.protocols import Image, Mask

_CONTEXT = 2.0
"""Side over the longer side of the region's box. Paint-by-Example's training boxes took 2 to 80 % of their crop."""
_MAX_ENLARGEMENT = 2.0  # beyond, a model would see blown-up pixels instead of the object's surroundings


@dataclass(frozen=True)
class SquareCrop:
    """A square of an image's pixels; what of it lies outside the image is mirrored at the border."""

    top: int
    left: int
    side: int

    def cut(self, values: NDArray[Any]) -> NDArray[Any]:
        """The square of a picture or mask (H, W, ...)."""
        rows, columns = (np.arange(start, start + self.side) for start in (self.top, self.left))
        cut: NDArray[Any] = values[_mirrored(rows, values.shape[0])][:, _mirrored(columns, values.shape[1])]
        return cut

    def paste(self, image: Image, mask: Mask, painted: Image) -> None:
        """Write the masked pixels of ``painted``, the square at any size, into ``image``; no other pixel."""
        patch = resize_picture(painted, self.side)
        rows, columns = np.nonzero(mask)
        image[rows, columns] = patch[rows - self.top, columns - self.left]


def square_around(mask: Mask, size: int) -> SquareCrop:
    """The square that a model of ``size`` pixels should see of the region.

    Twice as long as the longer side of the region's box, so that a small object keeps its detail; not below half
    of ``size``; inside the image, unless the region itself is longer than the image's shorter side.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    spans = [(int(axis[0]), int(axis[-1]) + 1) for axis in (rows, columns)]
    longer = max(end - start for start, end in spans)
    wanted = max(math.ceil(_CONTEXT * longer), math.ceil(size / _MAX_ENLARGEMENT))
    side = max(min(wanted, *mask.shape), longer)
    corners = []
    for (start, end), extent in zip(spans, mask.shape, strict=True):
        low, high = sorted((0, extent - side))
        corners.append(min(max((start + end - side) // 2, low), high))
    return SquareCrop(top=corners[0], left=corners[1], side=side)


def resize_picture(picture: Image, side: int) -> Image:
    """(H, W, 3) -> (side, side, 3), without aliasing; the aspect is not kept."""
    smaller = max(picture.shape[:2]) > side
    resized: Image = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return resized


def resize_mask(mask: Mask, side: int) -> Mask:
    """(H, W) -> (side, side), True wherever any of a pixel's sources is, so that thin regions stay."""
    smaller = max(mask.shape) > side
    shares = cv2.resize(
        mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    )
    covered: Mask = shares > 0
    return covered


def _mirrored(indices: NDArray[np.intp], extent: int) -> NDArray[np.intp]:
    """Indices outside [0, extent) folded back, the border pixel repeated."""
    folded = np.mod(indices, 2 * extent)
    inside: NDArray[np.intp] = np.minimum(folded, 2 * extent - 1 - folded)
    return inside
