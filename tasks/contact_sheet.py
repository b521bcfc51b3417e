"""A picture of a build for human eyes: source, mask, target and instruction of a hash-chosen handful of pairs.

A replacement also shows its donor; a pair without a mask leaves that cell out.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from catalog.digests import bytes_digest
from catalog.durable import write_file
from catalog.errors import UserError
from catalog.manifests import Manifest
from catalog.masks import decode_mask
from catalog.render_styles import RenderOptions
from catalog.roots import Roots
from catalog.samples import render_sample
from catalog.store import STORE_ROOT, read_rows
from catalog.workspace import Workspace
from tasks.patches import cut
from tasks.row_images import RowImages
from tasks.sheet_drawing import Block, draw_sheet
from tasks.steps import Row

_CELLS = 4  # beside each other: source, mask, target, donor
_MASK_COLOUR = (255, 64, 160)


def write_contact_sheet(workspace: Workspace, manifest: Manifest, path: Path, limit: int = 24) -> Path:
    """Draw usable pairs, as many of one edit type as of another, and write them as a PNG.

    Args:
        workspace: where the build is.
        manifest: the build.
        path: where the picture goes.
        limit: pairs. Which depends on their ids alone, so a rerun draws the same.

    Raises:
        UserError: the build has no usable pair.
    """
    rows = _choose(workspace, manifest, limit)
    if not rows:
        raise UserError(f"build {manifest.name!r} has no usable pair to show: see `python -m catalog stats`")
    roots = Roots.read(workspace.roots_path)
    images = RowImages(roots)
    blocks = (_block(row, roots, images) for row in rows)
    write_file(path, [draw_sheet(blocks, len(rows), _CELLS)])
    return path


def _block(row: Row, roots: Roots, images: RowImages) -> Block:
    pictures, instruction = _pictures(row, roots, images)
    return Block(pictures, f"{row['edit_type'].replace('_', ' ')}  ·  {row['dataset']}", instruction)


def _choose(workspace: Workspace, manifest: Manifest, limit: int) -> list[Row]:
    """Usable pairs, edit types in turn until there are ``limit``; then in order of their types."""
    kept: dict[str, list[tuple[bool, str, Row]]] = {}
    for path in manifest.paths(workspace, "pairs"):
        for row in read_rows(path):
            if row["reason"] is None:
                place = bytes_digest(f"sheet:{row['pair_id']}".encode())
                lines = kept.setdefault(row["edit_type"], [])
                lines.append((_is_made(row), place, row))
                if len(lines) > 64 * limit:
                    lines[:] = sorted(lines, key=lambda item: item[:2])[: 16 * limit]
    ranked = {edit_type: _spread(lines) for edit_type, lines in sorted(kept.items())}
    turns = [(turn, edit_type) for edit_type, rows in ranked.items() for turn in range(len(rows))]
    shares = Counter(edit_type for _, edit_type in sorted(turns)[:limit])
    return [row for edit_type, rows in ranked.items() for row in rows[: shares[edit_type]]]


def _spread(lines: list[tuple[bool, str, Row]]) -> list[Row]:
    """Photos on disk before pictures that we made, as many photos as there are before any comes again."""
    ranked, seen = [], Counter[str]()
    for made, place, row in sorted(lines, key=lambda item: item[:2]):
        seen[row["group_id"]] += 1
        ranked.append((made, seen[row["group_id"]], place, row))
    return [row for *_, row in sorted(ranked, key=lambda item: item[:3])]


def _is_made(row: Row) -> bool:
    """Whether neither picture is a file of the source dataset: rendered scenes."""
    return all(image is None or image["root"] == STORE_ROOT for image in (row["source_image"], row["target_image"]))


def _pictures(row: Row, roots: Roots, images: RowImages) -> tuple[list[np.ndarray], str]:
    """Source, mask over source, target and donor, as far as there are; and the instruction."""
    if row["target_image"] is None or row["instruction"] is None:
        sample = render_sample(row, roots, seed=0, index=int(row["pair_id"][:8], 16), options=RenderOptions())
        return [sample.source, sample.target], sample.instruction
    source, target = images.read(row["source_image"]), images.read(row["target_image"])
    pictures = [source, target]
    if row["edit_mask"]:
        shown, mask = source.copy(), decode_mask(row["edit_mask"])
        shown[mask] = (0.45 * shown[mask] + 0.55 * np.array(_MASK_COLOUR)).astype(np.uint8)
        pictures.insert(1, shown)
    if row["donor"]:
        pictures.append(cut(images.read(row["donor"]["source_image"]), row["donor"]["crop"]))
    return pictures, row["instruction"]
