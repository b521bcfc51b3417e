"""Page Training: losses by task, throughput and sample pictures of runs, beside each other."""

import json
import re
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from catalog.errors import UserError
from catalog.images import EncodedImage
from catalog.schema import VISION_TASKS
from catalog.workspace import Workspace
from infra.dashboard.components import table
from infra.dashboard.frame import answer, begin, damage, number, page, short, sql_corner, tell, workspace
from infra.dashboard.pictures import fetch_picture
from infra.dashboard.questions import Question, Rows, View, load_question

_POINTS = 500
"""Of a curve."""
_NUM_USUAL = 3
"""Runs that are shown before somebody chooses: the newest."""
_COLUMNS = (
    ("step", "BIGINT"),
    ("samples_seen", "BIGINT"),
    ("loss", "DOUBLE"),
    *((f"loss_{task}", "DOUBLE") for task in VISION_TASKS),
    ("learning_rate", "DOUBLE"),
    ("grad_norm", "DOUBLE"),
    ("skipped", "BOOLEAN"),
    ("num_rejected", "BIGINT"),
    ("samples_per_s", "DOUBLE"),
    ("data_wait_share", "DOUBLE"),
    ("memory_mib", "DOUBLE"),
    ("seconds", "DOUBLE"),
)
_CURVES = {
    "loss": "Loss",
    **{f"loss_{task}": f"Loss, {task.replace('_', ' ')}" for task in VISION_TASKS},
    "samples_per_s": "Samples per second",
    "data_wait_share": "Share of the time that waits for data",
    "grad_norm": "Gradient norm before clipping",
    "memory_mib": "Memory, MiB",
}
_COLORS = ["#4278b0", "#d6705c", "#3d8f5f", "#c79a3a", "#8a63a8", "#5aa3b5"]
_MAX_WIDTH = 900  # pixels of a sheet of pictures
_PICTURE = re.compile(r"step-(\d+)\.png")


@page
def show() -> None:
    """The page."""
    begin("Training", "Loss by task, throughput and sample pictures, from the runs' own logs.")
    root = workspace()
    folders = [path.parent for path in root.runs.glob("*/training_log.parquet")]
    runs = {folder.name: folder for folder in sorted(folders, key=_age)}
    begun = sorted(path.parent.name for path in root.runs.glob("*/config.json") if path.parent.name not in runs)
    if begun:
        tell("Under way, without a checkpoint yet.", ", ".join(begun) + ": a log is written with each checkpoint.")
    if not runs:
        if not begun:
            tell("No model has been trained here yet.", f"No run below {root.runs}.", "prefect deployment run train")
        return
    chosen = st.multiselect("Runs", list(runs), default=list(runs)[:_NUM_USUAL], key="runs", bind="query-params")
    if not chosen:
        st.caption("Choose one or more runs.")
        return
    paths = {name: runs[name] / "training_log.parquet" for name in chosen}
    readable = _readable(paths)
    if not readable:
        return
    view = View("log", tuple(readable.values()), _COLUMNS, with_file=True)
    _show_figures(root, view)
    _show_curves(answer(Question(load_question("training_losses"), (view,), (("points", _POINTS),))))
    sql_corner()
    for name in chosen:
        _show_pictures(root, runs[name])


def _age(folder: Path) -> tuple[int, str]:
    """Sorts runs, the one that was started last first: a start writes its configuration."""
    for name in ("config.json", "training_log.parquet"):
        try:
            return -(folder / name).stat().st_mtime_ns, folder.name
        except OSError:
            continue
    return 0, folder.name


def _readable(paths: dict[str, Path]) -> dict[str, Path]:
    """The logs that can be read; of the others the page says so."""
    found = {}
    for name, path in paths.items():
        try:
            answer(Question("SELECT count(*) AS n FROM log", (View("log", (path,), _COLUMNS),)), corner=False)
            found[name] = path
        except UserError as error:
            text = damage(path, error, _remedy(path.parent))
            tell(f"The log of {name.replace('_', '-')} cannot be read.", text, kind="warning")
    return found


def _remedy(folder: Path) -> str:
    """Of a damaged log, which the trainer alone writes."""
    if (folder / "finished.json").is_file():
        return f"the run has finished and writes no other; TensorBoard has its curves, from {folder / 'tensorboard'}"
    return (
        "a run that is under way writes it anew at its next checkpoint; one that was stopped goes on without it: "
        "delete it and start the run again by the same command"
    )


