"""Joints read from the discs that were asked for, moved back to the source image (paper section 4.2)."""

from collections.abc import Sequence

from evaluation.cases import Case
from evaluation.decoders import Decoder
from evaluation.keypoint_metrics import KeypointTruth, keypoint_precision
from evaluation.keypoint_reading import ReadJoints, merge_joints, read_joints, read_truth
from evaluation.measured import Metric
from evaluation.metrics import Image


class KeypointMeasure:
    """Average precision over people, each asked for in several samples."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._parts: dict[str, list[ReadJoints]] = {}  # by pair: one per sample
        self._truths: dict[str, KeypointTruth] = {}

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Decode the discs of each sample."""
        for case, prediction in zip(cases, predictions, strict=True):
            pair_id = case.sample.pair_id
            self._parts.setdefault(pair_id, []).append(read_joints(case.sample, prediction, self._decoder))
            self._truths.setdefault(pair_id, read_truth(case.row))

    def metrics(self) -> list[Metric]:
        """AP, AP at 0.50 and at 0.75, over people."""
        people = [merge_joints(parts) for parts in self._parts.values()]
        precision = keypoint_precision(people, list(self._truths.values()), intervals=True)
        if precision is None:
            return [Metric(name, None, len(people)) for name in ("ap", "ap50", "ap75")]
        return [
            Metric(name, value, len(people), None, interval)
            for name, value, interval in (
                ("ap", precision.ap, precision.ap_interval),
                ("ap50", precision.ap50, precision.ap50_interval),
                ("ap75", precision.ap75, precision.ap75_interval),
            )
        ]
