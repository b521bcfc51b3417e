"""MagicBrush's five numbers: L1, L2, CLIP-I, DINO and CLIP-T (Zhang et al., NeurIPS 2023, section 4.1).

As its evaluation/image_eval.py has them: L1 and L2 of values in [0, 1] after the prediction was resized to the true
picture's own size (Pillow's bicubic); features of both pictures as they are; CLIP-T against the caption of the true
picture. So the exact answer is at a distance, too, where the evaluated size is not the dataset's: see the oracle.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage

from evaluation.cases import Case
from evaluation.editing_measure import call_helper
from evaluation.helper_models import HelperModels
from evaluation.measured import Metric, Values, image_of
from evaluation.metrics import Image

_ROLES = {
    "l1": None,
    "l2": None,
    "target_similarity": "pair_similarity",  # CLIP-I
    "feature_similarity": "feature_similarity",  # DINO
    "text_similarity": "pair_similarity",  # CLIP-T
}
"""Our metric -> the helper model's role."""


class TurnsMeasure:
    """Distances and similarities to the true picture of a turn, and to its caption."""

    def __init__(self, helpers: HelperModels) -> None:
        self._helpers = helpers
        self._values = {name: Values() for name in _ROLES}

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Take in one batch."""
        truths = [case.sample.target if case.truth is None else case.truth for case in cases]
        for case, prediction, truth in zip(cases, predictions, truths, strict=True):
            difference = (resize_to(prediction, truth).astype(np.float64) - truth) / 255
            self._values["l1"].add(image_of(case), float(np.abs(difference).mean()))
            self._values["l2"].add(image_of(case), float(np.square(difference).mean()))
        nothing, captions = [None] * len(cases), [case.row["target_caption"] for case in cases]
        columns = truths, list(predictions), nothing, captions
        for case, found in zip(
            cases, call_helper(cases, "pair_similarity", self._helpers.pair_similarity, *columns), strict=True
        ):
            self._add(case, "target_similarity", found["image_similarity"])
            self._add(case, "text_similarity", found["target_text_similarity"])
        if self._helpers.feature_similarity is not None:
            compared = call_helper(
                cases, "feature_similarity", self._helpers.feature_similarity, list(predictions), truths
            )
            for case, value in zip(cases, compared, strict=True):
                self._add(case, "feature_similarity", value)

    def metrics(self) -> list[Metric]:
        """Means over turns or sessions; CLIP-T over those with a caption."""
        backends = {name: None if role is None else self._helpers.id_of(role) for name, role in _ROLES.items()}
        return [values.metric(name, backends[name]) for name, values in self._values.items()]

    def _add(self, case: Case, name: str, value: float) -> None:
        if value == value:  # NaN: no caption, or one that the backend cannot read
            self._values[name].add(image_of(case), float(value))


def resize_to(prediction: Image, truth: Image) -> Image:
    """A prediction at the size of the true picture, by Pillow's bicubic filter."""
    if prediction.shape == truth.shape:
        return prediction
    size = truth.shape[1], truth.shape[0]
    return np.asarray(PillowImage.fromarray(prediction).resize(size, PillowImage.Resampling.BICUBIC), np.uint8)
