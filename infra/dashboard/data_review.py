"""View Review: pairs in an order that chance has made, answers to them, and how precise each filter is by these."""

import streamlit as st

from catalog.command_line import printable
from catalog.queries import load_sql
from catalog.review_labels import REVIEWS, next_pair, reviews_path, verdicts_key
from catalog.review_precision import LEVEL, estimate_precision
from infra.dashboard.components import table
from infra.dashboard.decided import Decided
from infra.dashboard.frame import answer, choose, number, person, sql_corner
from infra.dashboard.pair_panel import show_answers, show_pictures, show_scores, show_verdict
from infra.dashboard.questions import Question, View

_ACCEPTED = "accepted"
_TYPES = {"bool": "BOOLEAN", "string": "VARCHAR"}


def show(decided: Decided) -> None:
    """The view."""
    _show_precision(decided)
    found = [row["condition"] for row in answer(decided.survival(), corner=False) if row["by_policy"]]
    strata = [_ACCEPTED, *found]
    st.subheader("Review", anchor=False)
    left, right = st.columns(2)
    with left:
        stratum = choose("Among", strata, "stratum", names=lambda name: name.replace("_", " "))
    with right:
        name = person()
    pair_id = next_pair(decided.root, decided.decision, None if stratum == _ACCEPTED else stratum, name)
    if pair_id is None:
        st.success("You have answered for every pair here.", icon=":material/done_all:")
        return
    verdict = answer(decided.verdict(pair_id), corner=False)[0]
    pair = answer(decided.pairs_at([verdict["file_row_number"]]), corner=False)[0]
    left, right = st.columns([3, 2], gap="medium")
    with right:
        show_answers(decided, pair_id, name, drawn=True)
        show_verdict(verdict)
        st.text(printable(pair_id))
        show_scores(decided, pair_id)
    with left:
        show_pictures(pair)


def precision_question(decided: Decided) -> Question:
    """Votes by condition: `catalog/sql/review_precision.sql`."""
    path = reviews_path(decided.root, decided.build.name)
    columns = tuple((field.name, _TYPES[str(field.type)]) for field in REVIEWS)
    reviews = View("reviews", (path,) if path.is_file() and path.stat().st_size else (), columns)
    values = (("verdicts", verdicts_key(decided.decision)),)
    return Question(load_sql("review_precision"), (decided.verdicts(), reviews), values)


def _show_precision(decided: Decided) -> None:
    st.subheader("How precise each filter is", anchor=False)
    st.caption(
        "The share of the pairs that a condition rejects which people call bad, and of the accepted ones which they "
        f"call good; the line is the {100 * LEVEL:.0f} % interval (Clopper and Pearson). Only pairs that chance showed "
        "count, each with the vote of most people."
    )
    answer(precision_question(decided))  # what `estimate_precision` asks, for the corner
    rows = []
    for one in estimate_precision(decided.root, decided.decision):
        low, high = one.interval
        value = one.value
        text = "–" if value is None else f"{100 * value:.0f} %"
        marks = [] if value is None else [{"kind": "first", "value": value, "low": low, "high": high, "title": text}]
        interval = {"scale": [0, 1], "marks": marks} if marks else None
        words = "" if value is None else f"{100 * low:.1f} to {100 * high:.1f} %"
        counts = [number(one.num_pairs), str(one.num_votes), str(one.num_open), str(one.num_people)]
        rows.append([one.condition or _ACCEPTED, text, words, interval, *counts])
    columns = [("", "text"), ("precision", "number"), ("95 % interval", "number"), ("0 to 1", "interval")]
    columns += [("pairs", "number"), ("votes", "number"), ("open", "number"), ("people", "number")]
    table(columns, rows, key="precision")
    sql_corner()
