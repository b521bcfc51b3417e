"""The objects of an OpenImages photo: masks joined to their boxes, and what each can be called for certain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.readers.openimages_classes import related
from tasks.readers.openimages_tables import Row
from tasks.readers.phrases import referring_phrases

_SAME_BOX = 0.01
"""Largest difference of a mask's box and its object's, share of the photo: the tables round them differently."""

_SIDES = ("xmin", "xmax", "ymin", "ymax")


@dataclass(frozen=True)
class Instance:
    """One object: its box row, its mask row, or both."""

    box: Row | None
    mask: Row | None

    @property
    def label(self) -> Any:
        """Machine name of the class: "/m/011k07"."""
        row = self.mask or self.box
        assert row is not None
        return row["label"]

    @property
    def sides(self) -> list[float] | None:
        """xmin, xmax, ymin, ymax as shares of the photo; None where one is no finite number."""
        row = self.mask or self.box
        assert row is not None
        return _sides(row)

    @property
    def is_group(self) -> bool:
        """More than five instances under one box."""
        return self.box is not None and self.box["is_group"] == "1"

    @property
    def is_depiction(self) -> bool:
        """A drawing or statue of the thing."""
        return self.box is not None and self.box["is_depiction"] == "1"


def join_masks(boxes: Sequence[Row], masks: Sequence[Row]) -> list[Instance]:
    """Objects with a mask first, in order; then those that have only a box.

    There is no common key: a mask belongs to the nearest free box of its class, if that differs by at most
    `_SAME_BOX` on every side.
    """
    free = list(boxes)
    found = []
    for mask in masks:
        gaps = [_gap(mask, box) for box in free]
        nearest = min(range(len(free)), key=gaps.__getitem__, default=None)
        matched = nearest is not None and gaps[nearest] <= _SAME_BOX
        found.append(Instance(free.pop(nearest) if matched and nearest is not None else None, mask))
    return found + [Instance(box, None) for box in free]


def certain_phrases(
    instances: Sequence[Instance], names: Mapping[str, str], ancestors: Mapping[str, frozenset[str]]
) -> list[str | None]:
    """A referring phrase per object, None where none is certain.

    Every annotated object is a rival, with a mask or not. A class has no phrase where a group of it is about, or an
    object of a broader or narrower class ("person" beside "man"). A depiction is a rival but has no phrase.
    """
    labels = {instance.label for instance in instances}
    unsure = {instance.label for instance in instances if instance.is_group}
    unsure |= {label for label in labels if related(label, labels, ancestors)}
    phrases = referring_phrases(
        [names.get(instance.label) for instance in instances],
        [_span_box(instance.sides) for instance in instances],
        [instance.label in unsure for instance in instances],
    )
    rows = zip(instances, phrases, strict=True)
    return [None if instance.is_depiction else phrase for instance, phrase in rows]


def _gap(first: Row, second: Row) -> float:
    """Largest difference of two boxes' sides; infinite where classes differ or a side is no number."""
    one, other = _sides(first), _sides(second)
    if first["label"] != second["label"] or one is None or other is None:
        return math.inf
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _sides(row: Row) -> list[float] | None:
    try:
        sides = [float(row[name]) for name in _SIDES]
    except (TypeError, ValueError):
        return None
    return sides if all(map(math.isfinite, sides)) else None


def _span_box(sides: list[float] | None) -> list[float] | None:
    return None if sides is None else [sides[0], sides[2], sides[1] - sides[0], sides[3] - sides[2]]
