"""MATLAB files (version 5 to 7.2) read by scipy, which makes arrays of plain values and runs nothing.

What its compressed elements (MAT-File Format, "Data Element Format") grow to is measured before scipy makes arrays.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import Any

from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from catalog.errors import SourceError

_DAMAGE = (MatReadError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError, OverflowError, zlib.error)


MAX_BYTES = 1 << 30
"""Of all compressed elements of a file; MPII's release and SIDD's blocks take a quarter of it."""

_COMPRESSED = 15  # type of an element that zlib has packed
_NESTED = ("cell", "struct", "object", "function", "opaque")
_PIECE = 1 << 20
_HEADER = 128  # bytes before the first element; the last two are the byte order


def read_variable(path: Path, variable: str, what: str, most: int = MAX_BYTES, *, nested: bool = False) -> Any:
    """One variable of a .mat file as scipy gives it: structs as arrays of named fields.

    Args:
        path: the file.
        variable: its name.
        what: what the file is, for messages: "MPII's release".
        most: bytes that its variables may take, decompressed.
        nested: a struct is wanted; else it must be an array of numbers.

    Raises:
        SourceError: the file cannot be read, is of version 7.3 (HDF5), takes more than ``most``, or lacks the variable.
    """
    try:
        size = _require_size(path, what, most)
        _require_shape(path, variable, what, size, nested=nested)
        values = loadmat(path, variable_names=[variable])
    except SourceError:
        raise
    except NotImplementedError as error:
        raise SourceError(f"{what} must be a MATLAB file of version 5 to 7.2; {path} is version 7.3.") from error
    except _DAMAGE as error:
        raise SourceError(f"{what} must be a MATLAB file; {path} is not ({error}); fetch it again.") from error
    if variable not in values:
        raise SourceError(f"{what} must hold the variable {variable}; {path} does not; fetch it again.")
    return values[variable]


def _require_shape(path: Path, variable: str, what: str, size: int, *, nested: bool) -> None:
    """Refuse a variable of another kind, or of more elements than the file has bytes: scipy makes room for all."""
    for name, shape, kind in whosmat(path):
        if name != variable:
            continue
        if (kind in _NESTED) != nested or min(shape, default=0) < 0 or math.prod(shape) > size:
            wanted, found = "a struct" if nested else "an array of numbers", " x ".join(map(str, shape))
            raise SourceError(
                f"{what} must hold {variable} as {wanted}; {path} has a {kind} of {found} in {size} bytes."
            )


def _require_size(path: Path, what: str, most: int) -> int:
    """Decompress all elements of a file once, piece by piece, and keep nothing: what they say of themselves may lie.

    Returns:
        Bytes of all elements, compressed ones decompressed.
    """
    with path.open("rb") as stream:
        order = {b"IM": "<", b"MI": ">"}.get(stream.read(_HEADER)[-2:])
        total = plain = 0
        while order and len(tag := stream.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            if kind != _COMPRESSED:
                plain += length
                stream.seek(length, 1)
                continue
            unpacker, rest = zlib.decompressobj(), length
            while rest > 0 and (packed := stream.read(min(rest, _PIECE))):
                rest -= len(packed)
                while packed:
                    total += len(unpacker.decompress(packed, _PIECE))
                    packed = unpacker.unconsumed_tail
                    if total > most:
                        raise SourceError(f"{what} may take {most} bytes once decompressed; {path} takes more.")
    return total + min(plain, path.stat().st_size)
