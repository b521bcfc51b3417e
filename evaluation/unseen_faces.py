"""Face alignment: circles on landmarks, their distance over that between the eyes (paper section 4.9)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.cases import Case, HeldOutRow
from evaluation.decoders import Decoder
from evaluation.intervals import Share, ratio_interval
from evaluation.keypoint_reading import ReadJoints, merge_joints, read_joints
from evaluation.measured import Measure, Metric, image_of
from evaluation.metrics import Image, mean
from evaluation.unseen_options import EYES, UnseenOptions

FAILED = 0.1
"""Mean error of a face, as a share of the distance between its eyes, from which it counts as failed."""


class FaceAlignment:
    """Landmarks of faces: mean error as a share of the distance between the eyes."""

    name = "face_alignment"
    vision_task = "keypoint_detection"
    photos_left_out = 0

    def __init__(self, options: UnseenOptions) -> None:
        self._options = options

    def questions(self, rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
        """Faces with both eyes labelled and apart, their landmarks alone; the picture is a square around these."""
        found = []
        for row in rows:
            joints = [one for one in row.row["keypoints"] or () if one["name"] in self._options.landmarks]
            if eye_distance(joints, self._options.eyes) is not None:
                found.append(HeldOutRow(row.index, {**row.row, "keypoints": joints, "bbox": None}))
        return found

    def make_measure(self, decoder: Decoder, *, intervals: bool = True) -> Measure:
        """See `UnseenTask`."""
        return FaceMeasure(decoder, self._options.eyes)


class FaceMeasure:
    """Normalised mean error over faces; a landmark that was not found is off by a whole distance between the eyes."""

    def __init__(self, decoder: Decoder, eyes: tuple[str, str] = EYES) -> None:
        self._decoder, self._eyes = decoder, eyes
        self._parts: dict[str, list[ReadJoints]] = {}
        self._faces: dict[str, Case] = {}

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Read the circles of each sample."""
        for case, prediction in zip(cases, predictions, strict=True):
            pair_id = case.sample.pair_id
            self._parts.setdefault(pair_id, []).append(read_joints(case.sample, prediction, self._decoder))
            self._faces.setdefault(pair_id, case)

    def metrics(self) -> list[Metric]:
        """NME, share of faces that failed, share of landmarks that were found."""
        errors, failed, seen = [], [], []
        for pair_id, case in self._faces.items():
            points = merge_joints(self._parts[pair_id]).points
            distance = eye_distance(case.row["keypoints"], self._eyes)
            assert distance is not None, pair_id
            each = landmark_errors(points, case.row["keypoints"], distance)
            image, error = image_of(case), mean(each)
            assert error is not None
            errors.append(Share(image, error))
            failed.append(Share(image, float(error > FAILED)))
            seen += [
                Share(image, float(points.get(one["name"]) is not None)) for one in _labelled(case.row["keypoints"])
            ]
        named = {"nme": errors, "failure_rate": failed, "found_share": seen}
        return [
            Metric(name, mean(one.part for one in parts), len(parts), None, ratio_interval(parts))
            for name, parts in named.items()
        ]


def landmark_errors(
    points: Mapping[str, tuple[float, float] | None], joints: Sequence[Mapping[str, Any]], distance: float
) -> list[float]:
    """Distance of each labelled landmark to where it was found, as a share of ``distance``; 1 where it was not."""
    errors = []
    for joint in _labelled(joints):
        point = points.get(joint["name"])
        off = 1.0 if point is None else float(np.hypot(point[0] - joint["x"], point[1] - joint["y"])) / distance
        errors.append(off)
    return errors


def eye_distance(joints: Sequence[Mapping[str, Any]], eyes: tuple[str, str]) -> float | None:
    """Pixels between two labelled landmarks; None where one is not labelled, or they are in one place."""
    places = {one["name"]: (one["x"], one["y"]) for one in _labelled(joints)}
    if not set(eyes) <= places.keys():
        return None
    (x, y), (u, v) = (places[eye] for eye in eyes)
    return float(np.hypot(x - u, y - v)) or None


def _labelled(joints: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in joints if one["visibility"]]
