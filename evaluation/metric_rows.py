"""Metrics as rows of `catalog.schema.METRICS`, and whether they are of all samples."""

from collections.abc import Sequence
from typing import Any

from catalog.errors import PredictionError
from evaluation.measured import Metric
from evaluation.metric_names import JUDGE_METRICS, unit_of

Row = dict[str, Any]


def check_complete(benchmark: str, metrics: Sequence[Metric], oracle: Sequence[Metric]) -> None:
    """Predictions and targets must be measurable on the same samples: a mean over fewer is another number.

    Raises:
        PredictionError: a metric that is not.
    """
    for metric, best in zip(metrics, oracle, strict=True):
        # What a judge leaves unanswered is measured and bounded by its measure.
        if metric.num_samples != best.num_samples and metric.name not in JUDGE_METRICS:
            raise PredictionError(
                f"{benchmark}: {metric.name} must be measured on all {best.num_samples} samples. Got "
                f"{metric.num_samples}: {metric.backend} has no number for some predictions"
            )


def metric_row(benchmark: str, vision_task: str, metric: Metric) -> Row:
    """The columns that a metric decides."""
    return {
        "benchmark": benchmark,
        "metric": metric.name,
        "value": metric.value,
        "low": None if metric.interval is None else metric.interval[0],
        "high": None if metric.interval is None else metric.interval[1],
        "num_samples": metric.num_samples,
        "vision_task": vision_task,
        "unit": unit_of(metric.name),
        "backend": metric.backend,
    }
