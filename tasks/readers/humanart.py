"""HumanArt (Ju et al., CVPR 2023): people in paintings, cartoons, sculptures and on stage; COCO's 17 joints.

Layout::

    HumanArt/annotations/{training,validation}_humanart.json            (also _coco, _humanart_coco, _humanart_<scene>)
    HumanArt/images/{2D_virtual_human,3D_virtual_human,real_human}/<scene>/000000001648.jpg

File names in the JSON start with ``HumanArt/``: they are relative to the folder's parent. The root may be either
one. ``keypoints`` holds 17 of the 21 joints that the file names; these are read. ``area`` is that of the box.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from tasks.readers.poses import PoseReader
from tasks.readers.records import SourceImage

FOLDER = "HumanArt"
COCO_JOINTS = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow"),
    *("right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee"),
    *("left ankle", "right ankle"),
)


def _files(word: str) -> tuple[str, ...]:
    name = f"annotations/{word}_humanart.json"
    return (name, f"{FOLDER}/{name}")


@dataclass
class HumanArtReader(PoseReader):
    """HumanArt: people in art and on stage, COCO's 17 joints.

    Options: ``split`` (train or val; default val, which the paper evaluates on), ``annotations`` (JSON file below
    the root; default: the split's file of HumanArt alone, without COCO's people), ``images`` (folder below the root
    that the JSON's names are relative to; default: the parent of HumanArt/).
    """

    name: str = "humanart"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "humanart"
    holds: ClassVar[str] = "the folder HumanArt with annotations/ and images/, or its parent"
    joints: ClassVar[tuple[str, ...]] = COCO_JOINTS
    licence: ClassVar[str] = "HumanArt: non-commercial, no redistribution"
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {"train": _files("training"), "val": _files("validation")}
    defaults: ClassVar[Mapping[str, Any]] = {"split": "val", "annotations": None, "images": None}

    def _image_folder(self, root: Path) -> str | None:
        return super()._image_folder(root) or "."

    def _image(self, image: SourceImage) -> SourceImage:
        image, file = super()._image(image), image.file
        if self.options["images"] is None and isinstance(file, str) and not self._is_parent():
            file = file.removeprefix(f"{FOLDER}/")
        return replace(image, file=file)

    def _is_parent(self) -> bool:
        """Whether the root is the folder that the JSON's names are relative to."""
        assert self.root is not None
        return (self.root / FOLDER / "images").is_dir()
