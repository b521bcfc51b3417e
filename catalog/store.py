"""The shard store: rows in Parquet, images in an uncompressed tar, both keyed by what made them.

A shard is ``tables/<table>/<key>.parquet`` and, where the step makes images, ``data/<table>/<key>.tar``; a step
may put one more file there under a suffix of its own (``<key>.faiss``). The key is the digest of everything that
the content depends on, so a shard is immutable and never written twice with other bytes. The order of commits is
tar and file, then Parquet: **the Parquet file's existence is the commit**. A process killed at any instant leaves
either a whole shard or nothing that counts; the next run makes the same bytes again. Tars are plain ustar with
fixed owner, mode and time: ``tar`` and WebDataset read them, and each row keeps offset and length, so that any
image is one ``pread``.
"""

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import bytes_digest, canonical_json, file_digest, value_digest
from catalog.durable import TEMPORARY_SUFFIX, claim, publish, sweep, write_all
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
    """Digest of the Parquet file. Its rows hold the digests of the images, its footer those of other files."""
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
        self._files: list[_File] = []
        self._claims = ExitStack()

    def add_image(self, name: str, data: bytes, width: int, height: int) -> dict[str, Any]:
        """Append an encoded image under ``name`` (unique in the shard); returns its `columns.IMAGE` value."""
        assert name not in self._names, f"two images named {name} in one shard"
        self._names.add(name)
        if self._descriptor is None:
            self._descriptor = self._claims.enter_context(claim(self._final))
        header = tar_header(name, len(data))
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

    def add_file(self, suffix: str) -> Callable[[bytes], None]:
        """Begin the file ``data/<table>/<key><suffix>`` and return what appends bytes to it."""
        final = self._final.with_suffix(suffix)
        assert final != self._final and final not in [file.final for file in self._files], final
        self._files.append(_File(final, self._claims.enter_context(claim(final))))
        return self._files[-1].append

    def finish(self) -> dict[str, Any]:
        """Publish tar and files, and return what the footer says of them: lengths in bytes, digests."""
        facts: dict[str, Any] = {"tar_length": 0}
        if self._descriptor is not None:
            write_all(self._descriptor, bytes(2 * _BLOCK))
            publish(self._descriptor, self._final)
            facts["tar_length"] = self._position + 2 * _BLOCK
        for file in self._files:
            publish(file.descriptor, file.final)
            facts.setdefault("files", {})[file.final.suffix] = {"length": file.length, "sha256": file.digest()}
        return facts

    def close(self) -> None:
        """Let go of tar and files; unfinished ones are forgotten."""
        self._claims.close()


class _File:
    """One file beside a shard while it is written."""

    def __init__(self, final: Path, descriptor: int) -> None:
        self.final = final
        self.descriptor = descriptor
        self.length = 0
        self._hash = hashlib.sha256()

    def append(self, data: bytes) -> None:
        """Write all of ``data``."""
        write_all(self.descriptor, data)
        self._hash.update(data)
        self.length += len(data)

    def digest(self) -> str:
        """SHA-256 of what was written."""
        return self._hash.hexdigest()


Produce = Callable[[ShardWriter], Iterable[Mapping[str, Any]] | pa.Table]


def shard_key(step: str, parameters: Mapping[str, Any], backends: Iterable[str], inputs: Iterable[str]) -> str:
    """The content key: schema version, step, parameters, backends at their revisions, input digests."""
    return value_digest([SCHEMA_VERSION, step, dict(parameters), list(backends), list(inputs)])[:32]


