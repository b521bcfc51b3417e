"""Page Data: what became of every pair of a build, which thresholds decided it, and the pairs themselves."""

import streamlit as st

from infra.dashboard import data_browse, data_review, data_thresholds
from infra.dashboard.components import bars, facts, table
from infra.dashboard.decided import Decided, decisions_about, reason_questions
from infra.dashboard.frame import answer, begin, choose, choose_build, number, page, share, sql_corner, tell, workspace

VIEWS = {
    "survival": "Survival",
    "thresholds": "Thresholds",
    "browse": "Browse",
    "review": "Review",
}


@page
def show() -> None:
    """The page."""
    begin("Data", "What became of every candidate pair, and why.")
    root = workspace()
    left, right = st.columns(2)
    with left:
        build = choose_build(root)
    if build is None:
        return
    decisions = decisions_about(root, build)
    if not decisions:
        tell(
            "No policy has decided about this build yet.",
            "A policy accepts or rejects each pair by its scores; nothing is made again.",
            f"python -m catalog decide --build {build.name}",
        )
        _show_reasons_of(Decided(root, build, build))
        return
    by_policy = {one.parameters["policy"]["name"]: one for one in decisions}
    with right:
        policy = choose("Policy", list(by_policy), "policy")
    decided = Decided(root, build, by_policy[policy])
    if not decided.is_current:
        tell(
            "This decision is about an earlier state of the build.",
            "The build has other pairs now; deciding again takes seconds and makes nothing else anew. FILE is that of "
            f"policy {policy} v{decided.policy.version}: infra/policies has those that come with the project.",
            f"python -m catalog decide --build {build.name} --policy FILE",
            kind="warning",
        )
        return
    view = choose("View", list(VIEWS), "view", names=VIEWS.__getitem__, row=True)
    {
        "survival": _show_survival,
        "thresholds": data_thresholds.show,
        "browse": data_browse.show,
        "review": data_review.show,
    }[view](decided)


def _show_survival(decided: Decided) -> None:
    stages = decided.stages(answer(decided.survival()))
    accepted, total = stages[-1].remaining, stages[0].remaining
    unusable = sum(stage.removed for stage in stages if stage.kind == "reason")
    rejected = sum(stage.removed for stage in stages if stage.kind == "condition")
    policy = decided.policy
    facts(
        [
            ("Pairs made", number(total), f"build {decided.build.name}"),
            ("Not usable", number(unusable), share(unusable, total)),
            ("Rejected", number(rejected), f"by policy {policy.name} v{policy.version}"),
            ("Accepted", number(accepted), share(accepted, total)),
        ],
        key="survival_facts",
    )
    st.subheader("Survival", anchor=False)
    st.caption("From all pairs down to the accepted ones. Pick a line to see its pairs.")
    items = []
    for stage in stages:
        parts = [{"value": stage.remaining, "kind": "kept", "title": f"{stage.remaining:,} remain"}]
        parts.append({"value": stage.removed, "kind": stage.kind, "title": f"{stage.removed:,} removed"})
        removed = f"−{stage.removed:,}" if stage.kind != "pairs" else ""
        items.append(
            {
                "name": "all pairs" if stage.kind == "pairs" else stage.name,
                "parts": parts,
                "text": number(stage.remaining),
                "note": removed,
                "pick": stage.name if stage.removed else None,
            }
        )
    items.append(
        {
            "name": "accepted",
            "parts": [{"value": accepted, "kind": "kept", "title": ""}],
            "text": number(accepted),
            "note": share(accepted, total),
            "pick": data_browse.ACCEPTED,
        }
    )
    bars(items, total, key="survival_bars", on_pick=data_browse.open_fate)
    _show_kinds(decided)
    sql_corner()
    _show_reasons_of(decided)


def _show_kinds(decided: Decided) -> None:
    st.subheader("By kind", anchor=False)
    counts: dict[tuple[str, str, str], list[int]] = {}
    for row in answer(decided.kinds()):
        kind = tuple(row[name] or "–" for name in ("dataset", "vision_task", "edit_type"))
        entry = counts.setdefault(kind, [0, 0])  # type: ignore[arg-type]
        entry[0] += row["num_pairs"]
        entry[1] += row["num_pairs"] if row["condition"] is None else 0
    columns = [("dataset", "text"), ("vision task", "text"), ("edit type", "text")]
    columns += [("pairs", "number"), ("accepted", "number"), ("share", "number")]
    rows = [[*kind, number(all_), number(kept), share(kept, all_)] for kind, (all_, kept) in counts.items()]
    table(columns, rows, key="kinds")


def _show_reasons_of(decided: Decided) -> None:
    st.subheader("Rows that are not usable, by table and reason", anchor=False)
    rows = [
        [name, row["reason"], number(row["num_rows"]), row["example"]]
        for name, question in reason_questions(decided.root, decided.build).items()
        for row in answer(question)
    ]
    if not rows:
        st.caption("None: every row of every table is usable.")
        return
    table([("table", "text"), ("reason", "text"), ("rows", "number"), ("for example", "sentence")], rows, key="reasons")
    sql_corner()
