"""Images as bytes and as arrays: read with limits, decode, encode, resize.

One convention outside the trainer: ``uint8``, height x width x 3, RGB, 0 to 255. Bytes that break a limit or do not
decode raise `RowRejected` with the reason; nothing is replaced and nothing is guessed.

What `decode_image` does, always the same for the same bytes:

* JPEG (also the first picture of a multi-picture JPEG, as phones write them), PNG, WebP, BMP, TIFF, GIF; one frame.
* The orientation that the file's header gives (EXIF, XMP, TIFF tag) is applied.
* CMYK and YCCK become RGB by Pillow's plain formula, stored values otherwise stay: colour profiles are not applied,
  as in the official code.
* 16 bits per channel become 8 by keeping the high byte, grey and colour alike.
* Transparency is laid over white, as browsers show it. (The official code drops the alpha channel, which uncovers
  whatever colour the transparent pixels happen to hold.)
"""

import os
import re
import stat
import struct
import warnings
from io import BytesIO
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image, ImageFile

from catalog.durable import read_stretch
from catalog.errors import RowRejected
from catalog.jpeg import decode_plain_jpeg, plain_jpeg_size, reduce_in_pillow
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
_TRANSPOSES = {
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


def read_source_file(root: Path, file: str, offset: int = 0, length: int | None = None) -> bytes:
    """The bytes of one file of a dataset, or of a stretch of it, at most `MAX_BYTES`.

    Args:
        root: the dataset's folder.
        file: path relative to ``root``, as the annotation names it. It must stay below ``root``, also after
            symbolic links are followed.
        offset: first byte.
        length: bytes; None: to the end of the file.

    Raises:
        RowRejected: path_escape, missing_file, unreadable_file, empty_file, file_too_large; changed_file where the
            file ends within the stretch.
    """
    descriptor = _open_regular(_locate(root, file), file)
    with os.fdopen(descriptor, "rb", buffering=0):
        size = os.fstat(descriptor).st_size - offset if length is None else length
        if size <= 0:
            raise RowRejected(Reason.EMPTY_FILE, f"{file!r} has no bytes")
        if size > MAX_BYTES:
            raise RowRejected(Reason.FILE_TOO_LARGE, f"{file!r} has {size} bytes; at most {MAX_BYTES}")
        try:
            data = read_stretch(descriptor, offset, size)
        except OSError as error:
            raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {error.strerror}") from error
    if len(data) != size:
        raise RowRejected(Reason.CHANGED_FILE, f"{file!r} ends within the {size} bytes at byte {offset}")
    return data


def _locate(root: Path, file: str) -> Path:
    """The real path of ``file``, proven to lie below ``root``."""
    path = PurePosixPath(file)
    if "\0" in file or path.is_absolute() or ".." in path.parts:
        raise RowRejected(Reason.PATH_ESCAPE, f"{file!r} is not a plain path below the dataset's folder")
    try:
        real_root = root.resolve(strict=True)
        real = (root / path).resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError, UnicodeEncodeError) as error:
        raise RowRejected(Reason.MISSING_FILE, f"no file {file!r}") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {_explain(error)}") from error
    if not real.is_relative_to(real_root):
        raise RowRejected(Reason.PATH_ESCAPE, f"{file!r} links to a place outside the dataset's folder")
    return real


def _open_regular(path: Path, file: str) -> int:
    """Descriptor of a regular file; a pipe or device is refused and never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise RowRejected(Reason.MISSING_FILE, f"no file {file!r}") from error
    except OSError as error:
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RowRejected(Reason.UNREADABLE_FILE, f"{file!r} is not a regular file")
    return descriptor


class EncodedImage:
    """An image whose header has passed every limit. Its pixels are decoded when asked for, whole or reduced.

    ``width`` and ``height`` are pixels, orientation applied; ``is_reducible`` says whether `decode` takes reductions.
    """

    def __init__(self, data: bytes) -> None:
        """Read the header.

        Raises:
            RowRejected: empty_file, file_too_large, not_an_image, unsupported_format, animated_image,
                too_many_pixels, image_too_small.
        """
        self._data = data
        size = _plain_size(data)
        if size is not None:
            self.is_reducible, self._is_plain, self._orientation, self._stored_size = True, True, 1, size
        else:
            image = _open_image(data)
            self.is_reducible = image.format in ("JPEG", "MPO")
            self._is_plain = self.is_reducible and image.mode in ("L", "RGB")
            self._orientation, self._stored_size = _orientation(image), image.size
        width, height = self._stored_size
        self.width, self.height = (height, width) if self._orientation >= 5 else (width, height)

    def decode(self, reduction: int = 1) -> np.ndarray:
        """Uint8 HWC RGB, sides divided by ``reduction`` (`jpeg.REDUCTIONS`, of a reducible one) and rounded up.

        Raises:
            RowRejected: truncated_image.
        """
        assert reduction == 1 or self.is_reducible, reduction
        pixels = decode_plain_jpeg(self._data, *self._stored_size, reduction) if self._is_plain else None
        if pixels is None:
            pixels = self._decode_in_pillow(reduction)
        if self._orientation in _TRANSPOSES:
            pixels = np.array(Image.fromarray(pixels).transpose(_TRANSPOSES[self._orientation]))
        return pixels

    def _decode_in_pillow(self, reduction: int) -> np.ndarray:
        image = _open_image(self._data)  # anew: a decoder is used once
        try:
            reduce_in_pillow(image, reduction)
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # a decoder fed with damaged bytes may raise anything
            raise RowRejected(Reason.TRUNCATED_IMAGE, f"{image.format}: {_explain(error)}") from error
        return np.array(_to_rgb(image))


def _plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a plain JPEG within every limit, at a tenth of the time that Pillow's reader takes."""
    size = plain_jpeg_size(data) if data.startswith(b"\xff\xd8\xff") and len(data) <= MAX_BYTES else None
    return size if size and min(size) >= MIN_SIDE and size[0] * size[1] <= MAX_PIXELS else None


