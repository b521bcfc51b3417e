"""COCO-Stuff 164K (Caesar et al., CVPR 2018): every pixel of COCO's photos, 80 things and 91 stuffs.

Layouts::

    coco-stuff/annotations/{train2017,val2017}/000000000009.png         (COCO-Stuff's README, InstructDiffusion)
    coco-stuff/stuffthingmaps/{train2017,val2017}/...                   (detectron2's habit)
    coco-stuff/images/{train2017,val2017}/000000000009.jpg              (or without images/)
    coco-stuff/labels.txt                                               "0: unlabeled" to "182: wood"

The value of a pixel is its label's number less one; 255 is void. Eleven numbers of labels.txt are never used: a
pixel of theirs is refused. (The separate stuff-only release, with its own numbers, is another dataset.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from catalog.errors import SourceError
from tasks.readers.classes import ClassLayout, ClassReader, list_stems, read_names
from tasks.readers.layouts import find_folder
from tasks.readers.phrases import plain_name
from tasks.readers.reader_options import complete_options, require_choice

UNUSED = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91))
"""Numbers in labels.txt that no pixel has."""

_SPOKEN: Mapping[str, str] = MappingProxyType(
    {
        "playingfield": "playing field",
        "solid-other": "solid material",
        "structural-other": "structure",
        "waterdrops": "water drops",
        "window-blind": "window blind",
    }
)
"""What labels.txt calls a class, where plainer words are wanted in an instruction."""

_FOLDERS: Mapping[str, str] = MappingProxyType({"train": "train2017", "val": "val2017"})


@dataclass
class CocoStuffReader(ClassReader):
    """COCO-Stuff: 171 classes, things and stuff, as pixel maps.

    Options: ``split`` (train or val; default train).
    """

    name: str = "cocostuff"
    revision: str = field(default="2", init=False)
    kind: ClassVar[str] = "cocostuff"
    holds: ClassVar[str] = "the folder with annotations/, images/ and labels.txt"
    licence: ClassVar[str] = "annotations: CC BY 4.0; images: COCO (Flickr terms)"
    void: ClassVar[frozenset[int]] = frozenset({255})

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"split": "train"})
        require_choice(self.kind, "split", self.options["split"], tuple(_FOLDERS))

    def _layout(self, root: Path) -> ClassLayout:
        part = _FOLDERS[self.options["split"]]
        labels = read_names(self.kind, root, ["labels.txt", "annotations/labels.txt", "cocostuff_labels.txt"])
        if set(labels) != set(range(183)):
            raise SourceError(f"COCO-Stuff's labels.txt has the numbers 0 to 182; the one below {root} has others.")
        maps = find_folder(
            self.kind, root, "its pixel maps", [f"annotations/{part}", f"stuffthingmaps/{part}", f"labels/{part}"]
        )
        images = find_folder(self.kind, root, "its photos", [f"images/{part}", part])
        stems = [stem for stem in list_stems(root, images, maps) if not stem.endswith("_labelTrainIds")]
        used = {number - 1: name for number, name in labels.items() if number and number not in UNUSED}
        names = {value: _SPOKEN.get(name, plain_name(name)) for value, name in used.items()}
        return ClassLayout(images=images, maps=maps, names=names, stems=stems)
