"""AP-10K (Yu et al., NeurIPS 2021): animals of 54 species, 17 joints, in COCO's form.

Layout::

    ap10k/annotations/ap10k-{train,val,test}-split{1,2,3}.json      (or ap-10k/)
    ap10k/data/000000000001.jpg

The paper asks only for joints that COCO has too. Eleven have COCO's names (eyes, nose, shoulders, elbows, hips,
knees); four paws stand where a person's wrists and ankles do. (In hoofed and digitigrade animals "hip" and "knee"
are labelled at the knee and the ankle, by the annotation guideline.) The label is the species; ``area`` is that of
the box.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tasks.readers.poses import POSE_OPTIONS, PoseReader
from tasks.readers.reader_options import require_choice, require_integer

POSITIONS = {
    "left front paw": "left wrist",
    "right front paw": "right wrist",
    "left back paw": "left ankle",
    "right back paw": "right ankle",
}
"""A paw and the joint at its place in COCO's skeleton."""

_NOT_IN_COCO = ("neck", "root of tail")
_CHOICES = ("exact", "position", "all")


@dataclass
class Ap10kReader(PoseReader):
    """AP-10K: animals, the joints that overlap COCO's.

    Options: ``split`` (train, val or test; default val), ``partition`` (1, 2 or 3, the published divisions; default
    1), ``joints`` (exact: the 11 that COCO names alike, the default; position: also the paws, 15 in all, under the
    names of COCO's wrists and ankles; all: the 17 under their own names), ``annotations`` (JSON file below the
    root), ``images`` (folder below the root; default: data).
    """

    name: str = "ap10k"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "ap10k"
    holds: ClassVar[str] = "the folder with annotations/ap10k-<split>-split<number>.json and data/"
    joints: ClassVar[tuple[str, ...]] = (
        *("left eye", "right eye", "nose", "neck", "root of tail", "left shoulder", "left elbow", "left front paw"),
        *("right shoulder", "right elbow", "right front paw", "left hip", "left knee", "left back paw"),
        *("right hip", "right knee", "right back paw"),
    )
    licence: ClassVar[str] = "AP-10K: non-commercial by its strictest statement (its README says CC BY 4.0)"
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        split: tuple(f"annotations/ap10k-{split}-split{partition}.json" for partition in (1, 2, 3))
        for split in ("train", "val", "test")
    }
    defaults: ClassVar[Mapping[str, Any]] = {**POSE_OPTIONS, "split": "val", "partition": 1, "joints": "exact"}

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer(self.kind, "partition", self.options["partition"], 1, 3)
        require_choice(self.kind, "joints", self.options["joints"], _CHOICES)

    def _official_files(self) -> tuple[str, ...]:
        return (super()._official_files()[self.options["partition"] - 1],)

    def _named(self, values: Any) -> Any:
        joints = super()._named(values)
        if self.options["joints"] == "all" or not isinstance(joints, list) or len(joints) != len(self.joints):
            return joints
        kept = [joint for joint in joints if joint[0] not in _NOT_IN_COCO]
        if self.options["joints"] == "exact":
            return [joint for joint in kept if joint[0] not in POSITIONS]
        return [[POSITIONS.get(name, name), *triple] for name, *triple in kept]
