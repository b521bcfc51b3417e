"""Files and folders that a user names for an answer: nothing else is ever replaced by one."""

import errno
import os
from pathlib import Path

from catalog.errors import ConfigError
from catalog.workspace import Workspace

_BEGINNINGS = {".png": (b"\x89PNG\r\n\x1a\n", "a PNG picture"), ".parquet": (b"PAR1", "a Parquet file")}


def check_output(path: Path, suffix: str, workspace: Workspace) -> Path:
    """``path``, if a file of that kind may be written there.

    Args:
        path: where to; what is there already must be of the same kind, by its name and its first bytes.
        suffix: ".png" or ".parquet".
        workspace: its tables and image shards are no place for answers.

    Raises:
        ConfigError: another kind of name or file, a folder, a shard, or no place to write.
    """
    beginning, kind = _BEGINNINGS[suffix]
    if path.suffix != suffix:
        raise ConfigError(f"the output must be a file named *{suffix}. Got {path}: choose such a name")
    check_output_file(path)
    place = real_place(path)
    for folder in (workspace.table_folder("").resolve(), workspace.data.resolve()):
        if folder in place.parents:
            raise ConfigError(f"the output must not be among the shards of {folder}. Got {path}: choose another place")
    if path.exists():
        with path.open("rb") as file:
            found = file.read(len(beginning))
        if found != beginning:
            raise ConfigError(f"{path} is there and not {kind}: choose another name, or remove it first")
    return path


def check_output_file(path: Path) -> Path:
    """``path``, if a file may be written there; what is there already is not looked at.

    Raises:
        ConfigError: a folder, a link to itself, or no place to write.
    """
    if path.is_dir():
        raise ConfigError(f"the output must be a file, but {path} is a folder: name a file in it")
    _check_place(real_place(path).parent)
    return path


def check_output_folder(path: Path) -> Path:
    """``path``, if it is or can become a folder with files in it.

    Raises:
        ConfigError: a file stands there or above, a link leads to itself, or no place to write.
    """
    _check_place(real_place(path))
    return path


def real_place(path: Path) -> Path:
    """``path`` without links, as far as it is there.

    Raises:
        ConfigError: a link on the way leads back to itself.
    """
    try:
        path.resolve().stat()
    except (OSError, RuntimeError) as error:  # Python says RuntimeError of a loop until 3.12, and OSError from then on
        if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
            raise ConfigError(
                f"the output must be a place that its links lead to, but those of {path} lead in a circle: "
                "remove the link or choose another place"
            ) from error
    return path.resolve()


def _check_place(folder: Path) -> None:
    above = next(one for one in (folder, *folder.parents) if one.exists())
    if not above.is_dir():
        raise ConfigError(f"the output must be in a folder, but {above} is a file: choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(f"the output must be in a folder that can be written, but {above} cannot: choose another")
