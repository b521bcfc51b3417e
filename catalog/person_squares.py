"""The square around a person: from the box, and moved, resized and turned as the official code augments it.

Official code (``dataset/pose/pose.py``, after HRNet): box clipped to the image, aspect 1:1, scale 1.25. In training, a
person with more than eight labelled joints shrinks with chance 0.3 to its upper or lower half; then the side is
multiplied by 1 + 0.35 N(0, 1), clipped to 0.65 and 1.35, and with chance 0.6 the square is turned by N(0, 45 degrees),
clipped to 90.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalog.errors import RowRejected
from catalog.reasons import Reason
from catalog.render_styles import Augmentation
from catalog.views import View

_SCALE_SPREAD = 0.35
_ROTATION_SPREAD = 45.0  # degrees
_ROTATION_PROBABILITY = 0.6
_HALF_PROBABILITY = 0.3
_HALF_MIN_JOINTS = 8  # more than so many are labelled
_HALF_SCALE = 1.5
_LOWER = ("hip", "knee", "ankle", "pelvis")
_OFFICIAL_UPPER_THRESHOLD = 0.5
"""The official coin is N(0, 1) < 0.5, true for 69 % (uniform numbers were meant)."""


@dataclass(frozen=True)
class Square:
    """Centre and side in source pixels, edges counted from the image's corner; ``angle`` in degrees."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def view(self, size: int) -> View:
        """What it shows, at whole source pixels."""
        side = max(1, round(self.side))
        return View(round(self.x - side / 2), round(self.y - side / 2), side, side, size, angle=self.angle)


def person_square(box: Sequence[float], height: int, width: int, scale: float) -> Square:
    """A square around a person's box, ``scale`` times its long side, which may reach beyond the image.

    Raises:
        RowRejected: out_of_range for a box without a part in the image.
    """
    x, y, box_width, box_height = box
    left, right = max(0.0, x), min(float(width), x + box_width)
    top, bottom = max(0.0, y), min(float(height), y + box_height)
    if not (left < right and top < bottom):
        raise RowRejected(Reason.OUT_OF_RANGE, f"box {list(box)} has no part in an image of {width} x {height}")
    side = max(1, round(scale * max(right - left, bottom - top)))
    return Square((left + right) / 2, (top + bottom) / 2, side)


def augment_square(
    square: Square, joints: Sequence[Mapping[str, Any]], rule: Augmentation, rng: np.random.Generator
) -> Square:
    """The square as training sees it; ``paper`` draws nothing and changes nothing.

    Args:
        square: of the whole person.
        joints: the person's labelled ones, with name, x and y.
        rule: see `RenderStyle.augmentation`.
        rng: of the sample.
    """
    if rule == "paper":
        return square
    half = rng.random() < _HALF_PROBABILITY
    upper = rng.standard_normal() < _OFFICIAL_UPPER_THRESHOLD if rule == "official" else rng.random() < 0.5
    growth = np.clip(1 + _SCALE_SPREAD * rng.standard_normal(), 1 - _SCALE_SPREAD, 1 + _SCALE_SPREAD)
    angle = np.clip(_ROTATION_SPREAD * rng.standard_normal(), -2 * _ROTATION_SPREAD, 2 * _ROTATION_SPREAD)
    turned = rng.random() < _ROTATION_PROBABILITY
    if half and len(joints) > _HALF_MIN_JOINTS and (rule == "corrected" or _has_coco_s(joints)):
        square = _half_body(joints, bool(upper)) or square
    return replace(square, side=square.side * float(growth), angle=float(angle) if turned else 0.0)


def _has_coco_s(joints: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the joints are COCO's: of the training sets only it has a face."""
    return any(joint["name"] == "nose" or joint["name"].endswith((" eye", " ear")) for joint in joints)


def _half_body(joints: Sequence[Mapping[str, Any]], upper: bool) -> Square | None:
    """The square of one half's joints, centred on their mean; the other half where this one has too few."""
    halves: dict[bool, list[list[float]]] = {True: [], False: []}
    for joint in joints:
        halves[not joint["name"].endswith(_LOWER)].append([joint["x"], joint["y"]])
    chosen = halves[upper] if len(halves[upper]) > 2 else halves[not upper]
    if len(chosen) < 2:
        return None
    points = np.array(chosen)
    side = _HALF_SCALE * float(np.ptp(points, axis=0).max())
    x, y = points.mean(axis=0) + 0.5
    return Square(float(x), float(y), side)
