"""The shard store: rows in Parquet, images in an uncompressed tar, both keyed by what made them.

A shard is ``tables/<table>/<key>.parquet`` and, where the step makes images, ``data/<table>/<key>.tar``. The
key is the digest of everything that the content depends on, so a shard is immutable and never written twice
with other bytes. The order of commits is tar, then Parquet: **the Parquet file's existence is the commit**.
A process killed at any instant leaves either a whole shard or nothing that counts; the next run makes the
same bytes again. Tars are plain ustar with fixed owner, mode and time: ``tar`` and WebDataset read them, and
each row keeps offset and length, so that any image is one ``pread``.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import bytes_digest, canonical_json, file_digest, value_digest
from catalog.durable import claim, publish, sweep, write_all
from catalog.errors import ShardError
from catalog.schema import SCHEMA_VERSION, TABLES
from catalog.workspace import Workspace

METADATA_KEY = b"ieiw"
STORE_ROOT = "store"
_BLOCK = 512  # tar's unit
_ROW_GROUP = 4096


@dataclass(frozen=True)
class Shard:
    """One committed shard, as a manifest lists it."""

    table: str
    key: str
    path: str
    """Relative to the workspace's ``catalog`` folder, forward slashes."""
    sha256: str
    """Digest of the Parquet file. Its rows hold the digests of the images, so it vouches for both."""
    num_rows: int
    num_usable: int
    """Rows without a reason."""

    def file(self, workspace: Workspace) -> Path:
        """The Parquet file."""
        return workspace.catalog / self.path

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


class ShardWriter:
    """Where a step puts the images of the shard that it makes. The tar appears with the first image."""

    def __init__(self, workspace: Workspace, table: str, key: str) -> None:
        self._workspace = workspace
        self._final = workspace.tar_path(table, key)
        self._descriptor: int | None = None
        self._position = 0
        self._names: set[str] = set()
        self._claims = ExitStack()

    def add_image(self, name: str, data: bytes, width: int, height: int) -> dict[str, Any]:
        """Append an encoded image under ``name`` (unique in the shard); returns its `schema.IMAGE` value."""
        assert name not in self._names, f"two images named {name} in one shard"
        self._names.add(name)
        if self._descriptor is None:
            self._descriptor = self._claims.enter_context(claim(self._final))
        header = _tar_header(name, len(data))
        write_all(self._descriptor, header + data + bytes(-len(data) % _BLOCK))
        offset = self._position + len(header)
        self._position = offset + len(data) + -len(data) % _BLOCK
        return {
            "root": STORE_ROOT,
            "path": self._final.relative_to(self._workspace.data).as_posix(),
            "offset": offset,
            "length": len(data),
            "sha256": bytes_digest(data),
            "width": width,
            "height": height,
        }

    def finish(self) -> int:
        """Publish the tar, if there is one, and return its length in bytes."""
        if self._descriptor is None:
            return 0
        write_all(self._descriptor, bytes(2 * _BLOCK))
        publish(self._descriptor, self._final)
        return self._position + 2 * _BLOCK

    def close(self) -> None:
        """Let go of the tar; an unfinished one is forgotten."""
        self._claims.close()


Produce = Callable[[ShardWriter], Iterable[Mapping[str, Any]]]


def shard_key(step: str, parameters: Mapping[str, Any], backends: Iterable[str], inputs: Iterable[str]) -> str:
    """The content key: schema version, step, parameters, backends at their revisions, input digests."""
    return value_digest([SCHEMA_VERSION, step, dict(parameters), list(backends), list(inputs)])[:32]


