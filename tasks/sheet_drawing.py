"""Pictures for human eyes: blocks of a few pictures beside each other, each with a caption and two lines of text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 200  # pixels, longer side of a picture
_TEXT = 62  # pixels of text under the pictures: a caption and two lines
_GAP = 8
_COLUMNS = 2  # blocks beside each other

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Block:
    """What stands together."""

    pictures: Sequence[np.ndarray]
    """uint8 (H, W, 3), of any size; each is fitted into a cell."""
    caption: str
    """One grey line."""
    text: str


def draw_sheet(blocks: Iterable[Block], count: int, cells: int, cell: int = CELL) -> bytes:
    """A PNG file of ``count`` blocks, two beside each other.

    Args:
        blocks: drawn one after the other, so that only one of them need be in memory.
        count: how many there are at most.
        cells: pictures of a block at most.
        cell: side of a picture in pixels.
    """
    font = ImageFont.load_default(15)
    width, height = cells * (cell + _GAP) + 2 * _GAP, cell + _TEXT + _GAP
    lines = -(-count // _COLUMNS)
    sheet = Image.new("RGB", (min(_COLUMNS, count) * width + _GAP, lines * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, block in enumerate(blocks):
        left, top = _GAP + number % _COLUMNS * width, _GAP + number // _COLUMNS * height
        for column, picture in enumerate(block.pictures):
            sheet.paste(fit(picture, cell), (left + column * (cell + _GAP), top))
        caption = wrap(block.caption, font, cells * cell).partition("\n")[0]
        draw.text((left, top + cell + 3), caption, fill=(120, 120, 120), font=font)
        text = wrap(block.text, font, cells * cell)
        draw.text((left, top + cell + 21), text, fill="black", font=font, spacing=3)
    stream = BytesIO()
    sheet.save(stream, "PNG", optimize=False)
    return stream.getvalue()


def fit(picture: np.ndarray, cell: int = CELL) -> Image.Image:
    """A picture in the middle of a grey cell, its aspect kept."""
    scale = cell / max(picture.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0]))
    canvas = Image.new("RGB", (cell, cell), (235, 235, 235))
    canvas.paste(
        Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS),
        ((cell - width) // 2, (cell - height) // 2),
    )
    return canvas


def wrap(text: str, font: Font, width: int) -> str:
    """Two lines of at most ``width`` pixels; what does not fit ends in an ellipsis."""
    words, first = text.split(), ""
    while words and font.getlength(f"{first} {words[0]}") <= width:
        first = f"{first} {words.pop(0)}".strip()
    rest = " ".join(words)
    if font.getlength(rest) > width:
        while font.getlength(rest + "…") > width:
            rest = rest[:-1]
        rest += "…"
    return f"{first}\n{rest}"
