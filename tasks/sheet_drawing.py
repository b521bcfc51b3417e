"""Pictures for human eyes: blocks of a few pictures beside each other, each with a caption and its words below."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 200  # pixels, longer side of a picture
LINES = 2  # of text under the pictures, below a caption of one line
_LINE = 18  # pixels from one line to the next
_GAP = 8
_COLUMNS = 2  # blocks beside each other

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Block:
    """What stands together."""

    pictures: Sequence[np.ndarray]
    """uint8 (H, W, 3), of any size; each is fitted into a cell."""
    caption: str
    """In grey, one line."""
    text: str


def draw_sheet(blocks: Iterable[Block], count: int, cells: int, cell: int = CELL, lines: int = LINES) -> bytes:
    """A PNG file of ``count`` blocks, two beside each other.

    Args:
        blocks: drawn one after the other, so that only one of them need be in memory.
        count: how many there are at most.
        cells: pictures of a block at most.
        cell: side of a picture in pixels.
        lines: of text that each block has room for; `needed_lines` says how many show all.
    """
    font = _font()
    width, height = cells * (cell + _GAP) + 2 * _GAP, cell + (lines + 1) * _LINE + 2 * _GAP
    num_rows = -(-count // _COLUMNS)
    sheet = Image.new("RGB", (min(_COLUMNS, count) * width + _GAP, num_rows * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, block in enumerate(blocks):
        left, top = _GAP + number % _COLUMNS * width, _GAP + number // _COLUMNS * height
        for column, picture in enumerate(block.pictures):
            sheet.paste(fit(picture, cell), (left + column * (cell + _GAP), top))
        caption = wrap(block.caption, font, cells * cell, 1)[0]
        draw.text((left, top + cell + 3), caption, fill=(120, 120, 120), font=font)
        for line, text in enumerate(wrap(block.text, font, cells * cell, lines), 1):
            draw.text((left, top + cell + 3 + line * _LINE), text, fill="black", font=font)
    stream = BytesIO()
    sheet.save(stream, "PNG", optimize=False)
    return stream.getvalue()


def needed_lines(texts: Iterable[str], cells: int, cell: int, most: int = 12) -> int:
    """How many lines show the longest of some texts whole below ``cells`` pictures of ``cell`` pixels; at least 2."""
    font = _font()
    return max([LINES, *(len(wrap(text, font, cells * cell, most)) for text in texts)])


def _font() -> Font:
    return ImageFont.load_default(15)


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


def wrap(text: str, font: Font, width: int, most: int = LINES) -> list[str]:
    """One to ``most`` lines of at most ``width`` pixels; what does not fit ends in an ellipsis."""
    words = text.split()
    lines: list[str] = []
    while words and len(lines) < most:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        lines.append(line)
    if words:
        lines[-1] = " ".join([lines[-1], *words])
    return [_shortened(line, font, width) for line in lines] or [""]


def _shortened(line: str, font: Font, width: int) -> str:
    if len(line) <= width and font.getlength(line) <= width:
        return line
    line = line[:width]  # a letter is wider than a pixel; a text may be very long
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
