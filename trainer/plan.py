"""Reads the sampling plan: row i of ``mix.parquet`` by its position, in constant time.

The training rows come first, ordered by ``position`` 0..N-1; sample i of a run is row i mod N. So "which rows
were in step k?" needs no log: they are the positions (k * B + j) mod N for j in 0..B-1, B samples per step.
"""

import bisect
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from catalog.errors import MixError
from catalog.parquet_streams import mix_digest, reading_mix
from catalog.samples import sample_fields
from catalog.schema import MIX
from trainer.plan_columns import Column, open_column

_COLUMNS = ("position", *sample_fields())
_ROW_GROUPS_IN_MEMORY = 2


class _Group(NamedTuple):
    empty: dict[str, Any]
    """A row without any value."""
    filled: list[tuple[str, Column]]
    """The columns that have some."""


class TrainingPlan:
    """The training rows of a mix file, safe to hand to data-loader processes."""

    def __init__(self, path: Path, more_columns: Sequence[str] = ()) -> None:
        """Check the columns and that the positions are 0..N-1 in order.

        Args:
            path: the mix.
            more_columns: what `row` gives beside the columns that rendering needs.

        Raises:
            MixError: missing, torn, not a mix, or without training rows.
        """
        self.path = path
        self._columns = [*_COLUMNS, *more_columns]
        self.sha256 = mix_digest(path)
        with reading_mix(path):
            self._read_starts(_open(path))
        if self.num_rows == 0:
            raise MixError(f"{path} must hold training rows, but has none: mix more pairs or other splits")
        self._groups: OrderedDict[int, _Group] = OrderedDict()
        self._file: tuple[int, pq.ParquetFile] | None = None

    def _read_starts(self, file: pq.ParquetFile) -> None:
        """Where each row group begins, from the footer alone: positions are sorted if each group's range is full."""
        path = self.path
        missing = [name for name in MIX.names if name not in file.schema_arrow.names]
        if missing:
            raise MixError(f"{path} must be a mix, but has no column {missing[0]!r}: make one with catalog mix")
        self._metadata = file.metadata
        self.num_rows = 0
        self._starts: list[int] = []  # of the row groups that hold training rows
        column = [file.metadata.schema.column(i).path for i in range(file.metadata.num_columns)].index("position")
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            found = facts.column(column).statistics
            count = 0 if found is None else facts.num_rows - (found.null_count or 0)
            if found is None or (count and (found.min, found.max) != (self.num_rows, self.num_rows + count - 1)):
                raise MixError(f"{path} must hold its training rows first, by position: make it anew")
            self._starts.append(self.num_rows)
            self.num_rows += count

    def row(self, index: int) -> dict[str, Any]:
        """The mix row of sample ``index`` (any whole number from 0 on), the columns that rendering needs.

        Raises:
            MixError: the row's part of the file is damaged.
        """
        position = index % self.num_rows
        group = bisect.bisect_right(self._starts, position) - 1
        place = position - self._starts[group]
        empty, columns = self._group(group)
        row = empty.copy()
        for name, column in columns:
            row[name] = column[place]
        if row["position"] != position:
            raise MixError(
                f"{self.path} must hold its training rows by position, but {position} is elsewhere: make it anew"
            )
        return row

    def _group(self, group: int) -> _Group:
        """A row group made ready; reads it unless it is one of the last ones."""
        if group not in self._groups:
            with reading_mix(self.path):
                if self._file is None or self._file[0] != os.getpid():  # a file position is not shared after a fork
                    self._file = (os.getpid(), _open(self.path, self._metadata))
                table = self._file[1].read_row_group(group, self._columns, use_threads=False).combine_chunks()
                whole = [(name, table.column(name).chunk(0)) for name in table.column_names]
                filled = [(name, open_column(values)) for name, values in whole if values.null_count < len(values)]
                self._groups[group] = _Group(dict.fromkeys(table.column_names), filled)
            if len(self._groups) > _ROW_GROUPS_IN_MEMORY:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return self._groups[group]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_groups": OrderedDict(), "_file": None, "_metadata": None}


def _open(path: Path, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """The file; ``metadata`` is its footer if it has been read before: a large mix's takes time and memory."""
    return pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True)
