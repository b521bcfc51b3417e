"""Page Evaluation: every metric beside the paper's value and the controls, of one run or two, and their pictures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from catalog.durable import read_stretch
from catalog.errors import ShardError, UserError
from catalog.images import EncodedImage
from catalog.model_tables import METRICS
from catalog.schema import VISION_TASKS
from catalog.store import read_metadata
from catalog.workspace import Workspace
from evaluation.metric_names import to_paper_scale
from evaluation.reports import edit_warnings, is_control
from infra.dashboard.components import facts, gallery, table
from infra.dashboard.frame import answer, begin, choose, damage, page, sql_corner, tell, workspace
from infra.dashboard.pictures import fetch_picture, why_not
from infra.dashboard.questions import Question, Rows, View, load_question, parquet_view

_ALL, _NONE = "all", "none"
_CONTROLS = ("no-op", "oracle")
"""Whose values have a column; the others are in the rows."""
_CASES = (
    ("benchmark", "VARCHAR"),
    ("standing", "VARCHAR"),
    ("rank", "BIGINT"),
    ("pair_id", "VARCHAR"),
    ("instruction", "VARCHAR"),
    ("difference", "DOUBLE"),
    *((name, "STRUCT(offset BIGINT, length BIGINT)") for name in ("source", "target", "prediction")),
)
_REMEDY = "delete it and run the same evaluation again, as by `python -m evaluation run`"
"""Of metric rows that are damaged."""
_MAX_PICTURE = 64 << 20


@dataclass(frozen=True)
class Evaluation:
    """A file of metric rows."""

    name: str
    path: Path


@page
def show() -> None:
    """The page."""
    begin("Evaluation", "Every metric with its interval, beside the controls and what the paper prints.")
    root = workspace()
    found, problems = find_evaluations(root)
    for problem in problems:
        tell("An evaluation cannot be read.", problem, kind="warning")
    if not found:
        tell(
            "No evaluation here can be read." if problems else "Nothing has been evaluated here yet.",
            f"No metric rows below {root.runs}.",
            "prefect deployment run evaluate",
        )
        return
    by_name = {one.name: one for one in found}
    columns = st.columns(3)
    with columns[0]:
        first = by_name[choose("Evaluation", list(by_name), "first")]
    with columns[1]:
        others = [name for name in by_name if name != first.name]
        second = by_name.get(choose("Beside", [_NONE, *others], "second"))
    shown = [first] if second is None else [first, second]
    paths = [one.path for one in shown]
    view = parquet_view("metrics", paths, METRICS, with_file=True)
    rows = answer(Question(load_question("metrics_compared"), (view,)))
    tasks = [task for task in VISION_TASKS if any(row["vision_task"] == task for row in rows)]
    with columns[2]:
        task = choose("Vision task", [_ALL, *tasks], "task", names=lambda name: name.replace("_", " "))
    _show_origin(shown, rows)
    _show_table(shown, [row for row in rows if task in (_ALL, row["vision_task"])])
    sql_corner()
    asked = [row for row in rows if task in (_ALL, row["vision_task"]) and not is_control(row["benchmark"])]
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in asked))
    if benchmarks:
        _show_standouts(root, shown, benchmarks)


def find_evaluations(root: Workspace) -> tuple[list[Evaluation], list[str]]:
    """Evaluations below ``runs``, the last of each folder first, and what is wrong with those that cannot be read."""
    found, problems = [], []
    for path in sorted(root.runs.glob("**/metrics.parquet")):
        files = [path, *sorted(path.parent.glob("evaluations/*.parquet"))]
        for file in files:
            try:
                if read_metadata(file).get("table") != "metrics":
                    continue
            except UserError as error:
                problems.append(damage(file, error, _REMEDY))
                continue
            folder = path.parent.relative_to(root.runs).as_posix()
            found.append(Evaluation(folder if file == path else f"{folder} ({file.stem[:8]})", file))
    return found, problems


def _show_origin(shown: list[Evaluation], rows: Rows) -> None:
    items = []
    for number, one in enumerate(shown):
        own = [row for row in rows if row["filename"] == str(one.path)]
        digests = sorted({row["checkpoint_sha256"][:12] for row in own if row["checkpoint_sha256"]})
        mixes = sorted({row["mix_sha256"][:12] for row in own})
        versions = sorted({row["code_version"] for row in own})
        note = (
            f"data {', '.join(mixes)}; seed {', '.join(sorted({str(row['seed']) for row in own}))}; code {versions[0]}"
        )
        confirmed = {json.loads(row["config"]).get("confirmed_by") for row in own if row["config"]} - {None}
        note += f"; edits confirmed by {', '.join(sorted(confirmed))}." if confirmed else ""
        note += edit_warnings(own)
        items.append(("Checkpoint" if number == 0 else "Beside", ", ".join(digests) or "none: a control", note))
    facts(items, key="evaluation_facts")


def _show_table(shown: list[Evaluation], rows: Rows) -> None:
    st.caption(
        "In the paper's units: shares in percent, cosines times 100. Blue: the first evaluation, green: the second, "
        "each with its 95 % interval (bootstrap over source images); ochre: the paper; grey: the source unchanged. "
        "Values beside the paper's count only on the paper's own data, by the paper's helper models."
    )
    files = [str(one.path) for one in shown]
    by_file: list[dict[tuple[str, str], dict[str, Any]]] = [
        {(row["benchmark"], row["metric"]): row for row in rows if row["filename"] == file} for file in files
    ]
    every = dict.fromkeys(key for found in by_file for key in found)
    keys = [key for key in every if not is_control(key[0]) and "@" not in key[1]]
    lines = [_line(key, by_file) for key in keys]
    columns = [("benchmark", "text"), ("metric", "text"), ("value", "number"), ("95 % interval", "number")]
    if len(shown) > 1:
        columns += [("beside", "number"), ("its interval", "number")]
    columns += [("", "interval"), *((name, "number") for name in _CONTROLS), ("paper", "number")]
    columns += [("where", "text"), ("samples", "number"), ("helper model", "text")]
    table(columns, lines, key="metrics")


def _line(key: tuple[str, str], by_file: list[dict[tuple[str, str], dict[str, Any]]]) -> list[Any]:
    benchmark, metric = key
    own = [found.get(key) for found in by_file]
    row = next(one for one in own if one is not None)
    controls = {
        name: next((found[at]["value"] for found in by_file if (at := (f"{benchmark}/{name}", metric)) in found), None)
        for name in _CONTROLS
    }
    printed = row["paper_value"]
    bound = "" if row["paper_bound"] is None else f" ({row['paper_bound']:.2f})"
    cells: list[Any] = [benchmark, metric.replace("_", " ")]
    marks: list[dict[str, Any]] = []
    for kind, one in zip(("first", "second"), own, strict=False):
        value, low, high = (None if one is None else _scaled(metric, one[name]) for name in ("value", "low", "high"))
        cells += [_text(value), "" if low is None else f"{_text(low)} to {_text(high)}"]
        if value is not None:
            title = f"{kind}: {_text(value)}"
            marks.append({"kind": kind, "value": value, "low": low, "high": high, "title": title})
    no_op = _scaled(metric, controls["no-op"])
    if no_op is not None and marks:
        marks.append({"kind": "control", "value": no_op, "title": f"no-op: {_text(no_op)}"})
    if printed is not None and marks:
        marks.append({"kind": "paper", "value": printed, "title": f"paper: {_text(printed)}"})
    ends = [mark[name] for mark in marks for name in ("value", "low", "high") if mark.get(name) is not None]
    cells.append({"scale": [min(ends), max(ends)], "marks": marks} if marks else None)
    cells += [_text(_scaled(metric, controls[name])) for name in _CONTROLS]
    backend = (row["backend"] or "").partition("=")[2].partition("@")[0]
    paper = "" if printed is None else f"{printed:.2f}{bound}"
    return [*cells, paper, row["paper_place"] or "", f"{row['num_samples']:,}", backend]


def _scaled(metric: str, value: float | None) -> float | None:
    return None if value is None else to_paper_scale(metric, value)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _show_standouts(root: Workspace, shown: list[Evaluation], benchmarks: list[str]) -> None:
    st.subheader("Best and worst", anchor=False)
    st.caption(
        "By the mean absolute difference between prediction and target, in levels of 255: what to look at first."
    )
    benchmark = choose("Benchmark", benchmarks, "benchmark")
    for number, one in enumerate(shown):
        if len(shown) > 1:
            st.text(one.name)
        path = _cases_of(one.path)
        if path is None:
            _show_sheet(root, one.path)
            continue
        view = View("cases", (path,), _CASES)
        rows = answer(Question(load_question("cases_standing"), (view,), (("benchmark", benchmark),)))
        for standing in ("best", "worst"):
            group = [row for row in rows if row["standing"] == standing]
            if group:
                st.markdown(f"**{standing.capitalize()}**")
                cards = [_card(path.with_suffix(".tar"), row) for row in group]
                gallery(cards, key=f"{standing}-{number}", on_open=lambda _: None)
    sql_corner()


def _cases_of(path: Path) -> Path | None:
    """The cases of an evaluation; of a folder's last one, those of the evaluation with the same rows."""
    if path.parent.name == "evaluations":
        own = path.parents[1] / "cases" / path.name
        return own if own.is_file() else None
    data = path.read_bytes()
    for other in sorted(path.parent.glob("evaluations/*.parquet")):
        if other.stat().st_size == len(data) and other.read_bytes() == data:
            return _cases_of(other)
    return None


