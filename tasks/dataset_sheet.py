"""A picture of one dataset for human eyes: what its reader, the ingest step and the renderer make of its first images.

Each block shows what the model gets (source), what it must draw (target) and, for comparison, the whole photo with the
annotation drawn straight from the row: an outline around a region, the joints asked for by name. A pair that comes
with its target shows where the two differ. Below stand the words.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from catalog.durable import write_file
from catalog.errors import RowRejected, SourceError
from catalog.instructions import other_side
from catalog.masks import decode_mask
from catalog.render_styles import RenderOptions
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from catalog.store import Shard, read_metadata, read_rows
from catalog.views import View
from catalog.workspace import Workspace
from tasks.joint_overlay import draw_joints
from tasks.listing import list_source
from tasks.parameters import IngestParameters
from tasks.profiles import Profile, Source
from tasks.row_images import RowImages
from tasks.sheet_drawing import Block, draw_sheet, needed_lines
from tasks.step_calls import Call
from tasks.steps import Row, prepare

_CELLS = 3
_CELL = 240
_OUTLINE = (255, 0, 200)
_FRAME = (255, 210, 0)


@dataclass(frozen=True, kw_only=True)
class DatasetSheet:
    """What a sheet was made of."""

    num_images: int
    """Records read: images or pairs."""
    num_rows: int
    """Regions and pairs that they gave."""
    num_shown: int
    reasons: Mapping[str, int]
    """Rows that cannot be used, by reason; samples that cannot be drawn count too."""


def write_dataset_sheet(
    source: Source, path: Path, options: RenderOptions, num_images: int = 64, limit: int = 12
) -> DatasetSheet:
    """Read the first images of a dataset, draw some of what they give and write it as a PNG.

    Args:
        source: reader, folder and options.
        path: where the picture goes; replaces what is there.
        options: how samples are drawn.
        num_images: records to read from the beginning.
        limit: blocks to show: one of each image before any second one.

    Raises:
        SourceError: a wrong folder, or nothing that can be shown.
    """
    with TemporaryDirectory(prefix="sheet-") as folder:
        workspace = Workspace(Path(folder))
        rows, num_records = _rows(workspace, source, num_images)
        roots = Roots.read(workspace.roots_path)
        reasons = Counter(row["reason"] for row in rows if row["reason"] is not None)
        images = RowImages(roots)
        blocks: list[Block] = []
        for row in _spread([row for row in rows if row["reason"] is None]):
            if len(blocks) == limit:
                break
            try:
                blocks.append(_block(row, roots, images, options))
            except RowRejected as rejected:
                reasons[str(rejected.reason)] += 1
    if not blocks:
        found = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "no record at all"
        raise SourceError(f"Nothing of {source.dataset} can be shown: of its first {num_records} records, {found}.")
    lines = needed_lines((block.text for block in blocks), _CELLS, _CELL)
    write_file(path, [draw_sheet(blocks, len(blocks), _CELLS, _CELL, lines)])
    return DatasetSheet(num_images=num_records, num_rows=len(rows), num_shown=len(blocks), reasons=reasons)


def _rows(workspace: Workspace, source: Source, num_images: int) -> tuple[list[Row], int]:
    """Pairs of the first images, and the regions that no pair is made of; and how many records were read."""
    prepare(workspace)
    ingest = IngestParameters(require_phrase=False)
    profile = Profile(name="sheet", sources=(source,), images_per_shard=num_images, ingest=ingest)
    listing = next(iter(list_source(workspace, profile, 0)), None)
    if listing is None:
        raise SourceError(f"{source.dataset} holds no record.")
    kinds = read_metadata(listing.file(workspace))["kinds"]
    rows: list[Row] = []
    if "image" in kinds:
        regions = Call("ingest", workspace, profile, [listing]).run()
        rows = _read(workspace, Call("annotate", workspace, profile, [regions]).run())
        asked = {row["region_id"] for row in rows}
        rows += [row for row in _read(workspace, regions) if row["region_id"] not in asked]
    if "pair" in kinds:
        rows += _read(workspace, Call("ingest_pairs", workspace, profile, [listing]).run())
    return rows, listing.num_rows


def _read(workspace: Workspace, shard: Shard) -> list[Row]:
    return list(read_rows(shard.file(workspace)))


def _spread(rows: Sequence[Row]) -> list[Row]:
    """One row of each photo and task before any second one."""
    seen, turns = Counter[tuple[str, str | None]](), []
    for place, row in enumerate(rows):
        kind = row.get("vision_task")
        turns.append((seen[row["group_id"], kind], kind is None, place))
        seen[row["group_id"], kind] += 1
    return [rows[place] for _, _, place in sorted(turns)]


def _block(row: Row, roots: Roots, images: RowImages, options: RenderOptions) -> Block:
    photo = images.read(row["source_image"])
    if "vision_task" not in row:
        label = row["label"] or "no label"
        return Block([photo, _outlined(photo, row)], _caption(row, "region without a phrase"), label)
    index = int(row["pair_id"][:8], 16)
    sample = render_sample(row, roots, seed=0, index=index, options=options)
    is_vain = sample.mask is not None and not sample.mask.any()
    caption = _caption(row, row["edit_type"].replace("_", " ") + (" (asked in vain)" if is_vain else ""))
    if row["target_image"] is not None:
        return Block([sample.source, sample.target, _difference(sample)], caption, sample.instruction)
    if is_vain:  # the row's own region is not what was asked for
        overlay = _framed(photo.copy(), sample.view)
    else:
        overlay = _with_joints(photo, row, sample) if sample.joints else _framed(_outlined(photo, row), sample.view)
    return Block([sample.source, sample.target, overlay], caption, sample.instruction)


def _caption(row: Row, what: str) -> str:
    words = " / ".join(dict.fromkeys(filter(None, (row["label"], row["phrase"]))))
    return "  ·  ".join(filter(None, (what, row["region_id"], words)))


def _outlined(photo: np.ndarray, row: Row) -> np.ndarray:
    """The photo with its region's outline and, faintly, its area; the box where there is no mask."""
    shown = photo.copy()
    width = _line_width(photo)
    if row["mask"] is not None:
        mask = decode_mask(row["mask"])
        shown[mask] = (0.7 * shown[mask] + 0.3 * np.array(_OUTLINE)).astype(np.uint8)
        edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, edges, -1, _OUTLINE, width)
    if row["bbox"] is not None:
        _rectangle(shown, row["bbox"], _OUTLINE, max(1, width // 2))
    return shown


def _with_joints(photo: np.ndarray, row: Row, sample: Sample) -> np.ndarray:
    """The person's part of the photo, the asked joints by name."""
    names = [other_side(joint) if sample.view.flipped else joint for joint in sample.joints]
    asked = dict(zip(names, (rgb for _, rgb in sample.colors), strict=True))
    return draw_joints(photo, row["keypoints"], row["bbox"], asked)


def _framed(photo: np.ndarray, view: View) -> np.ndarray:
    """The photo with the frame of what the sample shows of it."""
    corners = np.array([[0, 0], [view.size - 1, 0], [view.size - 1, view.size - 1], [0, view.size - 1]])
    points = np.rint(view.source_points(corners)).astype(np.int32)
    cv2.polylines(photo, [points], True, _FRAME, _line_width(photo))
    return photo


def _difference(sample: Sample) -> np.ndarray:
    """Where source and target differ: their distance, the largest one white, on black."""
    distance = np.abs(sample.source.astype(np.int16) - sample.target).max(axis=2)
    shown = (distance * (255 / max(int(distance.max()), 1))).astype(np.uint8)
    return np.stack([shown] * 3, axis=2)


def _rectangle(image: np.ndarray, box: Sequence[float], rgb: tuple[int, int, int], width: int) -> None:
    x, y, box_width, box_height = box
    cv2.rectangle(image, (round(x), round(y)), (round(x + box_width), round(y + box_height)), rgb, width)


def _line_width(photo: np.ndarray) -> int:
    return max(1, round(int(max(photo.shape[:2])) / 250))
