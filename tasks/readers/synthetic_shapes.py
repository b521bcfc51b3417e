"""The things that rendered scenes are made of: how each is drawn, in one colour."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tasks.readers.synthetic_canvas import Canvas, Color, Points, arc, ellipse, points, tone

COLORS: dict[str, Color] = {
    "red": (208, 32, 38),
    "orange": (244, 132, 24),
    "yellow": (250, 214, 48),
    "green": (38, 156, 66),
    "blue": (38, 92, 214),
    "purple": (132, 56, 176),
    "pink": (246, 128, 182),
    "white": (242, 242, 244),
}

_INK: Color = (44, 40, 46)
_IVORY: Color = (246, 240, 224)
_WOOD: Color = (150, 98, 54)


@dataclass(frozen=True)
class Shape:
    """One kind of thing."""

    draw: Callable[[Canvas, Color], None]
    aspect: float = 1.0
    """Width over height."""
    roundness: float = 0.12
    """How far the shading reaches in from the edge, in heights: a ball's is large, a sheet's small."""
    tilt: float = 0.0
    """Largest turn either way, degrees."""


def _ball(canvas: Canvas, color: Color) -> None:
    canvas.polygon(ellipse(0, 0, 1, 1), color)
    canvas.polygon(ellipse(-0.17, -0.23, 0.2, 0.13), tone(color, 1.65))


def _box(canvas: Canvas, color: Color) -> None:
    canvas.polygon(points(0, -0.5, 0.48, -0.27, 0, -0.04, -0.48, -0.27), tone(color, 1.35))
    canvas.polygon(points(-0.48, -0.27, 0, -0.04, 0, 0.5, -0.48, 0.25), color)
    canvas.polygon(points(0.48, -0.27, 0, -0.04, 0, 0.5, 0.48, 0.25), tone(color, 0.68))


def _cone(canvas: Canvas, color: Color) -> None:
    canvas.polygon(np.concatenate([points(0, -0.5), arc(0, 0.36, 0.84, 0.26, 0, 180)]), color)
    side = np.concatenate([points(0, -0.5), arc(0, 0.36, 0.84, 0.26, 0, 75)])
    canvas.polygon(side, tone(color, 0.76))
    canvas.polygon(points(0, -0.5, -0.28, 0.43, -0.19, 0.46), tone(color, 1.4))


def _star(canvas: Canvas, color: Color) -> None:
    angles = np.radians(np.arange(10) * 36.0 - 90.0)
    radii = np.where(np.arange(10) % 2 == 0, 0.53, 0.22)
    tips = np.stack([radii * np.cos(angles), radii * np.sin(angles) + 0.03], axis=1)
    canvas.polygon(tips, color)
    for tip in range(0, 10, 2):
        canvas.polygon(np.array([tips[tip], tips[(tip + 1) % 10], [0.0, 0.03]]), tone(color, 0.8))


def _heart(canvas: Canvas, color: Color) -> None:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    canvas.polygon(np.stack([x / 29.5, (y - 2.5) / 29.5], axis=1), color)
    canvas.polygon(ellipse(-0.27, -0.24, 0.16, 0.12), tone(color, 1.6))


def _cup(canvas: Canvas, color: Color) -> None:
    canvas.line(arc(0.34, 0.02, 0.34, 0.46, -80, 80), 0.09, tone(color, 0.8))
    body = np.concatenate([points(-0.42, -0.36), arc(-0.03, 0.38, 0.56, 0.2, 180, 0), points(0.36, -0.36)])
    canvas.polygon(body, color)
    canvas.polygon(ellipse(-0.03, -0.36, 0.78, 0.26), tone(color, 1.35))
    canvas.polygon(ellipse(-0.03, -0.35, 0.66, 0.18), tone(_WOOD, 0.55))


def _kite(canvas: Canvas, color: Color) -> None:
    tail = np.stack([0.05 * np.sin(np.linspace(0, 9, 20)), np.linspace(0.1, 0.48, 20)], axis=1)
    canvas.line(tail, 0.018, _INK)
    for y in (0.3, 0.43):
        canvas.polygon(points(-0.09, y - 0.04, 0.09, y + 0.04, 0.09, y - 0.04, -0.09, y + 0.04), tone(color, 0.8))
    top, left, right, bottom = (0.0, -0.5), (-0.33, -0.22), (0.33, -0.22), (0.0, 0.2)
    for corner, level in ((left, 1.3), (right, 1.0)):
        canvas.polygon(np.array([top, corner, (0.0, -0.22)]), tone(color, level))
        canvas.polygon(np.array([bottom, corner, (0.0, -0.22)]), tone(color, level - 0.25))
    canvas.line(points(0, -0.48, 0, 0.18), 0.016, _INK)
    canvas.line(points(-0.31, -0.22, 0.31, -0.22), 0.016, _INK)


def _ring(canvas: Canvas, color: Color) -> None:
    canvas.polygon([ellipse(0, 0, 1, 1), ellipse(0, 0, 0.5, 0.5)], color)


def _fish(canvas: Canvas, color: Color) -> None:
    canvas.polygon(points(0.3, 0.0, 0.74, -0.36, 0.66, 0.0, 0.74, 0.36), tone(color, 0.8))
    canvas.polygon(points(-0.2, -0.25, 0.1, -0.5, 0.3, -0.2), tone(color, 0.8))
    canvas.polygon(points(-0.1, 0.25, 0.12, 0.48, 0.24, 0.2), tone(color, 0.8))
    canvas.polygon(ellipse(-0.12, 0, 1.2, 0.68), color)
    canvas.polygon(points(-0.05, 0.0, 0.14, -0.13, 0.14, 0.13), tone(color, 0.72))
    canvas.polygon(ellipse(-0.45, -0.08, 0.17, 0.17), (250, 250, 250))
    canvas.polygon(ellipse(-0.47, -0.08, 0.09, 0.09), _INK)


def _hat(canvas: Canvas, color: Color) -> None:
    canvas.polygon(ellipse(0, 0.34, 1.3, 0.3), tone(color, 0.82))
    crown = np.concatenate([arc(0, 0.3, 0.66, 0.2, 0, 180), arc(0, -0.38, 0.78, 0.22, 180, 360)])
    canvas.polygon(crown, color)
    band = np.concatenate([arc(0, 0.3, 0.66, 0.2, 0, 180), arc(0, 0.13, 0.68, 0.2, 180, 0)])
    canvas.polygon(band, _INK)
    canvas.polygon(ellipse(0, -0.38, 0.78, 0.22), tone(color, 1.3))


def _bottle(canvas: Canvas, color: Color) -> None:
    shoulder = points(-0.09, -0.26, 0.09, -0.26, 0.2, -0.02)
    body = np.concatenate([shoulder, arc(0, 0.44, 0.4, 0.12, 0, 180), points(-0.2, -0.02)])
    canvas.polygon(points(-0.075, -0.42, 0.075, -0.42, 0.09, -0.2, -0.09, -0.2), tone(color, 0.85))
    canvas.polygon(body, color)
    canvas.polygon(points(-0.09, -0.5, 0.09, -0.5, 0.09, -0.4, -0.09, -0.4), _INK)
    canvas.polygon(points(-0.2, 0.1, 0.2, 0.1, 0.2, 0.33, -0.2, 0.33), _IVORY)
    canvas.polygon(ellipse(0, 0.215, 0.15, 0.15), color)


def _mushroom(canvas: Canvas, color: Color) -> None:
    stem = np.concatenate([points(-0.12, 0.02, 0.12, 0.02), arc(0, 0.4, 0.36, 0.2, 0, 180)])
    canvas.polygon(stem, _IVORY)
    cap = np.concatenate([arc(0, 0.06, 1.04, 1.12, 180, 360), arc(0, 0.06, 1.04, 0.22, 0, 180)])
    canvas.polygon(cap, color)
    spot = _INK if color == COLORS["white"] else (250, 250, 246)
    for x, y, size in ((-0.27, -0.12, 0.17), (0.02, -0.3, 0.2), (0.28, -0.1, 0.15), (0.03, 0.0, 0.13)):
        canvas.polygon(ellipse(x, y, size, size * 0.85), spot)


def _umbrella(canvas: Canvas, color: Color) -> None:
    canvas.line(points(0, -0.46, 0, 0.38), 0.035, _INK)
    canvas.line(arc(0.08, 0.38, 0.16, 0.18, 180, 0), 0.04, _WOOD)
    edges = np.linspace(-0.62, 0.62, 6)
    top = arc(0, 0.02, 1.24, 0.92, 180, 360)
    scallops: list[Points] = [
        arc((left + right) / 2, 0.02, right - left, 0.14, 0, -180) for left, right in pairwise(edges)
    ][::-1]
    canvas.polygon(np.concatenate([top, *scallops]), color)
    for index in (1, 3):
        rib = np.concatenate([points(0, -0.44), scallops[4 - index]])
        canvas.polygon(rib, tone(color, 0.76))


def _flower(canvas: Canvas, color: Color) -> None:
    canvas.line(points(0, -0.1, 0.02, 0.2, -0.02, 0.48), 0.05, (58, 138, 62))
    canvas.polygon(points(0.0, 0.34, 0.12, 0.17, 0.27, 0.15, 0.17, 0.3), (70, 156, 72))
    for index in range(6):
        angle = np.radians(index * 60.0)
        x, y = 0.19 * np.cos(angle), -0.2 + 0.19 * np.sin(angle)
        canvas.polygon(ellipse(x, y, 0.24, 0.24), tone(color, 1.0 if index % 2 else 0.86))
    canvas.polygon(ellipse(0, -0.2, 0.2, 0.2), (240, 190, 40) if color != COLORS["yellow"] else _WOOD)


SHAPES: dict[str, Shape] = {
    "ball": Shape(_ball, roundness=0.3),
    "box": Shape(_box, aspect=0.96, roundness=0.03),
    "cone": Shape(_cone, aspect=0.84, roundness=0.14),
    "star": Shape(_star, aspect=1.02, roundness=0.05, tilt=18),
    "heart": Shape(_heart, aspect=1.09, roundness=0.2, tilt=12),
    "cup": Shape(_cup, aspect=0.95, roundness=0.1),
    "kite": Shape(_kite, aspect=0.68, roundness=0.03, tilt=28),
    "ring": Shape(_ring, roundness=0.1),
    "fish": Shape(_fish, aspect=1.48, roundness=0.18, tilt=14),
    "hat": Shape(_hat, aspect=1.3, roundness=0.08, tilt=8),
    "bottle": Shape(_bottle, aspect=0.42, roundness=0.1, tilt=6),
    "mushroom": Shape(_mushroom, aspect=1.04, roundness=0.16, tilt=6),
    "umbrella": Shape(_umbrella, aspect=1.26, roundness=0.06, tilt=14),
    "flower": Shape(_flower, aspect=0.64, roundness=0.05, tilt=10),
}
