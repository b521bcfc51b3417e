"""Where the bytes of an image are: in a file of its own, in a stretch of an archive, or where only its reader gets.

An image inside an archive has a name of its own in the records:

* ``train.tar#1536+20480/0001.jpg``: 20,480 bytes at byte 1,536, a member of a tar or one that a zip stores as it is.
  The image is referenced where it is, by one ``pread``, and nothing is copied.
* ``shard-00.zip#/0001.jpg``: a member that the zip compressed.
* ``train.parquet#17/source_img``: row 17 of a column. Parquet encodes and compresses its pages, so that an image has
  no bytes of its own in the file.

A ``#`` in the archive's own path is written ``%23``, a ``%`` then ``%25``. Of the last two the reader's ``fetch``
gives the bytes, and the ingest step copies them into its own tar.
"""

import re
from dataclasses import dataclass

_STRETCH = re.compile(r"(?P<path>.+?)#(?P<offset>[0-9]{1,18})\+(?P<length>[0-9]{1,18})/.+", re.S)
_CELL = re.compile(r"(?P<path>.+?)#(?P<row>[0-9]{1,18})/(?P<column>.+)", re.S)
_MEMBER = re.compile(r"(?P<path>.+?)#/(?P<member>.+)", re.S)


@dataclass(frozen=True)
class Location:
    """The file that an image is in, and the stretch of it that is the image."""

    path: str
    """File below the dataset's folder."""
    offset: int = 0
    length: int | None = None
    """Bytes; None: to the end of the file."""
    is_plain: bool = True
    """The bytes there are the image. Otherwise only the reader's ``fetch`` makes the image from them."""


def stretch_name(path: str, offset: int, length: int, member: str) -> str:
    """The name of an image that is ``length`` bytes at ``offset`` of an archive."""
    return f"{_quoted(path)}#{offset}+{length}/{member}"


def member_name(path: str, member: str) -> str:
    """The name of a compressed member of a zip."""
    return f"{_quoted(path)}#/{member}"


def cell_name(path: str, row: int, column: str) -> str:
    """The name of an image in a row (from 0) of a Parquet file."""
    return f"{_quoted(path)}#{row}/{column}"


def parse_member(file: str) -> tuple[str, str] | None:
    """(zip, member) of a compressed member's name."""
    match = _MEMBER.fullmatch(file)
    return (_plain(match["path"]), match["member"]) if match else None


def parse_cell(file: str) -> tuple[str, int, str] | None:
    """(Parquet file, row, column) of a cell's name."""
    match = _CELL.fullmatch(file)
    return (_plain(match["path"]), int(match["row"]), match["column"]) if match else None


def locate_packed(file: str) -> Location:
    """Where an image with one of the names above is; any other name is a file of its own."""
    stretch = locate_stretch(file)
    if stretch != Location(file):
        return stretch
    container = parse_member(file) or parse_cell(file)
    return Location(container[0], is_plain=False) if container else Location(file)


def locate_stretch(file: str) -> Location:
    """Where an image is that is a stretch of an archive; any other name is a file of its own."""
    match = _STRETCH.fullmatch(file)
    return Location(_plain(match["path"]), int(match["offset"]), int(match["length"])) if match else Location(file)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("#", "%23")


def _plain(path: str) -> str:
    return path.replace("%23", "#").replace("%25", "%")
