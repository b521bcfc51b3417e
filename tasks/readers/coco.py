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

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.readers.coco_index import CocoIndex, build_index, record_id
from tasks.readers.coco_layout import find_annotations, find_images, split_named
from tasks.readers.coco_region import Category, annotation_region
from tasks.readers.json_records import JsonRecords
from tasks.readers.phrases import referring_phrases
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourceImage, SourceRegion

DEFAULTS = {"annotations": None, "images": None, "split": None, "validation": "corrected"}
_PROBED_IMAGES = 16


@dataclass
class CocoReader(FileReader):
    """A COCO-format dataset.

    Options: ``annotations`` (JSON file, relative to the root; required), ``images`` (folder that the file names
    are relative to, itself relative to the root; default: the first known layout that holds some), ``split``
    (train, val or test; default: what the annotation file's name says, else by hash), ``validation`` (corrected;
    official: val counts as train, for the official code trains on val2017, which Table 2 is measured on).
    """

    name: str = "coco"
    revision: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        self.options = complete_options("coco", self.options, DEFAULTS)
        require_text("coco", "annotations", self.options["annotations"])
        require_text("coco", "images", self.options["images"])
        if self.options["split"] is not None:
            require_choice("coco", "split", self.options["split"], ("train", "val", "test"))
        require_choice("coco", "validation", self.options["validation"], ("corrected", "official"))

    def read(self) -> Iterator[SourceImage]:
        """Every image of the file, by id. Raises SourceError for a wrong folder, file or layout."""
        path = find_annotations("coco", self.root, self.options["annotations"])
        assert self.root is not None
        records = JsonRecords(path, "COCO's annotation file")
        index = build_index(records)
        part = path.stem.rpartition("_")[2]
        candidates = [Path("images") / part, Path(part), Path("images"), Path("data"), Path()]
        names = [entry["file_name"] for _, entry in index.images[:_PROBED_IMAGES]]
        folder = find_images("coco", self.root, self.options["images"], candidates, names, path)
        split = self.options["split"] or split_named(path.stem)
        if split == "val" and self.options["validation"] == "official":
            split = "train"
        return _stream(records, index, folder, split)


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
    for number in range(index.num_nameless):
        yield unjoined_image(f"unknown-image-{number}", split)
    for number, span in enumerate(index.strays):
        yield unjoined_image(f"unknown-{number}", split, _regions([records.decode(span)], index.categories))


def unjoined_image(source_id: str, split: str | None, regions: tuple[SourceRegion, ...] = ()) -> SourceImage:
    """An image without an id, or an annotation without an image: without a file, and so refused."""
    no_file: Any = None
    return SourceImage(source_id=source_id, file=no_file, split=split, regions=regions)


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
