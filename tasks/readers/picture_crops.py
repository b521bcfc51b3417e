"""Squares cut out of large pictures, at the same places of both pictures of a pair.

A crop is named ``<file>#crop=<x>,<y>,<side>`` and made when it is asked for: decoded once, stored losslessly.
"""

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np

from catalog.errors import RowRejected
from catalog.images import decode_image, encode_png, probe_image
from catalog.source_files import read_source_file
from tasks.readers.locations import Location

_NAME = re.compile(r"(?P<file>.+)#crop=(?P<x>[0-9]{1,6}),(?P<y>[0-9]{1,6}),(?P<side>[0-9]{1,6})", re.S)
_NUM_DECODED = 2  # the two pictures of a pair


def crop_places(root: Path, source: str, target: str, side: int, stride: int) -> list[tuple[int, int]] | None:
    """(x, y) of every square of a pair: a grid of ``stride``, the last row and column against the edge.

    None where the pair is to be taken whole: a side is shorter than the square, a picture cannot be read, or the two
    have other sizes, which the ingest step will say.
    """
    try:
        width, height = probe_image(read_source_file(root, source))
        if probe_image(read_source_file(root, target)) != (width, height) or min(width, height) < side:
            return None
    except RowRejected:
        return None
    return [(x, y) for y in _starts(height, side, stride) for x in _starts(width, side, stride)]


def _starts(length: int, side: int, stride: int) -> list[int]:
    starts = list(range(0, length - side + 1, stride))
    return starts if starts[-1] == length - side else [*starts, length - side]


def crop_name(file: str, x: int, y: int, side: int) -> str:
    """The name of a square of a picture."""
    return f"{file}#crop={x},{y},{side}"


def locate_crop(file: str) -> Location:
    """Where a crop's picture is, or the picture itself under a plain name."""
    match = _NAME.fullmatch(file)
    return Location(match["file"], is_plain=False) if match else Location(file)


class CropMaker:
    """Cuts crops out of the pictures below a folder; keeps the two that it decoded last."""

    def __init__(self) -> None:
        self._decoded: OrderedDict[str, np.ndarray] = OrderedDict()

    def fetch(self, root: Path, file: str) -> bytes:
        """The PNG behind a crop's name. Raises RowRejected where its picture cannot be read."""
        match = _NAME.fullmatch(file)
        assert match is not None, file
        x, y, side = int(match["x"]), int(match["y"]), int(match["side"])
        return encode_png(self._pixels(root, match["file"])[y : y + side, x : x + side])

    def _pixels(self, root: Path, file: str) -> np.ndarray:
        if file not in self._decoded:
            self._decoded[file] = decode_image(read_source_file(root, file))
        self._decoded.move_to_end(file)
        while len(self._decoded) > _NUM_DECODED:
            self._decoded.popitem(last=False)
        return self._decoded[file]
