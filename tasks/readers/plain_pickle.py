"""Pickles of plain data, read without running anything: the reference files of RefCOCO and its kin.

A pickle is a program, and loading one may run any code. Lists, dicts, texts, numbers, booleans and None have
instructions of their own; only these are let through. The program is checked instruction by instruction first, so
that it can neither name a class or function nor claim memory beyond its own length, and the unpickler that then
runs it refuses every name as well.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from catalog.errors import SourceError

MAX_BYTES = 1 << 30
"""Largest file: 1 GiB, many times the largest of the published ones."""

_PLAIN = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS".split()
)
_INSTRUCTIONS = {one.code.encode("latin-1"): one for one in pickletools.opcodes if one.name in _PLAIN}
_DAMAGE = (
    *(pickle.UnpicklingError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError),
    *(OverflowError, RecursionError),
)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to an object outside")


def load_plain(path: Path, what: str) -> Any:
    """The value of a pickle that holds plain data only (Python 2's texts are read as UTF-8, else as Latin-1).

    Args:
        path: the file.
        what: what the file is, for messages: "RefCOCO's references".

    Raises:
        SourceError: the file cannot be read, is too large, damaged, or holds anything but plain data.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SourceError(f"{what} must have at most {MAX_BYTES} bytes; {path} has {size}.")
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{what} must be a readable file; {path}: {error.strerror}.") from error
    try:
        _check(data)
        try:
            return _PlainUnpickler(io.BytesIO(data), encoding="utf-8").load()
        except UnicodeDecodeError:
            return _PlainUnpickler(io.BytesIO(data), encoding="latin-1").load()
    except _DAMAGE as error:
        raise SourceError(
            f"{what} must be a pickle of lists, dicts, texts and numbers alone; {path} is not ({error}); "
            "nothing of it was run; fetch the file from its authors."
        ) from error


def _check(data: bytes) -> None:
    """Raises UnpicklingError at the first instruction that is not plain, ValueError where the program is torn."""
    stream = io.BytesIO(data)
    while True:
        position, code = stream.tell(), stream.read(1)
        instruction = _INSTRUCTIONS.get(code)
        if instruction is None:
            raise pickle.UnpicklingError(f"the instruction {code!r} at byte {position}")
        if instruction.name == "STOP":
            return
        if instruction.name == "STRING":
            stream.readline()  # pickletools would read it as ASCII, and Python 2 wrote any byte
            continue
        argument = instruction.arg.reader(stream) if instruction.arg else None
        # The unpickler makes room for the largest number of a memo; an honest one counts its entries.
        if "PUT" in instruction.name and isinstance(argument, int) and argument > len(data):
            raise pickle.UnpicklingError(f"memo {argument} at byte {position}")
