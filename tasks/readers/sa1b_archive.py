"""SA-1B's tars read in place: each record, and where its photo is."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from catalog.errors import SourceError
from tasks.readers.locations import stretch_name
from tasks.readers.records import SourceImage
from tasks.readers.sa1b_record import MAX_RECORD_BYTES, record_image
from tasks.readers.tar_files import tar_members

Place = tuple[int, int]
"""First byte of a member's data in its archive, and bytes."""


def read_archive(root: Path, archive: PurePosixPath) -> Iterator[SourceImage]:
    """The records of one archive, by number of the photo; memory holds the places of its members.

    Raises:
        SourceError: the file is no tar, is cut short or cannot be read.
    """
    members = tar_members(root / archive, "An SA-1B archive")
    places: dict[str, Place] = {name: (offset, length) for name, offset, length in members}
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
        file = stretch_name(archive.as_posix(), *found, photo) if found else f"{archive}/{photo}"
        yield record_image(record_file, data, file)


def _order(name: str) -> tuple[str, bool, int, str]:
    """By folder, then sa_<number> by number, then by name."""
    path = PurePosixPath(name)
    number = re.fullmatch(r"sa_([0-9]{1,18})", path.stem)
    return path.parent.as_posix(), number is None, int(number[1]) if number else 0, name


def _pread(path: Path, place: Place) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.pread(descriptor, place[1], place[0])
    finally:
        os.close(descriptor)
    if len(data) != place[1]:
        raise SourceError(f"{path} ends within the member at byte {place[0]}; fetch it again.")
    return data
