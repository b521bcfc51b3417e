"""Masks against pycocotools, scikit-image and naive loops; every reason a region is rejected for."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from skimage.draw import polygon2mask

from catalog.errors import RowRejected
from catalog.masks import (
    box_mask,
    decode_mask,
    encode_mask,
    mask_area,
    mask_box,
    rasterize_polygons,
    region_mask,
)
from catalog.reasons import Reason

TRIANGLE = [[2, 2], [30, 4], [10, 25]]
SQUARE = [[4, 4], [12, 4], [12, 12], [4, 12]]

masks = st.builds(
    lambda height, width, share, seed: np.random.default_rng(seed).random((height, width)) < share,
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
    st.integers(0, 2**32 - 1),
)


def naive_runs(mask: np.ndarray) -> list[int]:
    """Run lengths, zeros first, column by column."""
    runs, current = [0], False
    for value in mask.T.ravel():
        if value != current:
            runs.append(0)
            current = value
        runs[-1] += 1
    return runs


def naive_text(runs: list[int]) -> str:
    text = ""
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != (-1 if digit & 0x10 else 0)
            text += chr(digit + 0x20 * more + 48)
    return text


def naive_polygon(points: list[list[float]], height: int, width: int) -> np.ndarray:
    """Even-odd rule at pixel centres."""
    mask = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            x, y, inside = column + 0.5, row + 0.5, False
            for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
                if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
                    inside = not inside
            mask[row, column] = inside
    return mask


def shifted(mask: np.ndarray) -> np.ndarray:
    """The mask grown by one pixel in every direction."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.any([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)


# Run-length codes.


@settings(max_examples=200, deadline=None)
@given(masks)
def test_codes_are_coco_s_and_decode_to_the_mask(mask: np.ndarray) -> None:
    code = encode_mask(mask)
    runs = naive_runs(mask)
    assert code == {"height": mask.shape[0], "width": mask.shape[1], "counts": naive_text(runs)}
    assert json.loads(json.dumps(code)) == code
    size = list(mask.shape)
    for value in (
        code,
        {"size": size, "counts": code["counts"]},
        {"size": tuple(size), "counts": code["counts"].encode()},
        {"size": size, "counts": runs},
    ):
        decoded = decode_mask(value)
        assert decoded.dtype == np.bool_ and decoded.flags.c_contiguous
        assert (decoded == mask).all()


def test_large_masks_agree_with_pycocotools() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((1500, 2250), bool)
    mask[100:1400, 30:2200] = True
    mask[rng.integers(0, 1500, 400), rng.integers(0, 2250, 400)] ^= True
    reference = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_mask(mask)["counts"] == reference["counts"].decode()
    assert (decode_mask(reference) == coco.decode(reference).astype(bool)).all()


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(st.text(), st.binary(), st.text(alphabet=[chr(code) for code in range(48, 112)], max_size=60)),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_any_counts_decode_as_pycocotools_or_are_rejected(counts: Any, height: int, width: int) -> None:
    value = {"size": [height, width], "counts": counts}
    try:
        mask = decode_mask(value)
    except RowRejected as error:
        assert error.reason == Reason.BAD_MASK
        return
    assert mask.shape == (height, width)
    assert (mask == coco.decode(value)).all()


@settings(max_examples=200, deadline=None)
@given(masks, st.data())
def test_damaged_texts_never_crash(mask: np.ndarray, draw: st.DataObject) -> None:
    code = encode_mask(mask)
    text = list(code["counts"])
    for _ in range(draw.draw(st.integers(1, 3))):
        text[draw.draw(st.integers(0, len(text) - 1))] = chr(draw.draw(st.integers(40, 120)))
    try:
        decoded = decode_mask({**code, "counts": "".join(text)})
    except RowRejected as error:
        assert error.reason == Reason.BAD_MASK
    else:
        assert decoded.shape == mask.shape


