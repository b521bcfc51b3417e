"""Parquet files of edit datasets: texts streamed without touching a picture, pictures one by one on request.

A picture is a struct ``{bytes, path}`` (the form of Hugging Face's ``datasets``) or plain binary; where all bytes are
null, the paths name files. Pictures are read in the order of rows, a few at a time.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import RowRejected, SourceError
from catalog.reasons import Reason
from catalog.source_files import read_source_file
from tasks.readers.layouts import is_inside
from tasks.readers.parquet_limits import safe_batch_rows

_TEXT_ROWS = 1024
_PICTURE_ROWS = 8
_BUFFER = 1 << 20  # bytes of a column read ahead, instead of a row group's whole column
_NUM_CURSORS = 4
_DAMAGE = (pa.ArrowException, OSError, ValueError)


def _open(path: Path, what: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise SourceError(f"{what} must be a Parquet file; {path} is not ({reason}); fetch it again.") from error


def _is_picture(kind: Any) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


class ParquetTexts:
    """The columns of one file that are not pictures.

    Args:
        path: the file.
        what: what it is, for messages.

    Raises:
        SourceError: it is no Parquet file, or is torn.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._file, self._path, self._what = _open(path, what), path, what
        self.columns: list[str] = list(self._file.schema_arrow.names)

    def holds_pictures(self, column: str) -> bool:
        """Whether the cells of a column hold encoded pictures; False: paths, or no pictures at all."""
        kind = self._file.schema_arrow.field(column).type
        is_null = bool(pa.types.is_struct(kind)) and self._all_null(f"{column}.bytes")
        return _is_picture(kind) and not is_null

    def holds_paths(self, column: str) -> bool:
        """Whether a column is of ``{bytes, path}`` with paths alone."""
        kind = self._file.schema_arrow.field(column).type
        return bool(pa.types.is_struct(kind)) and _is_picture(kind) and not self.holds_pictures(column)

    def _all_null(self, leaf: str) -> bool:
        """Whether the file's statistics say that a leaf has no value anywhere."""
        metadata = self._file.metadata
        for group in range(metadata.num_row_groups):
            columns = [metadata.row_group(group).column(index) for index in range(metadata.num_columns)]
            chunk = next((one for one in columns if one.path_in_schema == leaf), None)
            if chunk is None or not chunk.is_stats_set or chunk.statistics.null_count != chunk.num_values:
                return False
        return bool(metadata.num_row_groups > 0)

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The named columns row by row; of a column of paths the paths. Raises SourceError: damaged, or too large."""
        leaves = [f"{column}.path" if self.holds_paths(column) else column for column in columns]
        most = safe_batch_rows(self._path, self._file, leaves, _TEXT_ROWS)
        try:
            for batch in self._file.iter_batches(most, columns=leaves):
                for row in batch.to_pylist():
                    yield {name: value["path"] if _is_path(value) else value for name, value in row.items()}
        except _DAMAGE as error:
            reason = str(error).partition("\n")[0]
            raise SourceError(f"{self._what} must be whole; {self._path} is damaged ({reason}).") from error


def _is_path(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"path"}


class _Cursor:
    """One column of one file, read forwards."""

    def __init__(self, path: Path, column: str) -> None:
        self._file, self._path, self._column = _open(path, "A table of pictures"), path, column
        if column not in self._file.schema_arrow.names:
            raise SourceError(f"no column {column!r}")
        metadata = self._file.metadata
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first, self._values, self._end = 0, pa.array([]), 0

    def cell(self, row: int) -> Any:
        """The value of a row. Raises IndexError where the file has no such row."""
        if not 0 <= row < self._starts[-1]:
            raise IndexError(f"row {row} of {self._starts[-1]}")
        if not self._first <= row < self._end and self._needs_seek(row):
            group = next(index for index, end in enumerate(self._starts[1:]) if row < end)
            most = safe_batch_rows(self._path, self._file, [self._column], _PICTURE_ROWS, [group])
            self._batches = self._file.iter_batches(most, row_groups=[group], columns=[self._column])
            self._end = self._starts[group]
        while row >= self._end:
            self._values = next(self._batches).column(0)
            self._first, self._end = self._end, self._end + len(self._values)
        return self._values[row - self._first].as_py()

    def _needs_seek(self, row: int) -> bool:
        """Whether a row lies behind, or in another row group than the one that is being read."""
        if row < self._first or self._end in self._starts:
            return True
        return row >= next(start for start in self._starts if start > self._end)


class ParquetPictures:
    """Pictures in cells below a folder; a few columns are kept open, so that rows in order are read once."""

    def __init__(self) -> None:
        self._cursors: OrderedDict[tuple[str, str], _Cursor] = OrderedDict()

    def fetch(self, root: Path, path: str, row: int, column: str) -> bytes:
        """The encoded picture of a cell. Raises RowRejected with the reason why there is none."""
        if not is_inside(path) or not (root / path).resolve().is_relative_to(root.resolve()):
            raise RowRejected(Reason.PATH_ESCAPE, f"{path!r} is not a plain path below the dataset's folder")
        try:
            value = self._cursor(root, path, column).cell(row)
        except (SourceError, *_DAMAGE) as error:
            detail = str(error).partition("\n")[0]
            raise RowRejected(Reason.UNREADABLE_FILE, f"row {row} of {path}: {detail}") from error
        except (IndexError, StopIteration) as error:
            raise RowRejected(Reason.CHANGED_FILE, f"{path} has no row {row}") from error
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict):
            if value.get("bytes") is None and isinstance(value.get("path"), str):
                return read_source_file(root, value["path"])
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise RowRejected(Reason.MISSING_FILE, f"row {row} of {path} has no picture in {column}")
        return value

    def _cursor(self, root: Path, path: str, column: str) -> _Cursor:
        if (path, column) not in self._cursors:
            self._cursors[path, column] = _Cursor(root / path, column)
        self._cursors.move_to_end((path, column))
        while len(self._cursors) > _NUM_CURSORS:
            self._cursors.popitem(last=False)
        return self._cursors[path, column]
