"""What an image's header says, held against every limit before a pixel is decoded."""

import re
import struct
import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageFile

from catalog.errors import RowRejected
from catalog.reasons import Reason

MAX_BYTES = 64 << 20
"""Largest encoded image: 64 MiB, several times the largest photo of the paper's datasets."""

MAX_PIXELS = 1 << 26
"""Largest image: 67,108,864 pixels (8192 x 8192), 192 MiB decoded; below the size that Pillow itself warns at."""

MIN_SIDE = 32
"""Shortest side in pixels: an eighth of the paper's 256 (section 4.1), and four cells of the autoencoder's grid."""

MAX_SCANS = 200
"""Scans of one JPEG. Progressive encoders write about ten; each one costs a pass over all pixels, in a few bytes."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"BM", "BMP"),
)
_FOREIGN_SIGNATURES = (
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "PSD"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"v/1\1", "OpenEXR"),
)
_ORIENTATION = 0x0112  # EXIF tag
TRANSPOSES = {  # EXIF orientation to what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN_MODES = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LA", "La", "PA", "RGBA", "RGBa"})
_METADATA_ERRORS = (ValueError, SyntaxError, TypeError, KeyError, IndexError, OSError, struct.error)


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Read the header and hold it against every limit."""
    kind = sniff_format(data)
    # Pillow's global state, set where it is relied on: damaged files must fail, and its warnings about odd metadata
    # must neither fill the log nor, where a program makes warnings errors, change which images are read.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        image = Image.open(BytesIO(data), formats=[kind])
    except Image.DecompressionBombError as error:
        raise RowRejected(Reason.TOO_MANY_PIXELS, f"{kind}: {explain(error)}") from error
    except MemoryError:
        raise
    except Exception as error:  # a header reader fed with damaged bytes may raise anything
        raise RowRejected(_header_reason(kind, error), f"{kind}: {explain(error)}") from error
    _check_header(image)
    if kind == "JPEG" and (num_scans := _count_scans(data)) > MAX_SCANS:
        raise RowRejected(Reason.UNSUPPORTED_FORMAT, f"JPEG of {num_scans} scans; at most {MAX_SCANS}")
    return image


def _count_scans(data: bytes) -> int:
    """Marks of a scan's beginning, FF DA."""
    values = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((values[1:] == 0xDA) & (values[:-1] == 0xFF)))


def sniff_format(data: bytes) -> str:
    """Pillow's name of the format that the first bytes announce.

    Raises:
        RowRejected: empty_file, file_too_large, unsupported_format, not_an_image.
    """
    if not data:
        raise RowRejected(Reason.EMPTY_FILE, "no bytes")
    if len(data) > MAX_BYTES:
        raise RowRejected(Reason.FILE_TOO_LARGE, f"{len(data)} bytes; at most {MAX_BYTES}")
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for signature, kind in _FOREIGN_SIGNATURES:
        if data.startswith(signature):
            raise RowRejected(Reason.UNSUPPORTED_FORMAT, f"{kind} is not read; convert it to PNG")
    if data[4:8] == b"ftyp":
        raise RowRejected(Reason.UNSUPPORTED_FORMAT, "AVIF, HEIC or video is not read; convert it to PNG")
    raise RowRejected(Reason.NOT_AN_IMAGE, f"starts with {data[:8]!r}, as no known image does")


def _header_reason(kind: str, error: Exception) -> Reason:
    """Why a file with the right first bytes does not open."""
    if kind == "BMP":
        # Two letters are a weak signature: any text may start with them.
        return Reason.UNSUPPORTED_FORMAT if str(error).startswith("Unsupported") else Reason.NOT_AN_IMAGE
    if kind == "TIFF" or "MAX_TEXT" in str(error):
        return Reason.UNSUPPORTED_FORMAT  # a layout that Pillow does not know; compressed metadata without end
    return Reason.TRUNCATED_IMAGE


def _check_header(image: ImageFile.ImageFile) -> None:
    width, height = image.size
    tile = (_tiff_tag(image, 322, 1), _tiff_tag(image, 323, 1))  # a small image may still declare huge tiles
    if width * height > MAX_PIXELS or tile[0] * tile[1] > MAX_PIXELS:
        detail = f"{width} x {height} pixels in tiles of {tile}" if tile != (1, 1) else f"{width} x {height} pixels"
        raise RowRejected(Reason.TOO_MANY_PIXELS, f"{detail}; at most {MAX_PIXELS}")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise RowRejected(Reason.ANIMATED_IMAGE, f"{image.format} of more than one frame")
    if min(width, height) < MIN_SIDE:
        raise RowRejected(Reason.IMAGE_TOO_SMALL, f"{width} x {height} pixels; a side needs {MIN_SIDE}")
    if image.mode not in _PLAIN_MODES and not _is_deep_grey(image):
        raise RowRejected(Reason.UNSUPPORTED_FORMAT, f"{image.format} with pixels of mode {image.mode}")


def _tiff_tag(image: ImageFile.ImageFile, tag: int, default: int) -> int:
    """One whole-number tag of a TIFF's header; ``default`` where it has none, or is no TIFF."""
    value = getattr(image, "tag_v2", {}).get(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default


def _is_deep_grey(image: ImageFile.ImageFile) -> bool:
    """Whether the pixels are 16-bit grey from black to white."""
    if image.format == "TIFF":
        return image.mode.startswith("I;16") and _tiff_tag(image, 258, 0) == 16 and _tiff_tag(image, 262, 0) == 1
    return image.format == "PNG" and image.mode in ("I", "I;16", "I;16B")


def orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1 to 8; 1 where there is none or the metadata is damaged. TIFF: Pillow applies it itself."""
    if image.format == "TIFF":
        return 1
    try:
        # The base class's reader, since the one for PNG decodes the pixels to look behind them.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except _METADATA_ERRORS:
        return 1
    return value if value in TRANSPOSES else 1


def explain(error: Exception) -> str:
    """A library's message, short, storable as UTF-8, and the same each time: without addresses in memory."""
    message = re.sub(r"<([\w.]+) object at 0x[0-9a-f]+>", r"\1", f"{type(error).__name__}: {error}")
    return message[:200].encode("utf-8", "backslashreplace").decode()
