"""Metrics as rows of `catalog.model_tables.METRICS`, and whether they are of all samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.digests import canonical_json
from catalog.errors import PredictionError
from catalog.model_tables import METRICS
from catalog.parquet_streams import mix_digest, write_stream
from evaluation.code_version import code_version
from evaluation.measured import Metric
from evaluation.metric_names import JUDGE_METRICS, unit_of
from evaluation.predictions import Predictor

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


def identity_columns(predictor: Predictor, mix: Path, seed: int, config: Mapping[str, Any]) -> Row:
    """The columns that are the same in each row of one evaluation: what it is of."""
    return {
        "checkpoint_sha256": predictor.checkpoint_sha256,
        "mix_sha256": mix_digest(mix),
        "seed": seed,
        "code_version": code_version(),
        "config": canonical_json(config),
    }


def write_metric_rows(path: Path, rows: Sequence[Row], metadata: Mapping[str, Any] | None = None) -> None:
    """Write metric rows whole or not at all."""
    table = pa.Table.from_pylist(list(rows), schema=METRICS)
    write_stream(path, "metrics", METRICS, table.to_batches(), dict(metadata or {}), max(1, len(rows)))


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
