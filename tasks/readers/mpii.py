"""MPII Human Pose (Andriluka et al., CVPR 2014): 16 joints, from the official .mat, HRNet's JSON or hourglass's HDF5.

Layouts::

    mpii/images/000001163.jpg
    mpii/annot/{train,valid,trainval}.json                            (HRNet, InstructDiffusion)
    mpii/annotations/mpii_{train,val,trainval}.json                   (mmpose)
    mpii/annot/mpii_human_pose_v1_u12_1.mat                           (official; also annotations/, or its own folder)
    mpii/annot/{train,valid}.h5                                       (stacked hourglass; needs the package h5py)

All coordinates count from 1 there and from 0 here. ``joints_vis`` of the JSON means "annotated": it says nothing
about what hides a joint, so such a joint has visibility 2; the .mat and the .h5 say it, and hidden becomes 1.
A person has no box. Its rough centre and its scale (height / 200 pixels) give a square of 200 x scale, its centre
moved down by 15 x scale as every loader does (HRNet, InstructDiffusion); the square may reach beyond the image.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar

from tasks.readers.json_records import JsonRecords
from tasks.readers.layouts import find_images
from tasks.readers.mpii_hdf5 import read_hourglass
from tasks.readers.mpii_release import VISIBLE, read_people
from tasks.readers.poses import PoseReader
from tasks.readers.records import SourceImage, SourceRegion

_HEIGHT = 200.0  # pixels that a scale of 1 stands for
_SHIFT = 15.0  # pixels per scale between the annotated centre and the middle of the body
_RELEASE = "mpii_human_pose_v1_u12_1.mat"
_WORDS = {"train": ("train", "train"), "val": ("valid", "val"), "trainval": ("trainval", "trainval")}


def _files(split: str) -> tuple[str, ...]:
    own, other = _WORDS[split]
    releases = [f"{folder}{_RELEASE}" for folder in ("annot/", "annotations/", "mpii_human_pose_v1_u12_2/", "")]
    names = (f"annot/{own}.json", f"annotations/mpii_{other}.json")
    hourglass = () if split == "trainval" else (f"annot/{own}.h5",)
    return (*names, *(() if split == "val" else releases), *hourglass)


@dataclass
class MpiiReader(PoseReader):
    """MPII Human Pose: 16 joints, .mat, JSON or HDF5.

    Options: ``split`` (train, val or trainval; default train; images of trainval go to a split by hash, and the
    .mat has no val: there train is all that is annotated), ``annotations`` (JSON, .mat or .h5 file below the
    root; default: the split's JSON, else the .mat, else the .h5), ``images`` (folder below the root; default: images).
    """

    name: str = "mpii"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "mpii"
    holds: ClassVar[str] = "the folder with images/ and annot/<split>.json, the official .mat or annot/<split>.h5"
    joints: ClassVar[tuple[str, ...]] = (
        *("right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "pelvis", "thorax"),
        *("upper neck", "head top", "right wrist", "right elbow", "right shoulder", "left shoulder"),
        *("left elbow", "left wrist"),
    )
    licence: ClassVar[str] = "MPII Human Pose: research only (annotations: Simplified BSD)"
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {split: _files(split) for split in _WORDS}

    def read(self) -> Iterator[SourceImage]:
        """Every image with its people, by file name. Raises SourceError for a wrong folder, file or layout."""
        root = self._root()
        path = self._annotations(root)
        people: list[Any]
        if path.suffix == ".mat":
            people = list(read_people(path, len(self.joints)))
        elif path.suffix in (".h5", ".hdf5"):
            people = list(read_hourglass(path, len(self.joints)))
        else:
            people = [_annotated(entry) for _, entry in JsonRecords(path, "MPII's annotation file").array()]
        groups: dict[str, list[tuple[int, Any]]] = {}
        strays = []
        for index, person in enumerate(people):
            name = person.get("image") if isinstance(person, dict) else None
            if isinstance(name, str) and name:
                groups.setdefault(name, []).append((index, person))
            else:
                strays.append((index, person))
        given = self._image_folder(root)
        folder = find_images(self.kind, root, ("images", ".") if given is None else (given,), sorted(groups))
        return self._stream(groups, strays, folder)

    def _stream(
        self, groups: dict[str, list[tuple[int, Any]]], strays: list[tuple[int, Any]], folder: PurePosixPath
    ) -> Iterator[SourceImage]:
        no_file: Any = None
        listed: list[tuple[str, Any, list[tuple[int, Any]]]] = [
            *((PurePosixPath(name).stem, (folder / name).as_posix(), groups[name]) for name in sorted(groups)),
            *((f"unknown-{index}", no_file, [(index, person)]) for index, person in strays),
        ]
        for source_id, file, people in listed:
            yield SourceImage(
                source_id=source_id,
                file=file,
                split=None if self.options["split"] == "trainval" else self.options["split"],
                licence=self.licence,
                regions=tuple(self._person(index, one) for index, one in people if isinstance(one, dict)),
            )

    def _person(self, index: int, person: Mapping[str, Any]) -> SourceRegion:
        return SourceRegion(
            annotation_id=str(index),
            label="person",
            box=body_box(person.get("center"), person.get("scale")),
            keypoints=self._joints(person.get("joints"), person.get("joints_vis")),
        )

    def _joints(self, points: Any, visible: Any) -> Any:
        """[name, x, y, visibility], from 0; an unexpected value as it is. An unannotated joint is (-1, -1) there."""
        expected = len(self.joints)
        if not (isinstance(points, list) and isinstance(visible, list) and len(points) == len(visible) == expected):
            return points
        joints = []
        for name, point, code in zip(self.joints, points, visible, strict=True):
            if not (isinstance(point, list) and len(point) == 2 and all(isinstance(x, int | float) for x in point)):
                joints.append([name, point, point, code])
            elif code in (0, False):
                joints.append([name, 0, 0, 0])
            else:
                joints.append([name, point[0] - 1, point[1] - 1, code])
        return joints


def _annotated(person: Any) -> Any:
    """A person of the JSON with COCO's visibility: ``joints_vis`` 1 means annotated, whatever hides the joint."""
    visible = person.get("joints_vis") if isinstance(person, dict) else None
    if not isinstance(visible, list):
        return person
    return {**person, "joints_vis": [VISIBLE if code in (1, True) else code for code in visible]}


def body_box(center: Any, scale: Any) -> list[float] | None:
    """[x, y, width, height] around a person, from 0; None where centre or scale is not given (-1) or malformed.

    Args:
        center: [x, y] in pixels, counted from 1.
        scale: height of the person / 200 pixels.
    """
    if not (isinstance(center, list) and len(center) == 2 and isinstance(scale, int | float) and scale > 0):
        return None
    if not all(isinstance(value, int | float) for value in center) or center[0] == -1:
        return None
    side = _HEIGHT * scale
    return [center[0] - 1 - side / 2, center[1] + _SHIFT * scale - 1 - side / 2, side, side]
