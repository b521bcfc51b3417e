"""A big annotation file, record by record: its text stays in memory, its objects do not.

A JSON array of half a million annotations is ten times its text as Python objects. `JsonRecords` walks the
text once, gives each record with its span, and decodes a span again when asked. ``NaN`` and infinity pass as
they are: the ingest step gives the reason.

The text is held at one byte per character, whatever it says: Python would take four for every character of a file
with one emoji in it. JSON's own signs are ASCII, so a record's span is the same in bytes, and only what a record
says is decoded from UTF-8.
"""

import codecs
import itertools
import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

from catalog.errors import SourceError
from tasks.readers.progress import tell

Span = tuple[int, int]
"""First byte of a record and the one after its last (a byte order mark not counted)."""

_SPACE = re.compile(r"[ \t\r\n]*")
_TOLD_RECORDS = 2000  # between two words about progress
_CHUNK = 16 << 20


class JsonRecords:
    """The records of one JSON file.

    Args:
        path: the file.
        what: what the file is, for messages: "PhraseCut tasks".
        or_latin_1: read a file that is not UTF-8 as Latin-1.

    Raises:
        SourceError: the file cannot be read or is in another encoding.
    """

    def __init__(self, path: Path, what: str, *, or_latin_1: bool = False) -> None:
        self.path = path
        self.what = what
        self.text = self._read(or_latin_1)
        """One character per byte."""
        self._decoder = json.JSONDecoder()

    def _read(self, or_latin_1: bool) -> str:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise SourceError(f"{self.what} must be a readable file; {self.path}: {error.strerror}.") from error
        bad = _first_bad_byte(data)
        if bad is not None and not or_latin_1:
            raise SourceError(
                f"{self.what} must be UTF-8 text; {self.path} is not (byte {bad}); fetch or unpack the file again."
            )
        self._is_utf_8 = bad is None and not data.isascii()
        start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
        return str(memoryview(data)[start:], "latin-1")

    def _refuse(self, problem: str, position: int) -> NoReturn:
        raise SourceError(
            f"{self.what} must be JSON; {self.path} is not ({problem} at byte {position} of "
            f"{len(self.text)}); fetch or unpack the file again."
        )

    def _skip_space(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        assert match is not None
        return match.end()

    def _value(self, position: int) -> tuple[Any, int]:
        try:
            value, end = self._decoder.raw_decode(self.text, position)
        except json.JSONDecodeError as error:
            self._refuse(error.msg, error.pos)
        except RecursionError:
            self._refuse("nested too deeply", position)
        except ValueError as error:  # an integer of more digits than Python converts
            self._refuse(str(error), position)
        if self._is_utf_8 and not (part := self.text[position:end]).isascii():
            value = json.loads(part.encode("latin-1").decode())
        return value, end

    def decode(self, span: Span) -> Any:
        """The record at a span that `array` or `members` gave."""
        return self._value(span[0])[0]

    def whole(self) -> Any:
        """The file as one value."""
        value, end = self._value(self._skip_space(0))
        self._finish(end)
        return value

    def _finish(self, position: int) -> None:
        end = self._skip_space(position)
        if end != len(self.text):
            self._refuse("text after the end", end)

    def array(self) -> Iterator[tuple[Span, Any]]:
        """Each element of a file that is one array. Raises SourceError where it is none, or torn."""
        start = self._skip_space(0)
        if self.text[start : start + 1] != "[":
            self._refuse("the file must be a list", start)
        end = yield from self._elements(start)
        self._finish(end)

    def _elements(self, start: int) -> Generator[tuple[Span, Any], None, int]:
        """Each element of the array that opens at ``start``; returns the position after its end."""
        position = self._skip_space(start + 1)
        if self.text[position : position + 1] == "]":
            return position + 1
        for count in itertools.count(1):
            value, end = self._value(position)
            if count % _TOLD_RECORDS == 0:
                tell(self.path.name, end, len(self.text))
            yield (position, end), value
            position = self._skip_space(end)
            mark = self.text[position : position + 1]
            if mark == "]":
                return position + 1
            if mark != ",":
                self._refuse("expected ',' or ']'", position)
            position = self._skip_space(position + 1)
        raise AssertionError("the loop ends by return or error")

    def _named(self, key: str, start: int) -> Generator[tuple[str, Span, Any], None, int]:
        elements = self._elements(start)
        while True:
            try:
                span, value = next(elements)
            except StopIteration as stop:
                return int(stop.value)
            yield key, span, value

    def members(self, streamed: frozenset[str]) -> Iterator[tuple[str, Span, Any]]:
        """Each (key, span, value) of a file that is one object.

        An array under a key in ``streamed`` comes as one triple per element.
        """
        position = self._skip_space(0)
        if self.text[position : position + 1] != "{":
            self._refuse("the file must be an object", position)
        position = self._skip_space(position + 1)
        while self.text[position : position + 1] != "}":
            key, position = self._value(position)
            position = self._skip_space(position)
            if not isinstance(key, str) or self.text[position : position + 1] != ":":
                self._refuse("expected a name and ':'", position)
            position = self._skip_space(position + 1)
            if key in streamed and self.text[position : position + 1] == "[":
                position = yield from self._named(key, position)
            else:
                value, end = self._value(position)
                yield key, (position, end), value
                position = end
            position = self._skip_space(position)
            if self.text[position : position + 1] == ",":
                position = self._skip_space(position + 1)
            elif self.text[position : position + 1] != "}":
                self._refuse("expected ',' or '}'", position)
        self._finish(position + 1)


def _first_bad_byte(data: bytes) -> int | None:
    """Where text stops being UTF-8, looked for in parts: a decoded whole may take four times the bytes."""
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(data)
    for start in [] if data.isascii() else range(0, len(data), _CHUNK):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(view[start : start + _CHUNK], final=start + _CHUNK >= len(data))
        except UnicodeDecodeError as error:
            return start - held + error.start
    return None
