"""Masks: drawn from polygons and boxes, stored as COCO run-length code, checked against their image.

A mask is ``bool``, height x width. Two rules turn a polygon into pixels; they differ by up to a pixel at the edge:

* ``phrasecut``: coordinates cut to whole pixels, outline and inside filled (PhraseCutDataset, ``polygons_to_mask``:
  PIL with ``outline=1, fill=1``). The outline belongs to the region.
* ``coco``: the pixels whose centres the polygon covers, by pycocotools' own rasteriser (``frPyObjects``).

Several polygons are joined, but for a third rule:

* ``coco_once``: as ``coco``, but only the pixels that one polygon covers and no other. The official RefCOCO loader
  adds the polygons up and keeps what counts one, which punches holes where they overlap.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from catalog.errors import RowRejected
from catalog.image_headers import MAX_PIXELS
from catalog.reasons import Reason

PolygonRule = Literal["phrasecut", "coco", "coco_once"]

TOLERANCE = 1.0
"""Pixels that a coordinate may lie outside its image, and is then moved to the border.

Conventions (first pixel 0 or 1, its centre or its corner) differ by at most one pixel; what lies further out was
annotated on an image of another size."""

_MAX_EDGES = 100
"""Length of a region's edges together, in widths plus heights of its image: pycocotools' rasteriser takes memory for
each of their pixels (some 120 bytes), and no outline of an object is as long."""

_FIVE_BITS_MORE = 0x20  # in each character of a run-length text: another one belongs to the same number
_SIGN = 0x10  # in the last character of a number
_MAX_CHARACTERS = 6  # 30 bits hold any difference of counts up to MAX_PIXELS


def rasterize_polygons(
    polygons: Sequence[Sequence[Sequence[float]]], height: int, width: int, rule: PolygonRule = "phrasecut"
) -> np.ndarray:
    """Union of polygons as a mask, bool HW.

    Args:
        polygons: each a list of at least three (x, y) in pixels, finite, in or near the image.
        height: of the image, pixels.
        width: of the image, pixels.
        rule: see the module's docstring.
    """
    if rule != "phrasecut":
        flat = [[float(value) for point in polygon for value in point] for polygon in polygons]
        codes = coco.frPyObjects(flat, height, width)
        if rule == "coco_once":
            return np.asarray(coco.decode(codes).sum(axis=2) == 1)
        return np.array(coco.decode(coco.merge(codes)), dtype=np.bool_)
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        draw.polygon([(int(x), int(y)) for x, y in polygon], outline=1, fill=1)
    return np.array(canvas)


def box_mask(box: Sequence[float], height: int, width: int) -> np.ndarray:
    """The pixels whose centres lie in ``box`` ([x, y, width, height], pixels, right and bottom edge excluded)."""
    x, y, box_width, box_height = box
    mask = np.zeros((height, width), np.bool_)
    left, top = max(0, math.ceil(x - 0.5)), max(0, math.ceil(y - 0.5))
    right, bottom = math.ceil(x + box_width - 0.5), math.ceil(y + box_height - 0.5)
    mask[top : max(top, bottom), left : max(left, right)] = True
    return mask


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A bool HW mask as a `columns.MASK` value: {"height", "width", "counts"}, COCO's compressed text."""
    code = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"height": mask.shape[0], "width": mask.shape[1], "counts": code["counts"].decode("ascii")}


