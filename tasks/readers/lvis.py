"""LVIS v1 (Gupta et al., CVPR 2019): 1,203 classes, rare ones too, on the photos of COCO 2017.

COCO's detection form with fields of its own::

    lvis_v1_{train,val}.json
        images       no file_name: coco_url ends in train2017/000000391895.jpg or val2017/..., the path of the photo
                     neg_category_ids            classes that the image certainly does not show
                     not_exhaustive_category_ids classes of which more is in the image than is annotated
        categories   name "mouse_(computer_equipment)", synset "mouse.n.04", frequency r, c or f
        annotations  polygons; neither crowds nor joints

The photos of either split lie in both folders of COCO 2017, and layouts in use put these in several places::

    lvis_v1_train.json   train2017/   val2017/          beside each other, or in images/
    lvis/lvis_v1_train.json   coco/train2017/           the root is the folder above (detectron2)
    annotations/lvis_v1_train.json   train2017/         (MMDetection)

Annotation is exhaustive only for the classes that an image lists: a class in ``not_exhaustive_category_ids`` gets
no phrase, as its name may fit what nobody outlined. What stands in brackets tells classes apart and nobody says
it: the label of "mouse_(computer_equipment)" is "mouse", and two mice of different kind are rivals.

One `SourceImage` per image, by id (COCO's image id); see `tasks.readers.coco` for what cannot be joined.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import SourceError
from tasks.readers.coco import unjoined_image
from tasks.readers.coco_index import CocoIndex, build_index, record_id
from tasks.readers.coco_layout import find_annotations, find_images, split_named
from tasks.readers.coco_region import Category, annotation_region
from tasks.readers.json_records import JsonRecords
from tasks.readers.phrases import referring_phrases
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourceImage, SourceRegion

DEFAULTS = {"annotations": None, "images": None, "split": None, "frequencies": "rcf"}
IMAGE_FOLDERS = (Path(), Path("images"), Path("coco"), Path("coco/images"))
"""Below the root; each holds ``train2017`` and ``val2017``."""

_FIELDS = ("coco_url", "file_name", "width", "height", "license", "not_exhaustive_category_ids")
_BRACKETS = re.compile(r"[ _]*\([^()]*\)")
_PROBED_IMAGES = 16


@dataclass
class LvisReader(FileReader):
    """LVIS v1 on the photos of COCO 2017.

    Options: ``annotations`` (JSON file, relative to the root; required), ``images`` (folder that holds train2017
    and val2017, relative to the root; default: the first known layout that holds some), ``split`` (train, val or
    test; default: what the annotation file's name says, else by hash), ``frequencies`` (regions of classes of these
    frequencies only, letters of "rcf"; default all. The others still count as rivals of a phrase).
    """

    name: str = "lvis"
    revision: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        self.options = complete_options("lvis", self.options, DEFAULTS)
        for name in ("annotations", "images", "frequencies"):
            require_text("lvis", name, self.options[name])
        frequencies = self.options["frequencies"]
        if frequencies is None or set(frequencies) - set("rcf"):
            raise SourceError(f"Option frequencies of reader lvis must be letters of 'rcf'; got {frequencies!r}.")
        if self.options["split"] is not None:
            require_choice("lvis", "split", self.options["split"], ("train", "val", "test"))

    def read(self) -> Iterator[SourceImage]:
        """Every image of the file, by id. Raises SourceError for a wrong folder, file or layout."""
        path = find_annotations("lvis", self.root, self.options["annotations"])
        assert self.root is not None
        records = JsonRecords(path, "LVIS's annotation file")
        index = build_index(records, _FIELDS)
        names = [photo_path(entry) for _, entry in index.images[:_PROBED_IMAGES]]
        folder = find_images("lvis", self.root, self.options["images"], IMAGE_FOLDERS, names, path)
        return self._stream(records, index, folder, self.options["split"] or split_named(path.stem))

    def _stream(self, records: JsonRecords, index: CocoIndex, folder: Path, split: str | None) -> Iterator[SourceImage]:
        for image_id, entry in index.images:
            # A second image of the same id comes without regions, to be refused as a duplicate.
            annotations = [records.decode(span) for span in index.spans.pop(image_id, [])]
            name = photo_path(entry)
            yield SourceImage(
                source_id=str(image_id),
                file=(folder / name).as_posix() if isinstance(name, str) and name else name,
                width=entry["width"],
                height=entry["height"],
                split=split,
                licence=index.licences.get(record_id(entry["license"])),
                regions=self._regions(annotations, index.categories, entry["not_exhaustive_category_ids"]),
            )
        for number in range(index.num_nameless):
            yield unjoined_image(f"unknown-image-{number}", split)
        for number, span in enumerate(index.strays):
            yield unjoined_image(
                f"unknown-{number}", split, self._regions([records.decode(span)], index.categories, None)
            )

    def _regions(
        self, annotations: list[Any], categories: dict[Any, Category], not_exhaustive: Any
    ) -> tuple[SourceRegion, ...]:
        usable = [annotation for annotation in annotations if isinstance(annotation, dict)]
        keys = [record_id(annotation.get("category_id")) for annotation in usable]
        classes = [_spoken(categories.get(key)) for key in keys]
        open_ended = {record_id(key) for key in not_exhaustive} if isinstance(not_exhaustive, list) else set()
        phrases = referring_phrases(
            [category.label if category else None for category in classes],
            [annotation.get("bbox") for annotation in usable],
            [key in open_ended for key in keys],
        )
        rows = zip(usable, classes, phrases, strict=True)
        return tuple(
            annotation_region(annotation, category, phrase)
            for annotation, category, phrase in rows
            if category is None or category.frequency is None or category.frequency in self.options["frequencies"]
        )


def photo_path(entry: dict[str, Any]) -> Any:
    """Folder and name of a photo below COCO 2017: the last two parts of its address.

    Without an address it is ``file_name``, which LVIS v0.5 and some conversions have; a value that is no text is
    handed on as it is.
    """
    address = entry["coco_url"]
    if address is None:
        return entry["file_name"]
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) else address


def _spoken(category: Category | None) -> Category | None:
    """A class by the name that one would say: without what stands in brackets."""
    if category is None or category.label is None:
        return category
    return Category(label=_BRACKETS.sub("", category.label).strip(), joints=None, frequency=category.frequency)
