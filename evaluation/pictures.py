"""A sheet to judge by eye: a few cases as source, target and prediction under their instruction, two in a row."""

from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from catalog.images import encode_png, resize_image
from catalog.text_lines import wrap_text
from evaluation.cases import Case
from evaluation.metrics import Image

_SIDE = 256  # pixels of a picture
_GAP = 8
_TEXT = 40  # above the pictures, with one line of instruction
_LINE = 19  # of each further one
_COLUMNS = 2  # cases beside each other
_TITLES = ("source", "target", "prediction")
_WIDTH = len(_TITLES) * (_SIDE + _GAP) + _GAP
_BACKGROUND, _INK, _QUIET = (255, 255, 255), (20, 20, 20), (120, 120, 120)


def prediction_sheet(entries: Sequence[tuple[str, Case, Image]]) -> bytes:
    """PNG of (benchmark, case, prediction) entries. Instructions are whole, in as many lines as they need."""
    rows = []
    for place in range(0, max(1, len(entries)), _COLUMNS):
        shown = entries[place : place + _COLUMNS]
        texts = [wrap_text(case.sample.instruction, _WIDTH - 2 * _GAP, _font(15).getlength) for _, case, _ in shown]
        num_lines = max(map(len, texts), default=1)
        panels = [_panel(*entry, text, num_lines) for entry, text in zip(shown, texts, strict=True)]
        blank = np.full((_height(num_lines), _WIDTH, 3), _BACKGROUND, np.uint8)
        rows.append(np.concatenate([*panels, *[blank] * (_COLUMNS - len(panels))], axis=1))
    return encode_png(np.concatenate(rows))


def _height(num_lines: int) -> int:
    return _TEXT + (num_lines - 1) * _LINE + _SIDE + _GAP


def _panel(benchmark: str, case: Case, prediction: Image, lines: Sequence[str], num_lines: int) -> Image:
    """One case, with room for ``num_lines`` of instruction: what stands beside it may need more."""
    canvas = PillowImage.new("RGB", (_WIDTH, _height(num_lines)), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((_GAP, 4 + number * _LINE), line, fill=_INK, font=_font(15))
    top = (num_lines - 1) * _LINE
    for place, (title, image) in enumerate(
        zip(_TITLES, (case.sample.source, case.sample.target, prediction), strict=True)
    ):
        left = _GAP + place * (_SIDE + _GAP)
        label = f"{title}, {benchmark.split('/')[-2]}" if place == 0 else title  # the name before the split
        draw.text((left, top + 23), label, fill=_QUIET, font=_font(12))
        canvas.paste(PillowImage.fromarray(resize_image(image, _SIDE, _SIDE)), (left, top + _TEXT))
    return np.asarray(canvas, np.uint8)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
