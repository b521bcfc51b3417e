"""Step ``list``: stream a source dataset's annotations into listing shards, as they are, nothing checked.

A listing row holds one record as JSON; wrong types and NaN pass through, so that the next step can reject them
with a reason. Only ids that occur twice are found here, since only here the whole dataset passes by.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from catalog.digests import bytes_digest
from catalog.reasons import Reason
from catalog.roots import record_root
from catalog.store import Shard, ShardWriter, shard_key, write_shard
from catalog.workspace import Workspace
from tasks.profiles import Profile, Source
from tasks.readers.records import Reader, Record, SourceImage
from tasks.readers.registry import make_reader

_VERSION = 1


def open_source(source: Source) -> Reader:
    """The reader of a source. Raises SourceError for a wrong kind, option or folder."""
    root = Path(source.root).expanduser() if source.root else None
    return make_reader(source.reader, source.dataset, root, source.options)


def list_source(workspace: Workspace, profile: Profile, index: int) -> Iterator[Shard]:
    """List source number ``index`` of a profile: yields each listing shard as soon as it is committed.

    The dataset is read as a stream; memory holds one shard and about 70 bytes per image (to find ids that occur twice).
    """
    source = profile.sources[index]
    reader = open_source(source)
    if reader.root is not None:
        record_root(workspace, source.dataset, reader.root)
    rows = (row for _, row in list_rows(source.dataset, reader.read()))
    while chunk := list(islice(rows, profile.images_per_shard)):
        yield write_listing(workspace, source, reader, chunk)


def write_listing(workspace: Workspace, source: Source, reader: Reader, rows: list[dict[str, Any]]) -> Shard:
    """One listing shard of some rows of a source, named by what they say."""
    digest = bytes_digest(json.dumps(rows, sort_keys=True).encode())
    origin = {"dataset": source.dataset, "reader": source.reader, "revision": reader.revision, "version": _VERSION}
    metadata = {
        "step": "list",
        "dataset": source.dataset,
        "kinds": sorted({row["kind"] for row in rows}),
        "parameters": origin,  # not the options: what they choose shows in the rows, and equal rows are one shard
        "backends": [],
        "inputs": [digest],
    }
    key = shard_key("list", origin, [], [digest])
    return write_shard(workspace, "listings", key, partial(_produce, rows), metadata)


def _produce(rows: list[dict[str, Any]], writer: ShardWriter) -> list[dict[str, Any]]:
    return rows


def list_rows(dataset: str, records: Iterable[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Each record with its row of table ``listings``; an id that was seen before is one row's reason."""
    seen: set[bytes] = set()
    repeats: Counter[str] = Counter()
    for record in records:
        kind = "image" if isinstance(record, SourceImage) else "pair"
        source_id = _plain(record.source_id)
        identity = bytes.fromhex(bytes_digest(f"{kind}:{source_id}".encode())[:16])
        row = {"dataset": dataset, "kind": kind, "source_id": source_id, "file": _plain(record.file)}
        if identity in seen:
            repeats[source_id] += 1
            row["source_id"] += f"~{repeats[source_id] + 1}"
            row["reason"] = str(Reason.DUPLICATE_ID)
            row["detail"] = f"{kind} {source_id!r} occurs more than once in {dataset}"
        seen.add(identity)
        yield record, {**row, "record": json.dumps(asdict(record), default=repr)}


def _plain(value: Any) -> str:
    """Text that Parquet can hold: lone surrogates become escapes."""
    return str(value).encode("utf-8", "backslashreplace").decode()
