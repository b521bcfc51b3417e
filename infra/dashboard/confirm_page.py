"""Page Confirm: people say which edit a proposed benchmark sample is, or that it is none (paper section 4.5)."""

from typing import Any

import streamlit as st

from catalog.command_line import printable
from catalog.edit_benchmarks import (
    ANSWERS,
    CLASSES,
    LEFT_OUT,
    Confirmation,
    Row,
    count_states,
    list_disputed,
    list_edit_benchmarks,
    next_candidate,
    read_candidates,
    read_confirmations,
    record_confirmation,
    settle,
)
from catalog.errors import UserError
from catalog.workspace import Workspace
from infra.dashboard.components import compare, table
from infra.dashboard.frame import begin, choose, page, person, pictures, tell, workspace
from infra.dashboard.pictures import LARGE, why_not

_NAMES = {
    "object_replacement": "Replaces",
    "object_removal": "Removes",
    "object_addition": "Adds",
    LEFT_OUT: "Leave out",
}
_SHORTCUTS = {"object_replacement": "1", "object_removal": "2", "object_addition": "3", LEFT_OUT: "0"}
_ERROR = "confirm_error"


@page
def show() -> None:
    """The page."""
    begin("Confirm", "Say which edit each proposed sample of the edit benchmark is: Table 5 takes confirmed ones.")
    root = workspace()
    names = list_edit_benchmarks(root)
    if not names:
        tell(
            "There is nothing to confirm yet.",
            "Samples are proposed from held-out edits, with captions and a class by rule.",
            "prefect deployment run build-edit-benchmark",
        )
        return
    left, right = st.columns(2)
    with left:
        name = choose("Benchmark", names, "benchmark")
    with right:
        who = person()
    candidates, answers = read_candidates(root, name), read_confirmations(root, name)
    if not who:
        st.caption("Give your name first: answers are kept with it.")
    else:
        _show_open(root, name, candidates, answers, who)
    _show_counts(candidates, answers)


def _show_open(root: Workspace, name: str, candidates: list[Row], answers: list[Confirmation], who: str) -> None:
    usable = [row for row in candidates if row["reason"] is None]
    done = {(one.pair_id, one.proposal) for one in answers if one.person == who}
    num_done = sum((row["pair_id"], row["proposal"]) in done for row in usable)
    st.progress(num_done / max(1, len(usable)), f"{num_done} of {len(usable)} answered")
    disputed = list_disputed(candidates, answers)
    row: Row | None
    if disputed and st.toggle(f"Answer again where people differ ({len(disputed)})", key="confirm-again"):
        row = _choose_disputed(disputed)
    else:
        row = next_candidate(candidates, answers, who)
    if row is None:
        st.success("You have answered for every sample.", icon=":material/done_all:")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        seen = _show_pictures(row)
    with right:
        _ask(root, name, row, who, seen)


def _choose_disputed(disputed: list[tuple[Row, list[Confirmation]]]) -> Row:
    by_id = {row["pair_id"]: (row, given) for row, given in disputed}
    row, given = by_id[choose("Sample", list(by_id), "disputed", printable)]
    st.text(printable("; ".join(f"{one.person}: {_NAMES[one.answer].lower()}" for one in given)))
    return row


def _show_pictures(row: Row) -> bool:
    """Whether they could be shown."""
    st.subheader("Instruction", anchor=False)
    st.text(printable(row["instruction"]))
    image = row["source_image"]
    try:
        source, target = (pictures().image(row[side], LARGE) for side in ("source_image", "target_image"))
    except UserError as error:
        tell("The pictures cannot be shown.", why_not(error), kind="warning")
        return False
    aspect = image["width"] / image["height"]
    compare(("source", source), ("target", target), aspect, [], "no target", key=f"confirm-{row['pair_id']}")
    return True


def _ask(root: Workspace, name: str, row: Row, who: str, seen: bool) -> None:
    proposed = _NAMES[row["proposed_class"]] if row["proposed_class"] else "left to you"
    st.text(f"By rule: {proposed}\n{printable(row['why'])}")
    st.text(f"Before: {printable(row['source_caption'])}")
    key = f"caption-{row['proposal']}-{who}"  # words not sent yet are one person's
    st.text_input("The edited picture in words", value=row["target_caption"], key=key, max_chars=400)
    st.caption("What does the edit do? Keys: 1, 2, 3, and 0 for a sample that is none of these, or bad.")
    for answer in ANSWERS:
        st.button(
            _NAMES[answer],
            key=f"confirm-{answer}",
            shortcut=_SHORTCUTS[answer],
            type="primary" if answer == row["proposed_class"] else "secondary",
            width="stretch",
            disabled=not seen and answer != LEFT_OUT,  # nobody confirms what was not seen
            on_click=_record,
            args=(root, name, row, answer, who, key),
        )
    if _ERROR in st.session_state:
        tell("The answer was not recorded.", st.session_state.pop(_ERROR), kind="error")


def _record(root: Workspace, name: str, row: Row, answer: str, who: str, key: str) -> None:
    try:
        record_confirmation(root, name, row, answer, who, st.session_state.get(key))
    except (UserError, OSError) as error:
        st.session_state[_ERROR] = str(error)


def _show_counts(candidates: list[Row], answers: list[Confirmation]) -> None:
    st.subheader("Answers so far", anchor=False)
    settled = settle(candidates, answers)
    counts = count_states(settled)
    lines: list[list[Any]] = [[name.replace("_", " "), counts[name]] for name in counts]
    lines += [["cannot be used", sum(row["reason"] is not None for row in candidates)]]
    table([("", "text"), ("samples", "number")], [[name, str(count)] for name, count in lines], key="confirm-counts")
    if counts["disputed"]:
        st.caption("What people differ on counts when their last answers agree: answer again above.")
    st.caption(f"{sum(counts[name] for name in CLASSES)} confirmed. To write the benchmark:")
    st.code("python -m evaluation edits finish", language="bash")
