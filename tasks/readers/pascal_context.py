"""Pascal Context (Mottaghi et al., CVPR 2014): every pixel of VOC 2010's photos, 459 classes or the 59 frequent ones.

Layout::

    VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg
    VOCdevkit/VOC2010/trainval/2008_000002.mat          (variable LabelMap, values 1 to 459)
    VOCdevkit/VOC2010/labels.txt, 59_labels.txt         ("1: accordion", "1: aeroplane")
    VOCdevkit/VOC2010/pascalcontext_val.txt             (the names of val; all others are train)

For 59 classes each name of 59_labels.txt is looked up among the 459; all other pixels are void.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from catalog.errors import RowRejected, SourceError
from catalog.image_headers import MAX_PIXELS
from catalog.reasons import Reason
from tasks.readers.classes import ClassLayout, ClassReader, read_names, read_stems, words
from tasks.readers.layouts import find_file, find_folder
from tasks.readers.matlab_files import read_variable
from tasks.readers.reader_options import complete_options, require_choice
from tasks.readers.records import SourceImage
from tasks.readers.voc import voc_folders

_RENAMED = {"table": "diningtable"}
"""Names of 59_labels.txt -> names of labels.txt, where they differ (ov-seg renames the other way round)."""


@dataclass
class PascalContextReader(ClassReader):
    """Pascal Context: 459 or 59 classes as pixel maps.

    Options: ``classes`` (459 or 59; default 59), ``split`` (train or val; default val).
    """

    name: str = "pascal_context"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "pascal_context"
    holds: ClassVar[str] = "the folder VOCdevkit, or VOC2010 in it,"
    licence: ClassVar[str] = "Pascal Context: research; photos: Flickr terms"
    void: ClassVar[frozenset[int]] = frozenset({0})

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"classes": 59, "split": "val"})
        if self.options["classes"] not in (59, 459):
            raise SourceError(
                f"Option classes of reader {self.kind} must be 59 or 459; got {self.options['classes']!r}."
            )
        require_choice(self.kind, "split", self.options["split"], ("train", "val"))

    def _layout(self, root: Path) -> ClassLayout:
        images = find_folder(self.kind, root, "its photos", voc_folders("2010"))
        base = images.parent
        maps = find_folder(self.kind, root, "its label maps", [(base / "trainval").as_posix()])
        lists = [
            (base / name).as_posix() for name in ("pascalcontext_val.txt", "ImageSets/SegmentationContext/val.txt")
        ]
        val = set(read_stems(find_file(self.kind, root, "the list of its validation split", lists)))
        stems = {path.stem for path in (root / maps).glob("*.mat")}
        chosen = val if self.options["split"] == "val" else stems - val
        names = self._names(root, base)
        return ClassLayout(images=images, maps=maps, names=names, stems=sorted(chosen), suffix=".mat")

    def _names(self, root: Path, base: PurePosixPath) -> dict[int, str]:
        names = read_names(self.kind, root, [(base / "labels.txt").as_posix()])
        if self.options["classes"] == 59:
            frequent = read_names(self.kind, root, [(base / "59_labels.txt").as_posix()])
            numbers = {name: number for number, name in names.items()}
            found = {name: numbers.get(name, numbers.get(_RENAMED.get(name, name))) for name in frequent.values()}
            unknown = sorted(name for name, number in found.items() if number is None)
            if unknown:
                raise SourceError(f"Each name of 59_labels.txt must be in labels.txt below {root}; not {unknown[0]!r}.")
            names = {number: name for name, number in found.items() if number is not None}
        return {number: words(name) for number, name in names.items()}

    def _image(self, root: Path, layout: ClassLayout, stem: str) -> SourceImage:
        image = super()._image(root, layout, stem)
        if self.options["classes"] == 459:
            return image
        # Another class of the 459 is no mistake here: it is void.
        return replace(image, regions=tuple(one for one in image.regions if one.label or one.annotation_id is None))

    def _values(self, root: Path, file: PurePosixPath) -> np.ndarray:
        try:
            values = read_variable(root / file, "LabelMap", "Pascal Context's label map")
        except SourceError as error:
            raise RowRejected(Reason.BAD_MASK, str(error)) from error
        if not (isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "ui" and values.size):
            raise RowRejected(Reason.BAD_MASK, f"{file} must hold a LabelMap of whole numbers")
        if values.size > MAX_PIXELS:
            raise RowRejected(Reason.TOO_MANY_PIXELS, f"{file} holds {values.size} values; at most {MAX_PIXELS}")
        return values.astype(np.int32)
