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

from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from catalog.errors import RowRejected
from catalog.image_headers import MAX_BYTES, MAX_PIXELS, MIN_SIDE, TRANSPOSES, explain, open_image, orientation
from catalog.jpeg import decode_plain_jpeg, plain_jpeg_size, reduce_in_pillow
from catalog.reasons import Reason


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
            image = open_image(data)
            self.is_reducible = image.format in ("JPEG", "MPO")
            self._is_plain = self.is_reducible and image.mode in ("L", "RGB")
            self._orientation, self._stored_size = orientation(image), image.size
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
        if self._orientation in TRANSPOSES:
            pixels = np.array(Image.fromarray(pixels).transpose(TRANSPOSES[self._orientation]))
        return pixels

    def _decode_in_pillow(self, reduction: int) -> np.ndarray:
        image = open_image(self._data)  # anew: a decoder is used once
        try:
            reduce_in_pillow(image, reduction)
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # a decoder fed with damaged bytes may raise anything
            raise RowRejected(Reason.TRUNCATED_IMAGE, f"{image.format}: {explain(error)}") from error
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
    return orientation(open_image(data))


def decode_image(data: bytes) -> np.ndarray:
    """Decode one image: uint8 HWC RGB (see the module's docstring for what is applied).

    Raises:
        RowRejected: empty_file, file_too_large, not_an_image, unsupported_format, animated_image,
            too_many_pixels (before anything is decoded), image_too_small, truncated_image.
    """
    return EncodedImage(data).decode()


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
