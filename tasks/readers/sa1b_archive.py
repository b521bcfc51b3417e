"""SA-1B's tars read in place: where each member is, and its bytes by one ``pread``.

The photo of a packed record is named ``<archive>#<offset>+<length>/<member>``, so that it is found again without
reading the archive's headers.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path, PurePosixPath

from catalog.errors import RowRejected, SourceError
from catalog.images import MAX_BYTES
from catalog.reasons import Reason
from tasks.readers.records import SourceImage
from tasks.readers.sa1b_record import MAX_RECORD_BYTES, record_image

MAX_MEMBERS = 1_000_000
"""Members of one archive; the released ones have about 22,000."""

_MAX_HEADER_BYTES = 1 << 16  # a long name; headers themselves are 512 bytes
_PLACE = re.compile(r"(?P<archive>[^#]+\.tar)#(?P<offset>[0-9]{1,15})\+(?P<length>[0-9]{1,15})/(?P<member>.+)", re.S)

Place = tuple[int, int]
"""First byte of a member's data in its archive, and bytes."""


class _Headers(FileIO):
    """A tar's file of which only headers are read: one that declares a huge name is refused before it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def read_archive(root: Path, archive: PurePosixPath) -> Iterator[SourceImage]:
    """The records of one archive, by number of the photo; memory holds the places of its members.

    Raises:
        SourceError: the file is no tar, is cut short or cannot be read.
    """
    places = _places(root / archive)
    records = sorted((name for name in places if name.endswith(".json")), key=_order)
    for name in records:
        record_file, place = PurePosixPath(name), places[name]
        if place[1] > MAX_RECORD_BYTES:
            data: bytes | str = f"a record of {place[1]} bytes; at most {MAX_RECORD_BYTES}"
        else:
            data = _pread(root / archive, place)
        # A packed photo has the record's own name: two records must not claim one member.
        photo = record_file.with_suffix(".jpg").as_posix()
        found = places.get(photo)
        file = f"{archive}#{found[0]}+{found[1]}/{photo}" if found else f"{archive}/{photo}"
        yield record_image(record_file, data, file)


def fetch_member(root: Path, file: str) -> bytes:
    """The bytes of a packed photo. Raises RowRejected with the reason why not."""
    match = _PLACE.fullmatch(file)
    if match is None:
        raise RowRejected(Reason.MISSING_FILE, f"no photo {file!r} beside its record in the archive")
    archive = PurePosixPath(match["archive"])
    try:
        inside = (root / archive).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {error}") from error
    if archive.is_absolute() or ".." in archive.parts or not inside:
        raise RowRejected(Reason.PATH_ESCAPE, f"{file!r} is not a plain path below the dataset's folder")
    place = int(match["offset"]), int(match["length"])
    if place[1] == 0:
        raise RowRejected(Reason.EMPTY_FILE, f"{file!r} has no bytes")
    if place[1] > MAX_BYTES:
        raise RowRejected(Reason.FILE_TOO_LARGE, f"{file!r} has {place[1]} bytes; at most {MAX_BYTES}")
    try:
        return _pread(root / archive, place)
    except FileNotFoundError as error:
        raise RowRejected(Reason.MISSING_FILE, f"no archive {archive}") from error
    except SourceError as error:
        raise RowRejected(Reason.CHANGED_FILE, str(error)) from error
    except OSError as error:
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {error.strerror}") from error


def _order(name: str) -> tuple[str, bool, int, str]:
    """By folder, then sa_<number> by number, then by name."""
    path = PurePosixPath(name)
    number = re.fullmatch(r"sa_([0-9]{1,18})", path.stem)
    return path.parent.as_posix(), number is None, int(number[1]) if number else 0, name


def _places(path: Path) -> dict[str, Place]:
    """Where each regular member is."""
    places: dict[str, Place] = {}
    try:
        with _Headers(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            headers: list[tarfile.TarInfo] = vars(tar)["members"]
            position = -1
            while (member := tar.next()) is not None:
                headers.clear()  # tarfile keeps every one otherwise
                if member.offset <= position or len(places) > MAX_MEMBERS:
                    raise tarfile.ReadError("headers that lead backwards, or too many")
                position = member.offset
                if member.isreg() and not member.issparse():
                    places[PurePosixPath(member.name).as_posix()] = (member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OverflowError, RecursionError, ValueError, OSError) as error:
        raise SourceError(
            f"An SA-1B archive must be a whole, uncompressed tar; {path} is not ({error}); fetch it again."
        ) from error
    return places


def _pread(path: Path, place: Place) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.pread(descriptor, place[1], place[0])
    finally:
        os.close(descriptor)
    if len(data) != place[1]:
        raise SourceError(f"{path} ends within the member at byte {place[0]}; fetch it again.")
    return data
