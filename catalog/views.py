"""Views: which part of a source image a sample shows, and how pixels and coordinates go there and back.

Source and target of a pair, its masks and its keypoints all pass through one view, so they stay aligned.
Coordinates follow pixel centres: a point on the centre of a source pixel lands where that pixel's centre lands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.errors import RowRejected
from catalog.images import resize_image, resize_mask
from catalog.reasons import Reason


@dataclass(frozen=True)
class View:
    """A window of a source image, shown as a square of ``size`` pixels.

    ``x, y, width, height`` are whole source pixels. The window may reach beyond the image: there it is black and
    outside every mask (official code: black). ``flipped`` mirrors left and right after resizing.
    """

    x: int
    y: int
    width: int
    height: int
    size: int
    flipped: bool = False

    def show_image(self, image: np.ndarray) -> np.ndarray:
        """uint8 HWC of the source's size -> uint8 size x size x 3."""
        shown = resize_image(self._cut(image), self.size, self.size)
        return np.ascontiguousarray(shown[:, ::-1]) if self.flipped else shown

    def show_mask(self, mask: np.ndarray) -> np.ndarray:
        """Bool HW of the source's size -> bool size x size, by the nearest pixel."""
        shown = resize_mask(self._cut(mask), self.size, self.size)
        return np.ascontiguousarray(shown[:, ::-1]) if self.flipped else shown

    def show_points(self, points: np.ndarray) -> np.ndarray:
        """(x, y) in source pixels -> (x, y) in shown pixels, float64 N x 2; may lie outside the view."""
        corner, scale = self._geometry()
        shown = (np.asarray(points, np.float64).reshape(-1, 2) + 0.5 - corner) * scale - 0.5
        return self._mirror(shown)

    def source_points(self, points: np.ndarray) -> np.ndarray:
        """(x, y) in shown pixels -> (x, y) in source pixels: the inverse of `show_points`; NaN stays NaN."""
        corner, scale = self._geometry()
        shown = self._mirror(np.asarray(points, np.float64).reshape(-1, 2))
        return np.asarray((shown + 0.5) / scale + corner - 0.5)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which shown points lie on the view's pixels: bool N."""
        return np.asarray(((points >= -0.5) & (points < self.size - 0.5)).all(axis=1))

    def _geometry(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([self.x, self.y]), self.size / np.array([self.width, self.height])

    def _mirror(self, points: np.ndarray) -> np.ndarray:
        return points * (-1, 1) + (self.size - 1, 0) if self.flipped else points

    def _cut(self, array: np.ndarray) -> np.ndarray:
        """The window's pixels; zero where it reaches beyond the array."""
        height, width = array.shape[:2]
        left, top = max(0, self.x), max(0, self.y)
        right, bottom = max(left, min(width, self.x + self.width)), max(top, min(height, self.y + self.height))
        inside = array[top:bottom, left:right]
        if inside.shape[:2] == (self.height, self.width):
            return inside
        window = np.zeros((self.height, self.width, *array.shape[2:]), array.dtype)
        window[top - self.y : bottom - self.y, left - self.x : right - self.x] = inside
        return window


def whole_view(height: int, width: int, size: int) -> View:
    """The whole image, its aspect ratio not kept (official code: editing pairs)."""
    return View(0, 0, width, height, size)


def square_view(
    height: int,
    width: int,
    size: int,
    rng: np.random.Generator,
    region: Sequence[float] | None = None,
) -> View:
    """A square as large as the short side, at a random place along the long side.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        size: of the view, pixels.
        rng: draws the place; always once, so that later draws do not depend on the image's shape.
        region: box [x, y, width, height] to keep in view: whole if it fits, else as much of it as possible. None:
            anywhere (official code, which may cut away what the instruction names).
    """
    side = min(height, width)
    axis = 0 if width >= height else 1
    low, high = 0, max(height, width) - side
    if region is not None:
        start, end = region[axis], region[axis] + region[axis + 2]
        first, last = sorted((int(np.floor(start)), int(np.ceil(end)) - side))
        low, high = min(max(low, first), high), max(min(high, last), low)
    offset = low + int(rng.random() * (high - low + 1))
    return View(*((offset, 0) if axis == 0 else (0, offset)), side, side, size)


def person_view(box: Sequence[float], height: int, width: int, size: int, scale: float, flipped: bool = False) -> View:
    """A square around a person's box, ``scale`` times its long side, which may reach beyond the image.

    Official code: box clipped to the image, aspect 1:1, scale 1.25.

    Raises:
        RowRejected: out_of_range for a box without a part in the image.
    """
    x, y, box_width, box_height = box
    left, right = max(0.0, x), min(float(width), x + box_width)
    top, bottom = max(0.0, y), min(float(height), y + box_height)
    if not (left < right and top < bottom):
        raise RowRejected(Reason.OUT_OF_RANGE, f"box {list(box)} has no part in an image of {width} x {height}")
    side = max(1, round(scale * max(right - left, bottom - top)))
    corner = round((left + right - side) / 2), round((top + bottom - side) / 2)
    return View(*corner, side, side, size)
