"""Phrases that mean exactly one thing of a rendered scene, captions and instructions.

A phrase is certain when it is plainly true of its thing and could not be said of any other. The two tests differ:
"the ball to the left of the star" is plainly true of a ball well off to the left, and could be said of any ball whose
middle is left of the star's at all.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.readers.synthetic_things import PERSON, Thing

PREDICATES = ("to the left of", "to the right of", "above", "below")
_CLEAR_DISTANCE = 0.12  # shares of the picture between two middles, for a relation to be plain
_DOMINANCE = 1.25  # how much more one direction must count than the other
_PLURALS = {"box": "boxes", "fish": "fish", "person": "people"}


@dataclass(frozen=True)
class Description:
    """A referring phrase, taken apart."""

    kind: str
    color: str | None = None
    size: str | None = None
    predicate: str | None = None
    anchor: "Description | None" = None

    def text(self) -> str:
        """The phrase: "small red ball to the left of the blue star"."""
        words = [self.size, self.color, self.kind, self.predicate]
        if self.anchor is not None:
            words.append(f"the {self.anchor.text()}")
        return " ".join(word for word in words if word)


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def is_certain(description: Description, things: Sequence[Thing], index: int) -> bool:
    """Whether the phrase is plainly true of ``things[index]`` and could be said of no other thing."""
    return _is_plain(description, things, index) and not any(
        _is_thinkable(description, things, other) for other in range(len(things)) if other != index
    )


def _is_plain(description: Description, things: Sequence[Thing], index: int) -> bool:
    thing = things[index]
    if not _is_of_kind(description, thing) or description.size not in (None, thing.size_word):
        return False
    if description.anchor is None or description.predicate is None:
        return True
    anchors = [k for k in range(len(things)) if k != index and is_certain(description.anchor, things, k)]
    return len(anchors) == 1 and _is_plainly_placed(description.predicate, thing, things[anchors[0]])


def _is_thinkable(description: Description, things: Sequence[Thing], index: int) -> bool:
    thing = things[index]
    opposite = {"small": "large", "large": "small", None: ""}[description.size]
    if not _is_of_kind(description, thing) or thing.size_word == opposite:
        return False
    if description.anchor is None or description.predicate is None:
        return True
    anchors = [other for k, other in enumerate(things) if k != index and _is_of_kind(description.anchor, other)]
    return any(_offset(description.predicate, thing, anchor)[0] > 0 for anchor in anchors)


def _is_of_kind(description: Description, thing: Thing) -> bool:
    return description.kind == thing.kind and description.color in (None, thing.color)


def _offset(predicate: str, thing: Thing, anchor: Thing) -> tuple[float, float]:
    """How far ``thing`` lies in the predicate's direction from ``anchor``, and how far off it sideways."""
    right, down = thing.x - anchor.x, thing.y - anchor.y
    along = {"to the left of": -right, "to the right of": right, "above": -down, "below": down}[predicate]
    sideways = down if "to the" in predicate else right
    return along, abs(sideways)


def _is_plainly_placed(predicate: str, thing: Thing, anchor: Thing) -> bool:
    along, sideways = _offset(predicate, thing, anchor)
    (left, top, right, bottom), other = thing.bounds, anchor.bounds
    gaps = {
        "to the left of": other[0] - right,
        "to the right of": left - other[2],
        "above": other[1] - bottom,
        "below": top - other[3],
    }
    return along >= max(_CLEAR_DISTANCE, _DOMINANCE * sideways) and gaps[predicate] >= -0.02


def plain_relations(things: Sequence[Thing], index: int) -> Iterator[Description]:
    """Every plainly true relation of a thing to one that its kind and colour identify."""
    subject = _named(things[index])
    for other, anchor in enumerate(things):
        named = _named(anchor)
        if other == index or not is_certain(named, things, other):
            continue
        for predicate in PREDICATES:
            if _is_plainly_placed(predicate, things[index], anchor):
                yield replace(subject, predicate=predicate, anchor=named)


def _named(thing: Thing) -> Description:
    """Kind and colour; a person has none."""
    return Description(thing.kind, None if thing.kind == PERSON else thing.color)


def describe(things: Sequence[Thing], index: int, rng: np.random.Generator) -> Description | None:
    """A certain description of one thing, of a random form; None where none is certain."""
    thing = things[index]
    plain = _named(thing)
    related = list(plain_relations(things, index))
    related = [related[k] for k in rng.permutation(len(related))]
    bare = Description(thing.kind)
    preferred = rng.choice(3, p=[0.45, 0.4, 0.15])
    first = ([plain], related, [bare])[preferred]
    for description in [*first, plain, replace(plain, size=thing.size_word), *related]:
        if is_certain(description, things, index):
            return description
    return None


def list_things(things: Iterable[Thing]) -> str:
    """Things counted and joined: "a red ball, two blue stars and a person"."""
    counts = Counter(_named(thing).text() for thing in things)
    items = []
    for name, count in counts.items():
        *before, kind = name.split()
        plural = " ".join([*before, _PLURALS.get(kind, f"{kind}s")])
        numbers = {1: with_article(name), 2: f"two {plural}", 3: f"three {plural}"}
        items.append(numbers.get(count, f"several {plural}"))
    return " and ".join([*([", ".join(items[:-1])] if items[1:] else []), *items[-1:]])


def caption(things: Sequence[Thing], place: str) -> str:
    """What the picture shows: "a photo of a red ball and a blue star on a brick wall"."""
    listed = list_things(things)
    return f"a photo of {listed} {place}" if listed else f"a photo of {place.split(maxsplit=1)[-1]}"


def removal_instruction(phrase: str) -> str:
    """As in "remove the red ball to the left of the blue star"."""
    return f"remove the {phrase}"


def addition_instruction(phrase: str) -> str:
    """As in "add a red ball to the left of the blue star": the removal reversed (paper section 3.2)."""
    return f"add {with_article(phrase)}"


def replacement_instruction(phrase: str, other: str) -> str:
    """As in "replace the red ball with a yellow cone"."""
    return f"replace the {phrase} with {with_article(other)}"
