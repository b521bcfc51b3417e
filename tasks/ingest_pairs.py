"""Step ``ingest_pairs``: check ready-made pairs (source file, target file, instruction) and take them over."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from catalog.digests import value_digest
from catalog.errors import RowRejected
from catalog.images import decode_image
from catalog.masks import encode_mask, mask_box, region_mask
from catalog.reasons import Reason
from catalog.schema import VISION_TASKS
from catalog.store import ShardWriter
from tasks import records_check as check
from tasks.instruction_check import check_instruction
from tasks.listing import open_source
from tasks.readers.records import Reader
from tasks.source_images import SourceFile, parse_record, provenance, read_bytes, read_source
from tasks.steps import Row, StepContext


class _Files:
    """Files of one shard: each stored once however many pairs name it, a few of them decoded at a time."""

    def __init__(self, reader: Reader, dataset: str, writer: ShardWriter, capacity: int = 8) -> None:
        self.reader, self.dataset, self.writer, self._capacity = reader, dataset, writer, capacity
        self._known: dict[str, SourceFile | RowRejected] = {}
        self._pixels: OrderedDict[str, np.ndarray] = OrderedDict()

    def read(self, file: str) -> SourceFile:
        """Where a file is and what size it has."""
        if file not in self._known:
            try:
                self._known[file], self._pixels[file] = read_source(self.reader, self.dataset, file, self.writer)
            except RowRejected as rejected:
                self._known[file] = RowRejected(rejected.reason, f"{file}: {rejected.detail}")
        found = self._known[file]
        if isinstance(found, RowRejected):
            raise found
        return found

    def pixels(self, file: str) -> np.ndarray:
        """Its pixels: uint8 (H, W, 3)."""
        self.read(file)
        if file not in self._pixels:
            self._pixels[file] = decode_image(read_bytes(self.reader, file))
        self._pixels.move_to_end(file)
        while len(self._pixels) > self._capacity:
            self._pixels.popitem(last=False)
        return self._pixels[file]


def ingest_pairs(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield one pair per listed pair, in order."""
    assert context.source is not None
    reader = open_source(context.source)
    files = _Files(reader, context.source.dataset, writer)
    for row in context.rows:
        if row["kind"] == "pair":
            yield _pair(context, files, row)


def _pair(context: StepContext, files: _Files, row: Row) -> Row:
    base: Row = {
        "pair_id": value_digest(["pair", row["dataset"], row["source_id"]])[:32],
        "dataset": row["dataset"],
        "region_id": f"{row['dataset']}/{row['source_id']}",
        "backends": [],
        "parameters": "{}",
    }
    try:
        record = parse_record(row)
        base |= _kind(record)
        source, target = (files.read(check.require_text(record, name)) for name in ("file", "target_file"))
        group_id = files.read(check.optional_text(record, "group") or record["file"]).sha256
        base |= {"source_image": source.image, "target_image": target.image}
        base |= provenance(record, row["dataset"], group_id, context.profile.split)
        return base | _texts(record) | _difference(files, record, source, target)
    except RowRejected as rejected:
        return base | {"reason": str(rejected.reason), "detail": rejected.detail}


def _kind(record: Mapping[str, Any]) -> Row:
    vision_task = check.require_text(record, "vision_task")
    if vision_task not in VISION_TASKS:
        raise RowRejected(Reason.MALFORMED_RECORD, f"vision_task {vision_task!r} is none of {', '.join(VISION_TASKS)}")
    return {"vision_task": vision_task, "edit_type": check.require_text(record, "edit_type")}


def _texts(record: Mapping[str, Any]) -> Row:
    instruction = check.optional_text(record, "instruction")
    if instruction is not None:
        check_instruction(instruction)
    elif record["vision_task"] == "image_editing":
        raise RowRejected(Reason.BAD_INSTRUCTION, "an edit without an instruction")
    return {
        "instruction": instruction,
        "source_caption": check.optional_text(record, "source_caption"),
        "target_caption": check.optional_text(record, "target_caption"),
    }


def _difference(files: _Files, record: Mapping[str, Any], source: SourceFile, target: SourceFile) -> Row:
    """Same size, not the same picture; the region where it says so, and as ``edit_mask`` where that is true."""
    if (source.width, source.height) != (target.width, target.height):
        sizes = f"source {source.width}x{source.height}, target {target.width}x{target.height}"
        raise RowRejected(Reason.SIZE_MISMATCH, sizes)
    before, after = files.pixels(record["file"]), files.pixels(record["target_file"])
    changed = (before != after).any(axis=2)
    if not changed.any():
        raise RowRejected(Reason.NO_CHANGE, "source and target are the same picture")
    region = record.get("region")
    if region is None:
        return {}
    shapes = {name: region.get(name) for name in ("polygons", "mask", "box")}
    mask = region_mask(**shapes, height=source.height, width=source.width, rule=files.reader.polygon_rule)
    encoded = encode_mask(mask)
    return {
        "phrase": check.optional_text(region, "phrase"),
        "label": check.optional_text(region, "label"),
        "mask": encoded,
        "bbox": [float(number) for number in mask_box(mask)],
        # The contract of edit_mask is strict; a dataset's mask that the edit leaks out of stays an annotation.
        "edit_mask": None if np.any(changed & ~mask) else encoded,
    }
