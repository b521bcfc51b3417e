"""Page Choose: people pick the best of what a checkpoint made, blind, for the stage of human alignment."""

from collections.abc import Sequence
from typing import get_args

import streamlit as st

from catalog.agreement import measure_agreement
from catalog.alignment_sets import MAX_PICKS, AlignmentSet, Item, Variant, list_alignment_sets
from catalog.choices import Choice, Progress, find_progress, list_people, read_choices, record
from catalog.chosen_pairs import Judges, choices_of
from catalog.command_line import printable
from catalog.digests import value_digest
from catalog.errors import UserError
from catalog.people import check_person
from infra.dashboard.components import choices, facts, table
from infra.dashboard.frame import (
    answer,
    begin,
    choose,
    number,
    page,
    person,
    pictures,
    short,
    sql_corner,
    tell,
    workspace,
)
from infra.dashboard.pictures import LARGE, why_not
from infra.dashboard.questions import Question, View, load_question

_VARIANT_SIDE = 384
_ANSWERS = (
    ("item_id", "VARCHAR"),
    ("person", "VARCHAR"),
    ("judge", "VARCHAR"),
    ("variants", "BIGINT[]"),
    ("shown", "VARCHAR"),
    ("number", "BIGINT"),
    ("recorded_at", "VARCHAR"),
)


@page
def show() -> None:
    """The page."""
    begin("Choose", "Pick the best edits of each picture, or none: chosen ones train the stage of human alignment.")
    root = workspace()
    names = list_alignment_sets(root)
    if not names:
        tell(
            "There is nothing to choose from yet.",
            "A checkpoint first makes several variants of each item, under different guidance.",
            "prefect deployment run align",
        )
        return
    left, right = st.columns(2)
    with left:
        alignment = AlignmentSet.read(root, choose("Set", names, "set"))
    with right:
        name = person()
    if not name:
        st.caption("Give your name first: answers are kept with it, and the order of the variants is yours.")
        return
    name = check_person(name)
    progress = find_progress(alignment, name)
    st.progress(progress.num_done / max(1, progress.num_items), f"{progress.num_done} of {progress.num_items} answered")
    if progress.num_stale:
        answers = "answer is" if progress.num_stale == 1 else "answers are"
        st.caption(f"{progress.num_stale} {answers} about pictures that the set no longer has, and not counted.")
    item_id = _which(alignment, progress.open_items)
    if item_id is None:
        _show_end(alignment)
    else:
        _show_item(alignment, alignment.item(item_id), name, progress)
    _show_people(alignment)


def _which(alignment: AlignmentSet, open_items: tuple[str, ...]) -> str | None:
    """The item in the address, else the first that is open."""
    wanted = st.query_params.get("item")
    if wanted in alignment.items:
        return wanted
    return open_items[0] if open_items else None


def _show_end(alignment: AlignmentSet) -> None:
    st.success("You have answered for every item of this set.", icon=":material/done_all:")
    if alignment.items:
        label, first = "Look through your answers", next(iter(alignment.items))
        st.button(label, icon=":material/history:", on_click=_go, args=(first,), key="look_through")
    st.caption("An answer can be given again; the earlier one is kept. Once everybody is done, the flow trains on it:")
    st.code("prefect deployment run align -p judges=people", language="bash")


def _next_open(alignment: AlignmentSet, progress: Progress, item_id: str) -> str | None:
    """The first open item after one, else the first before it; None: no other is open."""
    places = {one: place for place, one in enumerate(alignment.items)}
    others = [one for one in progress.open_items if one != item_id]
    return next((one for one in others if places[one] > places[item_id]), others[0] if others else None)


def _show_item(alignment: AlignmentSet, item: Item, name: str, progress: Progress) -> None:
    st.subheader("Instruction", anchor=False)
    st.text(printable(item.instruction))
    before = next((one for one in read_choices(alignment, name) if one.item_id == item.item_id), None)
    order = alignment.blind_order(name, item.item_id)
    places = list(alignment.items)
    place = places.index(item.item_id)
    following = _next_open(alignment, progress, item.item_id)
    st.caption(f"Item {place + 1:,} of {len(places):,}: {_say_answer(before, order)}.")
    try:
        source = pictures().image(item.source_image, LARGE)
        shown = [{"id": one.number, "data": pictures().image(one.image, _VARIANT_SIDE)} for one in order]
    except UserError as error:
        tell("This item cannot be shown.", why_not(error), kind="warning")
        _show_ways(places, place, following)
        return
    aspect = item.source_image["width"] / item.source_image["height"]
    chosen = list(before.variants) if before else []

    def keep(picked: list[int]) -> None:
        revised = before is not None and following is None  # then the answers are being looked through
        _record(alignment, item.item_id, name, picked, next(iter(places[place + 1 :]), None) if revised else following)

    # Picks that are not saved yet are one person's, of these pictures, and kept for that one under this name alone.
    key = f"choices-{value_digest([alignment.name, item.item_id, item.shown_digest, name])[:32]}"
    choices(source, shown, aspect, MAX_PICKS, chosen, before is not None, key, keep)
    if "choice_error" in st.session_state:
        tell("The answer was not recorded.", st.session_state.pop("choice_error"), kind="error")
    _show_ways(places, place, following)


