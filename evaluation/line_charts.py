"""Line charts as PNG: values with their intervals over a number, and level lines to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from catalog.images import encode_png

_WIDTH, _HEIGHT = 900, 520  # pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 30, 60, 90
_INK, _QUIET, _GRID = (20, 20, 20), (110, 110, 110), (225, 228, 232)
_COLORS = ((31, 105, 179), (196, 84, 60), (60, 140, 70), (130, 90, 170))
_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    """(x, y), by x."""
    intervals: Sequence[tuple[float, float] | None] = ()
    """(low, high) of each point; empty: none."""
    is_dashed: bool = False
    """For values that are not ours."""


def draw_chart(title: str, x_label: str, y_label: str, lines: Sequence[Line], note: str = "") -> bytes:
    """PNG of a chart with at least one point."""
    canvas = PillowImage.new("RGB", (_WIDTH, _HEIGHT), (255, 255, 255))
    draw, font, small = ImageDraw.Draw(canvas), ImageFont.load_default(14), ImageFont.load_default(12)
    places = _Places(lines)
    draw.text((_LEFT, 14), title, _INK, ImageFont.load_default(18))
    for value in places.x_ticks():
        x = places.x(value)
        draw.line((x, _TOP, x, _HEIGHT - _BOTTOM), _GRID)
        text = f"{value:g}"
        draw.text((x - font.getlength(text) / 2, _HEIGHT - _BOTTOM + 6), text, _INK, font)
    for value in places.y_ticks():
        y = places.y(value)
        draw.line((_LEFT, y, _WIDTH - _RIGHT, y), _GRID)
        text = f"{value:.4g}"
        draw.text((_LEFT - 8 - font.getlength(text), y - 8), text, _INK, font)
    draw.text((_LEFT, _TOP - 20), y_label, _QUIET, font)
    draw.text((_WIDTH - _RIGHT - font.getlength(x_label), _HEIGHT - _BOTTOM + 26), x_label, _QUIET, font)
    left = _LEFT
    for number, line in enumerate(lines):
        color = _COLORS[number % len(_COLORS)]
        _draw_line(draw, places, line, color)
        draw.line((left, _HEIGHT - 46, left + 24, _HEIGHT - 46), color, 3)
        draw.text((left + 30, _HEIGHT - 54), line.name, _INK, font)
        left += 50 + int(font.getlength(line.name))
    draw.text((_LEFT, _HEIGHT - 26), note, _QUIET, small)
    return encode_png(np.asarray(canvas, np.uint8))


def _draw_line(draw: ImageDraw.ImageDraw, places: "_Places", line: Line, color: tuple[int, int, int]) -> None:
    spots = [(places.x(x), places.y(y)) for x, y in line.points]
    for start, end in pairwise(spots):
        if line.is_dashed:
            for step in range(0, 20, 2):
                share = [start[i] + (end[i] - start[i]) * (step + part) / 20 for part in (0, 1) for i in (0, 1)]
                draw.line(share, color, 2)
        else:
            draw.line((*start, *end), color, 2)
    for (x, y), interval in zip(spots, line.intervals or [None] * len(spots), strict=True):
        if interval is not None:
            draw.line((x, places.y(interval[0]), x, places.y(interval[1])), color, 1)
            for value in interval:
                draw.line((x - 4, places.y(value), x + 4, places.y(value)), color, 1)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(255, 255, 255) if line.is_dashed else color, outline=color)


class _Places:
    """Where values are on the chart."""

    def __init__(self, lines: Sequence[Line]) -> None:
        xs = [x for line in lines for x, _ in line.points]
        ys = [y for line in lines for _, y in line.points]
        ys += [value for line in lines for interval in line.intervals if interval is not None for value in interval]
        self._x = _range(xs)
        self._y = _range(ys)

    def x(self, value: float) -> float:
        """Pixels from the left."""
        low, high = self._x
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self._y
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def x_ticks(self) -> list[float]:
        """Round numbers along x."""
        return _round_numbers(*self._x)

    def y_ticks(self) -> list[float]:
        """Round numbers along y."""
        return _round_numbers(*self._y)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From below the smallest to above the largest; never empty."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or max(0.5, 0.05 * abs(high))
    return low - margin, high + margin


def _round_numbers(low: float, high: float) -> list[float]:
    rough = (high - low) / _TICKS
    unit = 10 ** np.floor(np.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = int(np.ceil(low / step))
    return [float(np.round(step * place, 12)) for place in range(first, int(np.floor(high / step)) + 1)]
