"""JPEG pixels by libjpeg-turbo, whole or reduced: a half, a quarter or an eighth comes out of the DCT itself.

The same pixels as Pillow's, which has the same library inside, in two thirds of the time. A stream that libjpeg has
any complaint about is left to Pillow, which tells a harmless one from a truncated one.
"""

import struct

import numpy as np
import simplejpeg
from PIL import Image

REDUCTIONS = (8, 4, 2)
"""Divisors of width and height that the DCT gives for less work, largest first."""

_PLAIN_SEGMENTS = frozenset({0xE0, 0xDB, 0xC4, 0xDD, 0xFE})  # JFIF, tables, restart interval, comment
_BASELINE = frozenset({0xC0, 0xC1})
_SCAN = 0xDA
_SEGMENT = struct.Struct(">BBH")  # mark, kind, length
_FRAME = struct.Struct(">BHHB")  # depth, height, width, components


def plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that needs no second look; None: let Pillow read the header.

    That is one sequential scan of one or three components of 8 bits, and no segment that could turn the picture,
    change its colours or hide another one.
    """
    place, size, components = 2, None, 0
    try:
        while True:
            mark, kind, length = _SEGMENT.unpack_from(data, place)
            if mark != 0xFF:
                return None
            if kind in _BASELINE and size is None:
                depth, height, width, components = _FRAME.unpack_from(data, place + 4)
                size = (width, height) if depth == 8 and components in (1, 3) else None
            elif kind == _SCAN:
                return size if data[place + 4] == components else None
            elif kind not in _PLAIN_SEGMENTS:
                return None
            place += 2 + length
    except (struct.error, IndexError):
        return None


def decode_plain_jpeg(data: bytes, width: int, height: int, reduction: int) -> np.ndarray | None:
    """Decode a grey or three-colour JPEG: uint8 HWC RGB; None where libjpeg has an error or a warning.

    Args:
        data: the file.
        width: of the stored picture, pixels.
        height: likewise.
        reduction: 1, or one of `REDUCTIONS`; the sides are divided by it and rounded up.
    """
    size = reduced_size(width, height, reduction)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, min_width=size[0], min_height=size[1], strict=True)
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == size[::-1] else None


def reduce_in_pillow(image: Image.Image, reduction: int) -> None:
    """Have an opened JPEG decoded at a fraction of its size."""
    if reduction > 1:
        width, height = image.size
        image.draft(None, (width // reduction, height // reduction))
        assert image.size == reduced_size(width, height, reduction), (image.size, reduction)


def reduced_size(width: int, height: int, reduction: int) -> tuple[int, int]:
    """Width and height of a reduced picture, rounded up as libjpeg does."""
    return -(-width // reduction), -(-height // reduction)
