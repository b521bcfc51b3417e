"""View Thresholds: histograms of what each condition looks at, and what another threshold would accept."""

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from catalog.digests import value_digest
from catalog.policies import Condition, Policy
from catalog.policy_preview import Preview
from infra.dashboard.components import facts, table, threshold
from infra.dashboard.decided import NUM_BINS, Decided
from infra.dashboard.frame import answer, number, share, short, signed, sql_corner, workspace
from infra.dashboard.questions import Rows

_PARAMETER = "limits"
"""Of the address: the thresholds that were moved, as JSON."""
_LOCK = threading.Lock()
_READER = ThreadPoolExecutor(1, "preview")
_PREVIEWS: dict[str, "Future[Preview]"] = {}
"""At most one: a preview of ten million pairs takes some hundred megabytes."""


def show(decided: Decided) -> None:
    """The view."""
    policy = decided.policy
    if not policy.conditions:
        st.caption("This policy has no condition: it accepts every usable pair.")
        return
    moved = _read_limits(policy)
    st.caption(
        "Drag a line, or focus it and use the arrow keys: what passes is blue. The dashed line is the decision on "
        "record. Nothing changes until a policy file says so."
    )
    summary = st.container()
    say = _begin_progress(summary, decided)
    for place in range(0, len(policy.conditions), 2):
        for column, condition in zip(st.columns(2), policy.conditions[place : place + 2], strict=False):
            say(condition.name.replace("_", " "))
            with column:
                _show_condition(decided, condition, moved)
    sql_corner()
    say("what each pair is removed by")
    reading = _start_reading(decided)  # not sooner: beside the histograms it would take too much memory
    reading.exception()
    say(None)
    with summary:
        _show_effect(decided, with_limits(policy, moved), reading.result())


def with_limits(policy: Policy, limits: Mapping[str, float]) -> Policy:
    """The policy with other thresholds by condition; one that a quantile decided becomes a fixed one."""

    def moved(item: Condition) -> Condition:
        limit = limits.get(item.name)
        if limit is None:
            return item
        minimum, maximum = (limit, None) if item.wants_large else (None, limit)
        return replace(item, minimum=minimum, maximum=maximum, quantile=None, side=None)

    return replace(policy, conditions=tuple(moved(item) for item in policy.conditions))