BAD_CODES: dict[str, Any] = {
    "not an object": [1, 2],
    "no size": {"counts": "0"},
    "half a size": {"height": 4, "counts": "0"},
    "text size": {"size": "44", "counts": [16]},
    "float size": {"size": [4.0, 4], "counts": [16]},
    "boolean size": {"size": [True, 16], "counts": [16]},
    "three sides": {"size": [4, 4, 1], "counts": [16]},
    "negative size": {"size": [-4, -4], "counts": [16]},
    "no counts": {"size": [4, 4]},
    "null counts": {"size": [4, 4], "counts": None},
    "empty text": {"size": [4, 4], "counts": ""},
    "empty list": {"size": [4, 4], "counts": []},
    "sum too small": {"size": [4, 4], "counts": [3, 4]},
    "sum too large": {"size": [4, 4], "counts": [3, 14]},
    "negative run": {"size": [4, 4], "counts": [20, -4]},
    "float runs": {"size": [4, 4], "counts": [8.0, 8]},
    "boolean runs": {"size": [4, 4], "counts": [15, True]},
    "text runs": {"size": [4, 4], "counts": ["16"]},
    "huge run": {"size": [4, 4], "counts": [10**400]},
    "runs that wrap to the right sum": {"size": [4, 4], "counts": [2**63, 2**63 + 16]},
    "never-ending number": {"size": [4, 4], "counts": "o" * 1000},
    "long number": {"size": [4, 4], "counts": "P" * 20 + "0"},
    "negative by difference": {"size": [4, 4], "counts": naive_text([4, 4, 8])[:-1] + "H"},
    "far too long": {"size": [2, 2], "counts": "0" * 1_000_000},
    "characters outside the code": {"size": [4, 4], "counts": "4 4"},
}


@pytest.mark.parametrize("name", BAD_CODES)
def test_bad_code_is_rejected(name: str) -> None:
    with pytest.raises(RowRejected) as caught:
        decode_mask(BAD_CODES[name])
    assert caught.value.reason == Reason.BAD_MASK


def test_hostile_sizes_allocate_nothing() -> None:
    tracemalloc.start()
    for size in ([2**31, 2**31], [10**30, 1], [1, 2**27]):
        for counts in (f"{naive_text([size[0] * size[1]])}", [size[0] * size[1]], "~" * 99):
            with pytest.raises(RowRejected, match=Reason.TOO_MANY_PIXELS):
                decode_mask({"size": size, "counts": counts})
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


# Polygons and boxes.


def test_phrasecut_rule_fills_outline_and_inside_of_truncated_coordinates() -> None:
    mask = rasterize_polygons([SQUARE], 20, 20)
    expected = np.zeros((20, 20), bool)
    expected[4:13, 4:13] = True
    assert mask.dtype == np.bool_ and (mask == expected).all()
    nudged = [[x + 0.9, y + 0.9] for x, y in SQUARE]
    assert (rasterize_polygons([nudged], 20, 20) == expected).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 27)), min_size=3, max_size=7))
def test_polygons_agree_with_even_odd_up_to_the_edge(points: list[tuple[int, int]]) -> None:
    polygon = [list(point) for point in points]
    mask = rasterize_polygons([polygon], 28, 32)
    centers = [[x + 0.5, y + 0.5] for x, y in polygon]  # the rule's whole numbers name pixels
    inside = naive_polygon(centers, 28, 32)
    reference = polygon2mask((28, 32), [(y, x) for x, y in polygon])
    for other in (inside, reference):
        assert not (other & ~shifted(mask)).any()
        # A line of the outline is in the mask and not in the other: within one pixel of an edge, so compare convexly.
    outline = np.zeros_like(mask)
    for start, end in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        steps = np.linspace(start, end, 200)
        outline[np.rint(steps[:, 1]).astype(int), np.rint(steps[:, 0]).astype(int)] = True
    assert not (mask & ~shifted(inside | outline)).any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 32, width=32), st.floats(0, 28, width=32)), min_size=3, max_size=3, unique=True))
