"""ADE20K as classes of pixels: SceneParse150 and the full release (ADE20K-847).

Layouts::

    ADEChallengeData2016/{images,annotations}/{training,validation}/ADE_train_00000001.{jpg,png}
    ADEChallengeData2016/objectInfo150.txt                               (Idx, Ratio, Train, Val, [Stuff,] Name)

    ADE20K_2021_17_01/images/ADE/{training,validation}/<group>/<scene>/ADE_train_00016869{.jpg,.json,_seg.png}

In SceneParse150 a value is a class from 1 to 150, 0 is void. In the full release the class of a pixel is
(R // 10) * 256 + G of ``_seg.png``, 0 is void; its name is in the JSON beside it (``name_ndx``). The 847 classes are
those that training and validation both show as whole objects; they are found by reading both splits' JSONs. (The
published index is a pickle of 780 MB, which is not needed and not opened.)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from catalog.errors import RowRejected, SourceError
from tasks.readers.ade20k import FOLDERS, LICENCE
from tasks.readers.classes import ClassLayout, ClassReader, list_stems, read_lines
from tasks.readers.json_records import JsonRecords
from tasks.readers.label_maps import class_regions, read_colours, unreadable
from tasks.readers.layouts import find_file, find_folder, require_folder
from tasks.readers.reader_options import complete_options, require_choice
from tasks.readers.records import FileReader, SourceImage

NUM_CLASSES = 150


@dataclass
class SceneParseReader(ClassReader):
    """ADE20K-150 (SceneParse150): 150 classes as pixel maps.

    Options: ``split`` (train or val; default val).
    """

    name: str = "ade20k_150"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "ade20k_150"
    holds: ClassVar[str] = "the folder ADEChallengeData2016"
    licence: ClassVar[str] = LICENCE
    void: ClassVar[frozenset[int]] = frozenset({0})

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"split": "val"})
        require_choice(self.kind, "split", self.options["split"], tuple(FOLDERS))

    def _layout(self, root: Path) -> ClassLayout:
        part = FOLDERS[self.options["split"]]
        names = read_object_info(find_file(self.kind, root, "the names of its classes", ["objectInfo150.txt"]))
        maps = find_folder(self.kind, root, "its label maps", [f"annotations/{part}"])
        images = find_folder(self.kind, root, "its photos", [f"images/{part}"])
        return ClassLayout(images=images, maps=maps, names=names, stems=list_stems(root, images, maps))


def read_object_info(path: Path) -> dict[int, str]:
    """objectInfo150.txt as {1: "wall", 2: "building", ...}: the first of each class's names. Raises SourceError."""
    head, *rows = [line.split("\t") for line in read_lines(path) if line.strip()] or [[]]
    columns = [column.strip() for column in head]
    if not {"Idx", "Name"} <= set(columns):
        raise SourceError(f"{path} must have the columns Idx and Name, separated by tabs; got {', '.join(columns)}.")
    number, name = columns.index("Idx"), columns.index("Name")
    numbered = [row for row in rows if len(row) > name and row[number].strip().isdecimal()]  # the file has "22 "
    names = {int(row[number]): first_name(row[name]) for row in numbered}
    if sorted(names) != list(range(1, NUM_CLASSES + 1)):
        raise SourceError(f"{path} must number {NUM_CLASSES} classes from 1; got {len(names)}.")
    return names


def first_name(name: str) -> str:
    """The first of the names of a class: "building, edifice" and "building;edifice" -> "building"."""
    return name.replace(";", ",").split(",")[0].strip()


def full_classes(colours: np.ndarray) -> np.ndarray:
    """Class numbers of a ``_seg.png`` of the full release: int32 (H, W) of RGB (H, W, 3)."""
    numbers: np.ndarray = colours[..., 0] // 10 * 256 + colours[..., 1]
    return numbers.astype(np.int32)


