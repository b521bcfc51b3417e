"""Metric rows and benchmarks on the terminal."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from evaluation.benchmarks import Benchmark, paper_range
from evaluation.metric_names import to_paper_scale
from evaluation.reports import CONTROL_NAMES, is_control

_LOG_WIDTH = 200  # columns where the output is not a terminal


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """One line per benchmark and metric, the controls' values beside it. Sweeps are left to the file."""
    values = {(row["benchmark"], row["metric"]): row["value"] for row in rows}
    controls = [name for name in CONTROL_NAMES if any(row["benchmark"].endswith(f"/{name}") for row in rows)]
    table = Table(box=None, pad_edge=False)
    for name in ("benchmark", "metric"):
        table.add_column(name, overflow="fold")
    for name in ("value", "low", "high", *controls):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("unit", "samples", "helper model", "paper"):
        table.add_column(name, overflow="fold")
    for row in rows:
        if is_control(row["benchmark"]) or "@" in row["metric"]:
            continue
        beside = (_format(values.get((f"{row['benchmark']}/{control}", row["metric"]))) for control in controls)
        numbers = (_format(row[name]) for name in ("value", "low", "high"))
        backend = (row["backend"] or "").partition("=")[2].partition("@")[0]
        count = str(row["num_samples"])
        table.add_row(row["benchmark"], row["metric"], *numbers, *beside, row["unit"], count, backend, _paper(row))
    _console().print(table)


def _paper(row: dict[str, Any]) -> str:
    """The paper's value for this benchmark, or the range of its values on other data for people to orient by."""
    if row["paper_value"] is not None:
        return f"{row['paper_value'] / to_paper_scale(row['metric'], 1.0):.4f} ({row['paper_place']})"
    # The paper's helper models are others: their scores are not shown beside those of embedded ones.
    _, *edit_type, _ = row["benchmark"].split("/")
    printed = "" if row["backend"] else paper_range(row["vision_task"], "".join(edit_type) or None, row["metric"])
    return f"{printed}, its own data" if printed else ""


def print_benchmarks(benchmarks: Sequence[tuple[Benchmark, str]]) -> None:
    """Every benchmark with the paper's value, and what is there of its data."""
    table = Table(box=None, pad_edge=False)
    for name in ("benchmark", "the paper's name", "protocol", "metric", "unit", "paper", "where", "data"):
        table.add_column(name, overflow="fold")
    for row, data in benchmarks:
        bound = f" ({row.paper_bound:g})" if row.paper_bound is not None else ""
        paper = "" if row.paper_value is None else f"{row.paper_value:g}{bound}"
        place = "" if row.table is None else f"Table {row.table}, page {row.page}"
        table.add_row(row.name, row.title, row.protocol, row.metric, row.unit, paper, place, data)
    _console().print(table)


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_LOG_WIDTH)
