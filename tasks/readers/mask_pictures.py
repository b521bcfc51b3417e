"""Masks that come as pictures: white or grey on black, or transparent where the edit is allowed."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from catalog.images import decode_image, probe_image
from tasks.readers.run_length import encode_run_length

HALF = 128
"""Half of 255: a mask's pixel counts from here on; JPEG masks are never quite black and white."""


def white_mask(data: bytes, threshold: int = HALF) -> dict[str, Any]:
    """Run-length code of the light pixels of an encoded picture. Raises RowRejected where it cannot be decoded."""
    return encode_run_length(decode_image(data).max(axis=2) >= threshold)


def edit_mask(data: bytes) -> dict[str, Any]:
    """Run-length code of where an edit is allowed: what is transparent, in a picture that has such pixels; else white.

    MagicBrush has both forms: its files are photos with a transparent hole, its table has white on black.

    Raises:
        RowRejected: the picture cannot be decoded.
    """
    probe_image(data)  # every limit, before anything is decoded
    decode_image(data)
    with Image.open(BytesIO(data)) as picture:
        if not picture.has_transparency_data:
            return white_mask(data)
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    return encode_run_length(alpha < HALF) if (alpha < HALF).any() else white_mask(data)
