"""Everything about one pair: pictures, instruction, scores, verdict, what people said, and the explanation."""

from typing import Any

import streamlit as st

from catalog.command_line import printable
from catalog.errors import RowRejected, UserError
from catalog.explanation import explain
from catalog.explanation_words import in_words
from catalog.review_labels import ANSWERS, list_labels, record_label
from infra.dashboard.components import compare, table
from infra.dashboard.decided import Decided
from infra.dashboard.frame import answer, person, pictures, short, sql_corner, tell
from infra.dashboard.pictures import LARGE, why_not
from infra.dashboard.questions import Question

_SHORTCUTS = {"good": "g", "bad": "b", "unsure": "u"}
_ICONS = {"good": ":material/thumb_up:", "bad": ":material/thumb_down:", "unsure": ":material/help:"}


def show_pair(decided: Decided, pair_id: str) -> None:
    """One pair in full, with a way back."""
    st.button("Back to the pairs", icon=":material/arrow_back:", on_click=_close, shortcut="Escape")
    found = answer(decided.verdict(pair_id))
    if not found:
        tell("There is no such pair.", f"{pair_id} is not in build {decided.build.name}.", kind="warning")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        show_pictures(answer(decided.pairs_at([found[0]["file_row_number"]]))[0])
    with right:
        show_verdict(found[0])
        show_answers(decided, pair_id, person(), drawn=False)
        show_scores(decided, pair_id)
    sql_corner()
    _explain(decided, pair_id)


def show_pictures(pair: dict[str, Any]) -> None:
    """Instruction, the two pictures on one another, and the masks as layers."""
    image = pair["source_image"]
    try:
        source, target, words = pictures().pair(pair, LARGE)
    except UserError as error:
        st.text(printable(pair["instruction"] or pair["phrase"] or ""))
        tell("The pictures cannot be shown.", str(error), kind="warning")
        return
    st.subheader("Instruction", anchor=False)
    st.text(printable(words or "none"))
    is_drawn = pair["target_image"] is None and target is not None
    layers = []
    for name, column, is_on in (("change mask", "edit_mask", False), ("region", "mask", False)):
        if pair[column] is not None and not is_drawn:
            try:
                layers.append((name, pictures().mask(pair[column], LARGE), is_on))
            except RowRejected as error:
                st.text(printable(f"{name}: {why_not(error)}"))
    missing = f"no target: {pair['reason']}" if pair["reason"] else "no target"
    compare(
        ("source", source),
        None if target is None else ("target", target),
        1.0 if is_drawn else image["width"] / image["height"],
        layers,
        missing,
        key=f"compare-{pair['pair_id']}",
    )


def show_verdict(verdict: dict[str, Any]) -> None:
    """What became of the pair."""
    if verdict["condition"] is None:
        st.badge("accepted", color="green", icon=":material/check:")
    else:
        st.badge("rejected" if verdict["score"] else "not usable", color="red", icon=":material/block:")
        st.text(f"{verdict['condition']}: {short(verdict['value'])}, threshold {short(verdict['threshold'])}")


def show_scores(decided: Decided, pair_id: str) -> None:
    """The pair's scores beside the conditions that look at them."""
    rows = answer(Question("SELECT * FROM scores WHERE pair_id = $id", (decided.scores(),), (("id", pair_id),)))
    if not rows:
        st.caption("Not scored: only usable pairs of image editing are.")
        return
    scores, lines = rows[0], []
    for item in decided.policy.conditions:
        value, limit = item.value(scores), decided.thresholds[item.name]
        relation = "at least" if item.wants_large else "at most"
        holds = "holds" if item.holds(value, limit) else "fails"
        lines.append([item.name, short(value), f"{relation} {short(limit)}", holds])
    columns = [("condition", "text"), ("value", "number"), ("wants", "text"), ("", "text")]
    table(columns, lines, key=f"conditions-{pair_id}")
    names = [name for name in scores if isinstance(scores[name], float)]
    table([("score", "text"), ("value", "number")], [[one, short(scores[one])] for one in names], f"scores-{pair_id}")


def show_answers(decided: Decided, pair_id: str, name: str, *, drawn: bool) -> None:
    """Buttons that record an answer, and the answers so far."""
    st.caption("Should a model be trained on this pair? Keys: G, B, U.")
    for column, choice in zip(st.columns(len(ANSWERS)), ANSWERS, strict=True):
        column.button(
            choice.capitalize(),
            key=f"answer-{choice}",
            icon=_ICONS[choice],
            shortcut=_SHORTCUTS[choice],
            width="stretch",
            disabled=not name,
            on_click=_record,
            args=(decided, pair_id, choice, name, drawn),
        )
    if not name:
        st.caption("Give your name first: answers are kept with it.")
    if "review_error" in st.session_state:
        tell("The answer was not recorded.", st.session_state.pop("review_error"), kind="error")
    if answers := list_labels(decided.root, decided.decision, [pair_id]):
        rows = [[row["person"], row["answer"], row["given_at"][:16].replace("T", " ")] for row in answers]
        table([("who", "text"), ("answer", "text"), ("when, UTC", "text")], rows, key=f"answers-{pair_id}")


def _record(decided: Decided, pair_id: str, choice: str, name: str, drawn: bool) -> None:
    try:
        record_label(decided.root, decided.decision, pair_id, choice, name, drawn=drawn)
    except (UserError, OSError) as error:
        st.session_state["review_error"] = str(error)


def _explain(decided: Decided, pair_id: str) -> None:
    if st.toggle(
        "Explain: source, steps, backends, prompts, seeds, verdicts, mixes", key="explain", bind="query-params"
    ):
        words = in_words(explain(decided.root, pair_id, decided.build.name))
        st.code(words, language=None, wrap_lines=True)
        st.code(f"python -m catalog explain {pair_id} --build {decided.build.name}", language="bash")


def _close() -> None:
    st.query_params.pop("pair", None)
