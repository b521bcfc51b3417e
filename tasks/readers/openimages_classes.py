"""OpenImages' classes: names as one would say them, and which class includes which."""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import SourceError
from tasks.readers.json_records import JsonRecords

MAX_BYTES = 64 << 20
"""Largest table of classes; that of all 20,931 classes has under 1 MiB."""

_BRACKETS = re.compile(r" *\([^()]*\)")
_PROPER = frozenset({"Christmas", "French"})
"""First words of the 601 boxable classes that keep their capital."""


def spoken_name(name: str) -> str:
    """A class as one would say it: "Human face" -> "human face", "Bat (Animal)" -> "bat"."""
    text = _BRACKETS.sub("", name).strip()
    first = text.split(" ")[0]
    return text if first in _PROPER or not first.isalpha() else text[:1].lower() + text[1:]


def read_names(path: Path) -> dict[str, str]:
    """Spoken names by label ("/m/011k07"). Later rows of one label are passed over.

    Raises:
        SourceError: the table cannot be read, or names no class.
    """
    names: dict[str, str] = {}
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SourceError(f"OpenImages' class names must have at most {MAX_BYTES} bytes; {path} has more.")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for row in csv.reader(stream):
                if len(row) >= 2 and row[0].startswith("/") and row[1].strip():
                    names.setdefault(row[0], spoken_name(row[1]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"OpenImages' class names must be a CSV in UTF-8; {path}: {error}.") from error
    if not names:
        raise SourceError(
            f"OpenImages' class names must have rows like /m/011k07,Tortoise; {path} has none; fetch it again."
        )
    return names


def read_ancestors(path: Path) -> dict[str, frozenset[str]]:
    """The classes that include each class, from the hierarchy's ``Subcategory`` entries; the root is left out.

    ``Part`` entries (a face is a part of a person) name no kind and are passed over.

    Raises:
        SourceError: the file is no JSON, or no hierarchy.
    """
    value = JsonRecords(path, "OpenImages' label hierarchy").whole()
    if not isinstance(value, dict) or not isinstance(value.get("Subcategory"), list):
        raise SourceError(f"OpenImages' label hierarchy must be an object with Subcategory; {path} is not.")
    ancestors: dict[str, frozenset[str]] = {}
    for label, above in _descend(value["Subcategory"], frozenset()):
        ancestors[label] = ancestors.get(label, frozenset()) | above  # a class may have two parents
    return ancestors


def _descend(entries: Any, above: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for entry in entries if isinstance(entries, list) else []:
        label = entry.get("LabelName") if isinstance(entry, dict) else None
        if isinstance(label, str):
            yield label, above
            yield from _descend(entry.get("Subcategory"), above | {label})


def related(label: Any, others: set[Any], ancestors: Mapping[str, frozenset[str]]) -> bool:
    """Whether one of ``others`` is a kind of ``label``, or ``label`` a kind of it: a man is a person."""
    mine = ancestors.get(label, frozenset())
    return any(other in mine or label in ancestors.get(other, frozenset()) for other in others if other != label)
