"""A photo and a result of another size, brought to one size: by registration, or squeezed.

Both pictures then have names of their own, ``images/a.jpg#framed/source/images/b.jpg``, behind which the reader makes
them when they are wanted: what is listed depends on their headers alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import RowRejected
from catalog.images import decode_image, encode_png, probe_image, resize_image
from catalog.reasons import Reason
from catalog.source_files import read_source_file
from tasks.photo_requests.alignment import Picture
from tasks.photo_requests.crawl_settings import MatchParameters
from tasks.photo_requests.matching import RequestPhotos
from tasks.readers.locations import Location

_NAME = re.compile(r"(?P<photo>[^#]+)#(?P<how>framed|squeezed)/(?P<side>source|target)/(?P<result>.+)", re.S)


@dataclass
class CommonFrames:
    """The pictures behind such names; the pair that was asked for last is kept, since both its sides are wanted."""

    _last: tuple[tuple[Path, str, str, str], tuple[Picture, Picture] | RowRejected] | None = None

    def fetch(self, root: Path, file: str) -> bytes:
        """One of the two pictures as a PNG. Raises RowRejected: an unreadable picture, or a result of another photo."""
        match = _NAME.fullmatch(file)
        if match is None:
            raise RowRejected(Reason.MISSING_FILE, f"no picture is called {file!r}")
        key = (root, match["photo"], match["result"], match["how"])
        if self._last is None or self._last[0] != key:
            self._last = key, _made(*key)
        found = self._last[1]
        if isinstance(found, RowRejected):
            raise RowRejected(found.reason, found.detail)
        return encode_png(found[match["side"] == "target"])


def _made(root: Path, photo: str, result: str, how: str) -> tuple[Picture, Picture] | RowRejected:
    try:
        before, after = (decode_image(read_source_file(root, file)) for file in (photo, result))
        if how == "squeezed":
            return before, resize_image(after, before.shape[1], before.shape[0])
        frame = RequestPhotos([before]).match(after, MatchParameters()).frame
    except RowRejected as rejected:
        return rejected
    return frame.source, frame.target


def have_two_sizes(root: Path, photo: str, result: str) -> bool:
    """Whether the headers of both pictures can be read and say different sizes."""
    try:
        sizes = [probe_image(read_source_file(root, file)) for file in (photo, result)]
    except RowRejected:
        return False  # the ingest step will say why
    return sizes[0] != sizes[1]


def framed_names(photo: str, result: str) -> tuple[str, str]:
    """The names of both in the frame that they share, on the coarser of the two grids."""
    return f"{photo}#framed/source/{result}", f"{photo}#framed/target/{result}"


def squeezed_name(photo: str, result: str) -> str:
    """The name of the whole result in the photo's size, its aspect not kept."""
    return f"{photo}#squeezed/target/{result}"


def locate_framed(file: str) -> Location:
    """The file that a picture is made of; any other name is a file of its own."""
    match = _NAME.fullmatch(file)
    if match is None:
        return Location(file)
    return Location(match["photo" if match["side"] == "source" else "result"], is_plain=False)