def _say_answer(before: Choice | None, order: Sequence[Variant]) -> str:
    """What a person has answered, in the places that the variants have on the page."""
    if before is None:
        return "open"
    if not before.variants:
        return "you answered that none is good"
    shown = [str(place) for place, one in enumerate(order, 1) if one.number in before.variants]
    return f"you chose variant{'s' * (len(shown) > 1)} {' and '.join(shown)}"


def _show_ways(places: list[str], place: int, following: str | None) -> None:
    """To the other items, answered ones too."""
    ways = {
        "previous": ("Previous item", ":material/arrow_back:", places[place - 1] if place else None),
        "next_open": ("Next open item", ":material/skip_next:", following),
        "next": ("Next item", ":material/arrow_forward:", next(iter(places[place + 1 :]), None)),
    }
    *columns, last = st.columns(len(ways) + 1, vertical_alignment="bottom")
    for column, (key, (label, icon, to)) in zip(columns, ways.items(), strict=True):
        column.button(label, icon=icon, disabled=to is None, on_click=_go, args=(to,), width="stretch", key=key)
    st.session_state["item_place"] = place + 1

    def jump() -> None:
        _go(places[st.session_state["item_place"] - 1])

    last.number_input("Item", 1, len(places), key="item_place", on_change=jump)


def _record(alignment: AlignmentSet, item_id: str, name: str, picked: list[int], following: str | None) -> None:
    try:
        record(alignment, name, item_id, [int(one) for one in picked])
    except (UserError, OSError) as error:
        st.session_state["choice_error"] = str(error)
        return
    _go(following)


def _go(item_id: str | None) -> None:
    if item_id is None:
        st.query_params.pop("item", None)
    else:
        st.query_params["item"] = item_id


def _show_people(alignment: AlignmentSet) -> None:
    st.subheader("Answers so far", anchor=False)
    people = list_people(alignment)
    if not people:
        st.caption("None yet.")
        return
    for judges in get_args(Judges):
        of_kind = {name: judge for name, judge in people.items() if (judge is None) == (judges == "people")}
        if of_kind:
            _show_kind(alignment, judges, of_kind)
    answer(answers_question(alignment))
    sql_corner()


def _show_kind(alignment: AlignmentSet, judges: Judges, people: dict[str, str | None]) -> None:
    """What people, or simulated judges, have chosen and how far they agree: never the two together."""
    answers = choices_of(alignment, judges)
    given: dict[str, list[Choice]] = {one: [] for one in people}
    for one in answers:
        given[one.person].append(one)
    rows = [
        [name, people[name] or "a person", number(len(chosen))]
        + [number(sum(len(one.variants) == picks for one in chosen)) for picks in range(MAX_PICKS + 1)]
        for name, chosen in given.items()
    ]
    columns = [(judges, "text"), ("", "text"), ("items", "number"), ("none good", "number")]
    table([*columns, ("one", "number"), ("two", "number")], rows, key=f"people-{judges}")
    found = measure_agreement(alignment, answers)
    facts(
        [
            ("Items with two answers or more", number(found.num_items), f"of {judges} alone"),
            ("Agreement on variants", short(found.alpha_variants, 3), "Krippendorff's alpha; 0: as by chance"),
            ("Agreement on sets", short(found.alpha_sets, 3), "alpha with MASI distance"),
            ("Overlap", short(found.overlap, 3), "Jaccard, mean over pairs"),
        ],
        key=f"agreement-{judges}",
    )


def answers_question(alignment: AlignmentSet) -> Question:
    """The last answer of each person to each item, from the files that hold them."""
    paths = sorted((alignment.workspace.data / "choices" / alignment.name).glob("*/*.json"))
    view = View("answers", tuple(paths), _ANSWERS)
    return Question(load_question("choice_answers"), (view,))