def test_coco_rule_is_pycocotools_and_near_even_odd(points: list[tuple[float, float]]) -> None:
    polygon = [list(point) for point in points]
    mask = rasterize_polygons([polygon], 28, 32, rule="coco")
    flat = [value for point in polygon for value in point]
    assert (mask == coco.decode(coco.merge(coco.frPyObjects([flat], 28, 32)))).all()
    inside = naive_polygon(polygon, 28, 32)
    edges = np.diff([*polygon, polygon[0]], axis=0)
    assert (mask ^ inside).sum() <= np.hypot(*edges.T).sum()  # they differ along the edges only


@pytest.mark.parametrize("rule", ["phrasecut", "coco"])
def test_polygons_are_joined_not_added(rule: Any) -> None:
    union = rasterize_polygons([TRIANGLE, SQUARE], 28, 32, rule)
    parts = [rasterize_polygons([part], 28, 32, rule) for part in (TRIANGLE, SQUARE)]
    assert (parts[0] & parts[1]).any()
    assert (union == (parts[0] | parts[1])).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 30), st.integers(0, 30))
def test_box_masks_of_whole_numbers_are_slices(x: int, y: int, width: int, height: int) -> None:
    expected = np.zeros((24, 30), bool)
    expected[y : y + height, x : x + width] = True
    assert (box_mask([x, y, width, height], 24, 30) == expected).all()
    if expected.any():
        inside = [x, y, min(width, 30 - x), min(height, 24 - y)]
        assert mask_box(expected) == inside
        assert mask_area(expected) == inside[2] * inside[3]
        corners = [[x, y, x + inside[2], y, x + inside[2], y + inside[3], x, y + inside[3]]]
        assert (expected == coco.decode(coco.merge(coco.frPyObjects(corners, 24, 30)))).all()


def test_box_masks_hold_the_pixels_whose_centers_are_inside() -> None:
    mask = box_mask([1.4, 2.6, 2.2, 3.0], 10, 10)
    rows, columns = np.indices((10, 10)) + 0.5
    assert (mask == ((columns >= 1.4) & (columns < 3.6) & (rows >= 2.6) & (rows < 5.6))).all()


@settings(max_examples=60, deadline=None)
@given(masks)
def test_box_and_area_agree_with_pycocotools(mask: np.ndarray) -> None:
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert mask_area(mask) == coco.area(code)
    if mask.any():
        assert mask_box(mask) == coco.toBbox(code).tolist()
    else:
        with pytest.raises(RowRejected, match=Reason.EMPTY_MASK):
            mask_box(mask)


# Regions.


def test_a_region_is_its_polygons_or_mask_or_else_its_box() -> None:
    size = {"height": 28, "width": 32}
    polygon = rasterize_polygons([TRIANGLE], 28, 32)
    assert (region_mask([TRIANGLE], box=[0, 0, 5, 5], **size) == polygon).all()
    assert (region_mask(mask=encode_mask(polygon), box=[0, 0, 5, 5], **size) == polygon).all()
    assert region_mask(box=[0, 0, 5, 5], **size).sum() == 25
    assert region_mask([], box=[0, 0, 5, 5], **size).sum() == 25
    assert (region_mask([TRIANGLE], rule="coco", **size) == rasterize_polygons([TRIANGLE], 28, 32, "coco")).all()


@pytest.mark.parametrize("rule", ["phrasecut", "coco"])
def test_coordinates_a_pixel_outside_are_moved_to_the_border(rule: Any) -> None:
    outside = [[-1, -1], [33, -0.2], [33, 29], [-0.5, 28.7]]
    border = [[0, 0], [32, 0], [32, 28], [0, 28]]
    expected = region_mask([border], height=28, width=32, rule=rule)
    assert expected.all()
    assert (region_mask([outside], height=28, width=32, rule=rule) == expected).all()
    assert region_mask(box=[-1, -1, 34, 30], height=28, width=32).all()