def write_shard(workspace: Workspace, table: str, key: str, produce: Produce, metadata: Mapping[str, Any]) -> Shard:
    """Make one shard, unless it exists, and return it.

    Args:
        workspace: where.
        table: a name of `schema.TABLES`.
        key: `shard_key` of everything that the rows depend on.
        produce: yields rows in a fixed order and puts images into the writer; called only when needed. Large
            shards of narrow rows come as one Arrow table.
        metadata: JSON values kept in the Parquet footer (step, parameters, backends, inputs): the lineage.

    Raises:
        OSError: disk full, folder not writable; nothing half-written stays.
    """
    path = workspace.table_path(table, key)
    if path.exists():
        return read_entry(workspace, table, key)
    with claim(path) as descriptor, closing(ShardWriter(workspace, table, key)) as writer:
        if not path.exists():  # somebody may have finished it while we waited for the claim
            rows = _as_table(table, produce(writer))
            write_all(descriptor, _encode(table, rows, {**metadata, **writer.finish()}))
            publish(descriptor, path)
    return read_entry(workspace, table, key)


def read_entry(workspace: Workspace, table: str, key: str, sha256: str | None = None) -> Shard:
    """Describe a committed shard from its file; ``sha256`` of the file, where that is known."""
    path = workspace.table_path(table, key)
    metadata = read_metadata(path)
    for file, expected in files_beside(workspace, table, key, metadata).items():
        length = file.stat().st_size if file.is_file() else 0
        if length != expected["length"]:
            raise ShardError(
                f"{file} must have the {expected['length']} bytes that {path} counts on, but has {length}: "
                f"delete the Parquet file and run the build again"
            )
    return Shard(
        table=table,
        key=key,
        path=path.relative_to(workspace.catalog).as_posix(),
        sha256=sha256 or file_digest(path),
        num_rows=metadata["num_rows"],
        num_usable=metadata["num_usable"],
    )


