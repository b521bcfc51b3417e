"""Bytes of a dataset's files, which must lie below its folder and keep to the limit of images."""

import os
import stat
from pathlib import Path, PurePosixPath

from catalog.durable import read_stretch
from catalog.errors import RowRejected
from catalog.image_headers import MAX_BYTES, explain
from catalog.reasons import Reason


def read_source_file(root: Path, file: str, offset: int = 0, length: int | None = None) -> bytes:
    """The bytes of one file of a dataset, or of a stretch of it, at most `MAX_BYTES`.

    Args:
        root: the dataset's folder.
        file: path relative to ``root``, as the annotation names it. It must stay below ``root``, also after
            symbolic links are followed.
        offset: first byte.
        length: bytes; None: to the end of the file.

    Raises:
        RowRejected: path_escape, missing_file, unreadable_file, empty_file, file_too_large; changed_file where the
            file ends within the stretch.
    """
    descriptor = _open_regular(_locate(root, file), file)
    with os.fdopen(descriptor, "rb", buffering=0):
        size = os.fstat(descriptor).st_size - offset if length is None else length
        if size <= 0:
            raise RowRejected(Reason.EMPTY_FILE, f"{file!r} has no bytes")
        if size > MAX_BYTES:
            raise RowRejected(Reason.FILE_TOO_LARGE, f"{file!r} has {size} bytes; at most {MAX_BYTES}")
        try:
            data = read_stretch(descriptor, offset, size)
        except OSError as error:
            raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {error.strerror}") from error
    if len(data) != size:
        raise RowRejected(Reason.CHANGED_FILE, f"{file!r} ends within the {size} bytes at byte {offset}")
    return data


def _locate(root: Path, file: str) -> Path:
    """The real path of ``file``, proven to lie below ``root``."""
    path = PurePosixPath(file)
    if "\0" in file or path.is_absolute() or ".." in path.parts:
        raise RowRejected(Reason.PATH_ESCAPE, f"{file!r} is not a plain path below the dataset's folder")
    try:
        real_root = root.resolve(strict=True)
        real = (root / path).resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError, UnicodeEncodeError) as error:
        raise RowRejected(Reason.MISSING_FILE, f"no file {file!r}") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {explain(error)}") from error
    if not real.is_relative_to(real_root):
        raise RowRejected(Reason.PATH_ESCAPE, f"{file!r} links to a place outside the dataset's folder")
    return real


def _open_regular(path: Path, file: str) -> int:
    """Descriptor of a regular file; a pipe or device is refused and never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise RowRejected(Reason.MISSING_FILE, f"no file {file!r}") from error
    except OSError as error:
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r} is not a regular file")
    return descriptor