def _show_figures(root: Workspace, view: View) -> None:
    rows = []
    for row in answer(Question(load_question("training_runs"), (view,))):
        folder = Path(row["filename"]).parent
        planned = _planned_steps(folder)
        state = "finished" if (folder / "finished.json").is_file() else "stopped or running"
        steps = f"{row['num_steps']:,}" + (f" of {planned:,}" if planned else "")
        counts = [short(row["loss_first"]), short(row["loss_last"]), short(row["samples_per_s"], 3)]
        wait = "–" if row["data_wait_share"] is None else f"{100 * row['data_wait_share']:.1f} %"
        last = [wait, f"{row['seconds']:,.0f}", number(row["num_skipped"]), number(row["num_rejected"])]
        rows.append(
            [folder.relative_to(root.runs).as_posix(), state, steps, number(row["samples_seen"]), *counts, *last]
        )
    columns = [("run", "text"), ("state", "text"), ("steps", "number"), ("samples seen", "number")]
    columns += [(name, "number") for name in ("loss, first tenth", "last tenth", "samples/s", "waits", "seconds")]
    table([*columns, ("skipped", "number"), ("rows rejected", "number")], rows, key="training_runs")


def _planned_steps(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]["num_steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no more than a number beside the steps done


def _show_curves(rows: Rows) -> None:
    data = pd.DataFrame(rows)
    data["run"] = [Path(name).parent.name for name in data["filename"]]
    names = [name for name in _CURVES if data[name].notna().any()]
    runs = sorted(set(data["run"]))
    for place in range(0, len(names), 2):
        for column, name in zip(st.columns(2), names[place : place + 2], strict=False):
            column.markdown(f"**{_CURVES[name]}**")
            column.altair_chart(_curve(data[["run", "step", name]].dropna(), name, runs), height=230)


def _curve(data: Any, name: str, runs: list[str]) -> Any:
    value = alt.Y(f"{name}:Q", title=None, scale=_scale(data[name], name in ("data_wait_share", "samples_per_s")))
    legend = alt.Legend(orient="top", labelLimit=0, columns=1) if len(runs) > 1 else None
    color = alt.Color("run:N", title=None, legend=legend, scale=alt.Scale(domain=runs, range=_COLORS))  # in every chart
    tips = ["run:N", "step:Q", alt.Tooltip(f"{name}:Q", format=".4g")]
    step = alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, format=",d"))
    alone = data[data.groupby("run")["step"].transform("size") == 1]  # no line leads there
    shapes = alt.Chart(data).mark_line(strokeWidth=1.8), alt.Chart(alone).mark_circle(size=50, opacity=1)
    return alt.layer(*(shape.encode(x=step, y=value, color=color, tooltip=tips) for shape in shapes))


def _scale(values: Any, zero: bool) -> alt.Scale:
    """An axis; one of a single value reaches around it, so that its ticks have few digits."""
    low, high = float(values.min()), float(values.max())
    if low < high or (zero and high > 0):
        return alt.Scale(zero=zero)
    room = abs(low) / 10 or 1.0
    return alt.Scale(domain=[0 if zero else low - room, high + room])


def _show_pictures(root: Workspace, folder: Path) -> None:
    found = {
        int(match[1]): path
        for path in sorted((folder / "pictures").glob("*.png"))
        if (match := _PICTURE.fullmatch(path.name))
    }
    st.subheader("Sample pictures", anchor=False)
    st.text(folder.name)
    if not found:
        st.caption("None: `--set pictures_every=500` makes some of held-out rows while it trains.")
        return
    steps = sorted(found)
    step = steps[0]
    if len(steps) > 1:
        step = st.select_slider("After step", steps, value=steps[-1], key=f"step-{folder.name}")
    try:
        data = fetch_picture(found[step], root.home)
    except UserError as error:
        tell("This picture cannot be shown.", str(error), kind="warning")
        return
    st.caption("Each row: source, target, edit by the moving average.")
    st.image(data, width=min(_MAX_WIDTH, 3 * EncodedImage(data).width))  # small networks draw small pictures
