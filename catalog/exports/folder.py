"""A folder of shards that appears whole or not at all, and whose making goes on where it was killed.

Everything is written into ``NAME.partial/folder``, which is renamed to ``NAME`` last. A shard counts once its note in
``NAME.partial/notes`` is written, after the shard itself is on the disk: the note says how far in the mix the shard
reaches, so the next run goes on behind it and makes the same bytes as an undisturbed one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from catalog.digests import canonical_json, file_digest
from catalog.durable import TEMPORARY_SUFFIX, claim, publish_folder, sync_folder, write_file
from catalog.errors import ConfigError
from catalog.outputs import real_place
from catalog.workspace import Workspace

_NOTES, _FOLDER, _SETTINGS = "notes", "folder", "settings.sha256"
_OURS = frozenset({_NOTES, _FOLDER, _SETTINGS, _SETTINGS + TEMPORARY_SUFFIX})
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ShardNote:
    """What is known of a finished shard."""

    path: str | None
    """Below the export's folder, forward slashes; None where every row of the stretch was left out."""
    split: str
    end_row: int
    """Number of the first row of the mix behind the shard."""
    length: int = 0
    """Bytes."""
    sha256: str = ""
    num_pairs: int = 0
    tallies: list[list[Any]] = field(default_factory=list)
    """Numbers of pairs: the values of `summary.TALLIED` and the count."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows of the stretch that are not in the shard, by reason; `ExportFolder.left_out_path` names each."""


