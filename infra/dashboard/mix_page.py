"""Page Mix: what a sampling plan holds, beside the paper's table 1, and the samples in training order."""

from pathlib import Path
from typing import Any

import streamlit as st

from catalog.errors import ShardError, UserError
from catalog.reports import TABLE_1
from catalog.schema import MIX
from catalog.store import METADATA_KEY, read_metadata
from catalog.workspace import Workspace
from infra.dashboard.components import bars, facts, gallery, table
from infra.dashboard.frame import answer, begin, choose, damage, number, page, share, sql_corner, tell, workspace
from infra.dashboard.pair_cards import card
from infra.dashboard.questions import Question, View, load_question, parquet_view

_SHOWN = 10


@page
def show() -> None:
    """The page."""
    begin("Mix", "The sampling plan: which pairs training draws, how often, in which order.")
    root = workspace()
    found, problems = find_mixes(root)
    for problem in problems:
        tell("A file in the catalog cannot be read.", problem, kind="warning")
    if not found:
        title = "No mix here can be read." if problems else "There is no mix yet."
        tell(title, "A mix is made from accepted pairs and a file of weights.", "python -m catalog mix")
        return
    names = [path.relative_to(root.catalog).as_posix() for path in found]
    name = choose("Mix", names, "mix", index=names.index("mix.parquet") if "mix.parquet" in names else 0)
    path = found[names.index(name)]
    try:
        _show_mix(path)
    except ShardError as error:
        raise ShardError(damage(path, error, _remedy(path))) from error


def _show_mix(path: Path) -> None:
    view = parquet_view("mix", [path], MIX)
    _show_plan(path, read_metadata(path))
    _show_tasks(view)
    _show_sources(view)
    sql_corner()
    _show_order(view)
    sql_corner()


def find_mixes(root: Workspace) -> tuple[list[Path], list[str]]:
    """Mix files of the workspace, and what is wrong with those that cannot be read."""
    found, problems = [], []
    for path in sorted([*root.catalog.glob("*.parquet"), *root.catalog.glob("benchmarks/*.parquet")]):
        try:
            if read_metadata(path).get("table") == "mix":
                found.append(path)
        except UserError as error:
            problems.append(damage(path, error, _remedy(path)))
    return found, problems


def _remedy(path: Path) -> str:
    if path.parent.name == "benchmarks":
        return "delete it and make the benchmark's mix again, by the flow or command that made it"
    return "delete it and make the mix again, by `python -m catalog mix` or `prefect deployment run build-mix`"


def _show_plan(path: Path, footer: dict[str, Any]) -> None:
    sql = "SELECT decode(value) AS plan FROM parquet_kv_metadata($path) WHERE decode(key) = $key"
    answer(Question(sql, (), (("path", str(path)), ("key", METADATA_KEY.decode()))))
    held_out = ("Held-out rows", number(footer["num_val"] + footer["num_test"]), f"{footer['num_val']:,} val")
    if "policy" not in footer:  # a benchmark that people confirmed: no plan drew it, and no policy accepted it
        confirmed = footer.get("confirmed_by", "–"), f"people who answered: {number(footer.get('num_people'))}"
        facts(
            [("Benchmark", footer["name"], "for evaluation alone"), held_out, ("Confirmed by", *confirmed)], "mix_facts"
        )
        return
    policy = footer["policy"]
    builds = ", ".join(build["name"] for build in footer["builds"])
    facts(
        [
            ("Training samples", number(footer["num_train"]), f"plan {footer['name']}, seed {footer['seed']}"),
            held_out,
            ("Policy", f"{policy['name']} v{policy['version']}", f"builds: {builds}"),
            ("Pairs of no source", number(footer["num_unclaimed"]), "usable, and not asked for"),
        ],
        key="mix_facts",
    )


def _show_tasks(view: View) -> None:
    st.subheader("Beside the paper's table 1", anchor=False)
    st.caption("Share of the training samples by vision task: blue is this mix, ochre table 1 (page 5 of the paper).")
    rows = {row["vision_task"]: row for row in answer(Question(load_question("mix_tasks"), (view,)))}
    total, whole = sum(row["num_draws"] for row in rows.values()), sum(TABLE_1.values())
    items = []
    for task in [*TABLE_1, *(task for task in rows if task not in TABLE_1)]:
        drawn = rows[task]["num_draws"] if task in rows else 0
        printed = TABLE_1.get(task)
        items.append(_bar(task.replace("_", " "), drawn / max(1, total), "kept", number(drawn), share(drawn, total)))
        if printed is not None:
            items.append(_bar("", printed / whole, "paper", f"{printed // 1000}k", share(printed, whole)))
    bars(items, max((item["parts"][0]["value"] for item in items), default=1), key="mix_tasks")


def _bar(name: str, value: float, kind: str, text: str, note: str) -> dict[str, Any]:
    return {"name": name, "parts": [{"value": value, "kind": kind, "title": note}], "text": text, "note": note}


def _show_sources(view: View) -> None:
    st.subheader("Sources and effective passes", anchor=False)
    st.caption("Passes: how often training sees each of a source's pairs, on average, in one round of the plan.")
    rows = []
    for row in answer(Question(load_question("mix_counts"), (view,))):
        passes = f"{row['num_draws'] / row['num_pairs']:.2f}" if row["num_pairs"] else "–"
        names = [row[name] or "–" for name in ("mix_source", "vision_task", "edit_type", "dataset")]
        counts = [number(row[name]) for name in ("num_draws", "num_pairs")]
        rows.append([*names, *counts, passes, number(row["num_val"]), number(row["num_test"])])
    columns = [("source", "text"), ("vision task", "text"), ("edit type", "text"), ("dataset", "text")]
    columns += [(name, "number") for name in ("draws", "pairs", "passes", "val", "test")]
    table(columns, rows, key="mix_sources")


def _show_order(view: View) -> None:
    st.subheader("In training order", anchor=False)
    left, _ = st.columns([1, 3])
    with left:
        first = st.number_input("From position", 0, key="position", bind="query-params", step=_SHOWN)
    values = (("first", int(first)), ("count", _SHOWN))
    found = answer(Question(load_question("mix_positions"), (view,), values))
    if not found:
        st.caption("The plan ends before this position.")
        return
    items = []
    for row in found:
        repeat = f", draw {row['repeat'] + 1} of this pair" if row["repeat"] else ""
        items.append(card(row, ("facts", f"position {row['position']:,}, {row['mix_source']}{repeat}")))
    gallery(items, key="mix_gallery", on_open=lambda _: None)