def write_shard(workspace: Workspace, table: str, key: str, produce: Produce, metadata: Mapping[str, Any]) -> Shard:
    """Make one shard, unless it exists, and return it.

    Args:
        workspace: where.
        table: a name of `schema.TABLES`.
        key: `shard_key` of everything that the rows depend on.
        produce: yields rows in a fixed order and puts images into the writer; called only when needed.
        metadata: JSON values kept in the Parquet footer (step, parameters, backends, inputs): the lineage.

    Raises:
        OSError: disk full, folder not writable; nothing half-written stays.
    """
    path = workspace.table_path(table, key)
    if path.exists():
        return read_entry(workspace, table, key)
    with claim(path) as descriptor, closing(ShardWriter(workspace, table, key)) as writer:
        if not path.exists():  # somebody may have finished it while we waited for the claim
            rows = list(produce(writer))
            data = _encode(table, rows, {**metadata, "tar_length": writer.finish()})
            write_all(descriptor, data)
            publish(descriptor, path)
    return read_entry(workspace, table, key)


def read_entry(workspace: Workspace, table: str, key: str) -> Shard:
    """Describe a committed shard from its file."""
    path = workspace.table_path(table, key)
    metadata = read_metadata(path)
    tar = workspace.tar_path(table, key)
    length = tar.stat().st_size if tar.is_file() else 0
    if length != metadata.get("tar_length", 0):
        raise ShardError(
            f"{tar} must have the {metadata.get('tar_length', 0)} bytes that {path} counts on, but has {length}: "
            f"delete the Parquet file and run the build again"
        )
    return Shard(
        table=table,
        key=key,
        path=path.relative_to(workspace.catalog).as_posix(),
        sha256=file_digest(path),
        num_rows=metadata["num_rows"],
        num_usable=metadata["num_usable"],
    )


def read_metadata(path: Path) -> dict[str, Any]:
    """The lineage in a shard's Parquet footer, plus ``num_rows``, ``num_usable`` and ``reasons`` (counts).

    Raises:
        ShardError: not a Parquet file, or not one of ours.
    """
    try:
        raw = pq.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise ShardError(f"no shard at {path}: run the build again, it makes only what is missing") from error
    except pa.ArrowInvalid as error:
        raise ShardError(f"{path} is torn or not Parquet ({error}): delete it and run the build again") from error
    if METADATA_KEY not in raw:
        raise ShardError(f"{path} was not written by this project: its footer has no '{METADATA_KEY.decode()}' entry")
    metadata: dict[str, Any] = json.loads(raw[METADATA_KEY])
    return metadata


def read_shard(path: Path) -> pa.Table:
    """All rows of a shard.

    Raises:
        ShardError: the file is missing, torn, or has other columns than its table.
    """
    metadata = read_metadata(path)
    table = pq.ParquetFile(path).read()
    expected = TABLES[metadata["table"]]
    if not table.schema.equals(expected, check_metadata=False):
        raise ShardError(f"{path} has other columns than table {metadata['table']!r} of schema {SCHEMA_VERSION}")
    return table


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a shard as dictionaries, in order."""
    for batch in read_shard(path).to_batches(max_chunksize=256):
        yield from batch.to_pylist()


def sweep_store(workspace: Workspace) -> list[Path]:
    """Remove what killed processes left: unheld temporary files, and tars without a committed Parquet."""
    removed = sweep(workspace.catalog / "tables") + sweep(workspace.data)
    for tar in sorted(workspace.data.glob("*/*.tar")):
        path = workspace.table_path(tar.parent.name, tar.stem)
        if not path.exists():
            with claim(path):  # nobody is making it now
                if not path.exists():
                    tar.unlink(missing_ok=True)
                    removed.append(tar)
    return removed


def _encode(table: str, rows: list[Mapping[str, Any]], metadata: Mapping[str, Any]) -> pa.Buffer:
    reasons = Counter(row["reason"] for row in rows if row.get("reason") is not None)
    counts = {"num_rows": len(rows), "num_usable": len(rows) - reasons.total(), "reasons": dict(reasons)}
    footer = {**metadata, "table": table, "schema_version": SCHEMA_VERSION, **counts}
    schema = TABLES[table].with_metadata({METADATA_KEY: canonical_json(footer).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd", row_group_size=_ROW_GROUP)
    return sink.getvalue()


def _tar_header(name: str, length: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = length, 0o644, 0
    return info.tobuf(format=tarfile.USTAR_FORMAT)
