"""Tars read in place: where each member is. Only headers are read, and a hostile one leads nowhere."""

import tarfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path, PurePosixPath

from catalog.errors import SourceError

MAX_MEMBERS = 5_000_000
"""Members of one archive; SA-1B's have about 22,000."""

_MAX_HEADER_BYTES = 1 << 16  # a long name; headers themselves are 512 bytes


class _Headers(FileIO):
    """A tar's file of which only headers are read: one that declares a huge name is refused before it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def tar_members(path: Path, what: str) -> Iterator[tuple[str, int, int]]:
    """(name, first byte, bytes) of each regular member, in order.

    Args:
        path: the archive.
        what: what it is, for messages: "An SA-1B archive".

    Raises:
        SourceError: the file is no tar, is compressed or cut short, or cannot be read.
    """
    try:
        with _Headers(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            headers: list[tarfile.TarInfo] = vars(tar)["members"]
            position, count = -1, 0
            while (member := tar.next()) is not None:
                headers.clear()  # tarfile keeps every one otherwise
                count += 1
                if member.offset <= position or count > MAX_MEMBERS:
                    raise tarfile.ReadError("headers that lead backwards, or too many")
                position = member.offset
                if member.isreg() and not member.issparse():
                    yield PurePosixPath(member.name).as_posix(), member.offset_data, member.size
    except (tarfile.TarError, EOFError, OverflowError, RecursionError, ValueError, OSError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{what} must be a whole, uncompressed tar; {path} is not ({error}); fetch it again."
        ) from error
