"""What stands in a rendered scene and where, free of pixels: positions are shares of the picture's side."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.readers.synthetic_person import PERSON_ASPECT, Pose
from tasks.readers.synthetic_shapes import SHAPES

PERSON = "person"
SMALL, LARGE = 0.2, 0.3
"""A thing of at most this height is small, of at least that height large."""


@dataclass(frozen=True)
class Thing:
    """One object of a scene. ``x`` and ``y`` are its middle; a person's colour is the shirt's."""

    kind: str
    color: str
    x: float
    y: float
    height: float
    angle: float = 0.0
    pose: Pose | None = None

    @property
    def aspect(self) -> float:
        """Width over height before the turn."""
        return PERSON_ASPECT if self.kind == PERSON else SHAPES[self.kind].aspect

    @property
    def size_word(self) -> str | None:
        """What a phrase may call its size; None between small and large."""
        if self.height <= SMALL:
            return "small"
        return "large" if self.height >= LARGE else None

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom), turned."""
        turn = np.radians(self.angle)
        cosine, sine = abs(float(np.cos(turn))), abs(float(np.sin(turn)))
        half_width = self.height * (cosine * self.aspect + sine) / 2
        half_height = self.height * (sine * self.aspect + cosine) / 2
        return self.x - half_width, self.y - half_height, self.x + half_width, self.y + half_height


def overlap(first: Thing, second: Thing) -> float:
    """Common area of the bounds, as a share of the smaller one."""
    (left, top, right, bottom), other = first.bounds, second.bounds
    width = min(right, other[2]) - max(left, other[0])
    height = min(bottom, other[3]) - max(top, other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = ((right - left) * (bottom - top), (other[2] - other[0]) * (other[3] - other[1]))
    return width * height / min(areas)
