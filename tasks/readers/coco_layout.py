"""Where a COCO-format dataset has its files: the annotation file, the folder of the images, the split's name."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.errors import SourceError

_SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test"}


def find_annotations(kind: str, root: Path | None, name: str | None) -> Path:
    """The annotation file that the option names. Raises SourceError for a wrong folder or name."""
    if root is None or not root.is_dir():
        raise SourceError(f"Reader {kind} needs an existing folder as its root; got {root or 'none'}.")
    if name is not None and (root / name).is_file():
        return root / name
    found = [*sorted(root.glob("*.json")), *sorted(root.glob("annotations/*.json"))]
    listing = ", ".join(path.relative_to(root).as_posix() for path in found[:8]) or "no JSON file"
    raise SourceError(
        f"Option annotations of reader {kind} must name a JSON file below {root}; got {name!r}; found {listing}."
    )


def find_images(
    kind: str, root: Path, given: str | None, candidates: Sequence[Path], names: Sequence[Any], annotations: Path
) -> Path:
    """The folder that file names are relative to, itself relative to the root.

    Args:
        kind: of the reader, for messages.
        root: the dataset's folder.
        given: the option; it must exist.
        candidates: folders looked in otherwise; the first that holds one of the names.
        names: the first few file names of the annotations; values that cannot be one are passed over.
        annotations: where the names are from, for messages.

    Raises:
        SourceError: no such folder; or no candidate holds any of the names.
    """
    if given is not None:
        if not (root / given).is_dir():
            raise SourceError(f"Option images of reader {kind} must be a folder below {root}; got {given!r}.")
        return Path(given)
    usable = [name for name in names if isinstance(name, str) and _is_inside(name)]
    for folder in candidates:
        if any(is_file(root / folder / name) for name in usable):
            return folder
    if not usable:
        return Path()  # nothing to find: every image is refused by its own record
    raise SourceError(
        f"The images of {annotations.name} ({usable[0]}, ...) must be below {root}; looked in "
        f"{', '.join(folder.as_posix() for folder in candidates)}; set the option images."
    )


def is_file(path: Path) -> bool:
    """Whether a file of this name exists; a name that the system refuses (too long) is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_inside(name: str) -> bool:
    """Whether a file name stays below its folder; another says nothing about where the images are."""
    path = PurePosixPath(name)
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def split_named(stem: str) -> str | None:
    """The split in a file's name ("instances_val2017": val); None where it says nothing, or two things."""
    splits = {_SPLIT_WORDS[word] for word in re.findall("[a-z]+", stem.lower()) if word in _SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None
