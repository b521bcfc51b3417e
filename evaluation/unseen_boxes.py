"""Detection: a box from the top, bottom, left and right of a marked region (paper section 4.9).

A phrase that means one object is one box around all that is marked. One that means several is a box around each
connected part, so where objects touch even the exact answer finds fewer boxes. Boxes are compared at the evaluated
size, as masks are: true ones are the extents of the true masks there. An answer is compared with what its own question
asks for alone: the box of the man on the left is wrong where the one on the right was asked for.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.masks import decode_mask, encode_mask, mask_box
from catalog.views import View
from evaluation.box_precision import Box, FoundBox, TrueBox, box_precision
from evaluation.cases import Case, HeldOutRow
from evaluation.decoders import Decoder
from evaluation.measured import Measure, Metric, image_of
from evaluation.metrics import Image, Mask
from evaluation.unseen_options import UnseenOptions

_ANY = "object"
"""Label of what has a phrase and no class."""


class Detection:
    """Boxes from masks: COCO's average precision."""

    name = "detection"
    vision_task = "segmentation"
    photos_left_out = 0

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

    def make_measure(self, decoder: Decoder, *, intervals: bool = True) -> Measure:
        """See `UnseenTask`."""
        return DetectionMeasure(decoder, self._options.min_part, intervals=intervals)


class DetectionMeasure:
    """Average precision over all boxes."""

    def __init__(self, decoder: Decoder, min_part: float = 0.0, *, intervals: bool = True) -> None:
        self._decoder, self._min_part, self._intervals = decoder, min_part, intervals
        self._found: list[FoundBox] = []
        self._truths: list[TrueBox] = []
        self._photos: dict[str, str] = {}  # question to photo: questions about one are not independent

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Read the marked region of each sample."""
        for case, prediction in zip(cases, predictions, strict=True):
            view = case.sample.view
            masks = [view.show_mask(decode_mask(code)) for code in case.row["masks"]]
            truths = [_source_box(mask_box(mask), view) for mask in masks if mask.any()]
            label, question = case.row["label"] or _ANY, case.row["pair_id"]
            self._photos[question] = image_of(case)
            self._truths += [TrueBox(question, label, box) for box in truths]
            scores = self._decoder.read_mask(case.sample, prediction)
            for part in marked_parts(scores > 0.5, self._min_part, is_one=len(masks) == 1):
                box = _source_box(mask_box(part), view)
                self._found.append(FoundBox(question, label, box, float(scores[part].mean())))

    def metrics(self) -> list[Metric]:
        """AP, AP at 0.50 and at 0.75."""
        precision = box_precision(self._found, self._truths, intervals=self._intervals, photos=self._photos)
        if precision is None:
            return [Metric(name, None, 0) for name in ("ap", "ap50", "ap75")]
        return [
            Metric(name, getattr(precision, name), len(self._truths), None, getattr(precision, f"{name}_interval"))
            for name in ("ap", "ap50", "ap75")
        ]


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


def _source_box(box: Sequence[float], view: View) -> Box:
    """A box of shown pixels in source pixels."""
    corners: NDArray[np.float64] = np.array([[box[0], box[1]], [box[0] + box[2], box[1] + box[3]]]) - 0.5
    (left, top), (right, bottom) = view.source_points(corners) + 0.5
    return float(min(left, right)), float(top), float(abs(right - left)), float(bottom - top)
