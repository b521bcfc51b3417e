"""What the edit says, how it looks, how close it is to the true one, and what it left alone (paper section 4.5)."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from catalog.errors import BackendError, RowRejected
from catalog.views import View
from evaluation.cases import Case
from evaluation.enhancement_measure import PsnrValues
from evaluation.helper_models import HelperModels
from evaluation.judged_values import JudgedValues
from evaluation.measured import Metric, Values, image_of
from evaluation.metrics import Image, Mask, inside_difference, outside_change
from tasks.backends.calls import call_batch

_LANCZOS_REACH = 3

UNCHANGED = 2.0
"""Mean absolute difference to the source, levels of 255, under which a prediction counts as no edit at all: about
what one pass through Stable Diffusion's autoencoder leaves on smooth photos, and less than any visible edit."""

_BY_ROLE = {
    "feature_similarity": ("feature_similarity", "source_feature_similarity"),
    "perceptual_distance": ("perceptual_distance", "source_perceptual_distance"),
}
"""Role -> our metrics: prediction beside the target (DINO and LPIPS with real backends), and beside the source."""

_COSINES = {
    "text_similarity": "target_text_similarity",
    "direction_similarity": "direction_similarity",
    "source_similarity": "image_similarity",
}
"""Our metric -> the key of a pair similarity's answer for (source, prediction)."""


class EditingMeasure:
    """Helper models' numbers beside plain ones.

    The paper warns that an almost unchanged image may score high: similarity of source and prediction, the share of
    unchanged predictions, and distances to the target inside and outside the edited region stand beside its two
    numbers for that reason, and beside all of them the no-op's.
    """

    def __init__(self, helpers: HelperModels) -> None:
        self._helpers = helpers
        alike = [name for names in _BY_ROLE.values() for name in names]
        names = (*_COSINES, "target_similarity", "aesthetic", *alike, "l1", "l2", "inside_difference")
        self._values = {name: Values() for name in (*names, "outside_difference", "outside_changed_share")}
        self._values["unchanged_share"] = Values()
        self._psnr = PsnrValues()
        self._judged = None if helpers.judge is None else JudgedValues(helpers.judge, helpers.max_unanswered)

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Ask the helper models about a batch, and compare pixels."""
        self._ask(cases, predictions)
        self._ask_by_role(cases, predictions)
        if self._judged is not None:
            self._judged.observe(cases, predictions)
        for case, prediction in zip(cases, predictions, strict=True):
            image, sample = image_of(case), case.sample
            difference = (prediction.astype(np.float64) - sample.target) / 255
            change = np.abs(prediction.astype(np.int16) - sample.source).mean()
            self._values["l1"].add(image, float(np.abs(difference).mean()))
            self._values["l2"].add(image, float(np.square(difference).mean()))
            self._values["unchanged_share"].add(image, float(change < UNCHANGED))
            self._psnr.add(image, prediction, sample.target)
            if sample.edit_mask is not None:
                self._compare_parts(image, case, prediction)

    def metrics(self) -> list[Metric]:
        """Means over the samples; those without a caption, or without a pixel outside, count where they can."""
        similarity = self._helpers.id_of("pair_similarity")
        backends: dict[str, str | None] = dict.fromkeys((*_COSINES, "target_similarity"), similarity)
        backends["aesthetic"] = self._helpers.id_of("aesthetic_scorer")
        for role, names in _BY_ROLE.items():
            backends |= dict.fromkeys(names, self._helpers.id_of(role))
        found = [values.metric(name, backends.get(name)) for name, values in self._values.items()]
        return [*found, *self._psnr.metrics(), *([] if self._judged is None else self._judged.metrics())]

    def _ask(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        backend = self._helpers.pair_similarity
        sources, targets = [case.sample.source for case in cases], [case.sample.target for case in cases]
        captions = [[case.row[f"{side}_caption"] for case in cases] for side in ("source", "target")]
        edits = call_helper(cases, "pair_similarity", backend, sources, list(predictions), *captions)
        # The target in the source's place: its cosine with the prediction, CLIP-I of MagicBrush.
        nothing: list[None] = [None] * len(cases)
        truths = call_helper(cases, "pair_similarity", backend, targets, list(predictions), nothing, nothing)
        scores = call_helper(cases, "aesthetic_scorer", self._helpers.aesthetic_scorer, list(predictions))
        for case, edit, truth, score in zip(cases, edits, truths, scores, strict=True):
            cosines = {name: edit[key] for name, key in _COSINES.items()}
            cosines["target_similarity"] = truth["image_similarity"]
            for name, value in (*cosines.items(), ("aesthetic", score)):
                # NaN: the backend cannot tell for this caption. Anything else not finite was refused before.
                if value == value:
                    self._values[name].add(image_of(case), float(value))

    def _ask_by_role(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        sides = [case.sample.target for case in cases], [case.sample.source for case in cases]
        for role, names in _BY_ROLE.items():
            backend = getattr(self._helpers, role)
            if backend is None:
                continue
            for name, others in zip(names, sides, strict=True):
                for case, value in zip(
                    cases, call_helper(cases, role, backend, list(predictions), others), strict=True
                ):
                    self._values[name].add(image_of(case), value)

    def _compare_parts(self, image: str, case: Case, prediction: Image) -> None:
        sample = case.sample
        assert sample.edit_mask is not None
        reached = reached_mask(sample.edit_mask, sample.view)
        inside = inside_difference(prediction, sample.target, reached)
        if inside is not None:
            self._values["inside_difference"].add(image, inside)
        outside = outside_change(prediction, sample.source, reached)
        if outside is not None:
            self._values["outside_difference"].add(image, outside.mean_difference)
            self._values["outside_changed_share"].add(image, outside.changed_share)


def reached_mask(edit_mask: Mask, view: View) -> Mask:
    """``edit_mask`` and the pixels that resizing mixed with it: there even the true target differs from the source.

    Lanczos weighs pixels up to three away, of the larger of the two grids; one more for the mask's own rounding.
    """
    scales = [view.size / side for side in (view.width, view.height) if side != view.size]
    reach = max((math.ceil(_LANCZOS_REACH * max(1.0, scale)) + 1 for scale in scales), default=0)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(edit_mask.astype(np.uint8), kernel), np.bool_)


def call_helper(cases: Sequence[Case], role: str, backend: Any, *columns: Sequence[Any]) -> list[Any]:
    """A backend's answer for every case, or an error: a missing answer would make another mean.

    Raises:
        BackendError: a case without an answer.
    """
    answers = call_batch(role, backend, *columns)
    for case, answer in zip(cases, answers, strict=True):
        if isinstance(answer, RowRejected):
            raise BackendError(f"no {role} for the prediction of pair {case.sample.pair_id}: {answer}") from answer
    return answers
