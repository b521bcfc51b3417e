"""OpenImages' mask PNGs as run-length codes of the photo's size.

A mask shows the whole photo, drawn on a copy of another size: it is brought to the photo's by the nearest pixel. A
mask that cannot be the photo at any scale keeps its own size, which the ingest step refuses.
"""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from catalog.errors import RowRejected
from catalog.images import decode_image, probe_image, resize_mask
from catalog.source_files import read_source_file
from tasks.readers.run_length import encode_run_length

_FOREGROUND = 128
"""Masks are black and white, of 1 or 8 bits."""

_ORIENTATION = 0x0112  # EXIF tag
_METADATA_ERRORS = (ValueError, SyntaxError, TypeError, KeyError, IndexError, OSError, struct.error)


def read_photo_size(root: Path, file: str) -> tuple[int, int, bool] | None:
    """(width, height, turned) of a photo from its header; None where it cannot be read, which ingest will say.

    ``turned``: its EXIF orientation turns or mirrors it. Ingest shows it so; whether annotators saw it so is not
    documented.
    """
    try:
        data = read_source_file(root, file)
        width, height = probe_image(data)
    except RowRejected:
        return None
    try:
        orientation = Image.open(BytesIO(data)).getexif().get(_ORIENTATION, 1)
    except _METADATA_ERRORS:
        orientation = 1
    return width, height, orientation in range(2, 9)


def read_mask(root: Path, file: str, width: int, height: int) -> Any:
    """Run-length code of a mask for a photo of ``width`` x ``height`` pixels; a sentence where there is none.

    Args:
        root: the dataset's folder.
        file: the PNG, relative to it.
        width: of the photo.
        height: of the photo.
    """
    try:
        mask = decode_image(read_source_file(root, file))[..., 0] >= _FOREGROUND
    except RowRejected as rejected:
        return f"mask {file!r}: {rejected}"
    mask_height, mask_width = mask.shape
    if abs(mask_width * height - mask_height * width) <= width + height:  # each side is rounded to a whole pixel
        mask = resize_mask(mask, width, height)
    return encode_run_length(mask)
