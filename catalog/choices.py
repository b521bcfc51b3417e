"""Choices: which variants of an item a person took, kept as they come.

Every answer is a file of its own, ``data/choices/SET/PERSON/ITEM.N.json`` (PERSON and ITEM are digests; the file
says both in clear), written whole or not at all and never again. An answer to the same item is number N + 1 and takes
the place of those before it, which stay. Two people, or two windows of one person, may answer at once: a number is
claimed under a lock, so neither loses anything. What a kill leaves is a temporary file that nobody reads.

The folder is not among those that ``python -m catalog clean`` empties: people's work cannot be made again.
An answer names the pictures that were shown by digest; one about other pictures (a set of that name made anew by
another checkpoint) is counted as stale and never used.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog.alignment_sets import MAX_PICKS, AlignmentSet
from catalog.digests import bytes_digest, canonical_json
from catalog.durable import claim, publish, write_all
from catalog.errors import ConfigError, ShardError
from catalog.ledger import utc_now
from catalog.people import check_person

_VERSION = 1
_DIGITS = 6
_TEXTS = ("set", "item_id", "person", "judge", "shown", "recorded_at")
_FIELDS = {"version", "set", "item_id", "person", "judge", "variants", "shown", "number", "recorded_at"}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One person's answer to one item."""

    set: str
    item_id: str
    person: str
    judge: str | None
    """None: a person; else the program that chose, with its revision ("simulated@1+...")."""
    variants: tuple[int, ...]
    """Numbers of the chosen ones, sorted; empty: none is good."""
    shown: str
    """`Item.shown_digest` of what was shown."""
    number: int
    """1 for the first answer of this person to this item, 2 for the one that takes its place, ..."""
    recorded_at: str
    """UTC."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a person is."""

    num_items: int
    """That can be shown."""
    num_done: int
    num_stale: int
    """Answers about other pictures than the set has now."""
    open_items: tuple[str, ...]
    """item_ids without an answer, in the set's order: the first is the next to show."""


def record(
    alignment: AlignmentSet, person: str, item_id: str, variants: Iterable[int], *, judge: str | None = None
) -> Choice:
    """Keep an answer for good, and return it. When this returns, it is on disk.

    Args:
        alignment: the set that was shown.
        person: who chose, see `people.check_person`.
        item_id: of what.
        variants: numbers of the chosen variants, 0 to `MAX_PICKS` of them.
        judge: None for a person; the name and revision of a program that chose.

    Raises:
        ConfigError: no such person, item or variant, one variant twice, too many, or a name that people and programs
            would share.
        OSError: it could not be written; nothing half-written stays.
    """
    person, item = check_person(person), alignment.item(item_id)
    chosen = [item.variant(number).number for number in variants]
    if len(set(chosen)) < len(chosen) or len(chosen) > MAX_PICKS:
        raise ConfigError(f"0 to {MAX_PICKS} different variants may be chosen. Got {chosen}: leave some out")
    folder = _folder(alignment, person)
    _check_kind(folder, person, judge)
    values = {
        "set": alignment.name,
        "item_id": item_id,
        "person": person,
        "judge": judge,
        "variants": tuple(sorted(chosen)),
        "shown": item.shown_digest,
    }
    name = _short(item_id)
    number = max((_number(path) for path in folder.glob(f"{name}.{'[0-9]' * _DIGITS}.json")), default=0) + 1
    while True:
        choice = Choice(**values, number=number, recorded_at=utc_now())  # type: ignore[arg-type]
        path = folder / f"{name}.{number:0{_DIGITS}d}.json"
        with claim(path) as descriptor:
            if not path.exists():  # else somebody took the number while we waited for the lock
                write_all(descriptor, canonical_json({"version": _VERSION, **asdict(choice)}).encode() + b"\n")
                publish(descriptor, path)
                return choice
        number += 1


def read_choices(alignment: AlignmentSet, person: str | None = None) -> list[Choice]:
    """The answers that count, by person and item: the last of each, about the pictures that the set has now.

    Raises:
        ShardError: a file is torn or foreign; none is passed over, as it may be somebody's answer.
    """
    return [one for one in _latest(alignment, person) if _is_current(alignment, one)]


