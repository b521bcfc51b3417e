"""OpenImages' tables of gigabytes, image by image: sorted by DuckDB within a memory limit, spilling to disk.

Every value stays text. A table is read by its header: releases differ in their columns.
"""

import csv
import glob
import re
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

from catalog.errors import ShardError, SourceError
from catalog.queries import open_database, run_statement
from tasks.readers.openimages_files import Files

MEMORY_LIMIT = "512MB"
"""Of the sort; beyond it DuckDB spills to the system's temporary folder."""

THREADS = 2
"""Each holds read buffers of its own; more would not fit into the limit on a machine of many cores."""

MAX_ROWS = 5_000
"""Boxes and masks of one photo, several times the most that a real one has."""

_MAX_HEADER_BYTES = 1 << 16
_BATCH = 8192
_COORDINATES = ("XMin", "XMax", "YMin", "YMax")
_SOURCE = (
    "read_csv($path, columns = $columns, auto_detect = false, header = false, skip = 1, delim = ',', "
    "quote = '\"', escape = '\"')"
)

Row = dict[str, Any]
"""``image``, ``kind`` (photo, box or mask), and the columns of its kind; values are text or None."""

Group = tuple[str | None, list[Row]]
"""An image's id and its rows."""

COLUMNS = {
    "photo": {"licence": "License"},
    "box": {
        "label": "LabelName",
        **{name.lower(): name for name in _COORDINATES},
        "is_group": "IsGroupOf",
        "is_depiction": "IsDepiction",
    },
    "mask": {
        "label": "LabelName",
        **{name.lower(): f"Box{name}" for name in _COORDINATES},
        "identity": "BoxID",
        "path": "MaskPath",
    },
}
"""Columns that are read of each kind: our name, the file's."""


def read_groups(files: Files) -> Iterator[tuple[str | None, list[Row]]]:
    """(image id, its rows) in order of the id: the photo's row, then boxes, then masks, each in order of its values.

    Images without a region are left out: without a mask, or without a box where the files have no masks. Rows that
    name no image come last, under None. The sorted tables lie in the system's temporary folder meanwhile.

    Raises:
        SourceError: a table lacks a column, is cut short or is not UTF-8; an image has too many rows.
    """
    paths = {"photo": files.photos, "box": files.boxes, **({"mask": files.masks} if files.masks else {})}
    headers = {kind: _read_header(path, ["ImageID", *COLUMNS[kind].values()]) for kind, path in paths.items()}
    with TemporaryDirectory(prefix="ieiw-openimages-") as folder:
        for kind, path in paths.items():
            _sort(kind, path, headers[kind], Path(folder) / f"{kind}.parquet")
        *others, leading = [_groups(kind, Path(folder) / f"{kind}.parquet") for kind in paths]
        yield from _join(others, leading)


def _sort(kind: str, path: Path, header: list[str], target: Path) -> None:
    """Write a table's columns in order of the image and every value.

    One table at a time: the sort of a union of tables does not spill (DuckDB 2.0), that of one does.
    """
    picked = {"image": "ImageID", **COLUMNS[kind]}
    columns = [f"c{header.index(column)} AS {name}" for name, column in picked.items()]
    sql = f"COPY (SELECT {', '.join(columns)} FROM {_SOURCE} ORDER BY ALL ASC NULLS LAST) TO $target (FORMAT parquet)"
    kinds = {f"c{index}": "VARCHAR" for index in range(len(header))}
    try:
        with open_database(threads=THREADS, memory_limit=MEMORY_LIMIT) as connection:
            run_statement(connection, sql, path=glob.escape(str(path)), columns=kinds, target=str(target))
    except ShardError as error:
        raise SourceError(_explain(path, error.__cause__ or error)) from error


def _groups(kind: str, path: Path) -> Iterator[Group]:
    """The rows of a sorted table, image by image."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        batches = (batch.columns for batch in file.iter_batches(_BATCH))
        rows = (row for columns in batches for row in zip(*(c.to_pylist() for c in columns), strict=True))
        for image, group in groupby(rows, key=itemgetter(0)):
            found = [dict(zip(names, row, strict=True)) | {"kind": kind} for row in islice(group, MAX_ROWS + 1)]
            if len(found) > MAX_ROWS:
                raise SourceError(
                    f"An OpenImages photo may have at most {MAX_ROWS} rows in a table; image {str(image)[:40]!r} has "
                    "more; fetch the tables again."
                )
            yield image, found


def _join(others: list[Iterator[Group]], leading: Iterator[Group]) -> Iterator[Group]:
    """The groups of the leading table, each with what the others have of its image."""
    heads = [next(groups, None) for groups in others]
    for image, rows in leading:
        found: list[Row] = []
        for index, groups in enumerate(others):
            while (head := heads[index]) is not None and _order(head[0]) < _order(image):
                heads[index] = next(groups, None)
            if head is not None and head[0] == image:
                found += head[1]
        yield image, found + rows


def _order(image: str | None) -> tuple[bool, str]:
    """DuckDB's order of texts is that of their code points, as Python's."""
    return image is None, image or ""


def _read_header(path: Path, needed: Sequence[str]) -> list[str]:
    """The names of a table's columns."""
    try:
        with path.open("rb") as stream:
            line = stream.readline(_MAX_HEADER_BYTES)
        header = next(csv.reader([line.decode("utf-8-sig")]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"An OpenImages table must be a CSV in UTF-8 with a header; {path}: {error}.") from error
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise SourceError(
            f"{path} must have the columns {', '.join(needed)}; it lacks {', '.join(lacking)}; fetch the file again."
        )
    return header


def _explain(path: Path, error: BaseException) -> str:
    """DuckDB's account of a bad table in one sentence: the line, and what is wrong with it."""
    text = str(error)
    cause = re.search(
        r"^(Expected Number of Columns|Invalid unicode|Value with|Maximum line size).*", text, re.MULTILINE
    )
    problem = f"{text.splitlines()[0]}{', ' + cause[0].strip(' .') if cause else ''}"
    return f"OpenImages' tables must be whole CSV files in UTF-8; {path} is not ({problem}); fetch it again."
