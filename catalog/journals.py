"""Journals: what people decided, one JSON line each, in files that only grow.

A line is on the disk before `append_line` returns: a kill, a reload and a second person at the same time lose nothing.
A line that a power cut tore stays where it is and is passed over; the next one starts on a line of its own.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.digests import canonical_json
from catalog.durable import sync_folder, write_all
from catalog.errors import ShardError


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add one line and wait until the disk has it.

    Args:
        path: the journal, made with its folder where it is not there.
        values: JSON values.

    Raises:
        OSError: the disk is full or the folder not writable; what was there before is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # released with the descriptor, also by a kill
        end = os.fstat(descriptor).st_size
        torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
        try:
            write_all(descriptor, (b"\n" if torn else b"") + canonical_json(dict(values)).encode() + b"\n")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_folder(path.parent)


def read_lines(path: Path, fields: Mapping[str, tuple[type, ...]], what: str) -> list[tuple[int, dict[str, Any]]]:
    """The values of a journal's whole lines with their numbers, from 1.

    A line is torn, and passed over, if it begins an object and does not end it: nobody was ever told that it was kept.
    What else is no line of the journal was written or changed by others, and is never dropped unseen.

    Args:
        path: the journal; where there is none, nothing has been put down.
        fields: the fields of each line and the types of their values.
        what: a line is, for the sentence.

    Raises:
        ShardError: a line that is neither torn nor has these fields.
    """
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        # A power cut may also leave a stretch of the file without its bytes: zeros.
        line = line.strip(b"\0").strip()
        if not line or (line.startswith(b"{") and not line.endswith(b"}")):
            continue
        try:
            values = json.loads(line)
            json.dumps(values, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or not _fit(values, fields):
            raise ShardError(f"{path}, line {number}, must be {what}: mend or remove that line")
        found.append((number, values))
    return found


def _fit(values: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]]) -> bool:
    return values.keys() == fields.keys() and all(isinstance(values[name], kinds) for name, kinds in fields.items())
