"""ADE20K, full release 2021_17_01 (Zhou et al., IJCV 2019): every object of a scene with its own mask.

Layout, as released::

    ADE20K_2021_17_01/images/ADE/{training,validation}/<group>/<scene>/
        ADE_train_00016869.jpg
        ADE_train_00016869.json                                     objects: names, parts, polygons
        ADE_train_00016869/instance_000_ADE_train_00016869.png      255 visible, 128 hidden, 0 elsewhere

A region is the visible part of an object, from its instance PNG: the polygons run on behind what stands in front
(and count from 1). A class has many names ("car, auto, automobile"): the first is the label. Objects have no
referring phrases; `referring_phrases` gives one where it is certain, with parts counted as rivals.

One `SourceImage` per image, by file name. A record or a mask that cannot be read gives a region that says so in
place of its mask, and is refused by the ingest step.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from catalog.errors import SourceError
from tasks.readers.json_records import JsonRecords
from tasks.readers.phrases import referring_phrases
from tasks.readers.reader_options import complete_options, require_choice, require_flag
from tasks.readers.records import FileReader, SourceImage, SourceRegion
from tasks.readers.run_length import encode_run_length

FOLDERS = {"train": "training", "val": "validation"}
LICENCE = "ADE20K terms: non-commercial research and education"
_VISIBLE = 255


@dataclass
class Ade20kReader(FileReader):
    """An ADE20K_2021_17_01 folder.

    Options: ``split`` (train or val; default train), ``parts`` (also the parts of objects, such as a car's
    wheels; default false).
    """

    name: str = "ade20k"
    revision: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        self.options = complete_options("ade20k", self.options, {"split": "train", "parts": False})
        require_choice("ade20k", "split", self.options["split"], tuple(FOLDERS))
        require_flag("ade20k", "parts", self.options["parts"])

    def read(self) -> Iterator[SourceImage]:
        """Every annotated image of the split, by file name. Raises SourceError for a wrong folder."""
        folder = Path("images") / "ADE" / FOLDERS[self.options["split"]]
        if self.root is None:
            raise SourceError("Reader ade20k needs the folder ADE20K_2021_17_01 as its root; got none.")
        records = sorted((self.root / folder).rglob("*.json"), key=lambda path: (path.name, path.as_posix()))
        if not records:
            raise SourceError(
                f"Reader ade20k needs {folder.as_posix()}/<group>/<scene>/*.json below its root "
                f"ADE20K_2021_17_01; found none below {self.root}."
            )
        return (self._read_image(self.root, path) for path in records)

    def _read_image(self, root: Path, path: Path) -> SourceImage:
        annotation, problem = _load_annotation(path)
        width, height = _size(annotation.get("imsize"))
        regions = (_unreadable(problem),) if problem else self._regions(path.parent, annotation.get("object"))
        return SourceImage(
            source_id=path.stem,
            file=path.with_suffix(".jpg").relative_to(root).as_posix(),
            width=width,
            height=height,
            split=self.options["split"],
            licence=LICENCE,
            regions=regions,
        )

    def _regions(self, folder: Path, objects: Any) -> tuple[SourceRegion, ...]:
        if not isinstance(objects, list) or not all(isinstance(entry, dict) for entry in objects):
            return (_unreadable("the annotation must list its objects"),)
        labels = [_first_name(entry.get("name")) for entry in objects]
        boxes = [_polygon_box(entry.get("polygon")) for entry in objects]
        phrases = referring_phrases(labels, boxes, [False] * len(objects))
        return tuple(
            _object_region(folder, entry, label, phrase)
            for entry, label, phrase in zip(objects, labels, phrases, strict=True)
            if self.options["parts"] or not _is_part(entry)
        )


def _load_annotation(path: Path) -> tuple[dict[str, Any], str | None]:
    """The record of one image, or what is wrong with it. Old records are Latin-1."""
    try:
        value = JsonRecords(path, "ADE20K's record", or_latin_1=True).whole()
    except SourceError as error:
        return {}, str(error)
    annotation = value.get("annotation") if isinstance(value, dict) else None
    if not isinstance(annotation, dict):
        return {}, "the record must hold an annotation"
    return annotation, None


def _unreadable(problem: str) -> SourceRegion:
    """A region without an identity: refused, with the problem where the mask would be."""
    no_identity: Any = None
    return SourceRegion(annotation_id=no_identity, mask=problem)


def _size(value: Any) -> tuple[Any, Any]:
    """(width, height) of ``imsize``: [height, width, channels]."""
    return (value[1], value[0]) if isinstance(value, list) and len(value) >= 2 else (None, None)


def _first_name(value: Any) -> Any:
    return value.split(",")[0].strip() if isinstance(value, str) else value


def _is_part(entry: dict[str, Any]) -> bool:
    parts = entry.get("parts")
    level = parts.get("part_level") if isinstance(parts, dict) else 0
    return level not in (0, "0", None)


def _polygon_box(polygon: Any) -> list[float] | None:
    """[x, y, width, height] around the outline, hidden stretches included; None where it is malformed."""
    xs, ys = (polygon.get("x"), polygon.get("y")) if isinstance(polygon, dict) else (None, None)
    for values in (xs, ys):
        if not isinstance(values, list) or not values:
            return None
        if not all(isinstance(value, int | float) for value in values):
            return None
    assert xs and ys
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _object_region(folder: Path, entry: dict[str, Any], label: Any, phrase: str | None) -> SourceRegion:
    attributes = entry.get("attributes")
    identity: Any = entry.get("id")
    return SourceRegion(
        annotation_id=str(identity) if isinstance(identity, int) else identity,
        phrase=phrase,
        label=label,
        attributes=tuple(attributes) if isinstance(attributes, list) else (),
        mask=_visible_mask(folder, entry.get("instance_mask")),
    )


def _visible_mask(folder: Path, name: Any) -> Any:
    """Run-length code of the pixels of value 255; a sentence where the PNG cannot be read."""
    if not isinstance(name, str) or not name or "\0" in name or not name.endswith(".png"):
        return f"no instance PNG named, got {json.dumps(name)}"
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"the instance PNG {name} leaves its folder"
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    except (OSError, cv2.error) as error:
        return f"the instance PNG {name} cannot be read ({error.__class__.__name__})"
    if image is None:
        return f"the instance PNG {name} is no image"
    return encode_run_length(image == _VISIBLE)
