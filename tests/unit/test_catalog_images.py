"""Reading, decoding, encoding and resizing of images: every way a file can be bad, and pixels against Pillow."""

import io
import os
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps
from skimage import data as photos

from catalog import image_headers, source_files
from catalog.errors import RowRejected
from catalog.image_headers import MAX_BYTES, MAX_PIXELS, MIN_SIDE
from catalog.images import EncodedImage, decode_image, encode_png, probe_image, resize_image, resize_mask
from catalog.reasons import Reason
from catalog.source_files import read_source_file

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
PHOTO = np.ascontiguousarray(photos.astronaut()[:96, 100:228])


def saved(array_or_image, kind: str, **options) -> bytes:
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, body: bytes, extra: bytes = b"", depth: int = 8, color: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(body, 9))
        + chunk(b"IEND", b"")
    )


def float_tiff() -> bytes:
    return saved(Image.fromarray(np.ones((40, 40), np.float32)), "TIFF")


def white_is_zero_tiff() -> bytes:
    """16-bit grey where white is zero: read wrongly by a plain conversion, so refused."""
    image = Image.fromarray(np.full((40, 40), 40000, np.uint16))
    return saved(image, "TIFF").replace(struct.pack("<HHII", 262, 3, 1, 1), struct.pack("<HHII", 262, 3, 1, 0))


