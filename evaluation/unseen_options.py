"""What the unseen tasks may be told, and what each of them is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from catalog.errors import ConfigError
from evaluation.cases import HeldOutRow
from evaluation.decoders import Decoder
from evaluation.measured import Measure

FACE = ("nose", "left eye", "right eye", "left ear", "right ear")
"""Landmarks that a row is asked for, as far as it has them: COCO's, and AP-10K's of animals."""
EYES = ("left eye", "right eye")


@dataclass(frozen=True, kw_only=True)
class UnseenOptions:
    """What the three tasks may be told."""

    num_classes: int = 10
    """Classification: asked per photo, the true one included; fewer where the data has fewer."""
    min_part: float = 0.0
    """Detection: parts of a marked region under this share of it are left out of its box (paper: none)."""
    least_marked: float = 0.001
    """Classification: share of the picture under which a class counts as not marked."""
    landmarks: tuple[str, ...] = FACE
    """Face alignment: asked for."""
    eyes: tuple[str, str] = EYES
    """Face alignment: landmarks whose distance errors are shares of."""

    def __post_init__(self) -> None:
        rules = [
            (self.num_classes >= 2, "num_classes must be 2 or more", self.num_classes),
            (0 <= self.min_part < 1, "min_part must be in [0, 1)", self.min_part),
            (0 < self.least_marked < 1, "least_marked must be in (0, 1)", self.least_marked),
            (set(self.eyes) <= set(self.landmarks), "both eyes must be among the landmarks", self.landmarks),
            (len(set(self.eyes)) == 2, "the eyes must be two landmarks", self.eyes),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise ConfigError(f"{rule}. Got {value!r}")


class UnseenTask(Protocol):
    """One of the three."""

    name: str
    vision_task: str
    """Of the rows that it is asked of."""
    photos_left_out: int
    """Of the last call of ``questions``: photos of which the data does not say what the task needs."""

    def questions(self, rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
        """Rows as the task asks for them, more or fewer than there were."""
        ...

    def make_measure(self, decoder: Decoder, *, intervals: bool = True) -> Measure:
        """What reads and compares the answers; without ``intervals`` those that take long are left out."""
        ...
