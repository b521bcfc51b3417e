"""Reading a source image for the first time: bytes, digest, size, split. What fails is a reason, never an exception."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catalog.digests import bytes_digest
from catalog.errors import RowRejected
from catalog.images import decode_image, probe_image
from catalog.reasons import Reason
from catalog.source_files import read_source_file
from catalog.splits import SplitRule, assign_split, parse_split
from catalog.store import ShardWriter
from tasks.readers.records import Reader
from tasks.records_check import count, optional_text
from tasks.stored_pixels import as_stored


@dataclass(frozen=True)
class SourceFile:
    """A source image that was read and decoded without fault."""

    image: dict[str, Any]
    """`columns.IMAGE` value."""
    width: int
    height: int
    sha256: str
    """Digest of the dataset's own bytes: the photo's identity, also where a copy of it is used."""


def parse_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a listing row. Raises RowRejected for a duplicate id."""
    if row["reason"] is not None:
        raise RowRejected(Reason(row["reason"]), row["detail"])
    record: dict[str, Any] = json.loads(row["record"])
    return record


def file_sizes(reader: Reader, rows: Iterable[Mapping[str, Any]]) -> list[int | None]:
    """Bytes of each file that the images of listing rows are in, None where there is none; empty without a root.

    Part of the content key of what is read from these files: a file that was missing or cut short and has been
    mended since is read again, though the annotation is the same.
    """
    sizes: list[int | None] = []
    for row in rows if reader.root is not None else ():
        record = json.loads(row["record"])
        for name in ("file", "target_file", "group"):
            file = record.get(name)
            if isinstance(file, str) and file:
                assert reader.root is not None
                try:
                    sizes.append((reader.root / reader.locate(file).path).stat().st_size)
                except (OSError, ValueError):
                    sizes.append(None)
    return sizes


def read_bytes(reader: Reader, file: str) -> bytes:
    """The encoded bytes of one image of a dataset. Raises RowRejected with the reason why not."""
    location = reader.locate(file)
    if not location.is_plain:
        return reader.fetch(file)
    assert reader.root is not None
    return read_source_file(reader.root, location.path, location.offset, location.length)


def read_source(
    reader: Reader, dataset: str, file: str, writer: ShardWriter, *, owner: str = "", stored_pixels: bool = False
) -> tuple[SourceFile, np.ndarray]:
    """Read, check and decode one image of a dataset: where it is, and its pixels (uint8 (H, W, 3)).

    An image whose bytes are below the reader's root is referenced there; one that a reader makes goes into the store,
    and with ``stored_pixels`` a photo that its header turns goes there without that header. ``owner`` tells copies of
    one file within a shard apart.
    """
    original = read_bytes(reader, file)
    data = as_stored(original) if stored_pixels else original
    width, height = probe_image(data)
    pixels = decode_image(data)  # a header can be right and the rest cut off
    location, identity = reader.locate(file), bytes_digest(original)
    if not location.is_plain or data is not original:
        copy = writer.add_image(_stored_name(reader, file, owner), data, width, height)
        return SourceFile(copy, width, height, identity), pixels
    reference = {
        "root": dataset,
        "path": Path(location.path).as_posix(),
        "offset": location.offset,
        "length": len(data),
        "sha256": identity,
        "width": width,
        "height": height,
    }
    return SourceFile(reference, width, height, identity), pixels


def _stored_name(reader: Reader, file: str, owner: str) -> str:
    """The name of a copy in our tar: a rendered picture's own; else one that is short and safe whatever is packed."""
    return file if reader.root is None else bytes_digest(f"{file}\0{owner}".encode("utf-8", "surrogatepass"))[:32]


def check_size(record: Mapping[str, Any], found: SourceFile) -> None:
    """The annotation's coordinates hold only for the size that it names."""
    named = (count(record, "width", 1), count(record, "height", 1))
    for said, real in zip(named, (found.width, found.height), strict=True):
        if said is not None and said != real:
            size = f"{named[0]}x{named[1]}"
            raise RowRejected(
                Reason.SIZE_MISMATCH, f"annotated for {size}, the file shows {found.width}x{found.height} pixels"
            )


def provenance(record: Mapping[str, Any], dataset: str, group_id: str, rule: SplitRule) -> dict[str, Any]:
    """The columns that say where a row comes from and which split it belongs to."""
    own = optional_text(record, "split")
    try:
        split = assign_split(group_id, rule) if own is None else parse_split(own)
    except ValueError as error:
        raise RowRejected(Reason.MALFORMED_RECORD, str(error)) from error
    return {"group_id": group_id, "dataset": dataset, "split": split, "licence": optional_text(record, "licence")}
