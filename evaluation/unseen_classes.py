"""Classification: which of some classes a photo shows, asked for one by one (paper section 4.9).

Asked only of photos whose dataset says which of its classes they show (COCO-Stuff, ADE20K, ...): elsewhere a class
without a region may be there all the same, and a right answer would count as wrong.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from catalog.digests import value_digest
from catalog.masks import decode_mask, encode_mask
from evaluation.cases import Case, HeldOutRow
from evaluation.decoders import Decoder
from evaluation.intervals import Share, ratio_interval
from evaluation.measured import Measure, Metric
from evaluation.metrics import Image, mean
from evaluation.unseen_options import UnseenOptions


class Classification:
    """Which of some classes a photo shows: asked one by one, exactly one is there."""

    name = "classification"
    vision_task = "segmentation"

    def __init__(self, options: UnseenOptions) -> None:
        self._options = options
        self.photos_left_out = 0

    def questions(self, rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
        """Of each photo its largest labelled region, and classes that it lacks (columns ``truth``, ``question``)."""
        by_photo: dict[str, list[HeldOutRow]] = {}
        for row in rows:
            if row.row["label"] and row.row["mask"] is not None and decode_mask(row.row["mask"]).any():
                by_photo.setdefault(row.row["source_image"]["sha256"], []).append(row)
        known = {photo: members for photo, members in by_photo.items() if any(map(_says_what_it_shows, members))}
        self.photos_left_out = len(by_photo) - len(known)
        return [question for photo, members in known.items() for question in self._ask(photo, members)]

    def _ask(self, photo: str, rows: Sequence[HeldOutRow]) -> Iterator[HeldOutRow]:
        rows = [row for row in rows if _says_what_it_shows(row)]
        largest = max(rows, key=lambda row: (decode_mask(row.row["mask"]).sum(), row.row["pair_id"]))
        row, truth = largest.row, largest.row["label"]
        there = {label for one in rows for label in (one.row["label"], *one.row["present_classes"])}
        others = [label for label in row["class_names"] if label not in there]
        others = sorted(others, key=lambda label: value_digest([photo, label]))[: self._options.num_classes - 1]
        if not others:
            return
        blank = encode_mask(np.zeros(decode_mask(row["mask"]).shape, np.bool_))
        for label in sorted([truth, *others]):
            mask = row["mask"] if label == truth else blank
            asked = {"phrase": None, "label": label, "mask": mask, "truth": truth, "question": photo}
            pair_id = f"{row['pair_id']}?{label}"
            yield HeldOutRow(largest.index, {**row, **asked, "pair_id": pair_id})

    def make_measure(self, decoder: Decoder, *, intervals: bool = True) -> Measure:
        """See `UnseenTask`."""
        return ClassificationMeasure(decoder, self._options.least_marked)


def _says_what_it_shows(row: HeldOutRow) -> bool:
    """Whether all that the photo shows of its dataset's classes is known."""
    return bool(row.row["class_names"]) and row.row["present_classes"] is not None


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
