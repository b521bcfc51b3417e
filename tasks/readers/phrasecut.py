"""VGPhraseCut: referring phrases with the polygons of every instance that they mean (Wu et al., CVPR 2020).

The paper (section 3.2) inpaints these regions to make its removal and addition pairs. Layout, as released::

    VGPhraseCut_v0/
        images/<image_id>.jpg       (Visual Genome's photos; its own archives unpack to VG_100K/ and VG_100K_2/)
        image_data_split.json       (the toolkit's README calls it image_data_split3000.json)
        refer_{train,val,test,miniv}.json

One `SourceImage` per image, in order of its id. Values are handed on as the file has them; the ingest step
refuses what is wrong. A task without a usable ``image_id`` cannot be joined to an image: it becomes a
`SourceImage` of its own with ``source_id`` "unknown-<index in the file>" and no file, which is refused as
``malformed_record``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import SourceError
from catalog.masks import PolygonRule
from tasks.readers.coco_layout import is_file
from tasks.readers.json_records import JsonRecords, Span
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourceImage, SourceRegion

METADATA_FILES = ("image_data_split.json", "image_data_split3000.json")
SPLITS = {"train": "train", "val": "val", "test": "test", "miniv": "val"}
"""refer_{key}.json -> split. ``miniv`` is 100 images that the val file leaves out."""

PHOTO_FOLDERS = ("images", "VG_100K", "VG_100K_2", "images/VG_100K", "images/VG_100K_2")
"""Below the root. Visual Genome comes in two archives, so a photo may be in either of two folders."""


def phrase_region(task: Mapping[str, Any]) -> SourceRegion:
    """One task of ``refer_*.json`` as a region.

    ``Polygons`` (instance, polygon, point, xy) loses its first level: the region is their union.
    ``box`` bounds ``instance_boxes`` ([x, y, width, height], pixels counted inclusively). A value of an
    unexpected type is handed on as it is.
    """
    structure = task.get("phrase_structure")
    if structure is None:
        structure = {}
    if not isinstance(structure, Mapping):
        structure = {"name": structure}
    polygons = task.get("Polygons")
    return SourceRegion(
        annotation_id=_raw(task.get("task_id")),
        phrase=task.get("phrase"),
        label=structure.get("name"),
        attributes=_sequence(structure.get("attributes")),
        relations=_pairs(structure.get("relation_descriptions")),
        polygons=_flatten(polygons),
        box=_bounds(task.get("instance_boxes")),
        num_instances=len(polygons) if isinstance(polygons, list) else 1,
    )


def _raw(value: Any) -> Any:
    """The value, whatever its type: the ingest step checks it."""
    return value


def _sequence(value: Any) -> Any:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else value


def _pairs(value: Any) -> Any:
    entries = _sequence(value)
    if not isinstance(entries, tuple):
        return entries
    return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in entries)


def _flatten(polygons: Any) -> Any:
    if not isinstance(polygons, list) or not all(isinstance(instance, list) for instance in polygons):
        return polygons
    return [polygon for instance in polygons for polygon in instance]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounds(boxes: Any) -> Any:
    """The smallest box around ``boxes``; None without any; ``boxes`` itself where one is malformed."""
    if boxes is None or boxes == []:
        return None
    if not isinstance(boxes, list):
        return boxes
    for box in boxes:
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            return boxes
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return [left, top, right - left, bottom - top]


@dataclass
class PhraseCutReader(FileReader):
    """A VGPhraseCut folder.

    Options: ``split`` (train, val, test or miniv; default train), ``licence`` (text for every image, as the
    files state none), ``images`` (folder of the photos, relative to the root, itself or as VG_100K and VG_100K_2
    within it; default: `PHOTO_FOLDERS`).
    """

    name: str = "phrasecut"
    revision: str = field(default="1", init=False)
    polygon_rule: PolygonRule = field(default="phrasecut", init=False)

    def __post_init__(self) -> None:
        self.options = complete_options("phrasecut", self.options, {"split": "train", "licence": None, "images": None})
        require_choice("phrasecut", "split", self.options["split"], tuple(SPLITS))
        require_text("phrasecut", "licence", self.options["licence"])
        require_text("phrasecut", "images", self.options["images"])

    def read(self) -> Iterator[SourceImage]:
        """Every image of the split with a phrase, by id. Raises SourceError for a wrong folder or file."""
        metadata, tasks, folders = self._find_files()
        sizes = _read_sizes(metadata)
        records = JsonRecords(tasks, "PhraseCut's task file")
        groups, strays = _group_by_image(records)
        return self._stream(records, groups, strays, sizes, folders)

    def _find_files(self) -> tuple[Path, Path, list[str]]:
        """The image list, the tasks, and the folders that hold photos."""
        root, tasks = self.root, f"refer_{self.options['split']}.json"
        if root is None:
            raise SourceError("Reader phrasecut needs the folder VGPhraseCut_v0 as its root; got none.")
        metadata = [root / name for name in METADATA_FILES if (root / name).is_file()]
        missing = [] if metadata else [" or ".join(METADATA_FILES)]
        if not (root / tasks).is_file():
            missing.append(tasks)
        given = self.options["images"]
        known = PHOTO_FOLDERS if given is None else (given, f"{given}/VG_100K", f"{given}/VG_100K_2")
        folders = [folder for folder in known if (root / folder).is_dir()]
        if not folders:
            missing.append(f"<image_id>.jpg in one of {', '.join(known)}")
        if missing:
            raise SourceError(
                f"A PhraseCut folder holds {' or '.join(METADATA_FILES)}, {tasks} and photos; {root} lacks "
                f"{', '.join(missing)}; {_advice(root)}."
            )
        return metadata[0], root / tasks, folders

    def _stream(
        self,
        records: JsonRecords,
        groups: dict[int | str, list[Span]],
        strays: list[tuple[int, Span]],
        sizes: dict[int | str, tuple[Any, Any]],
        folders: list[str],
    ) -> Iterator[SourceImage]:
        split, licence = SPLITS[self.options["split"]], self.options["licence"]
        for image_id in sorted(groups, key=_image_order):
            width, height = sizes.get(image_id, (None, None))
            yield SourceImage(
                source_id=str(image_id),
                file=self._photo(folders, f"{image_id}.jpg"),
                width=width,
                height=height,
                split=split,
                licence=licence,
                regions=tuple(phrase_region(records.decode(span)) for span in groups[image_id]),
            )
        for index, span in strays:
            task = records.decode(span)
            regions = (phrase_region(task),) if isinstance(task, dict) else ()
            yield SourceImage(
                source_id=f"unknown-{index}", file=_raw(None), split=split, licence=licence, regions=regions
            )

    def _photo(self, folders: list[str], name: str) -> str:
        """Path of a photo: in the first folder that has it, in the first of all where none has."""
        assert self.root is not None
        paths = [f"{folder}/{name}" for folder in folders]
        if len(paths) == 1 or "\0" in name or ".." in Path(name).parts:
            return paths[0]  # nothing to choose, or no name of a photo: ingest refuses it
        return next((path for path in paths if is_file(self.root / path)), paths[0])


def _advice(root: Path) -> str:
    if not root.is_dir():
        return "that folder does not exist"
    inner = [path for path in (root / "VGPhraseCut_v0", root / "data" / "VGPhraseCut_v0") if path.is_dir()]
    return f"give {inner[0]} as the root" if inner else "give the unpacked folder VGPhraseCut_v0 as the root"


def _image_id(record: Any) -> int | str | None:
    value = record.get("image_id") if isinstance(record, dict) else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _image_order(image_id: int | str) -> tuple[bool, int, str]:
    """Numbers first and as numbers; then names."""
    is_name = isinstance(image_id, str)
    return is_name, 0 if isinstance(image_id, str) else image_id, str(image_id)


def _read_sizes(path: Path) -> dict[int | str, tuple[Any, Any]]:
    """(width, height) by image id, as the metadata says."""
    sizes: dict[int | str, tuple[Any, Any]] = {}
    for _, entry in JsonRecords(path, "PhraseCut's image list").array():
        image_id = _image_id(entry)
        if image_id is not None:
            sizes.setdefault(image_id, (entry.get("width"), entry.get("height")))
    return sizes


def _group_by_image(records: JsonRecords) -> tuple[dict[int | str, list[Span]], list[tuple[int, Span]]]:
    """Spans of the tasks by image, in file order, and (index, span) of those that name no image."""
    groups: dict[int | str, list[Span]] = {}
    strays: list[tuple[int, Span]] = []
    for index, (span, task) in enumerate(records.array()):
        image_id = _image_id(task)
        if image_id is None:
            strays.append((index, span))
        else:
            groups.setdefault(image_id, []).append(span)
    return groups, strays
