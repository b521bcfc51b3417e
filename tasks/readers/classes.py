"""Semantic segmentation datasets: photos and label maps in two folders, joined by name."""

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from catalog.errors import RowRejected, SourceError
from tasks.readers.label_maps import class_regions, read_label_map, unreadable
from tasks.readers.layouts import find_file, require_folder
from tasks.readers.records import FileReader, SourceImage


@dataclass(frozen=True, kw_only=True)
class ClassLayout:
    """Where the parts of one split are, relative to the root, and what the values mean."""

    images: PurePosixPath
    maps: PurePosixPath
    names: Mapping[int, str]
    """Plain class name by value."""
    stems: list[str]
    """File names without their ends, in order."""
    suffix: str = ".png"
    """Of the maps."""


@runtime_checkable
class NamesClasses(Protocol):
    """A reader whose regions are classes: all pixels of each, called by its bare name."""

    def class_names(self) -> list[str]:
        """The classes that can be asked for, present or not; none where only reading every record would tell."""


@dataclass
class ClassReader(FileReader, abc.ABC):
    """Base of the readers: one `SourceImage` per photo, one region per class that its map shows."""

    kind: ClassVar[str]
    holds: ClassVar[str]
    licence: ClassVar[str]
    void: ClassVar[frozenset[int]]

    @abc.abstractmethod
    def _layout(self, root: Path) -> ClassLayout:
        """Finds everything. Raises SourceError."""

    def read(self) -> Iterator[SourceImage]:
        """Every photo of the split, by name. Raises SourceError for a wrong folder or file."""
        root = require_folder(self.kind, self.root, self.holds)
        layout = self._layout(root)
        if not layout.stems:
            raise SourceError(f"Reader {self.kind} needs label maps in {layout.maps} below {root}; there are none.")
        return (self._image(root, layout, stem) for stem in layout.stems)

    def class_names(self) -> list[str]:
        """The names of all classes of the dataset, in order of their values: what can be asked for, present or not.

        Raises:
            SourceError: for a wrong folder or file.
        """
        names = self._layout(require_folder(self.kind, self.root, self.holds)).names
        return [names[value] for value in sorted(names)]

    def _image(self, root: Path, layout: ClassLayout, stem: str) -> SourceImage:
        width: int | None = None
        height: int | None = None
        try:
            values = self._values(root, layout.maps / f"{stem}{layout.suffix}")
            height, width = values.shape
            regions = class_regions(values, layout.names, self.void)
        except RowRejected as rejected:
            regions = unreadable(rejected)
        return SourceImage(
            source_id=stem,
            file=(layout.images / f"{stem}.jpg").as_posix(),
            width=width,
            height=height,
            split=self.options["split"],
            licence=self.licence,
            regions=regions,
        )

    def _values(self, root: Path, file: PurePosixPath) -> np.ndarray:
        return read_label_map(root, file.as_posix())


def list_stems(root: Path, images: PurePosixPath, maps: PurePosixPath, suffix: str = ".png") -> list[str]:
    """Names that a photo or a map has, sorted: what lacks its partner is listed too, and refused by name."""
    stems = {path.name.removesuffix(suffix) for path in (root / maps).glob(f"*{suffix}")}
    return sorted(stems | {path.stem for path in (root / images).glob("*.jpg")})


def read_stems(path: Path) -> list[str]:
    """The names that a list file holds, one at the start of each line. Raises SourceError."""
    return [line.split()[0] for line in read_lines(path) if line.split()]


def read_names(kind: str, root: Path, candidates: list[str]) -> dict[int, str]:
    """A file of "12: name" lines as {12: "name"}. Raises SourceError."""
    path = find_file(kind, root, "the names of its classes", candidates)
    names = {}
    for line in read_lines(path):
        number, mark, name = line.partition(":")
        if mark and number.strip().isdecimal() and name.strip():
            names[int(number)] = name.strip()
        elif line.strip():
            raise SourceError(f'Reader {kind} needs lines "12: name" in {path}; got {line.strip()!r:.80}.')
    return names


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises SourceError."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SourceError(f"{path} must be a readable file: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} must be UTF-8 text: {error.reason} at byte {error.start}.") from error


def words(name: str) -> str:
    """A class name of VOC or Pascal Context in plain words: "pottedplant" -> "potted plant"."""
    return _GLUED.get(name, name.replace("_", " "))


_GLUED: dict[str, str] = {
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv monitor",
    "tv/monitor": "tv monitor",
}