def read_history(alignment: AlignmentSet, person: str | None = None) -> list[Choice]:
    """Every answer that was ever given, by person, item and number. Raises as `read_choices`."""
    root = _root(alignment)
    folders = sorted(root.glob("*")) if person is None else [_folder(alignment, check_person(person))]
    choices = [_read(path) for folder in folders for path in folder.glob("*.json")]
    kinds: dict[str, bool] = {}
    for one in choices:
        if kinds.setdefault(one.person, one.judge is None) != (one.judge is None):
            raise ShardError(f"{one.person!r} has answers of a person and of a program: move those of one away")
    return sorted(choices, key=lambda one: (one.person, one.item_id, one.number))


def list_people(alignment: AlignmentSet) -> dict[str, str | None]:
    """Whoever has given an answer: name to judge (None: a person), sorted. Raises as `read_choices`."""
    first = [next(iter(sorted(folder.glob("*.json"))), None) for folder in sorted(_root(alignment).glob("*"))]
    found = [_read(path) for path in first if path is not None]
    return {one.person: one.judge for one in sorted(found, key=lambda one: one.person)}


def find_progress(alignment: AlignmentSet, person: str) -> Progress:
    """How far a person is with a set. Raises as `read_choices`."""
    latest = _latest(alignment, person)
    done = {one.item_id for one in latest if _is_current(alignment, one)}
    return Progress(
        num_items=len(alignment.items),
        num_done=len(done),
        num_stale=len(latest) - len(done),
        open_items=tuple(item_id for item_id in alignment.items if item_id not in done),
    )


def _latest(alignment: AlignmentSet, person: str | None) -> list[Choice]:
    found: dict[tuple[str, str], Choice] = {}
    for one in read_history(alignment, person):
        found[one.person, one.item_id] = one
    return list(found.values())


def _is_current(alignment: AlignmentSet, choice: Choice) -> bool:
    item = alignment.items.get(choice.item_id)
    if item is None or item.shown_digest != choice.shown:
        return False
    try:
        for number in choice.variants:
            item.variant(number)
    except ConfigError as error:
        raise ShardError(f"answer {choice.number} of {choice.person!r} is none that was given: {error}") from error
    return True


def _check_kind(folder: Path, person: str, judge: str | None) -> None:
    """A name is a person's or a program's, never both: what people chose must be told from what was simulated."""
    first = next(iter(sorted(folder.glob("*.json"))), None)
    if first is None:
        return
    before = _read(first).judge
    if (before is None) != (judge is None):
        was, now = (f"the program {one!r}" if one else "a person" for one in (before, judge))
        raise ConfigError(f"{person!r} has answered as {was} and cannot as {now}: take another name")


def _read(path: Path) -> Choice:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if set(value) != _FIELDS or value["version"] != _VERSION:
            raise ValueError("its fields are not those of a choice")
        fields = {key: value[key] for key in _FIELDS - {"version"}}
        for key in _TEXTS:
            if not isinstance(fields[key], str) and not (key == "judge" and fields[key] is None):
                raise ValueError(f"{key} is text")
        choice = Choice(**{**fields, "variants": _picks(value["variants"])})
        place = (choice.set, _short(choice.person), f"{_short(choice.item_id)}.{choice.number:0{_DIGITS}d}.json")
        if path.parts[-3:] != place:
            raise ValueError("its name is that of another answer")
        return choice
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ShardError(f"{path} must be an answer as it was written ({error}): bring it back, or move it away") from (
            error
        )


def _picks(values: Sequence[Any]) -> tuple[int, ...]:
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise ValueError("variants are whole numbers")
    if len(set(values)) < len(values) or len(values) > MAX_PICKS:
        raise ValueError(f"0 to {MAX_PICKS} different variants may be chosen")
    return tuple(values)


def _root(alignment: AlignmentSet) -> Path:
    return alignment.workspace.data / "choices" / alignment.name


def _folder(alignment: AlignmentSet, person: str) -> Path:
    return _root(alignment) / _short(person)


def _short(text: str) -> str:
    return bytes_digest(text.encode())[:24]


def _number(path: Path) -> int:
    return int(path.name.split(".")[1])
