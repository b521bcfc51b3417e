"""Keypoint datasets in COCO's form with joints of their own: what CrowdPose, HumanArt, AP-10K and AIC share.

These files bound each person by a box and have no outline, so a region has joints and a box but neither mask nor
phrase: a box is not the person. A person without a labelled joint keeps its joints at visibility 0 and is refused
as ``no_keypoints``, not mistaken for a region to segment.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from catalog.errors import SourceError
from tasks.readers.coco import CocoReader
from tasks.readers.layouts import find_file, require_folder
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourceImage, SourceRegion

POSE_OPTIONS = {"split": "train", "annotations": None, "images": None}


@dataclass
class PoseReader(FileReader):
    """Base of the readers; each gives its joints and where its official files lie."""

    kind: ClassVar[str]
    holds: ClassVar[str]
    """What the root is, for messages."""
    joints: ClassVar[tuple[str, ...]]
    """Plain names in the file's order."""
    licence: ClassVar[str]
    files: ClassVar[Mapping[str, tuple[str, ...]]]
    """Split -> names of its annotation file below the root, the likeliest first."""
    defaults: ClassVar[Mapping[str, Any]] = POSE_OPTIONS

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, self.defaults)
        require_choice(self.kind, "split", self.options["split"], tuple(self.files))
        require_text(self.kind, "annotations", self.options["annotations"])
        require_text(self.kind, "images", self.options["images"])

    def read(self) -> Iterator[SourceImage]:
        """Every image of the annotation file, by id. Raises SourceError for a wrong folder, file or layout."""
        root = self._root()
        return self._read_coco_form(root, self._annotations(root))

    def _root(self) -> Path:
        return require_folder(self.kind, self.root, self.holds)

    def _annotations(self, root: Path) -> Path:
        given = self.options["annotations"]
        names = self._official_files() if given is None else (given,)
        return find_file(self.kind, root, "its annotation file", names)

    def _official_files(self) -> tuple[str, ...]:
        return self.files[self.options["split"]]

    def _image_folder(self, root: Path) -> str | None:
        """The folder that file names are relative to; None: found as `CocoReader` finds it."""
        given: str | None = self.options["images"]
        if given is not None and not (root / given).is_dir():
            raise SourceError(f"Option images of reader {self.kind} must be a folder below {root}; got {given!r}.")
        return given

    def _read_coco_form(self, root: Path, path: Path) -> Iterator[SourceImage]:
        options = {"annotations": path.relative_to(root).as_posix(), "images": self._image_folder(root)}
        images = CocoReader(root=root, options=options).read()
        return (self._image(image) for image in images)

    def _image(self, image: SourceImage) -> SourceImage:
        split = self.options["split"]
        return replace(
            image,
            split=split if split in ("train", "val", "test") else None,
            licence=self.licence,
            regions=tuple(self._region(region) for region in image.regions),
        )

    def _region(self, region: SourceRegion) -> SourceRegion:
        return replace(region, phrase=None, polygons=None, mask=None, keypoints=self._named(region.keypoints))

    def _named(self, values: Any) -> Any:
        return name_joints(values, self.joints)


def name_joints(values: Any, names: Sequence[str]) -> Any:
    """Joints under the dataset's plain names, in file order; an unexpected value as it is.

    Args:
        values: [[name, x, y, visibility], ...] as `CocoReader` gives them, [x1, y1, v1, ...] where the file names
            no joints, or None where none is labelled.
        names: one per joint; a file that gives fewer joints gives the first ones.
    """
    if values is None:
        return [[name, 0, 0, 0] for name in names]
    if not isinstance(values, list):
        return values
    if len(values) == 3 * len(names):
        triples = [list(triple) for triple in zip(values[::3], values[1::3], values[2::3], strict=True)]
    elif len(values) <= len(names) and all(isinstance(joint, list) and len(joint) == 4 for joint in values):
        triples = [joint[1:] for joint in values]
    else:
        return values
    return [[name, *triple] for name, triple in zip(names, triples, strict=False)]