def _show_sheet(root: Workspace, path: Path) -> None:
    sheet = path.with_suffix(".png") if path.parent.name == "evaluations" else path.parent / "predictions.png"
    if not sheet.is_file():
        st.caption("This evaluation kept no pictures: evaluate again with this version.")
        return
    st.caption("This evaluation kept no ranked cases; evaluate again with this version. A few of its predictions:")
    st.image(fetch_picture(sheet, root.home))


def _card(tar: Path, row: dict[str, Any]) -> dict[str, Any]:
    shown: list[dict[str, Any]] = []
    for name in ("source", "target", "prediction"):
        try:
            shown.append({"name": name, "data": _picture(tar, row[name])})
        except (UserError, OSError) as error:
            shown.append({"name": why_not(error) if isinstance(error, UserError) else str(error), "data": None})
    lines = [("words", row["instruction"]), ("facts", f"difference {row['difference']:.1f}, {row['pair_id']}")]
    return {"id": row["pair_id"], "label": f"{row['standing']} {row['rank']}", "pictures": shown, "lines": lines}


def _picture(tar: Path, place: dict[str, int]) -> bytes:
    if not 0 < place["length"] <= _MAX_PICTURE:
        raise ShardError(f"{tar} has no picture of {place['length']} bytes: evaluate again")
    with tar.open("rb") as stream:
        data = read_stretch(stream.fileno(), place["offset"], place["length"])
    EncodedImage(data)
    return data
