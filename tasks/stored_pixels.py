"""Photos whose metadata turns them, under annotations that count the pixels as they are stored.

The datasets' own loaders open photos without looking at EXIF (HRNet and InstructDiffusion by IMREAD_IGNORE_ORIENTATION,
others by plain Pillow), and their coordinates hold for that view. Everywhere else an image is shown as its header asks.
So a photo that its header turns is copied without that header, to be shown as its annotation counts it.
"""

from io import BytesIO

from PIL import Image

from catalog.errors import RowRejected
from catalog.images import probe_image, read_orientation
from catalog.reasons import Reason

_START, _SCAN, _METADATA = 0xD8, 0xDA, 0xE1  # JPEG: start of image, start of scan, APP1 (EXIF and XMP)
_PREFIX = 0xFF


def as_stored(data: bytes) -> bytes:
    """The photo without the metadata that turns it; the very bytes where nothing does. Pixels are not coded anew.

    Raises:
        RowRejected: as `probe_image`; unsupported_format for a turned photo that is no JPEG.
    """
    probe_image(data)
    if read_orientation(data) == 1:
        return data
    kept = _without_metadata(data) if data[:2] == bytes([_PREFIX, _START]) else None
    if kept is None or read_orientation(kept) != 1:
        kind = Image.open(BytesIO(data)).format
        detail = f"a {kind} that its metadata turns, and annotations of the pixels as stored: save it without metadata"
        raise RowRejected(Reason.UNSUPPORTED_FORMAT, detail)
    return kept


def _without_metadata(data: bytes) -> bytes | None:
    """A JPEG less its APP1 segments; None where it is not made of segments up to its scan."""
    parts, position = [data[:2]], 2
    while position + 4 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position] != _PREFIX or length < 2:
            return None
        if marker == _SCAN:
            return b"".join([*parts, data[position:]])
        if marker != _METADATA:
            parts.append(data[position : position + 2 + length])
        position += 2 + length
    return None
