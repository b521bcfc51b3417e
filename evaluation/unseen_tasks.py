"""Tasks that no stage trains: detection, classification and face alignment (paper section 4.9, Figure 11).

==================  ================================  =========================================================
task                asked of rows of                  read how
==================  ================================  =========================================================
``detection``       segmentation, once per phrase     box: top, bottom, left and right of the marked region
``classification``  segmentation, once per class      the class that marks most, one of them being there
``face_alignment``  keypoints of faces                circles' centres; distance over that between the eyes
==================  ================================  =========================================================

Prompts are template files in ``evaluation/prompts/TASK``. The paper shows pictures and prints no number.

A phrase that means one object is one box around all that is marked. One that means several is a box around each
connected part, so where objects touch even the exact answer finds fewer boxes. Boxes are compared at the evaluated
size, as masks are: true ones are the extents of the true masks there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.digests import value_digest
from catalog.errors import ConfigError
from catalog.masks import decode_mask, encode_mask, mask_box
from catalog.render_styles import RenderOptions
from catalog.roots import Roots
from catalog.views import View
from evaluation.box_precision import Box, FoundBox, TrueBox, box_precision
from evaluation.cases import Case, HeldOutRow, render_cases
from evaluation.decoders import Decoder
from evaluation.intervals import Share, ratio_interval
from evaluation.keypoint_reading import ReadJoints, merge_joints, read_joints
from evaluation.measured import Measure, Metric, image_of
from evaluation.metrics import Image, Mask, mean

PROMPTS = Path(__file__).with_name("prompts")
FACE = ("nose", "left eye", "right eye", "left ear", "right ear")
"""Landmarks that a row is asked for, as far as it has them: COCO's, and AP-10K's of animals."""
EYES = ("left eye", "right eye")
FAILED = 0.1
"""Mean error of a face, as a share of the distance between its eyes, from which it counts as failed."""


@dataclass(frozen=True, kw_only=True)
class UnseenOptions:
    """What the three tasks may be told."""

    num_classes: int = 10
    """Classification: asked per photo, the true one included; fewer where the data has fewer."""
    min_part: float = 0.0
    """Detection: parts of a marked region under this share of it are left out of its box (paper: none)."""
    least_marked: float = 0.001
    """Classification: share of the picture under which a class counts as not marked."""
    landmarks: tuple[str, ...] = FACE
    """Face alignment: asked for."""
    eyes: tuple[str, str] = EYES
    """Face alignment: landmarks whose distance errors are shares of."""

    def __post_init__(self) -> None:
        rules = [
            (self.num_classes >= 2, "num_classes must be 2 or more", self.num_classes),
            (0 <= self.min_part < 1, "min_part must be in [0, 1)", self.min_part),
            (0 < self.least_marked < 1, "least_marked must be in (0, 1)", self.least_marked),
            (set(self.eyes) <= set(self.landmarks), "both eyes must be among the landmarks", self.landmarks),
            (len(set(self.eyes)) == 2, "the eyes must be two landmarks", self.eyes),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise ConfigError(f"{rule}. Got {value!r}")


class UnseenTask(Protocol):
    """One of the three."""

    name: str
    vision_task: str
    """Of the rows that it is asked of."""

    def questions(self, rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
        """Rows as the task asks for them, more or fewer than there were."""
        ...

    def make_measure(self, decoder: Decoder) -> Measure:
        """What reads and compares the answers."""
        ...


class Detection:
    """Boxes from masks: COCO's average precision."""

    name = "detection"
    vision_task = "segmentation"

    def __init__(self, options: UnseenOptions) -> None:
        self._options = options

    def questions(self, rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
        """One per photo and phrase, with the masks of all that it means (column ``masks``)."""
        groups: dict[tuple[str, str], list[HeldOutRow]] = {}
        for row in rows:
            if row.row["mask"] is not None and decode_mask(row.row["mask"]).any():
                words = row.row["phrase"] or row.row["label"] or ""
                groups.setdefault((row.row["source_image"]["sha256"], words), []).append(row)
        found = []
        for members in groups.values():
            masks = [decode_mask(member.row["mask"]) for member in members]
            union = encode_mask(np.logical_or.reduce(masks))
            columns = {"mask": union, "masks": [member.row["mask"] for member in members]}
            found.append(HeldOutRow(members[0].index, {**members[0].row, **columns}))
        return found

    def make_measure(self, decoder: Decoder) -> Measure:
        """See `UnseenTask`."""
        return DetectionMeasure(decoder, self._options.min_part)


class DetectionMeasure:
    """Average precision over all boxes."""

    def __init__(self, decoder: Decoder, min_part: float = 0.0) -> None:
        self._decoder, self._min_part = decoder, min_part
        self._found: list[FoundBox] = []
        self._truths: list[TrueBox] = []

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Read the marked region of each sample."""
        for case, prediction in zip(cases, predictions, strict=True):
            view = case.sample.view
            masks = [view.show_mask(decode_mask(code)) for code in case.row["masks"]]
            truths = [_source_box(mask_box(mask), view) for mask in masks if mask.any()]
            label = case.row["label"] or case.row["phrase"] or ""
            self._truths += [TrueBox(image_of(case), label, box) for box in truths]
            scores = self._decoder.read_mask(case.sample, prediction)
            for part in marked_parts(scores > 0.5, self._min_part, is_one=len(masks) == 1):
                box = _source_box(mask_box(part), view)
                self._found.append(FoundBox(image_of(case), label, box, float(scores[part].mean())))

    def metrics(self) -> list[Metric]:
        """AP, AP at 0.50 and at 0.75."""
        precision = box_precision(self._found, self._truths)
        if precision is None:
            return [Metric(name, None, 0) for name in ("ap", "ap50", "ap75")]
        return [
            Metric(name, getattr(precision, name), len(self._truths), None, getattr(precision, f"{name}_interval"))
            for name in ("ap", "ap50", "ap75")
        ]


class Classification:
    """Which of some classes a photo shows: asked one by one, exactly one is there."""

    name = "classification"
    vision_task = "segmentation"

    def __init__(self, options: UnseenOptions) -> None:
        self._options = options

    def questions(self, rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
        """Of each photo its largest labelled region, and classes that it lacks (columns ``truth``, ``question``)."""
        known = sorted({row.row["label"] for row in rows if row.row["label"]})
        by_photo: dict[str, list[HeldOutRow]] = {}
        for row in rows:
            if row.row["label"] and row.row["mask"] is not None and decode_mask(row.row["mask"]).any():
                by_photo.setdefault(row.row["source_image"]["sha256"], []).append(row)
        return [question for photo, members in by_photo.items() for question in self._ask(photo, members, known)]

    def _ask(self, photo: str, rows: Sequence[HeldOutRow], known: Sequence[str]) -> Iterator[HeldOutRow]:
        largest = max(rows, key=lambda row: (decode_mask(row.row["mask"]).sum(), row.row["pair_id"]))
        row, truth = largest.row, largest.row["label"]
        there = {*[one.row["label"] for one in rows], *(row["present_classes"] or [])}
        others = [label for label in (row["class_names"] or known) if label not in there]
        others = sorted(others, key=lambda label: value_digest([photo, label]))[: self._options.num_classes - 1]
        if not others:
            return
        blank = encode_mask(np.zeros(decode_mask(row["mask"]).shape, np.bool_))
        for label in sorted([truth, *others]):
            mask = row["mask"] if label == truth else blank
            asked = {"phrase": None, "label": label, "mask": mask, "truth": truth, "question": photo}
            pair_id = f"{row['pair_id']}?{label}"
            yield HeldOutRow(largest.index, {**row, **asked, "pair_id": pair_id})

    def make_measure(self, decoder: Decoder) -> Measure:
        """See `UnseenTask`."""
        return ClassificationMeasure(decoder, self._options.least_marked)


class ClassificationMeasure:
    """Accuracy, of the class that marks most and of each answer by itself."""

    def __init__(self, decoder: Decoder, least_marked: float) -> None:
        self._decoder, self._least = decoder, least_marked
        self._marked: dict[str, dict[str, float]] = {}  # photo to class to share of the picture
        self._truths: dict[str, str] = {}

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """How much each class marks."""
        for case, prediction in zip(cases, predictions, strict=True):
            scores = self._decoder.read_mask(case.sample, prediction)
            marked = scores > 0.5
            photo = case.row["question"]
            self._marked.setdefault(photo, {})[case.row["label"]] = float(scores[marked].sum() / marked.size)
            self._truths[photo] = case.row["truth"]

    def metrics(self) -> list[Metric]:
        """Accuracy, accuracy of "is it there?", and what guessing would get."""
        right = [Share(photo, float(self._answer(photo) == truth)) for photo, truth in self._truths.items()]
        verified = [
            Share(photo, float((share >= self._least) == (label == self._truths[photo])))
            for photo, shares in self._marked.items()
            for label, share in shares.items()
        ]
        chance = [Share(photo, 1 / len(shares)) for photo, shares in self._marked.items()]
        named = {"accuracy": right, "verification_accuracy": verified, "chance": chance}
        return [
            Metric(name, mean(one.part for one in parts), len(parts), None, ratio_interval(parts))
            for name, parts in named.items()
        ]

    def _answer(self, photo: str) -> str | None:
        """The class that marks most; None where none marks enough, or two mark alike."""
        ranked = sorted(((share, label) for label, share in self._marked[photo].items()), reverse=True)
        if ranked[0][0] < self._least or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
            return None
        return ranked[0][1]


class FaceAlignment:
    """Landmarks of faces: mean error as a share of the distance between the eyes."""

    name = "face_alignment"
    vision_task = "keypoint_detection"

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

    def make_measure(self, decoder: Decoder) -> Measure:
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


TASKS: dict[str, Callable[[UnseenOptions], UnseenTask]] = {
    task.name: task
    for task in (Detection, Classification, FaceAlignment)  # type: ignore[attr-defined]
}
"""By name, as on the command line."""


def unseen_cases(task: UnseenTask, row: HeldOutRow, roots: Roots, seed: int, options: RenderOptions) -> list[Case]:
    """The samples of one question, worded by the task's own prompts, the whole picture shown but for faces."""
    worded = replace(options, wording=str(PROMPTS / task.name), absent_classes="paper")
    protocol = "crops" if task.vision_task == "keypoint_detection" else "referring"
    return render_cases(row, roots, seed, worded, protocol)  # type: ignore[arg-type]


def marked_parts(marked: Mask, min_part: float, *, is_one: bool) -> list[Mask]:
    """The regions of a marked mask that are objects: one region, or each connected part (8 neighbours).

    Parts under ``min_part`` of what is marked are left out. Empty where nothing is marked.
    """
    if not marked.any():
        return []
    if is_one and not min_part:
        return [marked]
    count, numbers = cv2.connectedComponents(marked.astype(np.uint8), connectivity=8)
    parts = [np.asarray(numbers == number, np.bool_) for number in range(1, count)]
    least = min_part * np.count_nonzero(marked)
    kept = [part for part in parts if np.count_nonzero(part) >= least]
    return [np.logical_or.reduce(kept)] if is_one and kept else kept


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


def _source_box(box: Sequence[float], view: View) -> Box:
    """A box of shown pixels in source pixels."""
    corners: NDArray[np.float64] = np.array([[box[0], box[1]], [box[0] + box[2], box[1] + box[3]]]) - 0.5
    (left, top), (right, bottom) = view.source_points(corners) + 0.5
    return float(min(left, right)), float(top), float(abs(right - left)), float(bottom - top)
