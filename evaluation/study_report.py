"""The report of an ablation study: arms beside each other and the paper's, their one difference, what is missing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.durable import write_file
from evaluation.plain_tables import markdown_table, table_picture
from evaluation.study_runs import StudyReport


def write_study_report(report: StudyReport, output: Path) -> None:
    """``study.md``, ``study.png`` and ``study.json`` in a folder."""
    rows = _table(report)
    notes = _notes(report)
    listed = "".join(f"- {one}\n" for one in report.missing)
    missing = f"\n## Missing\n\n{listed}" if report.missing else "\nNothing is missing.\n"
    text = (
        f"# {report.study.title}\n\n{markdown_table(rows)}\n" + "\n".join(notes) + "\n" + missing + "\n"
        f"## What the paper prints\n\n{markdown_table(_printed_rows(report))}\n"
        "## What the arms differ in\n\nOf the resolved configurations of trainer, mix and evaluation, all else being "
        f"equal:\n\n{markdown_table(_difference_rows(report))}"
    )
    write_file(output / "study.md", [text.encode()])
    more = [f"missing: {one}" for one in report.missing[:8]]
    if len(report.missing) > len(more):
        more.append(f"and {len(report.missing) - len(more)} more")
    write_file(output / "study.png", [table_picture(rows, report.study.title, [*notes, *more])])
    write_file(output / "study.json", [json.dumps(_as_dict(report), indent=2).encode() + b"\n"])


def _table(report: StudyReport) -> list[tuple[str, ...]]:
    study = report.study
    others = [arm.name for arm in study.arms if arm.name != study.baseline]
    title = others[0] if len(others) == 1 else "arm"
    rows: list[tuple[str, ...]] = [
        ("benchmark", "metric", study.baseline, title, "difference", "95 %", "seeds", "paper", "paper's difference")
    ]
    for one in report.comparisons:
        own = _mean(one.values) if len(others) == 1 else f"{one.arm}: {_mean(one.values)}"
        printed = "" if one.paper is None else f"{_number(one.paper_baseline)} / {one.paper:.2f}"
        gap = "" if one.paper is None or one.paper_baseline is None else f"{one.paper - one.paper_baseline:+.2f}"
        value, interval, seeds = one.difference
        rows.append(
            (
                *(one.benchmark, one.metric, _mean(one.baseline_values), own),
                "-" if value is None else f"{value:+.2f}",
                "" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}",
                *(str(len(seeds)), printed, gap),
            )
        )
    return rows


def _printed_rows(report: StudyReport) -> list[tuple[str, ...]]:
    """All of the paper's values, also of what is not measured here."""
    study = report.study
    rows: list[tuple[str, ...]] = [("benchmark", "metric", *[arm.name for arm in study.arms], "difference")]
    for one in study.paper:
        values = [one.values.get(arm.name) for arm in study.arms]
        base = one.values.get(study.baseline)
        others = [value for arm, value in one.values.items() if arm != study.baseline]
        gap = f"{others[0] - base:+.2f}" if base is not None and len(others) == 1 else ""
        rows.append((one.benchmark, one.metric, *map(_number, values), gap))
    return rows


def _difference_rows(report: StudyReport) -> list[tuple[str, ...]]:
    arms = [arm.name for arm in report.study.arms]
    rows = [("field", *arms)]
    for name, values in report.differing.items():
        rows.append((name, *[_short(values.get(arm)) if arm in values else "not there yet" for arm in arms]))
    return rows


def _notes(report: StudyReport) -> list[str]:
    study = report.study
    return [
        f"Arms differ in one thing: {study.thing}.",
        f"Scale {study.scale.name}, recipe {study.scale.recipe}, seeds {', '.join(map(str, study.seeds))}; every run "
        "takes the same number of steps of the same size.",
        "Differences are paired by seed; 95 % by Student's t over seeds. Values as the paper prints them.",
    ]


def _as_dict(report: StudyReport) -> dict[str, Any]:
    comparisons = [
        {
            **{name: getattr(one, name) for name in ("benchmark", "metric", "arm", "paper", "paper_baseline")},
            "values": {str(seed): value for seed, value in one.values.items()},
            "baseline_values": {str(seed): value for seed, value in one.baseline_values.items()},
            **one.difference._asdict(),
        }
        for one in report.comparisons
    ]
    facts = {"study": report.study.name, "scale": report.study.scale.name, "missing": list(report.missing)}
    return {**facts, "differing": report.differing, "comparisons": comparisons}


def _mean(values: Mapping[int, float]) -> str:
    return f"{sum(values.values()) / len(values):.2f}" if values else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True) if not isinstance(value, str) else value
    return text if len(text) <= 160 else f"{text[:157]}..."
