"""Files of ready-made edits as rows: Parquet, WebDataset tars, JSON lists and JSON lines."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.errors import SourceError
from tasks.readers.edit_columns import IMAGES, find_columns
from tasks.readers.json_records import JsonRecords
from tasks.readers.locations import cell_name, stretch_name
from tasks.readers.paired_folders import SUFFIXES
from tasks.readers.parquet_tables import ParquetTexts
from tasks.readers.tar_files import tar_members

MAX_TEXT_BYTES = 1 << 20
"""Largest text or JSON member of a tar, and largest line of a file of JSON lines."""

PATTERNS = ("*.parquet", "*.tar", "*.jsonl", "*.json")
"""What is looked for, at any depth; the first that finds something."""


@dataclass(frozen=True, kw_only=True)
class EditRow:
    """One row of a table: values by role, pictures by the name under which the reader finds them."""

    number: int
    file: str
    """The table, relative to the dataset's folder."""
    values: Mapping[str, Any] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)
    """Other values, by column."""


def find_tables(kind: str, root: Path, pattern: str | None) -> list[PurePosixPath]:
    """The dataset's tables, sorted. Raises SourceError where there are none."""
    patterns = (pattern,) if pattern else PATTERNS
    for one in patterns:
        try:
            files = [path.relative_to(root) for path in root.rglob(one) if path.is_file()]
        except (ValueError, NotImplementedError) as error:
            raise SourceError(
                f"Option files of reader {kind} must be a pattern such as {PATTERNS[0]}; got {one!r}."
            ) from error
        shown = [path for path in sorted(files) if not any(part.startswith(".") for part in path.parts)]
        if shown:
            return [PurePosixPath(path.as_posix()) for path in shown]
    raise SourceError(f"Reader {kind} needs tables of edits ({', '.join(patterns)}) below {root}; there are none.")


def read_table(
    root: Path, table: PurePosixPath, columns: Mapping[str, str], extra: tuple[str, ...]
) -> Iterator[EditRow]:
    """The rows of one table, in order, decoding no picture.

    Args:
        root: the dataset's folder.
        table: relative to it.
        columns: role -> column where the names of `edit_columns.ALIASES` do not do.
        extra: further columns that are wanted, where the table has them.

    Raises:
        SourceError: the file is damaged, or lacks a column that it must have.
    """
    readers = {".parquet": _parquet_rows, ".tar": _tar_rows, ".jsonl": _line_rows}
    yield from readers.get(table.suffix, _list_rows)(root, table, columns, extra)


def _parquet_rows(
    root: Path, table: PurePosixPath, given: Mapping[str, str], extra: tuple[str, ...]
) -> Iterator[EditRow]:
    texts = ParquetTexts(root / table, "A table of edits")
    columns = find_columns(texts.columns, given, str(table))
    packed = {role: columns[role] for role in IMAGES if role in columns and texts.holds_pictures(columns[role])}
    plain = {role: column for role, column in columns.items() if role not in packed}
    rest = [name for name in extra if name in texts.columns]
    for number, row in enumerate(texts.rows([*plain.values(), *rest])):
        names = {role: cell_name(str(table), number, column) for role, column in packed.items()}
        values = names | {role: row[column] for role, column in plain.items()}
        yield EditRow(number=number, file=str(table), values=values, rest={name: row[name] for name in rest})


def _list_rows(root: Path, table: PurePosixPath, given: Mapping[str, str], extra: tuple[str, ...]) -> Iterator[EditRow]:
    records = JsonRecords(root / table, "A list of edits")
    yield from _object_rows((value for _, value in records.array()), table, given)


def _line_rows(root: Path, table: PurePosixPath, given: Mapping[str, str], extra: tuple[str, ...]) -> Iterator[EditRow]:
    yield from _object_rows(_json_lines(root / table), table, given)


def _json_lines(path: Path) -> Iterator[Any]:
    """The value of each line that is not blank; None for one that is no JSON."""
    try:
        with path.open("rb") as stream:
            while line := stream.readline(MAX_TEXT_BYTES + 1):
                if len(line) > MAX_TEXT_BYTES:
                    raise SourceError(f"A line of {path} may have at most {MAX_TEXT_BYTES} bytes; one has more.")
                if line.strip():
                    yield _parse(line)
    except OSError as error:
        raise SourceError(f"{path} must be a readable file: {error.strerror}.") from error


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _object_rows(objects: Iterator[Any], table: PurePosixPath, given: Mapping[str, str]) -> Iterator[EditRow]:
    """Rows of objects; the first one that is an object says which columns there are."""
    columns: dict[str, str] | None = None
    for number, value in enumerate(objects):
        if isinstance(value, dict):
            columns = columns or find_columns(value, given, str(table))
            values = {role: value.get(column) for role, column in columns.items()}
            yield EditRow(number=number, file=str(table), values=values, rest=value)
        else:
            yield EditRow(number=number, file=str(table))


def _tar_rows(root: Path, table: PurePosixPath, given: Mapping[str, str], extra: tuple[str, ...]) -> Iterator[EditRow]:
    """Samples of a WebDataset: members of one name up to the first dot, one after the other."""
    yield from _object_rows(_samples(root, table), table, given)


def _samples(root: Path, table: PurePosixPath) -> Iterator[dict[str, Any]]:
    """Each sample's fields: a picture by its place under what stands before its ending ("0.source.jpg": source)."""
    key: tuple[str, str] | None = None
    fields: dict[str, Any] = {}
    for name, offset, length in tar_members(root / table, "A tar of edits"):
        path = PurePosixPath(name)
        stem, _, suffix = path.name.partition(".")
        if (path.parent.as_posix(), stem) != key and fields:
            yield fields
            fields = {}
        key = path.parent.as_posix(), stem
        fields.setdefault("__key__", (path.parent / stem).as_posix())
        fields |= _fields(root, table, suffix.lower(), name, offset, length)
    if fields:
        yield fields


def _fields(root: Path, table: PurePosixPath, suffix: str, name: str, offset: int, length: int) -> dict[str, Any]:
    role, _, ending = suffix.rpartition(".")
    if f".{ending}" in SUFFIXES:
        return {role or ending: stretch_name(str(table), offset, length, name)}
    if ending not in ("json", "txt") or length > MAX_TEXT_BYTES:
        return {}
    with (root / table).open("rb", buffering=0) as stream:
        data = os.pread(stream.fileno(), length, offset)
    if ending == "txt":
        return {role or "txt": data.decode("utf-8", "replace")}
    value = _parse(data)
    return value if isinstance(value, dict) else {}
