"""Metric rows and benchmarks on the terminal."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from evaluation.benchmarks import Benchmark, paper_range

_CONTROLS = ("no-op", "oracle")
_LOG_WIDTH = 160  # columns where the output is not a terminal


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """One line per benchmark and metric, the controls' values beside it."""
    values = {(row["benchmark"], row["metric"]): row["value"] for row in rows}
    table = Table(box=None, pad_edge=False)
    for name in ("benchmark", "metric"):
        table.add_column(name, overflow="fold")
    for name in ("value", *_CONTROLS):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("unit", "samples", "helper model", "paper, on its own data"):
        table.add_column(name, overflow="fold")
    for row in rows:
        if row["benchmark"].endswith(tuple(f"/{control}" for control in _CONTROLS)):
            continue
        _, *edit_type, _ = row["benchmark"].split("/")
        controls = (_format(values.get((f"{row['benchmark']}/{control}", row["metric"]))) for control in _CONTROLS)
        # The paper's helper models are others: their scores are not shown beside those of embedded ones.
        printed = "" if row["backend"] else paper_range(row["vision_task"], "".join(edit_type) or None, row["metric"])
        backend = (row["backend"] or "").partition("=")[2].partition("@")[0]
        table.add_row(
            row["benchmark"],
            row["metric"],
            _format(row["value"]),
            *controls,
            row["unit"],
            str(row["num_samples"]),
            backend,
            printed,
        )
    _console().print(table)


def print_benchmarks(benchmarks: Sequence[Benchmark]) -> None:
    """Every benchmark with the paper's value."""
    table = Table(box=None, pad_edge=False)
    for name in ("benchmark", "edit type", "metric", "unit", "paper", "table", "runs here"):
        table.add_column(name, overflow="fold")
    for row in benchmarks:
        bound = f" ({row.paper_bound:g})" if row.paper_bound is not None else ""
        paper = "" if row.paper_value is None else f"{row.paper_value:g}{bound}"
        place = "" if row.table is None else str(row.table)
        runs = "yes" if row.runnable else "no"
        table.add_row(row.name, row.edit_type or "", row.metric, row.unit, paper, place, runs)
    _console().print(table)


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_LOG_WIDTH)