NAN, INF = float("nan"), float("inf")
BAD_REGIONS: dict[str, tuple[dict[str, Any], Reason]] = {
    "nothing": ({}, Reason.NO_REGION),
    "no polygon": ({"polygons": []}, Reason.NO_REGION),
    "both": ({"polygons": [TRIANGLE], "mask": {"size": [28, 32], "counts": [0, 896]}}, Reason.MALFORMED_RECORD),
    "polygons not a list": ({"polygons": {"a": 1}}, Reason.MALFORMED_RECORD),
    "polygons as text": ({"polygons": "1,2,3"}, Reason.MALFORMED_RECORD),
    "flat polygon": ({"polygons": [[1, 2, 3, 4, 5, 6]]}, Reason.MALFORMED_RECORD),
    "points of three": ({"polygons": [[[1, 2, 3]] * 3]}, Reason.MALFORMED_RECORD),
    "text coordinates": ({"polygons": [[["1", "2"]] * 3]}, Reason.MALFORMED_RECORD),
    "null coordinates": ({"polygons": [[[None, 2]] * 3]}, Reason.MALFORMED_RECORD),
    "boolean coordinates": ({"polygons": [[[True, 2]] * 3]}, Reason.MALFORMED_RECORD),
    "two points": ({"polygons": [TRIANGLE, [[1, 2], [3, 4]]]}, Reason.DEGENERATE_POLYGON),
    "no points": ({"polygons": [[]]}, Reason.DEGENERATE_POLYGON),
    "NaN": ({"polygons": [[[1, 2], [3, NAN], [5, 6]]]}, Reason.NOT_FINITE),
    "infinity": ({"polygons": [[[1, 2], [3, INF], [5, 6]]]}, Reason.NOT_FINITE),
    "two pixels outside": ({"polygons": [[[1, 2], [34, 2], [5, 6]]]}, Reason.OUT_OF_RANGE),
    "far outside": ({"polygons": [[[1, 2], [1e18, 2], [5, 6]]]}, Reason.OUT_OF_RANGE),
    "beyond floats": ({"polygons": [[[1, 2], [10**5000, 2], [5, 6]]]}, Reason.OUT_OF_RANGE),
    "other image's mask": ({"mask": {"size": [32, 28], "counts": [0, 896]}}, Reason.MASK_SIZE_MISMATCH),
    "broken mask": ({"mask": {"size": [28, 32], "counts": "??"}}, Reason.BAD_MASK),
    "mask as text": ({"mask": "mask.png"}, Reason.BAD_MASK),
    "mask without a pixel": ({"mask": {"size": [28, 32], "counts": [896]}}, Reason.EMPTY_MASK),
    "box of three": ({"box": [1, 2, 3]}, Reason.MALFORMED_RECORD),
    "box as object": ({"box": {"x": 1}}, Reason.MALFORMED_RECORD),
    "box NaN": ({"box": [1, 2, NAN, 4]}, Reason.NOT_FINITE),
    "box of negative size": ({"box": [10, 10, -3, 4]}, Reason.MALFORMED_RECORD),
    "box outside": ({"box": [10, 10, 30, 4]}, Reason.OUT_OF_RANGE),
    "box without a pixel": ({"box": [10, 10, 0, 0]}, Reason.EMPTY_MASK),
}


@pytest.mark.parametrize("name", BAD_REGIONS)
def test_bad_region_is_rejected_with_its_reason(name: str) -> None:
    arguments, reason = BAD_REGIONS[name]
    with pytest.raises(RowRejected) as caught:
        region_mask(**arguments, height=28, width=32)
    assert caught.value.reason == reason, caught.value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(json_values, json_values, json_values)
def test_any_json_gives_a_mask_or_a_reason(polygons: Any, mask: Any, box: Any) -> None:
    try:
        region = region_mask(polygons, mask, box, height=20, width=30)
    except RowRejected:
        return
    assert region.shape == (20, 30) and region.any()
