"""Keypoints of one person: read from output images, and as the annotation has them, both in source pixels.

A sample asks for at most five joints (paper section 4.1), so a person takes several samples; together they ask
for all labelled joints, each once.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from catalog.errors import MixError
from catalog.masks import decode_mask
from catalog.samples import Sample
from evaluation.decoders import Decoder
from evaluation.keypoint_metrics import KeypointPrediction, KeypointTruth, Point
from evaluation.metrics import Image

ReadJoints = dict[str, tuple[Point | None, float]]
"""Place in source pixels (None: not found) and confidence, by joint."""


def joint_groups(row: Mapping[str, Any], most: int) -> list[tuple[str, ...]]:
    """All labelled joints of a row in groups of at most ``most``.

    Annotations list neighbouring joints one after the other; here they go to different groups, so that their
    discs hide each other less.
    """
    names = [joint["name"] for joint in row["keypoints"] or () if joint["visibility"]]
    num_groups = math.ceil(len(names) / most)
    return [tuple(names[start::num_groups]) for start in range(num_groups)]


def read_joints(sample: Sample, prediction: Image, decoder: Decoder) -> ReadJoints:
    """Decode the discs that ``sample`` asks for and move them to source pixels."""
    points, confidences = decoder.read_keypoints(sample, prediction)
    places = sample.view.source_points(points)
    return {
        name: (None if np.isnan(place).any() else (float(place[0]), float(place[1])), float(confidence))
        for name, place, confidence in zip(sample.joints, places, confidences, strict=True)
    }


def merge_joints(parts: Sequence[ReadJoints]) -> KeypointPrediction:
    """One person's prediction; its score is the mean confidence of the joints that were asked for."""
    joints = {name: read for part in parts for name, read in part.items()}
    confidences = [confidence for _, confidence in joints.values()]
    return KeypointPrediction(
        points={name: place for name, (place, _) in joints.items()},
        score=math.fsum(confidences) / max(1, len(confidences)),
    )


def read_truth(row: Mapping[str, Any]) -> KeypointTruth:
    """The annotated person; hidden joints (visibility 1) count like visible ones, as in COCO.

    A labelled joint outside the person's square cannot be asked for and counts as not found.

    Raises:
        MixError: the row has neither mask nor box.
    """
    return KeypointTruth(
        image=row["source_image"]["sha256"],
        keypoints={j["name"]: (j["x"], j["y"]) for j in row["keypoints"] or () if j["visibility"]},
        area=_area(row),
    )


def _area(row: Mapping[str, Any]) -> float:
    """Square pixels: of the segment as on COCO; of the box where there is none, as on HumanArt and AP-10K."""
    if row["mask"] is not None:
        return float(np.count_nonzero(decode_mask(row["mask"])))
    if row["bbox"] is None:
        raise MixError(
            f"keypoint pair {row['pair_id']} must have a mask or a box, which give the person's size, but has "
            "neither: leave its dataset out of the mix"
        )
    return float(row["bbox"][2] * row["bbox"][3])
