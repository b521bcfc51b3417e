"""Pascal VOC 2012 segmentation: 20 classes (PAS-20).

Layout::

    VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,SegmentationClassAug}/
    VOCdevkit/VOC2012/ImageSets/Segmentation/{train,val,trainval}.txt

The maps have a palette; their indices are read: 0 background and 255 boundary are void, 1 to 20 the classes in
alphabetical order.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tasks.readers.classes import ClassLayout, ClassReader, read_stems
from tasks.readers.layouts import find_file, find_folder
from tasks.readers.reader_options import complete_options, require_choice

NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table"),
    *("dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)
_MAPS = ("SegmentationClass", "SegmentationClassAug")


@dataclass
class VocReader(ClassReader):
    """Pascal VOC 2012: 20 classes as pixel maps.

    Options: ``split`` (train or val; default val), ``maps`` (SegmentationClass, or SegmentationClassAug with the
    SBD maps; default SegmentationClass), ``year`` (default 2012).
    """

    name: str = "voc"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "voc"
    holds: ClassVar[str] = "the folder VOCdevkit, or VOC2012 in it,"
    licence: ClassVar[str] = "Pascal VOC: Flickr terms"
    void: ClassVar[frozenset[int]] = frozenset({0, 255})

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"split": "val", "maps": _MAPS[0], "year": "2012"})
        require_choice(self.kind, "split", self.options["split"], ("train", "val"))
        require_choice(self.kind, "maps", self.options["maps"], _MAPS)
        require_choice(self.kind, "year", self.options["year"], tuple(str(year) for year in range(2007, 2013)))

    def _layout(self, root: Path) -> ClassLayout:
        images = find_folder(self.kind, root, "its photos", voc_folders(self.options["year"]))
        base = images.parent
        maps = find_folder(self.kind, root, "its label maps", [(base / self.options["maps"]).as_posix()])
        split = self.options["split"]
        own = base / "ImageSets" / "Segmentation"
        lists = [(own / f"{split}{end}.txt").as_posix() for end in (("_aug", "") if "Aug" in maps.name else ("",))]
        stems = read_stems(find_file(self.kind, root, "the list of its split", lists))
        return ClassLayout(images=images, maps=maps, names=dict(enumerate(NAMES, 1)), stems=sorted(set(stems)))


def voc_folders(year: str) -> list[str]:
    """Where a VOC release has its photos, below VOCdevkit's parent, VOCdevkit or the release itself."""
    return [f"{prefix}JPEGImages" for prefix in (f"VOCdevkit/VOC{year}/", f"VOC{year}/", "")]