def probe_image(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, orientation applied, from the header alone: no pixel is decoded.

    Raises:
        RowRejected: as `decode_image`, for all that the header shows.
    """
    image = EncodedImage(data)
    return image.width, image.height


def read_orientation(data: bytes) -> int:
    """EXIF orientation of an image's header, 1 (as stored) to 8. Raises as `probe_image`."""
    return _orientation(_open_image(data))


def decode_image(data: bytes) -> np.ndarray:
    """Decode one image: uint8 HWC RGB (see the module's docstring for what is applied).

    Raises:
        RowRejected: empty_file, file_too_large, not_an_image, unsupported_format, animated_image,
            too_many_pixels (before anything is decoded), image_too_small, truncated_image.
    """
    return EncodedImage(data).decode()


def _open_image(data: bytes) -> ImageFile.ImageFile:
    """Read the header and hold it against every limit."""
    kind = sniff_format(data)
    # Pillow's global state, set where it is relied on: damaged files must fail, and its warnings about odd metadata
    # must neither fill the log nor, where a program makes warnings errors, change which images are read.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        image = Image.open(BytesIO(data), formats=[kind])
    except Image.DecompressionBombError as error:
        raise RowRejected(Reason.TOO_MANY_PIXELS, f"{kind}: {_explain(error)}") from error
    except MemoryError:
        raise
    except Exception as error:  # a header reader fed with damaged bytes may raise anything
        raise RowRejected(_header_reason(kind, error), f"{kind}: {_explain(error)}") from error
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


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1 to 8; 1 where there is none or the metadata is damaged. TIFF: Pillow applies it itself."""
    if image.format == "TIFF":
        return 1
    try:
        # The base class's reader, since the one for PNG decodes the pixels to look behind them.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except _METADATA_ERRORS:
        return 1
    return value if value in _TRANSPOSES else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any accepted mode as RGB; transparency over white."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
        grey[values == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
    return image.convert("RGB")


def _explain(error: Exception) -> str:
    """A library's message, short, storable as UTF-8, and the same each time: without addresses in memory."""
    message = re.sub(r"<([\w.]+) object at 0x[0-9a-f]+>", r"\1", f"{type(error).__name__}: {error}")
    return message[:200].encode("utf-8", "backslashreplace").decode()


def encode_png(image: np.ndarray) -> bytes:
    """Lossless PNG of a uint8 HWC RGB image or, at one bit per pixel, of a bool HW mask.

    The same array gives the same bytes. Photos go through OpenCV with the Sub filter and run-length strategy:
    about 30 ms per megapixel, where Pillow's default takes 200 ms for files 6 % smaller.
    """
    if image.dtype == np.bool_ and image.ndim == 2:
        stream = BytesIO()
        Image.fromarray(image).save(stream, "PNG", compress_level=6)
        return stream.getvalue()
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, (image.dtype, image.shape)
    flags = [cv2.IMWRITE_PNG_COMPRESSION, 3, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB]
    flags += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]  # last: the level resets it
    done, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]), flags)
    assert done
    return data.tobytes()


def resize_image(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize uint8 HWC by Pillow's Lanczos filter, which is antialiased when shrinking (official code: LANCZOS)."""
    if image.shape[:2] == (height, width):
        return image.copy()
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def resize_box(image: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """A part of uint8 HWC, as `resize_image` does it, at size x size. ``box``: left, top, right, bottom in pixels."""
    if box == (0, 0, size, size):
        return image if image.shape[:2] == (size, size) else image[:size, :size].copy()
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS, box=box))


def resize_mask(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize bool HW by the nearest pixel centre, in whole numbers: the same everywhere."""
    old_height, old_width = mask.shape
    rows = (2 * np.arange(height) + 1) * old_height // (2 * height)
    columns = (2 * np.arange(width) + 1) * old_width // (2 * width)
    return mask[np.ix_(rows, columns)]
