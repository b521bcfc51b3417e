"""Finding a dataset's files below its folder; what is not there is answered by what was looked for and where."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from catalog.errors import SourceError

_PROBED = 16
_LISTED = 8


def require_folder(kind: str, root: Path | None, what: str) -> Path:
    """``root``, where it is a folder.

    Args:
        kind: the reader's name, for the message.
        root: the dataset's folder.
        what: what the folder holds: "the folder with images/ and json/".

    Raises:
        SourceError: none given, or no folder.
    """
    if root is None or not root.is_dir():
        raise SourceError(f"Reader {kind} needs {what} as its root, an existing folder; got {root or 'none'}.")
    return root


def find_file(kind: str, root: Path, what: str, names: Sequence[str]) -> Path:
    """The first of ``names`` that is a file below ``root``. Raises SourceError where none is."""
    for name in names:
        if is_inside(name) and (root / name).is_file():
            return root / name
    raise SourceError(
        f"Reader {kind} needs {what}; looked for {', '.join(names)} below {root}; "
        f"that folder holds {_listing(root)}; give another root or set the reader's options."
    )


def find_folder(kind: str, root: Path, what: str, names: Sequence[str]) -> PurePosixPath:
    """The first of ``names`` that is a folder below ``root``, relative to it. Raises SourceError where none is."""
    for name in names:
        if is_inside(name) and (root / name).is_dir():
            return PurePosixPath(name)
    raise SourceError(
        f"Reader {kind} needs {what}; looked for the folders {', '.join(names)} below {root}; "
        f"that folder holds {_listing(root)}; give another root or set the reader's options."
    )


def find_images(kind: str, root: Path, folders: Sequence[str], names: Sequence[str]) -> PurePosixPath:
    """The first of ``folders`` that holds one of the first few ``names``, relative to ``root``.

    Raises:
        SourceError: no folder holds any of them.
    """
    probed = [name for name in names if is_inside(name)][:_PROBED]
    for folder in folders:
        if any((root / folder / name).is_file() for name in probed):
            return PurePosixPath(folder)
    if not probed:
        return PurePosixPath(folders[0])  # nothing to find: every image is refused by its own record
    raise SourceError(
        f"Reader {kind} needs the images ({probed[0]}, ...); looked in {', '.join(folders)} below {root}; "
        f"that folder holds {_listing(root)}; give another root or set the option images."
    )


def is_inside(name: object) -> bool:
    """Whether ``name`` is the text of a path that stays below the folder it is joined to."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _listing(root: Path) -> str:
    """The first entries of a folder, for a message."""
    if not root.is_dir():
        return "nothing, it does not exist"
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "nothing") + more