def policy_file(policy: Policy) -> str:
    """The policy as the TOML that ``python -m catalog decide --policy`` reads."""
    lines = [f"name = {json.dumps(policy.name)}", f"version = {policy.version}"]
    lines.append(f"description = {json.dumps(policy.description)}")
    if policy.scorers:
        lines += ["", "[scorers]", *(f"{role} = {json.dumps(list(names))}" for role, names in policy.scorers.items())]
    for item in policy.conditions:
        values = item.as_dict()
        scores = values.pop("scores")
        values |= {"score": scores[0]} if len(scores) == 1 else {"difference": scores}
        lines += ["", "[[condition]]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


def _show_condition(decided: Decided, condition: Condition, moved: dict[str, float]) -> None:
    st.markdown(f"**{condition.name.replace('_', ' ')}**")
    about = "" if condition.edit_types is None else f", {', '.join(condition.edit_types)} alone"
    st.caption(f"{condition.looks_at.replace('|', ' | ')}{about}".replace("_", "\\_"))
    rows = answer(decided.histogram(condition))
    if not rows:
        st.caption("No pair has this score.")
        return
    low, high, bins = _bins(rows)
    recorded = decided.thresholds[condition.name]
    relation = "at least" if condition.wants_large else "at most"
    value = moved.get(condition.name, recorded)
    key = f"threshold-{decided.decision.name}-{condition.name}"

    def move(limit: float) -> None:
        _write_limits({**moved, condition.name: float(limit)})

    threshold(f"threshold of {condition.name}", bins, (low, high), value, recorded, relation, key, move)


def _bins(rows: Rows) -> tuple[float, float, list[dict[str, float]]]:
    low, high = rows[0]["low"], rows[0]["high"]
    width = (high - low) / NUM_BINS
    counts = {row["bin"] or 0: row["num_pairs"] for row in rows}
    if not width:
        return low - 0.5, high + 0.5, [{"low": low - 0.01, "high": low + 0.01, "count": sum(counts.values())}]
    bins = [
        {"low": low + place * width, "high": low + (place + 1) * width, "count": counts.get(place, 0)}
        for place in range(NUM_BINS)
    ]
    return low, high, bins


def _begin_progress(container: DeltaGenerator, decided: Decided) -> Callable[[str | None], None]:
    """Where scores are yet to be read: a bar, and what takes the next of its steps; None: all are done."""
    bar, steps = container.empty(), count()
    num_scores = sum(one.num_rows for one in decided.build.tables.get("scores", []))
    with _LOCK:
        kept = _PREVIEWS.get(_preview_key(decided))
    is_read = kept is not None and kept.done()

    def say(step: str | None) -> None:
        if step is None:
            bar.empty()
        elif not is_read:
            share_done = next(steps) / (len(decided.policy.conditions) + 1)
            bar.progress(share_done, f"Reading {num_scores:,} scores, once: {step}")

    return say


def _show_effect(decided: Decided, policy: Policy, preview: Preview) -> None:
    """The counts that `catalog.decisions.decide` would give, beside those on record."""
    before = decided.stages(answer(decided.survival(), corner=False))
    after, thresholds = preview.count(policy)
    total, kept, would = before[0].remaining, before[-1].remaining, after[-1].remaining
    facts(
        [
            ("Accepted on record", number(kept), share(kept, total)),
            ("Would be accepted", number(would), share(would, total)),
            ("Change", signed(would - kept), ""),
        ],
        key="effect",
    )
    rows = []
    for one, two in zip(before[1:], after[1:], strict=False):
        limit, old = thresholds.get(two.name), decided.thresholds.get(two.name)
        change = signed(two.removed - one.removed) if one.name == two.name else ""
        rows.append([two.name, short(old), short(limit), number(one.removed), number(two.removed), change])
    columns = [("removed by", "text"), ("threshold on record", "number"), ("threshold here", "number")]
    columns += [("on record", "number"), ("here", "number"), ("change", "number")]
    table(columns, rows, key="effect_table")
    changed = policy != decided.policy
    left, right = st.columns(2)
    back = "Back to the decision on record"
    left.button(back, disabled=not changed, icon=":material/undo:", on_click=_write_limits, args=({},))
    with right.popover("Keep this", disabled=not changed, icon=":material/save:"):
        st.caption("Save this as a policy file and decide; give it another version, so that both can be compared.")
        text = policy_file(replace(policy, version=policy.version + 1))
        st.code(text, language="toml")
        st.download_button("Download", text, file_name=f"{policy.name}.toml", on_click="ignore")
        st.code(f"python -m catalog decide --build {decided.build.name} --policy {policy.name}.toml", language="bash")


def _start_reading(decided: Decided) -> "Future[Preview]":
    """The preview of a decision: read in a thread of its own, and kept until another is asked for."""
    root, key = workspace(), _preview_key(decided)
    with _LOCK:
        if key not in _PREVIEWS or (_PREVIEWS[key].done() and _PREVIEWS[key].exception() is not None):
            _PREVIEWS.clear()
            _PREVIEWS[key] = _READER.submit(Preview.read, root, decided.build.name, decided.policy, threads=2)
        return _PREVIEWS[key]


def _preview_key(decided: Decided) -> str:
    """What a preview is about."""
    root = workspace()
    tombstones = sorted((path.name, path.stat().st_mtime_ns) for path in (root.catalog / "tombstones").glob("*"))
    inputs = {table: [one.sha256 for one in decided.build.tables.get(table, [])] for table in ("pairs", "scores")}
    about = [(item.name, item.looks_at, item.edit_types) for item in decided.policy.conditions]
    return value_digest([str(root.home), decided.build.name, inputs, about, tombstones])


def _read_limits(policy: Policy) -> dict[str, float]:
    """The thresholds that the address gives; what it says of other conditions, or in other words, is left out."""
    names = {item.name for item in policy.conditions}
    try:
        values = json.loads(st.query_params.get(_PARAMETER, "{}"))
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {
        name: float(value)
        for name, value in values.items()
        if name in names and isinstance(value, int | float) and abs(value) < float("inf")
    }


def _write_limits(limits: Mapping[str, float]) -> None:
    if limits:
        st.query_params[_PARAMETER] = json.dumps(dict(limits), separators=(",", ":"))
    elif _PARAMETER in st.query_params:
        del st.query_params[_PARAMETER]
