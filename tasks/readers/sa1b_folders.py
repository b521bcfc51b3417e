"""Files of an SA-1B folder in a fixed order, at eight bytes per file: one folder may hold eleven million."""

import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from catalog.errors import SourceError

MAX_DEPTH = 3
"""Folders below the root that are looked into: root/sa_000000/sa_000000/ is what unpacking by hand makes."""

MAX_ODD_NAMES = 1_000_000
"""Files of one folder under names other than sa_<number>, which are held in memory."""

_NUMBERED = re.compile(r"sa_(0|[1-9][0-9]{0,17})")


@dataclass
class _Listing:
    """One folder: numbered names as numbers, the others as they are."""

    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    names: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def walk_files(root: Path, suffix: str) -> Iterator[Path]:
    """Every file below ``root`` that ends in ``suffix``: folder by folder, sa_<number> by number, then by name.

    Links to folders are not followed. Raises SourceError for a folder that cannot be read.
    """
    yield from _walk(root, suffix, 0)


def _walk(folder: Path, suffix: str, depth: int) -> Iterator[Path]:
    listing = _list(folder, suffix)
    for number in sorted_numbers(listing.numbers):
        yield folder / f"sa_{number}{suffix}"
    for name in sorted(listing.names):
        yield folder / name
    del listing.numbers, listing.names
    if depth < MAX_DEPTH:
        for name in sorted(listing.folders):
            yield from _walk(folder / name, suffix, depth + 1)


def sorted_numbers(numbers: "array[int]") -> "array[int]":
    """The numbers in order, as an array again."""
    return array("q", np.sort(np.frombuffer(numbers, np.int64)).tobytes()) if numbers else numbers


def _list(folder: Path, suffix: str) -> _Listing:
    listing = _Listing()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    listing.folders.append(entry.name)
                elif entry.name.endswith(suffix):
                    numbered = _NUMBERED.fullmatch(entry.name.removesuffix(suffix))
                    if numbered:
                        listing.numbers.append(int(numbered[1]))
                    else:
                        listing.names.append(entry.name)
    except OSError as error:
        raise SourceError(f"The folder {folder} must be readable; {error.strerror}.") from error
    if len(listing.names) > MAX_ODD_NAMES:
        raise SourceError(
            f"A folder may hold at most {MAX_ODD_NAMES} files other than sa_<number>{suffix}; {folder} holds "
            f"{len(listing.names)}; sort them into folders."
        )
    return listing
