"""Referring phrases from class names, for datasets that have none: given only where geometry makes them certain."""

import re
from collections.abc import Sequence
from typing import Any

from tasks.records_check import finite_numbers

_STUFF_SUFFIX = re.compile(r"(-(merged|other|stuff))+$")
_MATERIAL = re.compile(r"(wall|floor|ceiling)-([a-z]+)")


def plain_name(name: str) -> str:
    """A class name as one would say it: "wall-brick" -> "brick wall", "tree-merged" -> "tree"."""
    text = _STUFF_SUFFIX.sub("", name.strip())
    material = _MATERIAL.fullmatch(text)
    if material:
        return f"{material[2]} {material[1]}"
    return text.replace("_", " ")


def joint_name(name: str) -> str:
    """A joint's name in plain words: "left_shoulder" and "Left Shoulder" -> "left shoulder"."""
    return name.replace("_", " ").strip().lower()


def referring_phrases(labels: Sequence[Any], boxes: Sequence[Any], is_crowd: Sequence[bool]) -> list[str | None]:
    """One phrase per region of an image, None where no certain one is at hand.

    The class name alone where it fits a single region ("dog"); "left dog", "right dog" ("leftmost", "rightmost"
    among three or more) where the boxes stand clear of each other: the centre of the outer one lies beyond every
    other box, and every other centre beyond it. No phrase where a crowd of the class is about, or where another
    class's name ends in this one ("brick wall" and "wall").

    Args:
        labels: class names; a value that is no text gets no phrase.
        boxes: [x, y, width, height] in pixels; a malformed one rules out positions for its class.
        is_crowd: whether the region is a crowd.
    """
    phrases: list[str | None] = [None] * len(labels)
    names = {label for label in labels if isinstance(label, str) and label}
    for name in names:
        members = [index for index, label in enumerate(labels) if label == name]
        if any(is_crowd[index] for index in members) or any(other.endswith(f" {name}") for other in names):
            continue
        if len(members) == 1:
            phrases[members[0]] = name
            continue
        spans = [_horizontal_span(boxes[index]) for index in members]
        words = ("left", "right") if len(members) == 2 else ("leftmost", "rightmost")
        for word, sign in zip(words, (1, -1), strict=True):
            outer = _clear_of_others(spans, sign)
            if outer is not None:
                phrases[members[outer]] = f"{word} {name}"
    return phrases


def _horizontal_span(box: Any) -> tuple[float, float] | None:
    """(left, right) of a box; None where it is malformed."""
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    numbers = finite_numbers(box)
    return (numbers[0], numbers[0] + numbers[2]) if numbers is not None else None


def _clear_of_others(spans: list[tuple[float, float] | None], sign: int) -> int | None:
    """Index of the span that lies clear on the left (``sign`` 1) or the right (-1) of all others."""
    flipped = []
    for span in spans:
        if span is None:
            return None
        flipped.append(span if sign == 1 else (-span[1], -span[0]))
    outer = min(range(len(flipped)), key=lambda index: sum(flipped[index]))
    centre, right = sum(flipped[outer]) / 2, flipped[outer][1]
    others = flipped[:outer] + flipped[outer + 1 :]
    clear = all(centre < left and right < (left + end) / 2 for left, end in others)
    return outer if clear else None
