"""Questions to the tables: one SQL statement each, answered by DuckDB, and shown beside the numbers that it gives.

Whatever a page says comes from a `Question`, and `Question.statement` is the whole of it: pasted into DuckDB on the
same machine it gives the same rows. Nothing here writes.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.errors import ShardError
from catalog.queries import fetch_rows, open_database, run_query
from catalog.store import read_metadata

MEMORY_LIMIT = "256MB"
"""Of one question; larger sorts spill to disk."""
_KEPT = 256
"""Answers that are kept, the latest ones."""
_MAX_KEPT_ROWS = 20_000
_SQL_FOLDER = Path(__file__).parent / "sql"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class View:
    """A table that a question reads: Parquet files, or JSON lines with their columns."""

    name: str
    paths: tuple[Path, ...]
    columns: tuple[tuple[str, str], ...]
    """Names and DuckDB types: what an empty table has, and of JSON lines what is read."""
    with_file: bool = False
    """Whether a column ``filename`` says which file a row is from; columns that a file lacks are null then."""
    with_rows: bool = False
    """Whether a column ``file_row_number`` counts the rows of each file from 0."""
    starts: tuple[int, ...] | None = None
    """Rows before each Parquet file: a column ``place`` then counts the rows of all files from 0."""

    def definition(self) -> str:
        """The view's SQL."""
        if not self.paths:
            made = {"file_row_number": self.with_rows, "place": self.starts is not None}
            names = (*self.columns, *((name, "BIGINT") for name, is_there in made.items() if is_there))
            columns = ", ".join(f"NULL::{kind} AS {_quoted(name)}" for name, kind in names)
            return f"CREATE TEMP VIEW {self.name} AS SELECT {columns} WHERE false"
        files = ", ".join(_text(path) for path in self.paths)
        if self.paths[0].suffix in (".jsonl", ".json"):
            columns = ", ".join(f"{name}: {_text(kind)}" for name, kind in self.columns)
            options = f"format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true"
            return f"CREATE TEMP VIEW {self.name} AS FROM read_json([{files}], {options})"
        if self.starts is not None:
            place = f"{_literal(self.starts)}[1 + file_index::BIGINT] + file_row_number AS place"
            return f"CREATE TEMP VIEW {self.name} AS SELECT *, {place} FROM read_parquet([{files}])"
        options = ", filename = true, union_by_name = true" if self.with_file else ""
        options += ", file_row_number = true" if self.with_rows else ""
        return f"CREATE TEMP VIEW {self.name} AS FROM read_parquet([{files}]{options})"


@dataclass(frozen=True)
class Question:
    """One statement, its values and the tables that it reads."""

    sql: str
    views: tuple[View, ...]
    values: tuple[tuple[str, Any], ...] = ()
    macros: tuple[str, ...] = ()
    """Statements of ``catalog/sql`` that come first."""

    def statement(self) -> str:
        """The whole question as DuckDB takes it, values put in."""
        values = dict(self.values)
        sql = re.sub(r"\$([a-z_]+)", lambda match: _literal(values[match[1]]), _without_comments(self.sql))
        parts = [view.definition() for view in self.views]
        return ";\n\n".join([*parts, *(_macro(name) for name in self.macros), sql.strip()]) + ";\n"


def ask(question: Question) -> Rows:
    """The rows of a question's answer; of one that was asked before, as long as no file has changed.

    Raises:
        ShardError: a file is missing, torn, or has other columns than the question reads.
        ConfigError: the answer does not fit into memory.
    """
    key = (question, _stamps(question))
    with _LOCK:
        if key in _ANSWERS:
            _ANSWERS.move_to_end(key)
            return _ANSWERS[key]
    rows = _run(question)
    if len(rows) <= _MAX_KEPT_ROWS:
        with _LOCK:
            _ANSWERS[key] = rows
            while len(_ANSWERS) > _KEPT:
                _ANSWERS.popitem(last=False)
    return rows


def parquet_view(
    name: str, paths: Sequence[Path], schema: pa.Schema, *, with_file: bool = False, with_rows: bool = False
) -> View:
    """A view over Parquet files of a table."""
    return View(name, tuple(paths), _columns(schema), with_file, with_rows)


def load_question(name: str) -> str:
    """The text of ``infra/dashboard/sql/<name>.sql``."""
    return _read_sql(_SQL_FOLDER / f"{name}.sql")


def is_table(path: Path, table: str) -> bool:
    """Whether a Parquet file is whole and of one of our tables."""
    try:
        return bool(read_metadata(path).get("table") == table)
    except ShardError:
        return False


_ANSWERS: "OrderedDict[Any, Rows]" = OrderedDict()
_LOCK = threading.Lock()


def _run(question: Question) -> Rows:
    for view in question.views:
        for path in view.paths:
            if not path.is_file():
                raise ShardError(f"no file at {path}: run the build again, it makes only what is missing")
    with open_database(memory_limit=MEMORY_LIMIT) as connection:
        for view in question.views:
            connection.execute(view.definition())
        for name in question.macros:
            run_query(connection, name)
        try:
            return fetch_rows(connection, question.sql, **dict(question.values))
        except duckdb.BinderException as error:
            names = ", ".join(view.name for view in question.views)
            raise ShardError(
                f"{names}: other columns than this version reads ({error}): run the build again"
            ) from error


def _stamps(question: Question) -> tuple[tuple[int, int], ...]:
    """What tells a file from itself at another time; (0, 0) for one that is gone."""
    stamps = []
    for view in question.views:
        for path in view.paths:
            try:
                found = path.stat()
                stamps.append((found.st_mtime_ns, found.st_size))
            except OSError:
                stamps.append((0, 0))
    return tuple(stamps)


@cache
def _columns(schema: pa.Schema) -> tuple[tuple[str, str], ...]:
    with duckdb.connect() as connection:
        connection.register("shape", schema.empty_table())
        rows: list[tuple[str, str]] = connection.execute(
            "SELECT column_name, column_type FROM (DESCRIBE shape)"
        ).fetchall()
    return tuple(rows)


@cache
def _read_sql(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _macro(name: str) -> str:
    from catalog.queries import load_sql

    return _without_comments(load_sql(name)).strip()


def _without_comments(sql: str) -> str:
    return "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_literal(item) for item in value) + "]" if value else "[]::VARCHAR[]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    return _text(value)