def files_beside(workspace: Workspace, table: str, key: str, metadata: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """The tar and the files that a shard counts on, each with its ``length`` and, of files, its ``sha256``."""
    tar = workspace.tar_path(table, key)
    files = {tar: {"length": metadata.get("tar_length", 0)}}
    return files | {tar.with_suffix(suffix): facts for suffix, facts in metadata.get("files", {}).items()}


def read_metadata(path: Path) -> dict[str, Any]:
    """The lineage in a shard's Parquet footer, plus ``num_rows``, ``num_usable`` and ``reasons`` (counts).

    Raises:
        ShardError: not a Parquet file, or not one of ours.
    """
    return _lineage(_open_parquet(path), path)


def read_shard(path: Path, columns: Sequence[str] | None = None, dictionary: Sequence[str] = ()) -> pa.Table:
    """All rows of a shard; of its columns those that are named, or all; those in ``dictionary`` as dictionaries.

    Raises:
        ShardError: the file is missing, torn, or has other columns than its table.
    """
    file = _open(path, dictionary)
    with _reading(path):
        return file.read(columns=columns and list(columns))


def read_batches(path: Path, columns: Sequence[str] | None = None, size: int = 4096) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, at most ``size`` at a time: memory stays at about one row group. Raises as `read_shard`."""
    file = _open(path)
    with _reading(path):
        yield from file.iter_batches(size, columns=columns and list(columns))


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a shard as dictionaries, in order, with the named columns or all."""
    for batch in read_shard(path, columns).to_batches(max_chunksize=256):
        yield from batch.to_pylist()


def _open(path: Path, dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    """The file of a shard, whose columns are those of its table."""
    file = _open_parquet(path, dictionary)
    table, found = _lineage(file, path)["table"], file.schema_arrow
    columns = TABLES[table]
    types = [pa.dictionary(pa.int32(), one.type) if one.name in dictionary else one.type for one in columns]
    # Other writers declare columns that cannot be null: no matter.
    if found.names != columns.names or found.types != types:
        raise ShardError(f"{path} has other columns than table {table!r} of schema {SCHEMA_VERSION}")
    return file


def _open_parquet(path: Path, dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    options: dict[str, Any] = {"read_dictionary": list(dictionary), "page_checksum_verification": True}
    try:
        with _reading(path):
            return pq.ParquetFile(path, **options)
    except KeyError as error:  # of a column that is to be a dictionary
        missing = ", ".join(name for name in dictionary if name not in pq.read_schema(path).names)
        raise ShardError(f"{path} lacks columns of its table ({missing}): delete it, then {_remake(path)}") from error


def _lineage(file: pq.ParquetFile, path: Path) -> dict[str, Any]:
    raw = file.schema_arrow.metadata or {}
    if METADATA_KEY not in raw:
        raise ShardError(f"{path} was not written by this project: its footer has no '{METADATA_KEY.decode()}' entry")
    lineage: dict[str, Any] = json.loads(raw[METADATA_KEY])
    return lineage


def no_shard(path: Path) -> ShardError:
    """What is said of a shard that is not there."""
    return ShardError(f"no shard at {path}: {_remake(path)}, which makes only what is missing")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Around any reading of a shard: what Arrow says of a damaged file becomes one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise no_shard(path) from error
    except (pa.ArrowException, OSError) as error:  # Arrow gives OSError for pages that it cannot decompress
        if isinstance(error, OSError) and error.errno:
            raise  # the system's own refusal: the file may be whole
        what = str(error).partition("\n")[0]
        raise ShardError(f"{path} is torn or not Parquet ({what}): delete it, then {_remake(path)}") from error


def _remake(path: Path) -> str:
    """What makes a file anew, by where it lies."""
    if path.parent.name == "verdicts":
        return "run `python -m catalog decide` again"
    return "run the build again" if path.parent.parent.name == "tables" else "run again what wrote it"


def sweep_store(workspace: Workspace) -> list[Path]:
    """Remove what killed processes left: unheld temporary files, and tars and files without a committed Parquet.

    Only in the folders of our tables: other folders below ``data/`` are the user's.
    """
    removed = sweep(workspace.catalog / "tables")
    for table in TABLES:
        removed += sweep(workspace.data / table)
    for file in orphans(workspace):
        path = workspace.table_path(file.parent.name, file.stem)
        with claim(path):  # nobody is making it now
            if not path.exists():
                file.unlink(missing_ok=True)
                removed.append(file)
    return removed


def orphans(workspace: Workspace) -> list[Path]:
    """Tars and files of shards whose Parquet is not there: unfinished, or being made now."""
    files = [file for table in TABLES for file in sorted((workspace.data / table).glob("*"))]
    return [
        file
        for file in files
        if file.is_file()
        and file.suffix != TEMPORARY_SUFFIX
        and not workspace.table_path(file.parent.name, file.stem).exists()
    ]


def _as_table(table: str, rows: Iterable[Mapping[str, Any]] | pa.Table) -> pa.Table:
    """Rows as the table's own types, in one chunk per column: bytes must not depend on how they came."""
    if not isinstance(rows, pa.Table):
        rows = pa.Table.from_pylist([dict(row) for row in rows], schema=TABLES[table])
    return rows.cast(TABLES[table]).combine_chunks()


def _encode(table: str, rows: pa.Table, metadata: Mapping[str, Any]) -> pa.Buffer:
    reasons: Counter[str] = Counter()
    if "reason" in rows.column_names:
        reasons.update(reason for reason in rows.column("reason").to_pylist() if reason is not None)
    counts = {"num_rows": len(rows), "num_usable": len(rows) - reasons.total(), "reasons": dict(reasons)}
    footer = {**metadata, "table": table, "schema_version": SCHEMA_VERSION, **counts}
    schema = TABLES[table].with_metadata({METADATA_KEY: canonical_json(footer).encode()})
    sink = pa.BufferOutputStream()
    rows = rows.replace_schema_metadata(schema.metadata)
    pq.write_table(rows, sink, compression="zstd", row_group_size=_ROW_GROUP)
    return sink.getvalue()


def tar_header(name: str, length: int) -> bytes:
    """The block before a member's bytes: plain ustar, the same owner, mode and time for all."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = length, 0o644, 0
    return info.tobuf(format=tarfile.USTAR_FORMAT)
