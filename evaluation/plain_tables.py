"""Tables of texts for reports: Markdown, and a picture of the same."""

from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from catalog.images import encode_png

_FONT, _PAD, _LINE, _MARGIN = 15, 12, 26, 20  # pixels
_INK, _QUIET, _RULE, _STRIPE = (20, 20, 20), (110, 110, 110), (60, 60, 60), (244, 246, 248)

Rows = Sequence[Sequence[str]]
"""Cells; the first row holds the columns' names."""


def markdown_table(rows: Rows) -> str:
    """The table in Markdown; the first column is left-aligned, the others right. Cells are no Markdown of their own."""
    marks = ["---", *["---:"] * (len(rows[0]) - 1)]
    lines = [[_escaped(cell) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (lines[0], marks, *lines[1:]))


def table_picture(rows: Rows, title: str, notes: Sequence[str] = ()) -> bytes:
    """The table as PNG under its title, notes under it."""
    font, small, large = (ImageFont.load_default(size) for size in (_FONT, _FONT - 3, _FONT + 3))
    widths = [int(max(font.getlength(row[place]) for row in rows)) + 2 * _PAD for place in range(len(rows[0]))]
    texts = [int(small.getlength(note)) for note in notes] + [int(large.getlength(title))]
    width = max(sum(widths), *texts) + 2 * _MARGIN
    height = 2 * _MARGIN + _LINE * (len(rows) + 2) + 18 * len(notes)
    canvas = PillowImage.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN), title, _INK, large)
    top = _MARGIN + _LINE + 8
    for number, row in enumerate(rows):
        if number and number % 2 == 0:
            draw.rectangle((_MARGIN, top, _MARGIN + sum(widths), top + _LINE - 1), _STRIPE)
        left = _MARGIN
        for place, (cell, room) in enumerate(zip(row, widths, strict=True)):
            x = left + (_PAD if place == 0 else room - _PAD - font.getlength(cell))
            draw.text((x, top + 5), cell, _INK if number else _QUIET, font)
            left += room
        top += _LINE
        if not number:
            draw.line((_MARGIN, top - 1, _MARGIN + sum(widths), top - 1), _RULE)
    for number, note in enumerate(notes):
        draw.text((_MARGIN, top + 8 + 18 * number), note, _QUIET, small)
    return encode_png(np.asarray(canvas, np.uint8))


def _escaped(cell: str) -> str:
    """Labels and instructions come from datasets."""
    line = " ".join(cell.split())
    for mark in "\\|`<>[]*_":
        line = line.replace(mark, f"\\{mark}")
    return line
