"""Reads what a run left on disk: counts of reasons, losses, metric rows, rows of the mix. Small results only."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from catalog.errors import UserError


def count_reasons(paths: Sequence[Path]) -> dict[str, int]:
    """How many rows of some shards carry which reason, most frequent first."""
    counts: Counter[str] = Counter()
    for path in paths:
        if "reason" in pq.read_schema(path).names:
            counts.update(r for r in pq.read_table(path, columns=["reason"])["reason"].to_pylist() if r)
    return dict(counts.most_common())


def read_losses(output: Path) -> list[tuple[int, float]]:
    """(step, loss) of each optimizer step in a training run's folder.

    Raises:
        UserError: the folder holds no training log.
    """
    path = output / "training_log.parquet"
    if not path.is_file():
        raise UserError(f"{output} holds no training_log.parquet: run the trainer with --output {output}")
    table = pq.read_table(path, columns=["step", "loss"]).to_pydict()
    return list(zip(table["step"], table["loss"], strict=True))


def read_finish(output: Path) -> dict[str, Any]:
    """The figures of a finished training run: steps, first and last loss, seconds. Empty before its end."""
    path = output / "finished.json"
    if not path.is_file():
        return {}
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not what was written ({error}): delete it and train again") from error
    return figures


def read_metrics(output: Path) -> list[dict[str, Any]]:
    """Metric rows in an evaluation's folder: what was measured, on how many samples, and its interval.

    Raises:
        UserError: the folder holds none.
    """
    path = output / "metrics.parquet"
    if not path.is_file():
        raise UserError(f"{output} holds no metrics.parquet: run `python -m evaluation run --output {output}`")
    columns = ["benchmark", "vision_task", "metric", "value", "low", "high", "unit", "num_samples", "backend"]
    rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    return rows


def count_splits(mix: Path) -> dict[str, int]:
    """Rows of a mix by split."""
    counts = Counter(pq.read_table(mix, columns=["split"])["split"].to_pylist())
    return {split: counts[split] for split in ("train", "val", "test") if counts[split]}
