"""Two folders of pictures joined by name: a damaged one and its clean original under the same name.

Loaders that pair the two sorted listings by position go wrong at the first missing file. Here a picture without a
partner is listed with the name that its partner should have, and refused as ``missing_file``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from catalog.errors import SourceError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

Key = Callable[[PurePosixPath], str]
"""The name that the two pictures of a pair share, from a path relative to its folder."""


@dataclass(frozen=True)
class FilePair:
    """Two files below the dataset's folder, either of which may be missing."""

    key: str
    source: str
    target: str


def stem_key(path: PurePosixPath) -> str:
    """The path without the file's ending: "GOPR0372_07_00/000047"."""
    return path.with_suffix("").as_posix()


def pair_files(
    kind: str, root: Path, source: PurePosixPath, target: PurePosixPath, key: Key = stem_key
) -> list[FilePair]:
    """Every picture of the two folders and the folders in them, in order of the shared name.

    Args:
        kind: the reader's name, for the message.
        root: the dataset's folder.
        source: folder of the damaged pictures, relative to it.
        target: folder of the clean ones.
        key: the name that a pair shares.

    Raises:
        SourceError: a folder has no picture, or none of them has a partner.
    """
    sources, targets = _by_key(root, source, key), _by_key(root, target, key)
    for folder, files in ((source, sources), (target, targets)):
        if not files:
            raise SourceError(f"Reader {kind} needs pictures in {folder} below {root}; there are none.")
    if not sources.keys() & targets.keys():
        names = f"{next(iter(sources.values()))} and {next(iter(targets.values()))}"
        raise SourceError(
            f"Reader {kind} joins the pictures of {source} and {target} by name; below {root} no two names agree "
            f"({names}); give the folder as it was released."
        )
    return [
        FilePair(
            name,
            (source / (sources.get(name) or targets[name])).as_posix(),
            (target / (targets.get(name) or sources[name])).as_posix(),
        )
        for name in sorted(sources.keys() | targets.keys(), key=numeric_order)
    ]


def numeric_order(name: str) -> tuple[bool, int, str]:
    """Names that are numbers first and as numbers ("9" before "10"), then the others as texts."""
    is_number = name.isascii() and name.isdigit()
    return not is_number, int(name) if is_number else 0, name


def list_pictures(folder: Path) -> Iterator[PurePosixPath]:
    """Pictures below a folder, relative to it, sorted; links to folders are not followed."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield PurePosixPath(path.relative_to(folder).as_posix())


def _by_key(root: Path, folder: PurePosixPath, key: Key) -> dict[str, PurePosixPath]:
    """The pictures of a folder by shared name; a second one of the same name gets a name of its own."""
    files: dict[str, PurePosixPath] = {}
    for path in list_pictures(root / folder):
        name = key(path)
        files[f"{name} ({path.name})" if name in files else name] = path
    return files
