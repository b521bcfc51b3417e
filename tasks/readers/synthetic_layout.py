"""Scenes laid out from (seed, index): which things, where, how each is called, and what is edited."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tasks.readers.synthetic_grounds import GROUNDS, Ground
from tasks.readers.synthetic_person import random_pose
from tasks.readers.synthetic_shapes import COLORS, SHAPES
from tasks.readers.synthetic_things import PERSON, Thing, overlap
from tasks.readers.synthetic_words import Description, describe

MIN_THINGS, MAX_THINGS = 2, 5
_PERSON_SHARE = 0.35
_TWIN_SHARE = 0.3  # of things that repeat an earlier one's kind and colour, so that phrases have to tell them apart
_CROWDED_SHARE = 0.3  # of scenes whose things may hide each other ...
_CROWDED = 0.22  # ... up to this overlap of their bounds
_MARGIN = 0.03
_HEIGHTS = ((0.15, 0.19), (0.22, 0.27), (0.31, 0.38))
_PERSON_HEIGHTS = (0.55, 0.78)
_PLACEMENTS = 40


@dataclass(frozen=True)
class Scene:
    """A scene: its things from back to front, a certain description of each, and its edits."""

    seed: int
    index: int
    ground: Ground
    things: tuple[Thing, ...]
    descriptions: tuple[Description, ...]
    removed: int
    """Index of the thing that the removal takes away."""
    replaced: int
    replacement: Thing
    """What stands in place of ``things[replaced]``."""

    def generator(self, purpose: int) -> np.random.Generator:
        """Randomness of one purpose, independent of the layout's."""
        return np.random.default_rng([self.seed, self.index, purpose])

    def without(self, index: int) -> tuple[Thing, ...]:
        """The things but one."""
        return self.things[:index] + self.things[index + 1 :]

    def after_replacement(self) -> tuple[Thing, ...]:
        """The things with the replacement in its place."""
        return tuple(self.replacement if k == self.replaced else thing for k, thing in enumerate(self.things))


@lru_cache(maxsize=64)
def make_scene(seed: int, index: int) -> Scene:
    """The scene of a seed and an index: the first layout in which every thing can be told apart."""
    attempt = 0
    while True:
        scene = _lay_out(seed, index, np.random.default_rng([seed, index, 0, attempt]))
        if scene is not None:
            return scene
        attempt += 1


def _lay_out(seed: int, index: int, rng: np.random.Generator) -> Scene | None:
    ground = GROUNDS[int(rng.integers(len(GROUNDS)))]
    limit = _CROWDED if rng.random() < _CROWDED_SHARE else 0.0
    things: list[Thing] = []
    for number in range(int(rng.integers(MIN_THINGS + 1, MAX_THINGS + 1))):
        is_person = number == 0 and rng.random() < _PERSON_SHARE
        thing = _place(rng, things, _pick_person(rng) if is_person else _pick_shape(rng, things, ground), limit)
        if thing is not None:
            things.append(thing)
    if len(things) < MIN_THINGS:
        return None
    things.sort(key=lambda thing: thing.bounds[3])  # what stands lower is nearer
    found = [describe(things, k, rng) for k in range(len(things))]
    descriptions = tuple(description for description in found if description is not None)
    shapes = [k for k, thing in enumerate(things) if thing.kind != PERSON]
    if len(descriptions) < len(things) or not shapes:
        return None
    replaced = int(rng.choice(shapes))
    replacement = _pick_replacement(rng, things, replaced, ground)
    if replacement is None:
        return None
    return Scene(
        seed=seed,
        index=index,
        ground=ground,
        things=tuple(things),
        descriptions=descriptions,
        removed=int(rng.integers(len(things))),
        replaced=replaced,
        replacement=replacement,
    )


def _pick_person(rng: np.random.Generator) -> Thing:
    color = str(rng.choice(list(COLORS)))
    return Thing(PERSON, color, 0, 0, float(rng.uniform(*_PERSON_HEIGHTS)), pose=random_pose(rng))


def _pick_shape(rng: np.random.Generator, things: Sequence[Thing], ground: Ground) -> Thing:
    height = float(rng.uniform(*_HEIGHTS[int(rng.integers(len(_HEIGHTS)))]))
    twins = [thing for thing in things if thing.kind != PERSON]
    if twins and rng.random() < _TWIN_SHARE:
        twin = twins[int(rng.integers(len(twins)))]
        kind, color = twin.kind, twin.color
    else:
        kind, color = _pick_name(rng, things, ground)
    tilt = SHAPES[kind].tilt
    return Thing(kind, color, 0, 0, height, angle=float(rng.uniform(-tilt, tilt)))


def _pick_name(rng: np.random.Generator, things: Sequence[Thing], ground: Ground) -> tuple[str, str]:
    """A kind and a colour that no thing has together."""
    taken = {(thing.kind, thing.color) for thing in things}
    free = [
        (kind, color) for kind in SHAPES for color in COLORS if kind not in ground.rivals and (kind, color) not in taken
    ]
    return free[int(rng.integers(len(free)))]


def _place(rng: np.random.Generator, things: Sequence[Thing], thing: Thing, limit: float) -> Thing | None:
    """The thing where it covers no other by more than ``limit``; None where there is no room."""
    left, top, right, bottom = thing.bounds  # around (0, 0)
    for _ in range(_PLACEMENTS):
        x, y = rng.uniform(_MARGIN - left, 1 - _MARGIN - right), rng.uniform(_MARGIN - top, 1 - _MARGIN - bottom)
        placed = replace(thing, x=float(x), y=float(y))
        if all(overlap(placed, other) <= limit for other in things):
            return placed
    return None


def _pick_replacement(rng: np.random.Generator, things: Sequence[Thing], index: int, ground: Ground) -> Thing | None:
    """Another kind at the same place, of about the same extent; None where each one tried hides a neighbour."""
    old, others = things[index], [*things[:index], *things[index + 1 :]]
    for _ in range(_PLACEMENTS):
        kind, color = _pick_name(rng, things, ground)
        shape = SHAPES[kind]
        height = max(old.height * min(1.0, 1.4 * old.aspect / shape.aspect), _HEIGHTS[0][0])
        new = Thing(kind, color, old.x, old.y, height, angle=float(rng.uniform(-shape.tilt, shape.tilt)))
        left, top, right, bottom = new.bounds
        new = replace(
            new,
            x=new.x + max(0.0, _MARGIN - left) - max(0.0, right - 1 + _MARGIN),
            y=new.y + max(0.0, _MARGIN - top) - max(0.0, bottom - 1 + _MARGIN),
        )
        if kind != old.kind and all(overlap(new, other) <= _CROWDED for other in others):
            return new
    return None
