"""A sheet to judge by eye: a few cases as source, target and prediction under their instruction, two in a row."""

from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from catalog.images import encode_png, resize_image
from evaluation.cases import Case
from evaluation.metrics import Image

_SIDE = 256  # pixels of a picture
_GAP = 8
_TEXT = 40
_COLUMNS = 2  # cases beside each other
_TITLES = ("source", "target", "prediction")
_WIDTH = len(_TITLES) * (_SIDE + _GAP) + _GAP
_BACKGROUND, _INK, _QUIET = (255, 255, 255), (20, 20, 20), (120, 120, 120)


def prediction_sheet(entries: Sequence[tuple[str, Case, Image]]) -> bytes:
    """PNG of (benchmark, case, prediction) entries."""
    panels = [_panel(*entry) for entry in entries]
    blank = np.full((_TEXT + _SIDE + _GAP, _WIDTH, 3), _BACKGROUND, np.uint8)
    panels += [blank] * (-len(panels) % _COLUMNS or _COLUMNS * (not panels))
    rows = [np.concatenate(panels[place : place + _COLUMNS], axis=1) for place in range(0, len(panels), _COLUMNS)]
    return encode_png(np.concatenate(rows))


def _panel(benchmark: str, case: Case, prediction: Image) -> Image:
    canvas = PillowImage.new("RGB", (_WIDTH, _TEXT + _SIDE + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((_GAP, 4), _fit(case.sample.instruction, draw, _font(15)), fill=_INK, font=_font(15))
    for place, (title, image) in enumerate(
        zip(_TITLES, (case.sample.source, case.sample.target, prediction), strict=True)
    ):
        left = _GAP + place * (_SIDE + _GAP)
        label = f"{title}, {benchmark.split('/')[-2]}" if place == 0 else title  # the name before the split
        draw.text((left, 23), label, fill=_QUIET, font=_font(12))
        canvas.paste(PillowImage.fromarray(resize_image(image, _SIDE, _SIDE)), (left, _TEXT))
    return np.asarray(canvas, np.uint8)


def _fit(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """``text``, cut to the sheet's width."""
    line = " ".join(text.split())
    if draw.textlength(line, font=font) <= _WIDTH - 2 * _GAP:
        return line
    while line and draw.textlength(line + "...", font=font) > _WIDTH - 2 * _GAP:
        line = line[:-1]
    return line + "..."


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
