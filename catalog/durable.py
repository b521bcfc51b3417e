"""Files that are whole or absent: temporary name, fsync, rename, fsync of the folder.

A temporary file has the final name plus ``.tmp`` and is locked by its writer. The lock dies with the
process, so a temporary file that nobody holds is rubbish, and `sweep` may remove it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"


def temporary_path(path: Path) -> Path:
    """Where ``path`` is written before it exists."""
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte; a short write (full disk) goes on or raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_stretch(descriptor: int, offset: int, length: int) -> bytes:
    """``length`` bytes at ``offset``, fewer only where the file ends: a short read (network disk) goes on."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
        data += more
    return data


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def claim(path: Path) -> Iterator[int]:
    """Hold the right to write ``path``: yields a descriptor of its empty, locked temporary file.

    Waits while another process holds it. On leaving, a temporary file that was not published is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    descriptor = _lock(temporary)
    try:
        os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        # Unlink before the lock goes: whoever waits for it then finds the name free and asks anew.
        if _is_current(descriptor, temporary):
            temporary.unlink()
        os.close(descriptor)


def publish(descriptor: int, path: Path) -> None:
    """Give a claimed, fully written temporary file its final name: from now on ``path`` exists, whole."""
    os.fsync(descriptor)
    temporary_path(path).replace(path)
    sync_folder(path.parent)


def publish_folder(temporary: Path, folder: Path) -> None:
    """Flush everything below ``temporary`` to disk and give it its final name."""
    for path in sorted(temporary.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            path.chmod(0o644)  # some libraries keep their files to their owner
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(temporary)
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)
    sync_folder(folder.parent)


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write ``path`` whole or not at all, replacing what was there."""
    with claim(path) as descriptor:
        for chunk in chunks:
            write_all(descriptor, chunk)
        publish(descriptor, path)


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files below ``folder`` that no living process holds; returns their paths."""
    removed = []
    for temporary in sorted(folder.rglob("*" + TEMPORARY_SUFFIX)):
        try:
            descriptor = os.open(temporary, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(descriptor, temporary):
                temporary.unlink()
                removed.append(temporary)
        except BlockingIOError:
            pass  # somebody is writing it
        finally:
            os.close(descriptor)
    return removed


def _lock(temporary: Path) -> int:
    while True:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_current(descriptor, temporary):
            return descriptor
        os.close(descriptor)  # renamed or removed while we waited: the name is another file now, or none


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)
