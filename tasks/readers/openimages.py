"""Open Images V7 (Kuznetsova et al., IJCV 2020): masks and boxes of objects in Flickr photos.

Files, by any of the names that the releases (V5 to V7) and FiftyOne give them, beside each other, in
``annotations/``, ``csv/``, ``labels/`` or ``metadata/``::

    train-annotations-object-segmentation.csv    masks: MaskPath, ImageID, LabelName, BoxID, BoxXMin, ...
    oidv6-train-annotations-bbox.csv             boxes: ImageID, LabelName, XMin, XMax, YMin, YMax, flags
    train-images-boxable-with-rotation.csv       photos: ImageID, License, ...
    oidv7-class-descriptions-boxable.csv         /m/011k07,Tortoise
    bbox_labels_600_hierarchy.json               which class includes which
    images/train/<16 hex digits>.jpg             or train/, train/data/, data/
    masks/train/<MaskPath>                       or train-masks/, by first digit; unpacked

Coordinates are shares of the photo, in the order XMin, XMax, YMin, YMax. A region is an instance's mask, or its box
where the option says so. There are no referring phrases: a region has one only where it is certain among all
annotated objects of the photo, with or without a mask (`certain_phrases`). Groups (IsGroupOf) are crowds.

One `SourceImage` per photo with a region, by id. The licence is the photo's own address of it. Tables are sorted on
disk; memory holds one photo's rows. A mask that cannot be read gives a region that says so in place of its mask, as
does every mask of a photo whose EXIF turns it, and is refused by the ingest step.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tasks.readers.openimages_classes import read_ancestors, read_names
from tasks.readers.openimages_files import MASK_FOLDERS, PHOTO_FOLDERS, find_files, find_folder, in_folder
from tasks.readers.openimages_instances import Instance, certain_phrases, join_masks
from tasks.readers.openimages_masks import read_mask, read_photo_size
from tasks.readers.openimages_tables import Row, read_groups
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourceImage, SourceRegion

SPLITS = {"train": "train", "validation": "val", "test": "test"}
DEFAULTS = {"split": "train", "regions": "masks", "images": None, "masks": None}

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class _Layout:
    """Where things are, and what classes are called."""

    root: Path
    photos: str
    masks: str | None
    names: Mapping[str, str]
    ancestors: Mapping[str, frozenset[str]]


@dataclass
class OpenImagesReader(FileReader):
    """An Open Images folder.

    Options: ``split`` (train, validation or test; default train), ``regions`` (masks or boxes; default masks),
    ``images`` and ``masks`` (folders of the photos and the mask PNGs, relative to the root; default: the first known
    layout that holds some).
    """

    name: str = "openimages"
    revision: str = field(default="1", init=False)
    counts_stored_pixels: ClassVar[bool] = False
    """Not documented: regions of turned photos are refused."""

    def __post_init__(self) -> None:
        self.options = complete_options("openimages", self.options, DEFAULTS)
        require_choice("openimages", "split", self.options["split"], tuple(SPLITS))
        require_choice("openimages", "regions", self.options["regions"], ("masks", "boxes"))
        require_text("openimages", "images", self.options["images"])
        require_text("openimages", "masks", self.options["masks"])

    def read(self) -> Iterator[SourceImage]:
        """Every photo with a region, by id. Raises SourceError for a wrong folder or table."""
        split, with_masks = self.options["split"], self.options["regions"] == "masks"
        files = find_files(self.root, split, with_masks)
        assert self.root is not None
        masks = None
        if with_masks:
            masks = find_folder(self.root, "masks", self.options["masks"], MASK_FOLDERS, split, ".png")
        layout = _Layout(
            root=self.root,
            photos=find_folder(self.root, "images", self.options["images"], PHOTO_FOLDERS, split, ".jpg"),
            masks=masks,
            names=read_names(files.classes),
            ancestors=read_ancestors(files.hierarchy),
        )
        return (
            _source_image(layout, SPLITS[split], image_id, position, rows)
            for position, (image_id, rows) in enumerate(read_groups(files))
        )


def _source_image(layout: _Layout, split: str, image_id: str | None, position: int, rows: list[Row]) -> SourceImage:
    licences = [row["licence"] for row in rows if row["kind"] == "photo"]
    file = _photo_file(layout, image_id)
    size = None if file is None else read_photo_size(layout.root, file)
    return SourceImage(
        source_id=f"unknown-{position}" if image_id is None else image_id,
        file=file,
        width=size[0] if size else None,
        height=size[1] if size else None,
        split=split,
        licence=licences[0] if licences else None,
        regions=tuple(_regions(layout, rows, size)),
    )


def _photo_file(layout: _Layout, image_id: str | None) -> Any:
    """Path of a photo; the id itself where it cannot be part of one, None without an id: refused by ingest."""
    if image_id is None or not _PLAIN.fullmatch(image_id):
        return image_id
    return (Path(in_folder(layout.photos, image_id)) / f"{image_id}.jpg").as_posix()


def _regions(layout: _Layout, rows: list[Row], size: tuple[int, int, bool] | None) -> Iterator[SourceRegion]:
    boxes, masks = ([row for row in rows if row["kind"] == kind] for kind in ("box", "mask"))
    instances = join_masks(boxes, masks)
    phrases = certain_phrases(instances, layout.names, layout.ancestors)
    for number, (instance, phrase) in enumerate(zip(instances, phrases, strict=True)):
        if layout.masks is not None and instance.mask is None:
            continue  # a box beside the masks: a rival of phrases, no region
        identity: Any = str(number) if instance.mask is None else instance.mask["identity"]
        yield SourceRegion(
            annotation_id=identity,
            phrase=phrase,
            label=layout.names.get(instance.label),
            mask=None if instance.mask is None else _mask(layout, instance.mask, size),
            box=_pixel_box(instance, size),
            is_crowd=instance.is_group,
        )


def _mask(layout: _Layout, row: Row, size: tuple[int, int, bool] | None) -> Any:
    name = row["path"]
    if size is None:
        return "the photo cannot be read, and masks are of no known size"
    if size[2]:
        return "the photo's EXIF orientation turns it; whether its masks are turned too is not documented"
    if not isinstance(name, str) or not _PLAIN.fullmatch(name) or not name.endswith(".png"):
        return f"MaskPath must be the plain name of a PNG; got {name!r:.80}"
    assert layout.masks is not None
    return read_mask(layout.root, (Path(in_folder(layout.masks, name)) / name).as_posix(), size[0], size[1])


def _pixel_box(instance: Instance, size: tuple[int, int, bool] | None) -> Any:
    """[x, y, width, height] in pixels; a text that ingest refuses where the sides are no numbers or turned."""
    sides = instance.sides
    if sides is None:
        return "the box must be four numbers"
    if size is None or size[2]:
        return "the photo cannot be read, or its EXIF orientation turns it"
    left, right, top, bottom = sides
    return [left * size[0], top * size[1], (right - left) * size[0], (bottom - top) * size[1]]
