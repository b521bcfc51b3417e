"""Content digests: what two runs agree on when they made the same thing."""

import hashlib
import json
from pathlib import Path
from typing import Any

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