def decode_mask(value: Any) -> np.ndarray:
    """Decode a run-length code from any source: bool HW. Its text is parsed and checked here, never by C code.

    Args:
        value: {"height", "width", "counts"} or COCO's {"size": [height, width], "counts"}; ``counts`` is the
            compressed text (str or bytes) or the list of run lengths, zeros first, column by column.

    Raises:
        RowRejected: bad_mask, too_many_pixels.
    """
    height, width, counts = _code_fields(value)
    runs = _parse_text(counts) if isinstance(counts, bytes) else _parse_list(counts)
    if runs.size and (runs.min() < 0 or runs.max() > height * width):
        raise RowRejected(Reason.BAD_MASK, f"run lengths from {runs.min()} to {runs.max()}")
    if runs.sum() != height * width:
        raise RowRejected(Reason.BAD_MASK, f"runs of {runs.sum()} pixels for {height} x {width}")
    values = np.arange(runs.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _code_fields(value: Any) -> tuple[int, int, bytes | list[Any]]:
    """Height, width and counts of a run-length code, of the right types."""
    if not isinstance(value, Mapping):
        raise RowRejected(Reason.BAD_MASK, f"a run-length code is an object, not {type(value).__name__}")
    size = value.get("size", [value.get("height"), value.get("width")])
    if not (isinstance(size, (list, tuple)) and len(size) == 2 and all(type(side) is int for side in size)):
        raise RowRejected(Reason.BAD_MASK, "a run-length code needs a size of two whole numbers")
    height, width = size
    if height < 1 or width < 1:
        raise RowRejected(Reason.BAD_MASK, f"a mask of {height} x {width} pixels")
    if height * width > MAX_PIXELS:
        raise RowRejected(Reason.TOO_MANY_PIXELS, f"a mask of {height} x {width} pixels; at most {MAX_PIXELS}")
    counts = value.get("counts")
    if isinstance(counts, str):
        counts = counts.encode("utf-8", "replace")
    if not isinstance(counts, (bytes, list)):
        raise RowRejected(Reason.BAD_MASK, f"counts must be text or a list, not {type(counts).__name__}")
    if len(counts) > _MAX_CHARACTERS * (height * width + 1):
        raise RowRejected(Reason.BAD_MASK, f"counts of length {len(counts)} for {height} x {width} pixels")
    return height, width, counts


def _parse_list(counts: list[Any]) -> np.ndarray:
    """Run lengths of an uncompressed code, int64."""
    if not all(type(count) is int and 0 <= count <= MAX_PIXELS for count in counts):
        raise RowRejected(Reason.BAD_MASK, "uncompressed counts must be whole numbers of pixels")
    return np.array(counts, dtype=np.int64)


def _parse_text(text: bytes) -> np.ndarray:
    """Run lengths of a compressed code, int64, unchecked beyond its syntax.

    A number is one character per five bits, least first, offset by 48; from the fourth number on it is the
    difference to the number two before (cocoapi ``maskApi.c``, ``rleFrString``).
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not digits.size:
        return digits
    if digits.min() < 0 or digits.max() > 0x3F or digits[-1] & _FIVE_BITS_MORE:
        raise RowRejected(Reason.BAD_MASK, "counts are not COCO's compressed text")
    ends = np.flatnonzero(digits & _FIVE_BITS_MORE == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARACTERS:
        raise RowRejected(Reason.BAD_MASK, "a count of more than 30 bits")
    shifts = 5 * (np.arange(digits.size) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((digits & 0x1F) << shifts, starts)
    numbers -= np.where(digits[ends] & _SIGN, 1 << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])  # the first number stands alone
    return numbers


def mask_area(mask: np.ndarray) -> int:
    """Pixels of a bool HW mask."""
    return int(np.count_nonzero(mask))


def mask_box(mask: np.ndarray) -> list[float]:
    """Smallest box around a mask's pixels: [x, y, width, height] in pixels.

    Raises:
        RowRejected: empty_mask.
    """
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        raise RowRejected(Reason.EMPTY_MASK, "a mask without a pixel has no box")
    left, top = columns[0], rows[0]
    return [float(left), float(top), float(columns[-1] - left + 1), float(rows[-1] - top + 1)]


def region_mask(
    polygons: Any = None,
    mask: Any = None,
    box: Any = None,
    *,
    height: int,
    width: int,
    rule: PolygonRule = "phrasecut",
) -> np.ndarray:
    """The mask of an annotated region, whatever its annotation holds: bool HW, at least one pixel.

    Polygons or a mask are the region; without them the box is. Coordinates up to `TOLERANCE` outside are moved to
    the border. One bad part rejects the region: what it covers is then unknown.

    Args:
        polygons: list of polygons, each a list of [x, y] in pixels.
        mask: run-length code, see `decode_mask`.
        box: [x, y, width, height] in pixels.
        height: of the image, pixels.
        width: of the image, pixels.
        rule: how polygons become pixels.

    Raises:
        RowRejected: no_region, malformed_record, not_finite, out_of_range, degenerate_polygon, bad_mask,
            mask_size_mismatch, empty_mask, polygon_too_long.
    """
    if polygons is not None and mask is not None:
        raise RowRejected(Reason.MALFORMED_RECORD, "both polygons and a mask: which is the region?")
    if mask is not None:
        region = decode_mask(mask)
        if region.shape != (height, width):
            sizes = f"{region.shape[0]} x {region.shape[1]} for an image of {height} x {width}"
            raise RowRejected(Reason.MASK_SIZE_MISMATCH, f"mask of {sizes} (height x width)")
    elif polygons:
        region = rasterize_polygons(_check_polygons(polygons, height, width), height, width, rule)
    elif box is not None:
        region = box_mask(_check_box(box, height, width), height, width)
    else:
        raise RowRejected(Reason.NO_REGION, "neither polygon, mask nor box")
    if not region.any():
        raise RowRejected(Reason.EMPTY_MASK, "the region covers no pixel")
    return region


def _check_polygons(polygons: Any, height: int, width: int) -> list[list[tuple[float, float]]]:
    """Polygons with every coordinate checked and moved inside."""
    checked = []
    for polygon in _check_list(polygons, "polygons"):
        points = [_check_numbers(point, 2) for point in _check_list(polygon, "a polygon")]
        if len(points) < 3:
            raise RowRejected(Reason.DEGENERATE_POLYGON, f"a polygon of {len(points)} points")
        checked.append([(_inside(x, width), _inside(y, height)) for x, y in points])
    length = sum(_length(polygon) for polygon in checked)
    if length > _MAX_EDGES * (width + height):
        raise RowRejected(
            Reason.POLYGON_TOO_LONG, f"edges of {length:.0f} pixels in all, at most {_MAX_EDGES * (width + height)}"
        )
    return checked


def _length(polygon: Sequence[tuple[float, float]]) -> float:
    """Pixels along the longer axis of each edge, a point at least one."""
    points = np.array([*polygon, polygon[0]])
    return float(np.maximum(np.abs(np.diff(points, axis=0)).max(axis=1), 1).sum())


def _check_box(box: Any, height: int, width: int) -> list[float]:
    """A box with its edges checked and moved inside."""
    x, y, box_width, box_height = _check_numbers(box, 4)
    if box_width < 0 or box_height < 0:
        raise RowRejected(Reason.MALFORMED_RECORD, f"a box of size {box_width:g} x {box_height:g}")
    left, right = _inside(x, width), _inside(x + box_width, width)
    top, bottom = _inside(y, height), _inside(y + box_height, height)
    return [left, top, right - left, bottom - top]


def _check_list(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise RowRejected(Reason.MALFORMED_RECORD, f"{what} must be a list, not {type(value).__name__}")
    return value


def _check_numbers(value: Any, count: int) -> list[float]:
    """``count`` finite numbers."""
    numbers = _check_list(value, f"{count} coordinates")
    kinds = ", ".join(type(number).__name__ for number in numbers[:9])
    if len(numbers) != count or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
        raise RowRejected(Reason.MALFORMED_RECORD, f"{count} numbers are needed, not {len(numbers)} ({kinds})")
    if not all(isinstance(number, int) or math.isfinite(number) for number in numbers):
        raise RowRejected(Reason.NOT_FINITE, f"NaN or infinity among {count} coordinates")
    if any(abs(number) > MAX_PIXELS for number in numbers):
        raise RowRejected(Reason.OUT_OF_RANGE, f"a coordinate of more than {MAX_PIXELS} pixels")
    return [float(number) for number in numbers]


def _inside(value: float, side: int) -> float:
    """A coordinate within [0, side]."""
    if not -TOLERANCE <= value <= side + TOLERANCE:
        raise RowRejected(Reason.OUT_OF_RANGE, f"coordinate {value:g} on a side of {side} pixels")
    return min(max(value, 0.0), float(side))
