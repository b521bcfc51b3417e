"""Parquet written from a stream of batches, whole or not at all, the same bytes for any batching.

Every page carries its CRC-32, as the mix travels without the manifest that vouches for shards: whoever reads it
with ``page_checksum_verification`` notices a changed byte before it becomes a changed row.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import bytes_digest, canonical_json
from catalog.durable import claim, publish, write_all
from catalog.errors import MixError, ShardError
from catalog.schema import SCHEMA_VERSION
from catalog.store import METADATA_KEY

_DATA_KEY = "ieiw.data_sha256"
_END_KEY = "ieiw.at_end"
_REMEDY = "make it anew with `python -m catalog mix`, or copy it again"
_TAIL = 8  # length of the footer, magic


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How columns lie in the file; their values are the same in any."""

    statistics: Sequence[str] | None = None
    """Columns with minima and maxima in the footer, which every reader reads; None: all."""
    dictionary: Sequence[str] | None = None
    """Columns that are tried as dictionaries; None: all."""
    plain: Sequence[str] = ()
    """Columns that are not compressed."""

    def options(self, schema: pa.Schema) -> dict[str, Any]:
        """Arguments of pyarrow's ParquetWriter."""
        kept = True if self.statistics is None else list(self.statistics)
        tried = True if self.dictionary is None else list(self.dictionary)
        squeezed: Any = "zstd"
        if self.plain:
            squeezed = {name: "none" if name in self.plain else "zstd" for name in schema.names}
        return {"compression": squeezed, "write_statistics": kept, "use_dictionary": tried}


def write_stream(
    path: Path,
    table: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch | pa.Table],
    metadata: Mapping[str, Any],
    row_group_size: int,
    layout: Layout | None = None,
    at_end: Callable[[], Mapping[str, Any]] | None = None,
) -> str:
    """Write ``batches`` to ``path`` in row groups of exactly ``row_group_size`` rows; replaces what was there.

    Memory stays at about two row groups. ``metadata`` (JSON values) goes into the footer beside the table's name, and
    with it the SHA-256 of everything before the footer, so that the footer alone stands for the whole file. Tables may
    bring columns of text as dictionaries, which is quicker to write; read again they are text. ``at_end`` gives what
    is known of the rows when all are written, for `read_ending`. Returns the file's SHA-256.

    Raises:
        OSError: disk full, folder not writable; nothing half-written stays.
    """
    footer = {**metadata, "table": table, "schema_version": SCHEMA_VERSION}
    schema = schema.with_metadata({METADATA_KEY: canonical_json(footer).encode()})
    with claim(path) as descriptor:
        file = _ClaimedFile(descriptor)
        groups = regroup(batches, schema, row_group_size)
        first = next(groups, schema.empty_table())
        options = (layout or Layout()).options(schema)
        # Arrow's own schema would bring dictionaries back as such.
        options |= {"write_page_checksum": True, "store_schema": first.schema.equals(schema)}
        with pq.ParquetWriter(file, first.schema.with_metadata(schema.metadata), **options) as writer:
            for group in chain([first] if len(first) else [], groups):
                writer.write_table(group, row_group_size=row_group_size)
            if not options["store_schema"]:  # its metadata went with it
                writer.add_key_value_metadata(schema.metadata)
            if at_end is not None:
                writer.add_key_value_metadata({_END_KEY: canonical_json(at_end())})
            writer.add_key_value_metadata({_DATA_KEY: file.digest()})
        publish(descriptor, path)
        return file.digest()


def read_ending(path: Path) -> dict[str, Any]:
    """What ``at_end`` of `write_stream` gave.

    Raises:
        ShardError: torn, or written without.
    """
    try:
        ending: dict[str, Any] = json.loads((pq.read_metadata(path).metadata or {})[_END_KEY.encode()])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ShardError(f"{path} is torn ({error}): delete it and make it again") from error
    return ending


def require_mix_file(path: Path) -> None:
    """Refuse a mix that is no file.

    Raises:
        MixError: a folder, or nothing is there.
    """
    if path.is_dir():
        raise MixError(f"a mix must be a file, but {path} is a folder: name the .parquet file of a mix")
    if not path.is_file():
        raise MixError(f"there is no mix at {path}: make one with `python -m catalog mix`")


def mix_digest(path: Path) -> str:
    """What names a mix: the SHA-256 of its footer, which holds that of everything before it.

    Takes the time of the footer alone, however large the mix is. A page that was changed without the footer fails
    its checksum when it is read.

    Raises:
        MixError: no such file, or not Parquet.
    """
    require_mix_file(path)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if len(tail) < _TAIL or tail[4:] != b"PAR1" or length > size - _TAIL - 4:
            raise MixError(
                f"{path} is torn or not Parquet: make it anew with `python -m catalog mix`, or copy it again"
            )
        file.seek(size - _TAIL - length)
        return bytes_digest(file.read())


def data_digest_holds(path: Path) -> bool:
    """Whether the bytes before a stream's footer are those that were written. Raises as `reading_mix` wraps it."""
    file = pq.ParquetFile(path)
    length = path.stat().st_size - file.metadata.serialized_size - _TAIL
    digest = hashlib.sha256()
    with path.open("rb") as data:
        while length and (chunk := data.read(min(length, 1 << 20))):
            digest.update(chunk)
            length -= len(chunk)
    expected: bytes = (file.metadata.metadata or {}).get(_DATA_KEY.encode(), b"")
    return digest.hexdigest().encode() == expected


@contextmanager
def reading_mix(path: Path) -> Iterator[None]:
    """Around any reading of a mix: what Arrow says of a damaged file becomes one sentence.

    Raises:
        MixError: missing, or its footer or a page is damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MixError(f"there is no mix at {path}: make one with `python -m catalog mix`") from error
    except (pa.ArrowException, OSError) as error:  # Arrow gives OSError for pages that it cannot decompress
        if isinstance(error, OSError) and error.errno:
            raise  # the system's own refusal
        what = str(error).partition("\n")[0]
        raise MixError(f"{path} is torn or not Parquet ({what}): {_REMEDY}") from error


def regroup(batches: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly ``size`` rows (the last may be shorter), each in one chunk.

    Parquet pages depend on the chunks that they are written from, so the chunks must not depend on the engine. A
    column that comes as a dictionary stays one.
    """
    pending: list[pa.Table] = []
    num_pending = 0
    for batch in batches:
        pending.append(_typed(batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch]), schema))
        num_pending += batch.num_rows
        if num_pending >= size:
            rows = pa.concat_tables(pending)
            whole = num_pending - num_pending % size
            for start in range(0, whole, size):
                yield _in_one(rows.slice(start, size))
            pending, num_pending = [rows.slice(whole)], num_pending - whole
    if num_pending:
        yield _in_one(pa.concat_tables(pending))


def _typed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    kept = [
        found if pa.types.is_dictionary(found.type) else field for found, field in zip(rows.schema, schema, strict=True)
    ]
    return rows.cast(pa.schema(kept))


def _in_one(rows: pa.Table) -> pa.Table:
    return rows.unify_dictionaries().combine_chunks()


class _ClaimedFile(io.RawIOBase):
    """A claimed descriptor as pyarrow's sink: each of its writes is one ``os.write``. Closing leaves it open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data``, bytes or a buffer."""
        view = memoryview(data).cast("B")
        write_all(self._descriptor, view)
        self._digest.update(view)
        self._position += len(view)
        return len(view)

    def digest(self) -> str:
        """SHA-256 of what was written so far."""
        return self._digest.hexdigest()

    def tell(self) -> int:
        """Bytes written so far."""
        return self._position
