"""COCO-format annotations: instances, keypoints, panoptic segments in the detection format.

One JSON file with ``images``, ``annotations``, ``categories`` and perhaps ``licenses``; the images in a folder.
Both layouts in use are found without being told::

    coco/annotations/instances_val2017.json   coco/val2017/000000000139.jpg          (official archives)
    coco/annotations/instances_val2017.json   coco/images/val2017/000000000139.jpg   (HRNet, InstructDiffusion)

The same reader serves the COCO-style files of CrowdPose, AI Challenger, HumanArt and AP-10K.

COCO has no referring phrases: a region has one only where `referring_phrases` is certain of it. A region without
can still be asked for by its joints. One `SourceImage` per image, by id; values are handed on as the file has
them. An annotation that names no listed image becomes an image "unknown-<number>" without a file, and is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.errors import SourceError
from tasks.readers.coco_index import CocoIndex, build_index, record_id
from tasks.readers.coco_region import Category, annotation_region
from tasks.readers.json_records import JsonRecords
from tasks.readers.phrases import referring_phrases
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourceImage, SourceRegion

DEFAULTS = {"annotations": None, "images": None, "split": None}
_SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test"}
_PROBED_IMAGES = 16


@dataclass
class CocoReader(FileReader):
    """A COCO-format dataset.

    Options: ``annotations`` (JSON file, relative to the root; required), ``images`` (folder that the file names
    are relative to, itself relative to the root; default: the first known layout that holds some), ``split``
    (train, val or test; default: what the annotation file's name says, else by hash).
    """

    name: str = "coco"
    revision: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        self.options = complete_options("coco", self.options, DEFAULTS)
        require_text("coco", "annotations", self.options["annotations"])
        require_text("coco", "images", self.options["images"])
        if self.options["split"] is not None:
            require_choice("coco", "split", self.options["split"], ("train", "val", "test"))

    def read(self) -> Iterator[SourceImage]:
        """Every image of the file, by id. Raises SourceError for a wrong folder, file or layout."""
        if self.root is None or not self.root.is_dir():
            raise SourceError(f"Reader coco needs an existing folder as its root; got {self.root}.")
        path = _annotation_file(self.root, self.options["annotations"])
        records = JsonRecords(path, "COCO's annotation file")
        index = build_index(records)
        folder = _image_folder(self.root, self.options["images"], path, index)
        split = self.options["split"] or _split_named(path.stem)
        return _stream(records, index, folder, split)


def _annotation_file(root: Path, name: str | None) -> Path:
    if name is not None and (root / name).is_file():
        return root / name
    found = [*sorted(root.glob("*.json")), *sorted(root.glob("annotations/*.json"))]
    listing = ", ".join(path.relative_to(root).as_posix() for path in found[:8]) or "no JSON file"
    raise SourceError(
        f"Option annotations of reader coco must name a JSON file below {root}; got {name!r}; found {listing}."
    )


def _image_folder(root: Path, given: str | None, annotations: Path, index: CocoIndex) -> Path:
    """The folder of the images, relative to the root."""
    if given is not None:
        if not (root / given).is_dir():
            raise SourceError(f"Option images of reader coco must be a folder below {root}; got {given!r}.")
        return Path(given)
    part = annotations.stem.rpartition("_")[2]
    candidates = [Path("images") / part, Path(part), Path("images"), Path("data"), Path()]
    probed = [entry["file_name"] for _, entry in index.images[:_PROBED_IMAGES]]
    names = [name for name in probed if isinstance(name, str) and _is_inside(name)]
    for folder in candidates:
        if any((root / folder / name).is_file() for name in names):
            return folder
    if not names:
        return Path()  # nothing to find: every image is refused by its own record
    raise SourceError(
        f"The images of {annotations.name} ({names[0]}, ...) must be below {root}; looked in "
        f"{', '.join(folder.as_posix() for folder in candidates)}; set the option images."
    )


def _is_inside(name: str) -> bool:
    """Whether a file name stays below its folder; another says nothing about where the images are."""
    path = PurePosixPath(name)
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def _stream(records: JsonRecords, index: CocoIndex, folder: Path, split: str | None) -> Iterator[SourceImage]:
    for image_id, entry in index.images:
        # A second image of the same id comes without regions, to be refused as a duplicate.
        spans = index.spans.pop(image_id, [])
        name = entry["file_name"]
        yield SourceImage(
            source_id=str(image_id),
            file=(folder / name).as_posix() if isinstance(name, str) and name else name,
            width=entry["width"],
            height=entry["height"],
            split=split,
            licence=index.licences.get(record_id(entry["license"])),
            regions=_regions([records.decode(span) for span in spans], index.categories),
        )
    no_file: Any = None
    for number in range(index.num_nameless):
        yield SourceImage(source_id=f"unknown-image-{number}", file=no_file, split=split)
    for number, span in enumerate(index.strays):
        regions = _regions([records.decode(span)], index.categories)
        yield SourceImage(source_id=f"unknown-{number}", file=no_file, split=split, regions=regions)


def _regions(annotations: list[Any], categories: dict[Any, Category]) -> tuple[SourceRegion, ...]:
    usable = [annotation for annotation in annotations if isinstance(annotation, dict)]
    classes = [categories.get(record_id(annotation.get("category_id"))) for annotation in usable]
    phrases = referring_phrases(
        [category.label if category else None for category in classes],
        [annotation.get("bbox") for annotation in usable],
        [bool(annotation.get("iscrowd")) for annotation in usable],
    )
    rows = zip(usable, classes, phrases, strict=True)
    return tuple(annotation_region(annotation, category, phrase) for annotation, category, phrase in rows)


def _split_named(stem: str) -> str | None:
    """The split in a file's name ("instances_val2017": val); None where it says nothing, or two things."""
    splits = {_SPLIT_WORDS[word] for word in re.findall("[a-z]+", stem.lower()) if word in _SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None