def jpeg_of_size(width: int, height: int) -> bytes:
    body = bytearray(saved(NOISE, "JPEG"))
    place = body.index(b"\xff\xc0") + 5
    body[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(body)


def webp_of_size(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is larger than its only frame."""
    frame = saved(NOISE, "WEBP")[12:]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    canvas += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(frame)) + b"WEBP" + canvas + frame


def many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated a thousand times."""
    body = saved(NOISE, "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * 1000 + body[-2:]


def frames(kind: str) -> bytes:
    second = Image.fromarray(NOISE[::-1].copy())
    return saved(NOISE, kind, save_all=True, append_images=[second])


JPEG = saved(PHOTO, "JPEG", quality=90)
PNG = saved(PHOTO, "PNG")
ROW = bytes(1 + 3 * 40)

BAD_IMAGES = {
    "zero bytes": (b"", Reason.EMPTY_FILE),
    "text named .jpg": (b"<html>404 Not Found</html>", Reason.NOT_AN_IMAGE),
    "text that starts like a bitmap": (b"BM is how this text starts" * 9, Reason.NOT_AN_IMAGE),
    "random bytes": (RNG.bytes(4096), Reason.NOT_AN_IMAGE),
    "four bytes": (b"\0\0\0\0", Reason.NOT_AN_IMAGE),
    "JPEG signature, then text": (b"\xff\xd8\xff\xe0" + b"not an image " * 99, Reason.TRUNCATED_IMAGE),
    "JPEG cut in its header": (JPEG[:100], Reason.TRUNCATED_IMAGE),
    "JPEG cut in its pixels": (JPEG[: len(JPEG) // 2], Reason.TRUNCATED_IMAGE),
    "PNG cut in its header": (PNG[:20], Reason.TRUNCATED_IMAGE),
    "PNG cut in its pixels": (PNG[: len(PNG) // 2], Reason.TRUNCATED_IMAGE),
    "PNG with a wrong checksum": (PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:], Reason.TRUNCATED_IMAGE),
    "WebP cut": (saved(PHOTO, "WEBP")[:200], Reason.TRUNCATED_IMAGE),
    "GIF cut": (saved(PHOTO, "GIF")[:900], Reason.TRUNCATED_IMAGE),
    "bitmap cut": (saved(PHOTO, "BMP")[:900], Reason.TRUNCATED_IMAGE),
    "TIFF cut": (saved(PHOTO, "TIFF", compression="tiff_lzw")[:900], None),
    "PNG bomb by its header": (png(50_000, 50_000, b"\0" * 99), Reason.TOO_MANY_PIXELS),
    "PNG just over the limit": (png(8192, 8193, b"\0" * 99), Reason.TOO_MANY_PIXELS),
    "JPEG bomb": (jpeg_of_size(65_500, 65_500), Reason.TOO_MANY_PIXELS),
    "WebP bomb": (webp_of_size(16_383, 16_383), Reason.TOO_MANY_PIXELS),
    "GIF bomb": (b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + saved(PHOTO, "GIF")[10:], Reason.TOO_MANY_PIXELS),
    "text chunk bomb": (png(40, 40, ROW * 40, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 27), 9))), None),
    "profile bomb": (png(40, 40, ROW * 40, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 27), 9))), None),
    "JPEG of a thousand scans": (many_scans(), Reason.UNSUPPORTED_FORMAT),
    "animated GIF": (frames("GIF"), Reason.ANIMATED_IMAGE),
    "animated PNG": (frames("PNG"), Reason.ANIMATED_IMAGE),
    "animated WebP": (frames("WEBP"), Reason.ANIMATED_IMAGE),
    "TIFF of two pages": (frames("TIFF"), Reason.ANIMATED_IMAGE),
    "float TIFF": (float_tiff(), Reason.UNSUPPORTED_FORMAT),
    "32-bit TIFF": (saved(Image.fromarray(np.ones((40, 40), np.int32)), "TIFF"), Reason.UNSUPPORTED_FORMAT),
    "16-bit TIFF, white is zero": (white_is_zero_tiff(), Reason.UNSUPPORTED_FORMAT),
    "JPEG 2000": (saved(PHOTO, "JPEG2000"), Reason.UNSUPPORTED_FORMAT),
    "AVIF": (b"\0\0\0\x20ftypavif" + bytes(64), Reason.UNSUPPORTED_FORMAT),
    "icon": (saved(PHOTO, "ICO"), Reason.UNSUPPORTED_FORMAT),
    "one side too small": (saved(PHOTO[: MIN_SIDE - 1], "PNG"), Reason.IMAGE_TOO_SMALL),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image_is_rejected_with_its_reason(name: str) -> None:
    data, reason = BAD_IMAGES[name]
    allowed = {reason} if reason else {Reason.UNSUPPORTED_FORMAT, Reason.TRUNCATED_IMAGE}
    with pytest.raises(RowRejected) as caught:
        decode_image(data)
    assert caught.value.reason in allowed, caught.value
    assert 0 < len(caught.value.detail) < 400
    caught.value.detail.encode()  # storable


@pytest.mark.parametrize("name", [name for name in BAD_IMAGES if "bomb" in name])
def test_bombs_cost_no_memory(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(RowRejected):
        probe_image(BAD_IMAGES[name][0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_surplus_rows_of_a_png_are_never_unpacked() -> None:
    data = png(40, 40, ROW * 40 + bytes(1 << 26))
    tracemalloc.start()
    assert decode_image(data).shape == (40, 40, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_headers, "MAX_BYTES", 1000)
    with pytest.raises(RowRejected, match="at most 1000"):
        decode_image(PNG)


def test_limits_are_ours_whatever_pillow_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RowRejected, match=Reason.TRUNCATED_IMAGE):
        decode_image(JPEG[: len(JPEG) // 2])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    for data in (png(50_000, 50_000, b"\0"), png(9000, 9000, b"\0")):
        with pytest.raises(RowRejected, match=Reason.TOO_MANY_PIXELS):
            decode_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # under it Pillow would warn or refuse
    with pytest.raises(RowRejected, match=Reason.TOO_MANY_PIXELS):
        decode_image(PNG)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PHOTO[..., 0].size - 1)
    assert (decode_image(PNG) == PHOTO).all()
    assert MAX_PIXELS == 8192**2 and MAX_BYTES == 64 * 2**20


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"]), st.data())
def test_damaged_files_decode_or_are_rejected(kind: str, draw: st.DataObject) -> None:
    data = bytearray(saved(PHOTO[:40, :40], kind))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    data = bytes(data[: draw.draw(st.integers(1, len(data)))])
    try:
        size = probe_image(data)
    except RowRejected:
        with pytest.raises(RowRejected):
            decode_image(data)
        return
    try:
        image = decode_image(data)
    except RowRejected:
        return
    assert image.dtype == np.uint8 and image.shape == (size[1], size[0], 3)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"BM", b"II*\0", b"MM\0*", b"GIF89a", b"\xff\xd8\xff", PNG[:33]]))
def test_arbitrary_bytes_are_rejected(tail: bytes, head: bytes) -> None:
    with pytest.raises(RowRejected):
        decode_image(head + tail)


# Good files: pixels.


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_stored_pixels(kind: str) -> None:
    image = decode_image(saved(PHOTO, kind))
    assert (image == PHOTO).all() and image.flags.writeable and image.flags.c_contiguous


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_other_formats_give_pillows_pixels(kind: str) -> None:
    data = saved(PHOTO, kind)
    assert (decode_image(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(PHOTO, kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert (decode_image(data) == expected).all()
    assert probe_image(data) == (expected.shape[1], expected.shape[0])
    assert (expected.shape[0] > expected.shape[1]) == (orientation >= 5)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0broken", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0" + bytes(40)]
)
def test_damaged_metadata_does_not_lose_the_picture(exif: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = saved(PHOTO, "JPEG", exif=exif)
        expected = np.asarray(Image.open(io.BytesIO(data)))
    assert (decode_image(data) == expected).all()


def test_sixteen_bits_keep_their_range() -> None:
    deep = np.linspace(0, 65535, 40 * 50 * 3).astype(np.uint16).reshape(40, 50, 3)
    high = (deep >> 8).astype(np.uint8)
    color = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    assert (decode_image(color) == high).all()
    for grey in (
        cv2.imencode(".png", deep[..., 0])[1].tobytes(),
        cv2.imencode(".tiff", deep[..., 0])[1].tobytes(),
        saved(Image.fromarray(deep[..., 0]), "TIFF"),
    ):
        assert (decode_image(grey) == high[..., :1]).all()


def test_transparent_level_of_a_deep_grey_png_is_white() -> None:
    rows = b"".join(b"\0" + struct.pack(">40H", *([1000] * 20 + [30_000] * 20)) for _ in range(40))
    image = decode_image(png(40, 40, rows, chunk(b"tRNS", struct.pack(">H", 1000)), depth=16, color=0))
    assert (image[:, :20] == 255).all() and (image[:, 20:] == 30_000 >> 8).all()


def test_grey_and_one_bit() -> None:
    grey = PHOTO[..., 0]
    assert (decode_image(saved(grey, "PNG")) == grey[..., None]).all()
    mask = grey > 128
    assert (decode_image(saved(Image.fromarray(mask), "PNG")) == np.where(mask, 255, 0)[..., None]).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_over_white(kind: str) -> None:
    alpha = np.linspace(0, 255, PHOTO[..., 0].size).astype(np.uint8).reshape(PHOTO.shape[:2])
    data = saved(np.dstack([PHOTO, alpha]), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    share = alpha[..., None] / 255
    expected = PHOTO * share + 255 * (1 - share)
    assert np.abs(decode_image(data) - expected).max() <= 1
    grey = decode_image(saved(np.dstack([PHOTO[..., 0], alpha]), "PNG"))
    assert np.abs(grey - expected[..., :1]).max() <= 1


def test_palette_with_and_without_transparency() -> None:
    palette = Image.fromarray(PHOTO).quantize(16)
    colors = np.asarray(palette.convert("RGB"))
    assert (decode_image(saved(palette, "PNG")) == colors).all()
    index = np.asarray(palette)
    image = decode_image(saved(palette, "PNG", transparency=3))
    assert (image[index == 3] == 255).all() and (image[index != 3] == colors[index != 3]).all()
    half = decode_image(saved(palette, "PNG", transparency=bytes([128] * 16)))
    assert np.abs(half - (colors * (128 / 255) + 255 * (127 / 255))).max() <= 1


def test_color_key_transparency() -> None:
    image = PHOTO.copy()
    image[:10] = (1, 2, 3)
    decoded = decode_image(saved(Image.fromarray(image), "PNG", transparency=(1, 2, 3)))
    assert (decoded[:10] == 255).all() and (decoded[10:] == image[10:]).all()


def test_cmyk_jpeg_as_adobe_writes_it() -> None:
    smooth = cv2.GaussianBlur(PHOTO, (0, 0), 3)
    data = saved(Image.fromarray(smooth).convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in data
    assert np.abs(decode_image(data).astype(int) - smooth).mean() < 2


def test_ycck_jpeg() -> None:
    """The first three planes hold YCbCr of the inks; only the last byte of the Adobe marker says so."""
    smooth = cv2.GaussianBlur(PHOTO, (0, 0), 3)
    planes = np.asarray(Image.fromarray(255 - smooth).convert("YCbCr"))
    stored = np.dstack([255 - planes, np.zeros_like(planes[..., :1])])  # Pillow writes CMYK inverted
    data = bytearray(saved(Image.frombytes("CMYK", smooth.shape[1::-1], stored.tobytes()), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = 2
    assert np.abs(decode_image(bytes(data)).astype(int) - smooth).mean() < 3


def test_multi_picture_jpeg_gives_its_first_picture() -> None:
    data = saved(PHOTO, "MPO", save_all=True, append_images=[Image.fromarray(PHOTO[::-1].copy())])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.abs(decode_image(data).astype(int) - PHOTO).mean() < 10


def test_warnings_about_metadata_stay_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test_damaged_metadata_does_not_lose_the_picture(b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")


# Files.


def test_reads_a_file_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("a/b.png")
    for name in ("a/b.png", "./a//b.png", "link.png"):
        assert read_source_file(tmp_path, name) == PNG
    root_link = tmp_path / "root"
    root_link.symlink_to("a")
    assert read_source_file(root_link, "b.png") == PNG


def make_bad_files(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(PNG)
    (root / "folder").mkdir(parents=True)
    (root / "photo.png").write_bytes(PNG)
    (root / "empty.png").touch()
    os.mkfifo(root / "pipe.png")
    with (root / "huge.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse
    (root / "escape.png").symlink_to(outside / "secret.png")
    (root / "away").symlink_to(outside)
    (root / "loop.png").symlink_to("loop.png")
    (root / "null.png").symlink_to("/dev/zero")
    (root / "dangling.png").symlink_to("nowhere.png")


BAD_FILES = {
    "absent.png": Reason.MISSING_FILE,
    "folder/absent.png": Reason.MISSING_FILE,
    "photo.png/below.png": Reason.MISSING_FILE,
    "dangling.png": Reason.MISSING_FILE,
    "\ud800.png": Reason.MISSING_FILE,
    "../outside/secret.png": Reason.PATH_ESCAPE,
    "folder/../photo.png": Reason.PATH_ESCAPE,
    "/etc/passwd": Reason.PATH_ESCAPE,
    "photo\0.png": Reason.PATH_ESCAPE,
    "escape.png": Reason.PATH_ESCAPE,
    "away/secret.png": Reason.PATH_ESCAPE,
    "null.png": Reason.PATH_ESCAPE,
    "empty.png": Reason.EMPTY_FILE,
    "huge.png": Reason.FILE_TOO_LARGE,
    "folder": Reason.UNREADABLE_FILE,
    "": Reason.UNREADABLE_FILE,
    "pipe.png": Reason.UNREADABLE_FILE,
    "loop.png": Reason.UNREADABLE_FILE,
    "x" * 5000: Reason.UNREADABLE_FILE,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BAD_FILES, ids=lambda name: ascii(name)[:30])
def test_bad_file_is_rejected_with_its_reason(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    make_bad_files(root)
    with pytest.raises(RowRejected) as caught:
        read_source_file(root, name)
    assert caught.value.reason == BAD_FILES[name], caught.value
    caught.value.detail.encode()


def test_refused_permission_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.png").write_bytes(PNG)

    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(source_files.os, "open", refuse)
    with pytest.raises(RowRejected, match=r"unreadable_file.*Permission denied"):
        read_source_file(tmp_path, "photo.png")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_bad_files(root)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in [*BAD_FILES, "photo.png"] * 3:
        try:
            read_source_file(root, name)
        except RowRejected:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Encoding and resizing.


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1), st.integers(1, 256))
def test_png_round_trip(height: int, width: int, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, levels, (height, width, 3)).astype(np.uint8)
    data = encode_png(image)
    assert data == encode_png(image.copy())
    assert (np.asarray(Image.open(io.BytesIO(data))) == image).all()
    mask = image[..., 0] > levels // 2
    data = encode_png(mask)
    assert Image.open(io.BytesIO(data)).mode == "1"
    assert (np.asarray(Image.open(io.BytesIO(data))) == mask).all()


def test_png_is_read_back_by_the_decoder() -> None:
    assert (decode_image(encode_png(PHOTO)) == PHOTO).all()
    assert (decode_image(encode_png(PHOTO[:, ::-1])) == PHOTO[:, ::-1]).all()


def test_resizing_shrinks_without_aliasing_and_keeps_flat_areas() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_image(stripes, 32, 32)
    assert np.abs(small[:, 4:-4].astype(int) - 127).max() <= 2
    assert (resize_image(np.full((50, 70, 3), 77, np.uint8), 256, 256) == 77).all()
    same = resize_image(PHOTO, PHOTO.shape[1], PHOTO.shape[0])
    assert (same == PHOTO).all() and same is not PHOTO
    assert resize_image(PHOTO, 30, 20).shape == (20, 30, 3)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (96, 128), (50, 300), (256, 256)])
def test_mask_resize_is_nearest_as_in_opencv(size: tuple[int, int]) -> None:
    mask = PHOTO[..., 1] > 100
    expected = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    resized = resize_mask(mask, *size)
    assert resized.dtype == np.bool_ and resized.shape == size[::-1]
    assert (resized == expected).mean() > 0.99
    assert (resize_mask(mask, *mask.shape[::-1]) == mask).all()
    assert (resize_mask(resize_mask(mask, 256, 192), *mask.shape[::-1]) == mask).all()


# -- reduced JPEGs ----------------------------------------------------------------------------------------------

JPEG_KINDS = {
    "4:2:0": (PHOTO, {"quality": 90}),
    "4:4:4": (PHOTO, {"quality": 95, "subsampling": 0}),
    "progressive": (PHOTO, {"quality": 80, "progressive": True}),
    "grey": (PHOTO[..., 1], {"quality": 90}),
    "odd sides": (PHOTO[:93, :127], {"quality": 90}),
    "RGB stored": (PHOTO, {"quality": 90, "keep_rgb": True}),
    "CMYK": (Image.fromarray(PHOTO).convert("CMYK"), {"quality": 90}),
}


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_reduced_jpegs_are_what_pillow_makes_of_them(kind: str, reduction: int) -> None:
    picture, options = JPEG_KINDS[kind]
    data = saved(picture, "JPEG", **options)
    expected = Image.open(io.BytesIO(data))
    if reduction > 1:
        expected.draft(None, (expected.width // reduction, expected.height // reduction))
    pixels = EncodedImage(data).decode(reduction)
    assert pixels.shape[:2] == (expected.height, expected.width)
    assert np.array_equal(pixels, np.array(expected.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_turned_as_its_header_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = EncodedImage(saved(PHOTO, "JPEG", exif=exif))
    whole, half = image.decode(), image.decode(2)
    assert whole.shape[:2] == (image.height, image.width) == tuple(2 * side for side in half.shape[:2])
    small = np.array(Image.fromarray(whole).resize((image.width // 2, image.height // 2), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - half).mean() < 3


def test_a_truncated_jpeg_is_refused_reduced_too_and_a_harmless_complaint_is_not() -> None:
    data = saved(PHOTO, "JPEG", quality=90)
    with pytest.raises(RowRejected, match="truncated_image"):
        EncodedImage(data[:-400]).decode(2)
    padded = data[:-2] + b"\x00\x00\x00" + data[-2:]  # libjpeg: "extraneous bytes before marker"
    assert np.array_equal(decode_image(padded), decode_image(data))
    assert np.array_equal(EncodedImage(padded).decode(2), EncodedImage(data).decode(2))


def test_what_is_said_of_a_damaged_header_is_the_same_each_time() -> None:
    """Rows keep the sentence, and a rerun must give the same bytes: no address in memory is in it."""
    stream = io.BytesIO()
    Image.new("RGB", (40, 30)).save(stream, "PNG")
    data = stream.getvalue()[:20] + b"\xff" + stream.getvalue()[21:]
    said = []
    for _ in range(2):
        with pytest.raises(RowRejected) as caught:
            decode_image(bytes(data))
        said.append(str(caught.value))
    assert said[0] == said[1] and "0x" not in said[0] and "cannot identify image file" in said[0]
