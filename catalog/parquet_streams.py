"""Parquet written from a stream of batches, whole or not at all, the same bytes for any batching."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import canonical_json
from catalog.durable import claim, publish
from catalog.schema import SCHEMA_VERSION
from catalog.store import METADATA_KEY


def write_stream(
    path: Path,
    table: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    metadata: Mapping[str, Any],
    row_group_size: int,
) -> None:
    """Write ``batches`` to ``path`` in row groups of exactly ``row_group_size`` rows; replaces what was there.

    Memory stays at about two row groups. ``metadata`` (JSON values) goes into the footer beside the table's name.

    Raises:
        OSError: disk full, folder not writable; nothing half-written stays.
    """
    footer = {**metadata, "table": table, "schema_version": SCHEMA_VERSION}
    schema = schema.with_metadata({METADATA_KEY: canonical_json(footer).encode()})
    with claim(path) as descriptor:
        with (
            open(descriptor, "wb", closefd=False) as file,
            pq.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            for group in regroup(batches, schema, row_group_size):
                writer.write_table(group, row_group_size=row_group_size)
        publish(descriptor, path)


def regroup(batches: Iterable[pa.RecordBatch], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly ``size`` rows (the last may be shorter), each in one chunk.

    Parquet pages depend on the chunks that they are written from, so the chunks must not depend on the engine.
    """
    pending: list[pa.Table] = []
    num_pending = 0
    for batch in batches:
        pending.append(pa.Table.from_batches([batch]).cast(schema))
        num_pending += batch.num_rows
        if num_pending >= size:
            rows = pa.concat_tables(pending)
            whole = num_pending - num_pending % size
            for start in range(0, whole, size):
                yield rows.slice(start, size).combine_chunks()
            pending, num_pending = [rows.slice(whole)], num_pending - whole
    if num_pending:
        yield pa.concat_tables(pending).combine_chunks()
