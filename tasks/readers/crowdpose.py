"""CrowdPose (Li et al., CVPR 2019): people in crowds, 14 joints, in COCO's form.

Layouts::

    crowdpose/json/crowdpose_{train,val,trainval,test}.json                 (official, InstructDiffusion)
    crowdpose/annotations/mmpose_crowdpose_{train,val,trainval,test}.json   (mmpose)
    crowdpose/images/100000.jpg                                             (one folder for all splits)

Joints are named by their place, never by the file's skeleton, which is a leftover of COCO's. Head and neck are
labelled with visibility 1 throughout, and ``num_keypoints`` does not count them: a person of whom only these two
are labelled is kept. There is no area and no outline.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tasks.readers.poses import PoseReader


def _files(split: str) -> tuple[str, ...]:
    name = f"crowdpose_{split}.json"
    return (f"json/{name}", f"annotations/mmpose_{name}", f"annotations/{name}", f"annotations/json/{name}")


@dataclass
class CrowdPoseReader(PoseReader):
    """CrowdPose: people in crowds, 14 joints.

    Options: ``split`` (train, val, trainval or test; default train; images of trainval go to a split by hash),
    ``annotations`` (JSON file below the root; default: the official one of the split), ``images`` (folder below
    the root; default: images).
    """

    name: str = "crowdpose"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "crowdpose"
    holds: ClassVar[str] = "the folder with images/ and json/crowdpose_<split>.json"
    joints: ClassVar[tuple[str, ...]] = (
        *("left shoulder", "right shoulder", "left elbow", "right elbow", "left wrist", "right wrist"),
        *("left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle", "head", "neck"),
    )
    licence: ClassVar[str] = "CrowdPose: none stated; images of COCO, MPII and AI Challenger, non-commercial research"
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        split: _files(split) for split in ("train", "val", "trainval", "test")
    }
