"""Journals: what people decided, one JSON line each, in files that only grow.

A line is on the disk before `append_line` returns: a kill, a reload and a second person at the same time lose nothing.
A line that a power cut tore stays where it is and is passed over; the next one starts on a line of its own.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.digests import canonical_json
from catalog.durable import sync_folder, write_all


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
