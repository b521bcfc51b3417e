"""Columns of a row group, for reading single rows fast: Arrow's own scalars take some microseconds per value.

Short strings and whole numbers become Python objects and arrays when the group is read, in Arrow's compiled code;
structures are taken apart into their fields. All else, and what would take much memory, stays in Arrow.
"""

from typing import Any, Protocol

import numpy as np
import pyarrow as pa

_MAX_TEXT = 128
"""Bytes per row up to which a column of strings becomes Python strings. Ids and digests do; masks do not."""


class Column(Protocol):
    """The values of a column."""

    def value(self, place: int) -> Any:
        """What ``Array[place].as_py()`` gives."""


class _Scalars:
    """Any column."""

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def value(self, place: int) -> Any:
        return self._values[place].as_py()


class _Objects:
    """Strings, null as None."""

    def __init__(self, values: pa.Array) -> None:
        self._values: list[str | None] = values.to_numpy(zero_copy_only=False).tolist()

    def value(self, place: int) -> Any:
        return self._values[place]


class _Numbers:
    """Whole numbers without a null."""

    def __init__(self, values: pa.Array) -> None:
        self._values: np.ndarray = values.to_numpy(zero_copy_only=False)

    def value(self, place: int) -> Any:
        return int(self._values[place])


class _Structures:
    """A structure, null as None, by its fields."""

    def __init__(self, values: pa.StructArray) -> None:
        self._valid: list[bool] | None = values.is_valid().to_pylist() if values.null_count else None
        self._fields = [(part.name, open_column(values.field(part.name))) for part in values.type]

    def value(self, place: int) -> Any:
        if self._valid is not None and not self._valid[place]:
            return None
        return {name: column.value(place) for name, column in self._fields}


def open_column(values: pa.Array) -> Column:
    """A column in one piece, made ready."""
    kind = values.type
    if pa.types.is_struct(kind) and kind.num_fields:
        return _Structures(values)
    if pa.types.is_string(kind) and values.nbytes <= _MAX_TEXT * len(values):
        return _Objects(values)
    if pa.types.is_integer(kind) and not values.null_count:
        return _Numbers(values)
    return _Scalars(values)
