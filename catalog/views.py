"""Views: which part of a source image a sample shows, and how pixels and coordinates go there and back.

Source and target of a pair, its masks and its keypoints all pass through one view, so they stay aligned.
Coordinates follow pixel centres: a point on the centre of a source pixel lands where that pixel's centre lands.
"""

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from catalog.images import EncodedImage, resize_box, resize_image, resize_mask
from catalog.jpeg import REDUCTIONS


@dataclass(frozen=True)
class View:
    """A window of a source image, shown as a square of ``size`` pixels.

    ``x, y, width, height`` are whole source pixels. The window may reach beyond the image: there it is black and
    outside every mask (official code: black). ``angle`` turns a square window about its centre, in degrees
    (clockwise as seen: the picture turns the other way). ``flipped`` mirrors left and right at the end.
    """

    x: int
    y: int
    width: int
    height: int
    size: int
    flipped: bool = False
    angle: float = 0.0

    def show_image(self, image: np.ndarray) -> np.ndarray:
        """uint8 HWC of the source's size -> uint8 size x size x 3."""
        if self.angle:
            shown = self._turn(image)
        else:
            shown = resize_image(self._cut(image), self.size, self.size)
        return np.ascontiguousarray(shown[:, ::-1]) if self.flipped else shown

    def show_encoded(self, image: EncodedImage, reduction: int = 1) -> np.ndarray:
        """An image that is yet to be decoded -> uint8 size x size x 3; reduced, it is decoded for less work.

        Args:
            image: the source, its size in whole pixels.
            reduction: 1 for the same pixels as `show_image`; else at most `reduction`.
        """
        pixels = image.decode(reduction)
        if reduction == 1:
            return self.show_image(pixels)
        height, width = pixels.shape[:2]
        left, top = self.x / reduction, self.y / reduction
        right, bottom = left + self.width / reduction, top + self.height / reduction
        if left < 0 or top < 0 or right > width or bottom > height:  # black beyond the image, as in `_cut`
            before, after = (max(0, ceil(-top)), max(0, ceil(-left))), (ceil(bottom - height), ceil(right - width))
            pixels = np.pad(pixels, ((before[0], max(0, after[0])), (before[1], max(0, after[1])), (0, 0)))
            left, top, right, bottom = left + before[1], top + before[0], right + before[1], bottom + before[0]
        shown = resize_box(pixels, (left, top, right, bottom), self.size)
        return np.ascontiguousarray(shown[:, ::-1]) if self.flipped else shown

    def reduction(self) -> int:
        """The largest of `jpeg.REDUCTIONS` that leaves the window at least as large as it is shown; turned ones: 1."""
        side = 0 if self.angle else min(self.width, self.height)
        for divisor in REDUCTIONS:
            if side >= divisor * self.size:
                return divisor
        return 1

    def show_mask(self, mask: np.ndarray) -> np.ndarray:
        """Bool HW of the source's size -> bool size x size, by the nearest pixel."""
        if self.angle:
            return self._pick(mask)
        shown = resize_mask(self._cut(mask), self.size, self.size)
        return np.ascontiguousarray(shown[:, ::-1]) if self.flipped else shown

    def show_points(self, points: np.ndarray) -> np.ndarray:
        """(x, y) in source pixels -> (x, y) in shown pixels, float64 N x 2; may lie outside the view."""
        points = np.asarray(points, np.float64).reshape(-1, 2)
        if self.angle:
            center, factor, turn = self._turned_geometry()
            return self._mirror((points + 0.5 - center) * factor @ turn.T + self.size / 2 - 0.5)
        corner, scale = self._geometry()
        return self._mirror((points + 0.5 - corner) * scale - 0.5)

    def source_points(self, points: np.ndarray) -> np.ndarray:
        """(x, y) in shown pixels -> (x, y) in source pixels: the inverse of `show_points`; NaN stays NaN."""
        shown = self._mirror(np.asarray(points, np.float64).reshape(-1, 2))
        if self.angle:
            center, factor, turn = self._turned_geometry()
            return np.asarray((shown + 0.5 - self.size / 2) @ turn / factor + center - 0.5)
        corner, scale = self._geometry()
        return np.asarray((shown + 0.5) / scale + corner - 0.5)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which shown points lie on the view's pixels: bool N."""
        return np.asarray(((points >= -0.5) & (points < self.size - 0.5)).all(axis=1))

    def _geometry(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([self.x, self.y]), self.size / np.array([self.width, self.height])

    def _turned_geometry(self) -> tuple[np.ndarray, float, np.ndarray]:
        """Centre in source pixels, shown pixels per source pixel, and the turn as a 2 x 2 matrix."""
        outer, shown = self._outer()
        center = np.array([self.x + self.width / 2, self.y + self.height / 2])
        sine, cosine = np.sin(np.deg2rad(self.angle)), np.cos(np.deg2rad(self.angle))
        return center, shown / outer, np.array([[cosine, sine], [-sine, cosine]])

    def _outer(self) -> tuple[int, int]:
        """Side of the upright square that holds the turned one, about the same centre; and its side when shown."""
        assert self.width == self.height, "only squares are turned"
        radians = np.deg2rad(self.angle)
        outer = int(np.ceil(self.width * (abs(np.sin(radians)) + abs(np.cos(radians))))) + 2
        outer += (outer - self.width) % 2
        return outer, max(1, round(self.size * outer / self.width))

    def _turn(self, image: np.ndarray) -> np.ndarray:
        """Resized upright (that is antialiased), then turned by linear interpolation (official code: linear)."""
        outer, shown = self._outer()
        margin = (outer - self.width) // 2
        upright = View(self.x - margin, self.y - margin, outer, outer, shown).show_image(image)
        *_, turn = self._turned_geometry()
        offset = (self.size - 1) / 2 - turn @ np.full(2, (shown - 1) / 2)
        matrix = np.column_stack([turn, offset])
        return np.asarray(cv2.warpAffine(upright, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR))

    def _pick(self, mask: np.ndarray) -> np.ndarray:
        """The mask's value at each shown pixel; False outside."""
        rows, columns = np.indices((self.size, self.size))
        shown = np.stack([columns.ravel(), rows.ravel()], axis=1)
        x, y = np.rint(self.source_points(shown)).astype(np.int64).T
        inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
        picked = np.zeros(self.size**2, np.bool_)
        picked[inside] = mask[y[inside], x[inside]]
        return picked.reshape(self.size, self.size)

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
    region: np.ndarray | None = None,
) -> View:
    """A square as large as the short side, at a random place along the long side.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        size: of the view, pixels.
        rng: draws the place; always once, so that later draws do not depend on the image's shape.
        region: bool height x width, with a pixel, to keep in view: whole if its box fits, else at least half of what
            the best place would show of it. None: anywhere (official code, which may cut away what is named).
    """
    side = min(height, width)
    axis = 0 if width >= height else 1
    low, high = 0, max(height, width) - side
    places = np.arange(low, high + 1) if region is None else _showing_places(region, axis, side, high)
    offset = int(places[int(rng.random() * len(places))])
    return View(*((offset, 0) if axis == 0 else (0, offset)), side, side, size)


def _showing_places(region: np.ndarray, axis: int, side: int, high: int) -> np.ndarray:
    """Offsets from 0 to ``high`` of a square along an axis (0: x, 1: y) that keep a region in view."""
    counts = region.sum(axis=axis)
    lines = np.flatnonzero(counts)
    first, last = sorted((int(lines[0]), int(lines[-1]) + 1 - side))
    places = np.arange(min(max(0, first), high), min(high, last) + 1)
    if lines[-1] + 1 - lines[0] <= side:
        return places
    sums = np.concatenate([[0], np.cumsum(counts)])
    shown = sums[places + side] - sums[places]
    kept: np.ndarray = places[2 * shown >= shown.max()]
    return kept


def pixel_view(height: int, width: int, size: int, rng: np.random.Generator) -> View:
    """``size`` x ``size`` pixels as they are, at a random place; an image with a shorter side gives a smaller square.

    Shrinking would average noise away: what there is to learn of denoising (official code: SIDD is not resized).
    """
    side = min(size, height, width)
    across, down = rng.random(2)
    return View(int(across * (width - side + 1)), int(down * (height - side + 1)), side, side, size)
