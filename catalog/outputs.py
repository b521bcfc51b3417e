"""Files that a user names for an answer: nothing else is ever replaced by one."""

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
    if path.is_dir():
        raise ConfigError(f"the output must be a file, but {path} is a folder: name a file in it")
    place = path.resolve()
    for folder in (workspace.table_folder("").resolve(), workspace.data.resolve()):
        if folder in place.parents:
            raise ConfigError(f"the output must not be among the shards of {folder}. Got {path}: choose another place")
    if path.exists():
        with path.open("rb") as file:
            found = file.read(len(beginning))
        if found != beginning:
            raise ConfigError(f"{path} is there and not {kind}: choose another name, or remove it first")
    above = next((parent for parent in place.parents if parent.exists()), place.anchor)
    if not Path(above).is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(f"the output must be in a folder that can be written, but {above} cannot: choose another")
    return path
