"""DuckDB over shards: one in-memory database per question, SQL from ``catalog/sql/``, every value bound.

Large sorts and joins spill into the system's temporary folder (``TMPDIR``), which is removed with the database.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.errors import ConfigError, ShardError
from catalog.store import no_shard

MAX_THREADS = 1024
_SQL_FOLDER = Path(__file__).parent / "sql"
_REMEDY = "run `python -m catalog verify`, delete what it names and run the build again"

_OUR_MISTAKES = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.InternalException,
    duckdb.ParserException,
)
"""Wrong SQL is never the user's doing; every other error comes from the files that a query reads."""


@contextmanager
def open_database(threads: int | None = None, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database; results never depend on ``threads`` or ``memory_limit``.

    Args:
        threads: at least 1; None takes all cores.
        memory_limit: such as "4GB", after which sorts and joins spill to disk; None takes 80 % of the memory.

    Raises:
        ConfigError: an option is not valid, or the query does not fit into the memory limit.
        ShardError: a Parquet file that a query reads is torn.
    """
    num_threads = count_threads(threads)
    # DuckDB makes this folder when it first spills: a killed process that did not leaves nothing.
    spill = Path(tempfile.gettempdir()) / f"ieiw-spill-{secrets.token_hex(8)}"
    config: dict[str, Any] = {"temp_directory": str(spill), "preserve_insertion_order": False, "threads": num_threads}
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    try:
        connection = duckdb.connect(config=config)
    except (duckdb.ParserException, duckdb.InvalidInputException) as error:
        raise ConfigError(f"the memory limit must be like 4GB. Got {memory_limit!r}") from error
    connection.execute("SET enable_progress_bar = false")  # in `python -c` and notebooks it writes on standard output
    try:
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise ConfigError(f"out of memory ({_first_line(error)}): raise the memory limit or TMPDIR's room") from error
    except _OUR_MISTAKES:
        raise
    except duckdb.Error as error:
        raise ShardError(f"a shard cannot be read ({_first_line(error)}): {_REMEDY}") from error
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def count_threads(threads: int | None) -> int:
    """The cores to use: as many as asked for, or all. Raises ConfigError outside 1 to `MAX_THREADS`."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ConfigError(f"threads must be 1 to {MAX_THREADS}. Got {threads}: leave it away for all cores")
    return threads or os.cpu_count() or 1


@cache
def load_sql(name: str) -> str:
    """The text of ``catalog/sql/<name>.sql``."""
    return (_SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def open_table(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[Path], schema: pa.Schema) -> None:
    """Make the rows of some Parquet files a view called ``name``; no file makes an empty one.

    Raises:
        ShardError: a file is missing, or has other columns than ``schema``.
    """
    if not paths:
        connection.register(name, schema.empty_table())
        return
    for path in paths:
        if not path.is_file():
            raise no_shard(path)
    relation = connection.from_parquet([str(path) for path in paths])
    if relation.columns != schema.names:
        raise ShardError(f"{paths[0]} has other columns than its table: {_REMEDY}")
    relation.create_view(name)


def run_query(connection: duckdb.DuckDBPyConnection, name: str, **values: Any) -> None:
    """Run a file of one statement that makes a table or view."""
    run_statement(connection, load_sql(name), **values)


def run_statement(connection: duckdb.DuckDBPyConnection, sql: str, **values: Any) -> None:
    """Run one statement to its end."""
    connection.execute(sql, values or None).fetchall()


def fetch_rows(connection: duckdb.DuckDBPyConnection, sql: str, **values: Any) -> list[dict[str, Any]]:
    """All rows of a small result as dictionaries."""
    rows: list[dict[str, Any]] = connection.sql(sql, params=values).to_arrow_table().to_pylist()
    return rows


def stream_batches(
    connection: duckdb.DuckDBPyConnection, sql: str, batch_size: int, **values: Any
) -> Iterator[pa.RecordBatch]:
    """A large result in order, about ``batch_size`` rows at a time."""
    reader = connection.sql(sql, params=values).to_arrow_reader(batch_size)
    try:
        yield from reader
    except pa.ArrowException as error:
        raise ShardError(f"a shard cannot be read ({_first_line(error)}): {_REMEDY}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
