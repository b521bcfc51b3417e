"""A picture of a build for human eyes: source, mask, target and instruction of a hash-chosen handful of pairs."""

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catalog.digests import bytes_digest
from catalog.durable import write_file
from catalog.errors import UserError
from catalog.manifests import Manifest
from catalog.masks import decode_mask
from catalog.roots import Roots
from catalog.samples import RenderOptions, render_sample
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.row_images import RowImages
from tasks.steps import Row

_CELL = 200  # pixels, longer side of a picture
_TEXT = 62  # pixels of text under three pictures: a caption and two lines of instruction
_GAP = 8
_COLUMNS = 2  # pairs beside each other
_MASK_COLOUR = (255, 64, 160)


def write_contact_sheet(workspace: Workspace, manifest: Manifest, path: Path, per_type: int = 4) -> Path:
    """Draw up to ``per_type`` usable pairs of each edit type, one per line, and write them as a PNG.

    Args:
        workspace: where the build is.
        manifest: the build.
        path: where the picture goes.
        per_type: lines per edit type. Which pairs depends on their ids alone, so a rerun draws the same.

    Raises:
        UserError: the build has no usable pair.
    """
    rows = list(_choose(workspace, manifest, per_type))
    if not rows:
        raise UserError(f"build {manifest.name!r} has no usable pair to show: see `python -m catalog stats`")
    roots = Roots.read(workspace.roots_path)
    images = RowImages(roots)
    font = ImageFont.load_default(15)
    block = (3 * (_CELL + _GAP) + 2 * _GAP, _CELL + _TEXT + _GAP)
    lines = -(-len(rows) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * block[0] + _GAP, lines * block[1] + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        left, top = (
            _GAP + place * size for place, size in zip((number % _COLUMNS, number // _COLUMNS), block, strict=True)
        )
        pictures, instruction = _pictures(row, roots, images)
        for column, picture in enumerate(pictures):
            sheet.paste(_fit(picture), (left + column * (_CELL + _GAP), top))
        caption = f"{row['edit_type'].replace('_', ' ')}  ·  {row['dataset']}"
        draw.text((left, top + _CELL + 3), caption, fill=(120, 120, 120), font=font)
        draw.text((left, top + _CELL + 21), _wrap(instruction, font, 3 * _CELL), fill="black", font=font, spacing=3)
    buffer = BytesIO()
    sheet.save(buffer, "PNG", optimize=False)
    write_file(path, [buffer.getvalue()])
    return path


def _choose(workspace: Workspace, manifest: Manifest, per_type: int) -> Iterator[Row]:
    """Usable pairs in hash order, the first few of each edit type: datasets take turns, and so do photos."""
    kept: dict[str, list[tuple[str, Row]]] = {}
    for path in manifest.paths(workspace, "pairs"):
        for row in read_rows(path):
            if row["reason"] is None:
                place = bytes_digest(f"sheet:{row['pair_id']}".encode())
                lines = kept.setdefault(row["edit_type"], [])
                lines.append((place, row))
                if len(lines) > 64 * per_type:
                    lines[:] = sorted(lines, key=lambda item: item[0])[: 16 * per_type]
    for edit_type in sorted(kept):
        ranked, seen = [], Counter[str]()
        for place, row in sorted(kept[edit_type], key=lambda item: item[0]):
            seen[row["group_id"]] += 1
            ranked.append((seen[row["group_id"]], place, row))
        ranked.sort(key=lambda item: item[:2])
        turns, taken = [], Counter[str]()
        for number, (_, _, row) in enumerate(ranked):
            taken[row["dataset"]] += 1
            turns.append((taken[row["dataset"]], number, row))
        yield from (row for _, _, row in sorted(turns, key=lambda item: item[:2])[:per_type])


def _pictures(row: Row, roots: Roots, images: RowImages) -> tuple[list[np.ndarray], str]:
    """Source, mask over source, target; and the instruction."""
    if row["target_image"] is None or row["instruction"] is None:
        sample = render_sample(row, roots, seed=0, index=int(row["pair_id"][:8], 16), options=RenderOptions())
        return [sample.source, np.full_like(sample.source, 255), sample.target], sample.instruction
    source, target = images.read(row["source_image"]), images.read(row["target_image"])
    shown = source.copy() if row["edit_mask"] else np.full_like(source, 255)
    if row["edit_mask"]:
        mask = decode_mask(row["edit_mask"])
        shown[mask] = (0.45 * shown[mask] + 0.55 * np.array(_MASK_COLOUR)).astype(np.uint8)
    return [source, shown, target], row["instruction"]


def _fit(picture: np.ndarray) -> Image.Image:
    scale = _CELL / max(picture.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0]))
    canvas = Image.new("RGB", (_CELL, _CELL), (235, 235, 235))
    canvas.paste(
        Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS),
        ((_CELL - width) // 2, (_CELL - height) // 2),
    )
    return canvas


def _wrap(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
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
