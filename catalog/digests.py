"""Content digests: what two runs agree on when they made the same thing."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK = 1 << 20


def bytes_digest(data: bytes | memoryview) -> str:
    """SHA-256 of ``data``, 64 hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, NaN refused.

    Raises:
        ValueError: for NaN or infinity, which JSON cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def value_digest(value: Any) -> str:
    """SHA-256 of a JSON value's canonical text."""
    return bytes_digest(canonical_json(value).encode())


def array_digest(array: np.ndarray) -> int:
    """64 bits over an array's bytes, at memory speed: a multilinear hash (Carter and Wegman, 1979) of 64-bit words.

    Every single changed word changes it. It finds accidents; it does not withstand whoever wants two equal ones.
    """
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    words = np.pad(data, (0, -len(data) % 8)).view(np.uint64) if len(data) % 8 else data.view(np.uint64)
    return int((words * _odd_numbers(len(words))).sum(dtype=np.uint64))


@cache
def _odd_numbers(count: int) -> np.ndarray:
    """uint64 (count,), odd, the same on every machine."""
    return np.random.Generator(np.random.PCG64(0)).integers(0, 1 << 63, count, np.uint64) * np.uint64(2) + np.uint64(1)
