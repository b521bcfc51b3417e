"""A person's part of a photo with its joints, for human eyes: a cross on each, the names of some beside them.

Joints are placed by the crop alone, without the code that a sample goes through.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import cv2
import numpy as np

from catalog.drawing_colors import Rgb

_SIDE = 480  # pixels, longer side of the picture
_MARGIN = 0.1  # of the part's sides
_BOX = (255, 0, 200)
_PALE, _BLACK, _WHITE = (235, 235, 235), (0, 0, 0), (255, 255, 255)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.8
_CROSS = 18  # pixels
_GAP = 6  # pixels around a name

Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom."""


def draw_joints(
    photo: np.ndarray, keypoints: Sequence[Mapping[str, Any]], box: Sequence[float] | None, asked: Mapping[str, Rgb]
) -> np.ndarray:
    """The part of a photo that holds a person's box and joints, enlarged.

    Args:
        photo: uint8 (H, W, 3).
        keypoints: entries of the column: name, x, y, visibility; one at least is labelled.
        box: [x, y, width, height] in pixels, which is outlined; None: that of the joints.
        asked: colour by joint name: these crosses are coloured and named, all others pale.

    Returns:
        uint8 (h, w, 3), the longer side 480.
    """
    labelled = [joint for joint in keypoints if joint["visibility"]]
    points = np.array([(joint["x"], joint["y"]) for joint in labelled], float)
    low, high = points.min(axis=0), points.max(axis=0)
    if box is not None:
        corner = np.array(box[:2], float)
        low, high = np.minimum(low, corner), np.maximum(high, corner + box[2:])
    margin = _MARGIN * (high - low)
    left, top = np.maximum(0, low - margin).astype(int)
    right, bottom = (high + margin).astype(int) + 1
    part = photo[top:bottom, left:right]
    factor = _SIDE / max(part.shape[:2])
    shown = np.asarray(cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    if box is not None:
        start, end = (np.rint((edge - (left, top)) * factor).astype(int) for edge in (corner, corner + box[2:]))
        cv2.rectangle(shown, start.tolist(), end.tolist(), _BOX, 1)
    places = np.rint((points - (left, top)) * factor).astype(int).tolist()
    names = [joint["name"] for joint in labelled]
    for name, place in zip(names, places, strict=True):
        if name not in asked:
            cv2.drawMarker(shown, place, _PALE, cv2.MARKER_CROSS, _CROSS * 2 // 3, 2)
    named = {name: place for name, place in zip(names, places, strict=True) if name in asked}
    _draw_names(shown, named, asked)
    return shown


def _draw_names(image: np.ndarray, places: Mapping[str, list[int]], asked: Mapping[str, Rgb]) -> None:
    """Coloured crosses, then the names, none on another or on a cross, each tied to its own."""
    half = _CROSS // 2
    taken = [(x - half, y - half, x + half, y + half) for x, y in places.values()]
    labels = {}
    for name, place in sorted(places.items(), key=lambda item: item[1][1]):
        labels[name] = place_name(name, place, image.shape[:2], taken)
        taken.append(labels[name])
    for name, (x, y) in places.items():
        left, top, right, bottom = labels[name]
        end = min(max(x, left), right), min(max(y, top), bottom)
        edge = _WHITE if sum(asked[name]) < 300 else _BLACK
        for rgb, more in ((edge, 4), (asked[name], 0)):
            cv2.line(image, (x, y), end, rgb, 1 + more // 2)
            cv2.drawMarker(image, (x, y), rgb, cv2.MARKER_CROSS, _CROSS + more, 3 + more)
    for name, (left, top, right, bottom) in labels.items():
        cv2.rectangle(image, (left, top), (right - 1, bottom - 1), _BLACK, cv2.FILLED)
        cv2.putText(image, name, (left + _GAP // 2, bottom - _GAP), _FONT, _FONT_SCALE, _WHITE, 1, cv2.LINE_AA)


def place_name(name: str, place: Sequence[int], shape: tuple[int, int], taken: Sequence[Rectangle]) -> Rectangle:
    """Where a name goes: beside its joint, else further up or down, inside the picture and clear of ``taken``.

    Args:
        name: of the joint.
        place: (x, y) of the joint, pixels.
        shape: height and width of the picture.
        taken: what the name must not cover.

    Returns:
        The first such place, or, where there is none, the first inside the picture.
    """
    (text, height), _ = cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)
    width, height = text + _GAP, height + 2 * _GAP
    reach = _CROSS // 2 + 3
    steps = sorted(range(-shape[0] // height, shape[0] // height + 1), key=abs)
    first = None
    for step, left in product(steps, (place[0] + reach, place[0] - reach - width, place[0] - width // 2)):
        left = max(0, min(left, shape[1] - width))
        top = max(0, min(place[1] - height // 2 + step * height // 2, shape[0] - height))
        found = (left, top, left + width, top + height)
        first = first or found
        if not any(overlap(found, other) for other in taken):
            return found
    assert first is not None  # step 0
    return first


def overlap(one: Rectangle, other: Rectangle) -> bool:
    """Whether two rectangles share a pixel."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
