"""Limits on what a Parquet file may grow to, looked at before anything of it is decoded.

A file of a few kilobytes can hold pages of gigabytes, or name one value of a dictionary a million times. The footer
says sizes too, but nobody holds it to them: so the header of every page that will be read is looked at, which Arrow
allocates by. Headers are Thrift structs in the compact protocol (parquet-format, ``PageHeader``).
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import SourceError
from catalog.image_headers import MAX_BYTES

MAX_PAGE_BYTES = 2 * MAX_BYTES
"""Of one page, decompressed: writers begin a new page at about one megabyte, or after one picture."""
MAX_BATCH_BYTES = 4 * MAX_BYTES
"""What a batch of rows may take, if each row held a value as large as the largest page."""
MAX_LIST_BYTES = 2 << 30
"""Of one row group's lists: all of them may be in one row."""

_HEADER_BYTES = (256, 1 << 14, 1 << 20)  # how much is read for a header: with statistics it can be long
_DEPTH = 8
_BYTE_ARRAY = "BYTE_ARRAY"


@dataclass(kw_only=True)
class _Pages:
    """The pages of one column of one row group."""

    largest: int = 0
    total: int = 0
    num_values: int = 0
    longest_word: int = 0
    """Bytes of the longest value of the dictionary; looked at for lists only."""


def safe_batch_rows(
    path: Path, file: pq.ParquetFile, columns: Iterable[str], most: int, groups: Iterable[int] | None = None
) -> int:
    """How many rows of some columns may be decoded at once.

    Args:
        path: the file.
        file: the same, opened.
        columns: names of columns or of their leaves ("image.path").
        most: rows at once where they are small.
        groups: row groups that will be read; None: all.

    Raises:
        SourceError: more rows than bytes, a page larger than `MAX_PAGE_BYTES`, lists larger than `MAX_LIST_BYTES`, or
            a header of a page that is none.
    """
    size, metadata = path.stat().st_size, file.metadata
    if metadata.num_rows > size:
        raise SourceError(f"{path} claims {metadata.num_rows} rows in {size} bytes: no table of pairs is like that.")
    names = tuple(columns)
    leaves = [
        index
        for index in range(metadata.num_columns)
        if any(f"{file.schema.column(index).path}.".startswith(f"{name}.") for name in names)
    ]
    largest = 1
    with path.open("rb", buffering=0) as stream:
        for group in range(metadata.num_row_groups) if groups is None else groups:
            for index in leaves:
                chunk, is_list = metadata.row_group(group).column(index), file.schema.column(index).max_repetition_level
                where = f"{path}, row group {group}, column {chunk.path_in_schema}"
                pages = _walk(stream.fileno(), chunk, bool(is_list), where)
                _check(pages, size, bool(is_list), where)
                largest = max(largest, pages.largest)
    return max(1, min(most, MAX_BATCH_BYTES // largest))


def _check(pages: _Pages, size: int, is_list: bool, where: str) -> None:
    if pages.num_values > size:
        raise SourceError(f"{where} has {pages.num_values} values, more than the file has bytes ({size}).")
    most = max(pages.total, pages.num_values * pages.longest_word)
    if is_list and most > MAX_LIST_BYTES:
        raise SourceError(f"{where} has lists of up to {most} bytes; at most {MAX_LIST_BYTES} can be read.")


def _walk(descriptor: int, chunk: Any, is_list: bool, where: str) -> _Pages:
    """Headers of all pages between the offsets that Arrow will read."""
    starts = [chunk.data_page_offset]
    if chunk.has_dictionary_page and (chunk.dictionary_page_offset or 0) > 0:
        starts.append(chunk.dictionary_page_offset)
    place, found = min(starts), _Pages()
    end = place + chunk.total_compressed_size
    while place < end:
        header, length = _header(descriptor, place, where)
        decompressed, compressed = header.get(2), header.get(3)
        if not (isinstance(decompressed, int) and isinstance(compressed, int) and min(decompressed, compressed) >= 0):
            raise SourceError(f"{where} is damaged: a page at byte {place} has no size; fetch the file again.")
        if decompressed > MAX_PAGE_BYTES:
            raise SourceError(
                f"{where} has a page of {decompressed} bytes once decompressed; at most {MAX_PAGE_BYTES} are read."
            )
        place += length
        found.largest, found.total = max(found.largest, decompressed), found.total + decompressed
        values = header.get(5) or header.get(8)
        if isinstance(values, dict):
            found.num_values += max(0, int(values.get(1, 0)))
        elif is_list and isinstance(header.get(7), dict) and chunk.physical_type == _BYTE_ARRAY:
            words = _decompressed(os.pread(descriptor, compressed, place), chunk.compression, decompressed, where)
            found.longest_word = max(found.longest_word, _longest(words))
        place += compressed
    return found


def _decompressed(data: bytes, codec: str, size: int, where: str) -> bytes:
    if codec == "UNCOMPRESSED":
        return data
    try:
        raw = pa.Codec({"LZ4": "lz4_raw"}.get(codec, codec.lower())).decompress(data, size, asbytes=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{where} is damaged: its dictionary is no {codec}; fetch the file again.") from error
    return bytes(raw)


def _longest(words: bytes) -> int:
    """The longest value of a plain page of byte arrays: a length in four bytes before each."""
    place = longest = 0
    while place + 4 <= len(words):
        length = int.from_bytes(words[place : place + 4], "little")
        longest, place = max(longest, length), place + 4 + length
    return longest


def _header(descriptor: int, place: int, where: str) -> tuple[dict[int, Any], int]:
    """The fields of the struct at a place, by number, and its length in bytes."""
    for size in _HEADER_BYTES:
        try:
            parser = _Compact(os.pread(descriptor, size, place))
            return parser.struct(_DEPTH), parser.place
        except IndexError:
            continue  # cut off: read more
        except ValueError:
            break
    raise SourceError(f"{where} is damaged: there is no page at byte {place}; fetch the file again.")


class _Compact:
    """Thrift's compact protocol, as far as page headers use it. Raises IndexError at the end, ValueError for others."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def struct(self, depth: int) -> dict[int, Any]:
        """Field number -> value; texts are skipped."""
        if depth == 0:
            raise ValueError("structs too deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else _signed(self._varint())
            fields[number] = self._value(head & 0x0F, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return _signed(self._varint())
        if kind in (7, 8):
            self._skip(8 if kind == 7 else self._varint())
            return None
        if kind == 12:
            return self.struct(depth - 1)
        raise ValueError(f"type {kind} in a page header")

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ValueError("a number of more than ten bytes")

    def _skip(self, length: int) -> None:
        self.place += length
        if self.place > len(self._data):
            raise IndexError("cut off")


def _signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)
