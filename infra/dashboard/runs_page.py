"""Page Runs: flow runs, what each step took, the cost of an accepted pair, and the forecast beside what came of it."""

from dataclasses import asdict
from typing import Any

import streamlit as st

from catalog.ledger import LedgerEntry
from catalog.manifests import Manifest
from catalog.policies import Policy
from catalog.workspace import Workspace
from flows.local_server import running_server
from infra.dashboard.components import facts, table
from infra.dashboard.decided import Decided, decisions_about
from infra.dashboard.frame import (
    answer,
    begin,
    choose,
    choose_build,
    number,
    page,
    short,
    sql_corner,
    tell,
    workspace,
)
from infra.dashboard.questions import Question, View, load_question
from tasks.forecast import Forecast, compare_with_build, forecast_path, read_forecast

_TYPES = {str: "VARCHAR", float: "DOUBLE", int: "BIGINT", bool: "BOOLEAN"}
_LEDGER = tuple((name, _TYPES[kind]) for name, kind in LedgerEntry.__annotations__.items())
_HOUR = 3600.0
_DIGITS = 8
"""Of a flow run's id: enough to tell runs apart."""
_QUANTITIES = {
    "accepted": "accepted pairs of edits",
    "seconds": "seconds of one worker",
    "cost": "cost",
    "seconds_per_accepted": "seconds per accepted edit",
    "cost_per_accepted": "cost per accepted edit",
}


@page
def show() -> None:
    """The page."""
    begin("Runs", "What was run, how long it took, and what an accepted pair costs.")
    root = workspace()
    ledger = View("ledger", tuple(sorted(root.ledger.glob("*.jsonl"))), _LEDGER)
    if not ledger.paths:
        tell(
            "The ledger is empty.",
            "Flows note there what each piece of work took.",
            "prefect deployment run build-ieiw",
        )
        return
    _show_runs(root, ledger)
    sql_corner()
    build = choose_build(root)
    if build is not None:
        _show_steps(root, ledger, build)
        sql_corner()
        _show_forecast(root, build)


def _show_runs(root: Workspace, ledger: View) -> None:
    st.subheader("Flow runs", anchor=False)
    rows = []
    for row in answer(Question(load_question("ledger_runs"), (ledger,))):
        times = [row[name][:19].replace("T", " ") for name in ("started_at", "ended_at")]
        counts = [number(row["num_made"]), number(row["num_found"]), f"{row['seconds']:,.1f}", short(row["cost"])]
        rows.append([row["steps"], row["flow_run"][:_DIGITS] or "outside a flow", *times, *counts])
    columns = [("steps", "sentence"), ("flow run", "text"), ("began, UTC", "text"), ("ended", "text")]
    columns += [(name, "number") for name in ("made", "there already", "seconds of work", "cost")]
    table(columns, rows, key="flow_runs")
    if url := running_server(root):
        where = f"Prefect shows each with its artifacts: {url.removesuffix('/api')}"
    else:
        where = "`make server` shows each with its artifacts in Prefect's own pages."
    st.caption(f"Flow runs by the first digits of their ids. {where}")


def _show_steps(root: Workspace, ledger: View, build: Manifest) -> None:
    st.subheader("What the build took, step by step", anchor=False)
    keys = tuple(shard.key for shards in build.tables.values() for shard in shards)
    rows = answer(Question(load_question("ledger_steps"), (ledger,), (("keys", keys),)))
    noted = sum(row["num_shards"] for row in rows)
    lines = []
    for row in rows:
        counts = [number(row[name]) for name in ("num_shards", "num_rows", "num_usable")]
        each = short(1000 * row["seconds"] / row["num_rows"], 3) if row["num_rows"] else "–"
        lines.append([row["step"], *counts, f"{row['seconds']:,.1f}", each, short(row["cost"])])
    columns = [("step", "text"), ("shards", "number"), ("rows", "number"), ("usable", "number")]
    columns += [("seconds of work", "number"), ("ms per row", "number"), ("cost", "number")]
    table(columns, lines, key="build_steps")
    num_timed = len(keys) - len(build.tables.get("listings", ()))
    st.caption(
        f"Shards of the build that the ledger has: {noted:,} of {num_timed:,}; listing the sources is not timed."
    )
    decisions = {one.parameters["policy"]["name"]: one for one in decisions_about(root, build)}
    if not decisions:
        tell("No policy has decided yet.", "So nothing is accepted.", f"python -m catalog decide --build {build.name}")
        return
    policy = choose("Policy", list(decisions), "policy")
    decided = Decided(root, build, decisions[policy])
    if not decided.is_current:
        tell("This decision is about an earlier state of the build.", "Decide again: it takes seconds.", kind="warning")
    price = st.number_input(
        "Price of a worker's hour, in the currency of the profile", 0.0, key="hour", bind="query-params", step=0.1
    )
    accepted = decided.stages(answer(decided.survival()))[-1].remaining
    seconds, cost = (sum(row[name] for row in rows) for name in ("seconds", "cost"))
    whole = cost + float(price) * seconds / _HOUR
    each = short(whole / accepted, 3) if accepted else "–"
    facts(
        [
            ("Accepted pairs", number(accepted), f"policy {policy}"),
            ("Seconds per accepted pair", short(seconds / accepted, 3) if accepted else "–", "of one worker"),
            ("Cost per accepted pair", each, "charges and the worker's hours"),
            ("Cost of the build", short(whole), f"{short(cost)} of it charged by helper models"),
        ],
        key="cost_facts",
    )


def _show_forecast(root: Workspace, build: Manifest) -> None:
    st.subheader("Forecast", anchor=False)
    forecast = read_forecast(root, build.name)
    if forecast is None:
        tell(
            "No forecast of this build is on record.",
            "A pilot of a small share says, with intervals, what a whole build will give and take.",
            "python -m tasks forecast",
        )
        return
    st.text(forecast_path(root, build.name).as_posix())
    policy = Policy.from_dict(forecast.policy)
    share = f"records piloted: {forecast.num_piloted:,} of {forecast.num_records:,}"
    st.caption(f"{share}; accepted by policy {policy.name}".replace("_", "\\_"))
    truths = {one.quantity: one.truth for one in compare_with_build(root, forecast, build)}
    rows = []
    for name, estimate in _estimates(forecast).items():
        truth = truths.get(name)
        marks: list[dict[str, Any]] = [
            {"kind": "first", "value": estimate["value"], "low": estimate["low"], "high": estimate["high"]}
        ]
        high = estimate["high"]
        if truth is not None:
            marks.append({"kind": "paper", "value": truth, "title": f"came out: {truth:,.4g}"})
        ends = [value for mark in marks for key in ("value", "low", "high") if (value := mark.get(key)) is not None]
        marks[0]["title"] = f"{estimate['value']:,.4g}"
        drawn = None if high is None else {"scale": [min(0.0, *ends), max(ends)], "marks": marks}
        covered = "–" if truth is None else "yes" if estimate["low"] <= truth <= (high or float("inf")) else "no"
        span = f"{short(estimate['low'])} to {short(high)}"
        rows.append([_QUANTITIES[name], short(estimate["value"]), span, drawn, short(truth), covered])
    columns = [("", "text"), ("forecast", "number"), ("95 % interval", "number"), ("", "interval")]
    table([*columns, ("came out", "number"), ("within", "text")], rows, key="forecast")


def _estimates(forecast: Forecast) -> dict[str, dict[str, float]]:
    return {name: asdict(found) for name in _QUANTITIES if (found := getattr(forecast, name)) is not None}