class ExportFolder:
    """The unfinished folder of one export."""

    def __init__(self, partial: Path, settings_sha256: str) -> None:
        """Go on in ``partial`` if it was begun with the same settings, else begin anew."""
        self._partial, self.path = partial, partial / _FOLDER
        self.notes: list[ShardNote] = []
        begun = partial / _SETTINGS
        if partial.exists() and not (begun.is_file() and begun.read_text() == settings_sha256):
            remove_partial(partial)
        self.path.mkdir(parents=True, exist_ok=True)
        (partial / _NOTES).mkdir(exist_ok=True)
        write_file(begun, [settings_sha256.encode()])
        self._read_notes()
        self._remove_unfinished()

    @property
    def next_row(self) -> int:
        """The first row of the mix that no finished shard covers."""
        return self.notes[-1].end_row if self.notes else 0

    def num_shards(self, split: str) -> int:
        """Shards with pairs of a split so far."""
        return sum(note.split == split and note.path is not None for note in self.notes)

    def add(self, note: ShardNote) -> None:
        """Record a shard that is closed and on the disk."""
        write_file(self._note_path(len(self.notes)), [canonical_json(asdict(note)).encode()])
        self.notes.append(note)

    def left_out_path(self) -> Path:
        """JSON lines of the rows that the shard being made leaves out."""
        return self._left_out_path(len(self.notes))

    def gather_left_out(self, name: str) -> None:
        """Put the lines of all shards into one file."""
        paths = [self._left_out_path(number) for number in range(len(self.notes))]
        write_file(self.path / name, (path.read_bytes() for path in paths if path.is_file()))

    def write(self, name: str, text: str) -> None:
        """Write one of the texts beside the shards."""
        write_file(self.path / name, [text.encode()])

    def publish(self, folder: Path) -> None:
        """Sums of all files, then the folder's final name."""
        self.write("SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in self._sums()))
        publish_folder(self.path, folder)
        shutil.rmtree(self._partial)

    def _sums(self) -> Iterator[tuple[str, str]]:
        known = {note.path: note.sha256 for note in self.notes}
        files = [path for path in self.path.rglob("*") if path.is_file()]
        for name in sorted(path.relative_to(self.path).as_posix() for path in files):
            yield name, known.get(name) or file_digest(self.path / name)

    def _note_path(self, number: int) -> Path:
        return self._partial / _NOTES / f"{number:06d}.json"

    def _left_out_path(self, number: int) -> Path:
        return self._note_path(number).with_suffix(".left_out.jsonl")

    def _read_notes(self) -> None:
        while (path := self._note_path(len(self.notes))).is_file():
            note = ShardNote(**json.loads(path.read_text(encoding="utf-8")))
            shard = None if note.path is None else self.path / note.path
            if shard is not None and not (shard.is_file() and shard.stat().st_size == note.length):
                break
            self.notes.append(note)

    def _remove_unfinished(self) -> None:
        kept = {self.path / note.path for note in self.notes if note.path is not None}
        kept |= {self._partial / _SETTINGS}
        for number in range(len(self.notes)):
            kept |= {self._note_path(number), self._left_out_path(number)}
        for path in [path for path in self._partial.rglob("*") if path.is_file() and path not in kept]:
            path.unlink()


def remove_partial(partial: Path) -> None:
    """Remove what an unfinished export left.

    Raises:
        ConfigError: the folder is something else.
    """
    if partial.exists():
        if not partial.is_dir() or not {one.name for one in partial.iterdir()} <= _OURS:
            raise ConfigError(f"unfinished exports are made in {partial}, which is something else: name another folder")
        shutil.rmtree(partial)


@contextmanager
def claim_export(output: Path, settings_sha256: str) -> Iterator[ExportFolder | None]:
    """The right to make ``output``, waiting while another process makes it; None: it is there, whole, as wanted.

    Raises:
        ConfigError: something else is there already, or nothing can be made there.
    """
    with ExitStack() as claims:
        try:
            folder = _open_claimed(claims, output, settings_sha256)
        except OSError as error:  # it names a file of ours, which tells the user little
            raise ConfigError(
                f"an export needs a folder that it can make and write, but {output} cannot be made "
                f"({_why_not(output, error)}): mend that or name another folder with --output"
            ) from error
        yield folder


def _open_claimed(claims: ExitStack, output: Path, settings_sha256: str) -> ExportFolder | None:
    partial = output.with_name(output.name + ".partial")
    if not is_finished(output, settings_sha256):
        refuse_existing(output)  # before anything is made beside it
    claims.enter_context(claim(output))
    if is_finished(output, settings_sha256):
        remove_partial(partial)
        return None
    refuse_existing(output)
    return ExportFolder(partial, settings_sha256)


def _why_not(output: Path, error: OSError) -> str:
    """What stands in the way, in the user's own path where it is there."""
    if isinstance(error, NotADirectoryError | FileExistsError):
        file = next((one for one in output.parents if one.is_file()), None)
        if file is not None:
            return f"{file} is a file, not a folder"
    if isinstance(error, IsADirectoryError):
        return f"{error.filename}, a name that an export writes under, is a folder"
    if isinstance(error, PermissionError):
        named = Path(error.filename or output)
        return f"permission denied in {named if named in output.parents else output.parent}"
    return (error.strerror or str(error)).lower()


def is_finished(output: Path, settings_sha256: str) -> bool:
    """Whether ``output`` is an export of these settings: folders appear whole, so its manifest speaks for all of it."""
    try:
        manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
        return bool(manifest["settings_sha256"] == settings_sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def refuse_existing(output: Path) -> None:
    """Raises ConfigError if ``output`` is there."""
    if output.exists() or output.is_symlink():
        raise ConfigError(f"an export never overwrites, but {output} exists: name another folder or remove it")


def refuse_store(output: Path, workspace: Workspace) -> None:
    """Raises ConfigError if ``output`` is where the workspace keeps its own shards, or holds that place."""
    wanted = real_place(output)
    for kept in (workspace.data, workspace.catalog / "tables", workspace.catalog / "manifests"):
        place = kept.resolve()
        if wanted.is_relative_to(place) or place.is_relative_to(wanted):
            raise ConfigError(
                f"an export lies outside the shard store, but {output} is in the way of {kept}, which the workspace "
                "keeps for its own shards: name another folder with --output, such as exports/pairs"
            )


def settle(path: Path) -> tuple[int, str]:
    """Bring a written file to the disk; its length in bytes and SHA-256."""
    digest, length = hashlib.sha256(), 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            length += len(chunk)
    sync_folder(path.parent)
    return length, digest.hexdigest()