def map_classes(values: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    """Values replaced by ``numbers`` (old -> new), 0 where it has none: int32 (H, W)."""
    table = np.zeros(max([int(values.max()), *numbers]) + 1, np.int32)
    for old, new in numbers.items():
        table[old] = new
    mapped: np.ndarray = table[values]
    return mapped


@dataclass
class Ade20kFullReader(FileReader):
    """ADE20K full release as classes of pixels (ADE20K-847).

    Options: ``split`` (train or val; default val), ``classes`` (shared: those of both splits, the 847, which takes
    reading every JSON first; all: every class; default shared).
    """

    name: str = "ade20k_847"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "ade20k_847"

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"split": "val", "classes": "shared"})
        require_choice(self.kind, "split", self.options["split"], tuple(FOLDERS))
        require_choice(self.kind, "classes", self.options["classes"], ("shared", "all"))

    def read(self) -> Iterator[SourceImage]:
        """Every annotated image of the split, by file name. Raises SourceError for a wrong folder."""
        root = require_folder(self.kind, self.root, "the folder ADE20K_2021_17_01")
        paths = {split: _records(root, split) for split in FOLDERS}
        wanted = paths[self.options["split"]]
        if not wanted:
            raise SourceError(
                f"Reader {self.kind} needs images/ADE/{FOLDERS[self.options['split']]}/<group>/<scene>/*.json below "
                f"its root ADE20K_2021_17_01; found none below {root}."
            )
        shared = self._shared(paths) if self.options["classes"] == "shared" else None
        return (self._image(root, path, shared) for path in wanted)

    def class_names(self) -> list[str]:
        """None: the full release lists its classes nowhere but in its records."""
        return []

    def _shared(self, paths: Mapping[str, list[Path]]) -> frozenset[int]:
        """The classes that both splits show as whole objects. Raises SourceError where there are none."""
        if absent := [FOLDERS[split] for split in FOLDERS if not paths[split]]:
            raise SourceError(
                f"Reader {self.kind} finds its classes in both splits, and images/ADE/{absent[0]} below {self.root} "
                "holds no record: unpack it there, or take every class of what is there by the option classes = all."
            )
        seen = [frozenset(number for path in paths[split] for number in _names(path)) for split in FOLDERS]
        return seen[0] & seen[1]

    def _image(self, root: Path, path: Path, shared: frozenset[int] | None) -> SourceImage:
        image = SourceImage(
            source_id=path.stem,
            file=path.with_suffix(".jpg").relative_to(root).as_posix(),
            split=self.options["split"],
            licence=LICENCE,
        )
        try:
            file = PurePosixPath(path.with_name(f"{path.stem}_seg.png").relative_to(root).as_posix())
            values = full_classes(read_colours(root, file.as_posix()))
        except RowRejected as rejected:
            return replace(image, regions=unreadable(rejected))
        names = _names(path)
        left_out = frozenset() if shared is None else frozenset(map(int, np.unique(values))) - shared
        regions = class_regions(values, names, left_out | {0})
        return replace(image, width=values.shape[1], height=values.shape[0], regions=regions)


def _records(root: Path, split: str) -> list[Path]:
    folder = root / "images" / "ADE" / FOLDERS[split]
    return sorted(folder.rglob("*.json"), key=lambda path: (path.name, path.as_posix()))


def _names(path: Path) -> dict[int, str]:
    """Class number -> first name, of the whole objects that a JSON lists; empty where it cannot be read."""
    try:
        value: Any = JsonRecords(path, "ADE20K's record", or_latin_1=True).whole()
    except SourceError:
        return {}  # the image's classes then have no names, and each is refused
    annotation = value.get("annotation") if isinstance(value, dict) else None
    objects = annotation.get("object") if isinstance(annotation, dict) else None
    names = {}
    for entry in objects if isinstance(objects, list) else []:
        number, name = (entry.get("name_ndx"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        parts = entry.get("parts") if isinstance(entry, dict) else None
        level = parts.get("part_level") if isinstance(parts, dict) else 0
        if isinstance(number, int) and isinstance(name, str) and level in (0, "0", None):
            names[number] = first_name(name)
    return names
