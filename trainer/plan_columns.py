"""Columns of a row group, for reading single rows fast: Arrow's own scalars take some microseconds per value.

Short strings and whole numbers become Python objects when the group is read, in Arrow's compiled code;
structures are taken apart into their fields. All else, and what would take much memory, stays in Arrow.
"""

from typing import Any, Protocol

import pyarrow as pa

_MAX_TEXT = 128
"""Bytes per row up to which a column of strings becomes Python strings. Ids and digests do; masks do not."""


class Column(Protocol):
    """The values of a column."""

    def __getitem__(self, place: int, /) -> Any:
        """What ``Array[place].as_py()`` gives."""


class _Scalars:
    """Any column."""

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def __getitem__(self, place: int) -> Any:
        return self._values[place].as_py()


class _Structures:
    """A structure, null as None, by its fields."""

    def __init__(self, values: pa.StructArray) -> None:
        self._valid: list[bool] | None = values.is_valid().to_pylist() if values.null_count else None
        self._fields = [(part.name, open_column(values.field(part.name))) for part in values.type]

    def __getitem__(self, place: int) -> Any:
        if self._valid is not None and not self._valid[place]:
            return None
        return {name: column[place] for name, column in self._fields}


def open_column(values: pa.Array) -> Column:
    """A column in one piece, made ready: a list where that is small and quickly made."""
    kind = values.type
    if pa.types.is_struct(kind) and kind.num_fields:
        return _Structures(values)
    is_short = pa.types.is_string(kind) and values.nbytes <= _MAX_TEXT * len(values)
    if is_short or (pa.types.is_integer(kind) and not values.null_count):
        found: list[Any] = values.to_numpy(zero_copy_only=False).tolist()
        return found
    return _Scalars(values)
