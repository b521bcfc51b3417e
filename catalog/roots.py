"""Where images are on this machine: names of roots to folders, and the one read that fetches an image.

``roots.json`` is the only machine-specific file of the catalog: shards and mixes name roots, never folders.
A dataset that has moved is given its new folder here, and everything made from it still holds.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.digests import bytes_digest
from catalog.durable import claim, publish, read_stretch, write_all
from catalog.errors import ConfigError, MixError, RowRejected, ShardError
from catalog.reasons import Reason
from catalog.store import STORE_ROOT
from catalog.workspace import Workspace

_MAX_OPEN = 32
"""Files that are kept open per process and `Roots`."""


@dataclass(frozen=True)
class Roots:
    """Folders by root name."""

    folders: Mapping[str, Path]
    _containers: "_OpenFiles" = field(default_factory=lambda: _OpenFiles(), compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Roots, (dict(self.folders),)  # open files stay in their process

    @classmethod
    def read(cls, path: Path) -> "Roots":
        """Read ``roots.json``; relative folders are relative to the file's own folder.

        Raises:
            ShardError: missing or malformed.
        """
        try:
            value = _read_folders(path)
        except FileNotFoundError as error:
            raise ShardError(f"no {path}: it says where images are; run a build, or write it by hand") from error
        except ValueError as error:
            raise ShardError(f"{path} must be a JSON object of folders by name ({error}): mend or delete it") from error
        return cls({name: path.parent / folder for name, folder in value.items()})

    def folder(self, root: str) -> Path:
        """The folder of a root."""
        if root not in self.folders:
            known = ", ".join(sorted(self.folders)) or "none"
            raise ShardError(f"roots.json has no folder for {root!r} (it has: {known}): add it there")
        return self.folders[root]


def parse_roots(given: Iterable[str]) -> dict[str, Path]:
    """``DATASET=FOLDER`` texts as folders by name.

    Raises:
        ConfigError: no name, or no such folder.
    """
    folders = {}
    for text in given:
        name, sign, folder = text.partition("=")
        if not (name and sign and Path(folder).expanduser().is_dir()):
            raise ConfigError(f"--root must be DATASET=FOLDER with a folder that exists. Got {text!r}")
        folders[name] = Path(folder).expanduser().absolute()
    return folders


def record_root(workspace: Workspace, name: str, folder: Path) -> None:
    """Note where a source dataset is; concurrent writers do not lose each other's entries."""
    data = os.path.relpath(workspace.data, workspace.catalog)
    entries = {STORE_ROOT: data, name: data if name == STORE_ROOT else str(folder.absolute())}
    _add_entries(workspace.roots_path, entries, may_replace=True)


def share_roots(workspace: Workspace, names: Iterable[str], folder: Path) -> None:
    """Write ``roots.json`` into ``folder`` (or complete it), so that a mix there finds its images.

    Roots that the workspace itself does not know are left out: who reads their images is told then. Inside the
    workspace folders stay relative, so that it can be moved as a whole.

    Raises:
        MixError: ``folder`` has another folder under one of the names.
        ShardError: one of the two files is malformed.
    """
    if folder.resolve() == workspace.catalog.resolve() or not workspace.roots_path.exists():
        return
    home, known, entries = workspace.home.resolve(), Roots.read(workspace.roots_path).folders, {}
    for name in sorted(set(names) & known.keys()):
        place = known[name].resolve()
        inside = place.is_relative_to(home) and folder.resolve().is_relative_to(home)
        entries[name] = os.path.relpath(place, folder.resolve()) if inside else str(place)
    _add_entries(folder / "roots.json", entries, may_replace=False)


def _add_entries(path: Path, entries: Mapping[str, str], *, may_replace: bool) -> None:
    with claim(path) as descriptor:
        try:
            known = _read_folders(path) if path.exists() else {}
            same = {name: (path.parent / known[name]).resolve() for name in entries.keys() & known.keys()}
        except ValueError as error:
            raise ShardError(f"{path} must be a JSON object of folders by name ({error}): mend or delete it") from error
        for name, place in sorted(same.items()):
            if not may_replace and place != (path.parent / entries[name]).resolve():
                raise MixError(
                    f"{path} must give the same folder for each root as the workspace, but {name!r} is {place} there "
                    f"and {entries[name]} here: write the mix into another folder, or mend that file"
                )
        merged = {**known, **entries} if may_replace else {**entries, **known}
        if merged != known:
            write_all(descriptor, json.dumps(merged, indent=2, sort_keys=True).encode() + b"\n")
            publish(descriptor, path)


def _read_folders(path: Path) -> dict[str, str]:
    """The file's folders by name. Raises ValueError, with what is wrong, for anything else."""
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"it is {value!r:.80}")
    for name, folder in value.items():
        if not isinstance(folder, str):
            raise ValueError(f"the folder of {name!r} must be text. Got {folder!r:.80}")
    return value


def read_image_bytes(roots: Roots, image: Mapping[str, Any]) -> bytes:
    """The encoded image that a `columns.IMAGE` value points to: one ``pread``, checked against its digest.

    Raises:
        RowRejected: the file is gone (``missing_file``) or its bytes are others (``changed_file``).
        ShardError: the root is not known on this machine.
    """
    path: str = image["path"]
    if path.startswith("/") or (".." in path and ".." in path.split("/")):
        raise RowRejected(Reason.PATH_ESCAPE, f"{path} leaves root {image['root']!r}")
    file = f"{roots.folder(image['root'])}/{path}"  # a path object takes 10 us
    offset, length, wanted = image["offset"], image["length"], image["sha256"]
    if offset and (container := roots._containers.find(file)) is not None:
        data = _read(container, file, offset, length)
        if len(data) == length and bytes_digest(data) == wanted:
            return data
        # The file may have been replaced since it was opened: what counts is what lies there now.
    container = _OpenFile(file)
    data = _read(container, file, offset, length)
    if len(data) != length or bytes_digest(data) != wanted:
        raise RowRejected(Reason.CHANGED_FILE, f"{file} is not as it was when the row was made")
    if offset:
        roots._containers.keep(file, container)
    return data


def _read(file: "_OpenFile", name: str, offset: int, length: int) -> bytes:
    try:
        return read_stretch(file.descriptor, offset, length)
    except OSError as error:
        raise RowRejected(Reason.UNREADABLE_FILE, f"{name}: {error.strerror}") from error


class _OpenFile:
    """A descriptor that is closed with its last user, so that one thread cannot close what another one reads."""

    def __init__(self, file: str) -> None:
        self.descriptor = -1
        try:
            self.descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise RowRejected(Reason.MISSING_FILE, f"{file} is gone; is roots.json right?") from error
        except OSError as error:
            raise RowRejected(Reason.UNREADABLE_FILE, f"{file}: {error.strerror}") from error

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class _OpenFiles:
    """Files that hold several images, kept open: opening one takes a third of the time of reading an image."""

    def __init__(self) -> None:
        self._files: dict[str, _OpenFile] = {}

    def find(self, file: str) -> _OpenFile | None:
        """The file, if it is open."""
        return self._files.get(file)

    def keep(self, file: str, opened: _OpenFile) -> None:
        """Keep a file open; of too many, the one that was opened first is let go."""
        self._files[file] = opened
        for name in list(self._files)[:-_MAX_OPEN]:
            self._files.pop(name, None)  # another thread may have been quicker
