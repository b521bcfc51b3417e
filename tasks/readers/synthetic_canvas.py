"""A small anti-aliased painter for rendered objects: polygons in object units on a four times larger canvas.

Object units: the origin is the middle of the object, y points down, and the object's height is 1.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

OVERSAMPLING = 4
"""Canvas pixels per picture pixel and side: 16 levels of coverage per pixel."""

_SUBPIXEL_BITS = 4
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)

Color = tuple[int, int, int]
"""RGB, 0 to 255."""

Points = NDArray[np.float64]
"""(N, 2) x and y in object units."""


def tone(color: Color, level: float) -> Color:
    """A darker (``level`` below 1) or paler (above 1, 2 is white) shade of a colour."""
    if level <= 1.0:
        mixed = [value * level for value in color]
    else:
        mixed = [value + (255 - value) * (level - 1.0) for value in color]
    return (round(mixed[0]), round(mixed[1]), round(mixed[2]))


def points(*coordinates: float) -> Points:
    """x1, y1, x2, y2, ... as an array."""
    return np.array(coordinates, dtype=np.float64).reshape(-1, 2)


def ellipse(x: float, y: float, width: float, height: float) -> Points:
    """Outline of an axis-parallel ellipse around (x, y)."""
    return np.stack([x + width / 2 * np.cos(_CIRCLE), y + height / 2 * np.sin(_CIRCLE)], axis=1)


def arc(x: float, y: float, width: float, height: float, start: float, end: float) -> Points:
    """Points on an ellipse from angle ``start`` to ``end`` in degrees, clockwise as seen, 0 to the right."""
    angles = np.radians(np.linspace(start, end, 25))
    return np.stack([x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)], axis=1)


class Canvas:
    """RGBA canvas for one object.

    Args:
        pixels: height of the object in picture pixels.
        reach: half side of the canvas in object units.
        angle: everything drawn is turned by it, degrees clockwise.
    """

    def __init__(self, pixels: int, reach: float, angle: float = 0.0) -> None:
        self.radius = int(np.ceil(reach * pixels)) + 1
        self._scale = float(pixels * OVERSAMPLING)
        side = 2 * self.radius * OVERSAMPLING
        self._image = np.zeros((side, side, 4), np.uint8)
        turn = np.radians(angle)
        self._turn = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def polygon(self, outline: Points | Sequence[Points], color: Color) -> None:
        """Fill an outline, or several by the even-odd rule."""
        outlines = [outline] if isinstance(outline, np.ndarray) else outline
        fixed = [self._to_fixed(each) for each in outlines]
        cv2.fillPoly(self._image, fixed, (*color, 255), cv2.LINE_8, _SUBPIXEL_BITS)

    def line(self, path: Points, width: float, color: Color) -> None:
        """A round-ended stroke along a path."""
        for start, end in pairwise(path):
            along = end - start
            across = np.array([-along[1], along[0]]) * (width / 2 / max(float(np.hypot(*along)), 1e-9))
            self.polygon(np.array([start + across, end + across, end - across, start - across]), color)
        for joint in path:
            self.disc(joint, (width, width), color)

    def disc(self, middle: Points, extent: tuple[float, float], color: Color) -> None:
        """Fill an ellipse of a given width and height around a point (2,)."""
        self.polygon(ellipse(float(middle[0]), float(middle[1]), *extent), color)

    def turned(self, path: Points) -> Points:
        """Where points come to lie after the canvas's turn, in object units."""
        return np.asarray(path @ self._turn)

    def _to_fixed(self, outline: Points) -> NDArray[np.int32]:
        canvas = self.turned(outline) * self._scale + self.radius * OVERSAMPLING - 0.5
        return np.rint(canvas * (1 << _SUBPIXEL_BITS)).astype(np.int32)

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(RGB times coverage, coverage) at picture resolution: uint8 (S, S, 3) and (S, S), S = 2 radius."""
        side = 2 * self.radius
        small = np.asarray(cv2.resize(self._image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        return small[:, :, :3], small[:, :, 3]
