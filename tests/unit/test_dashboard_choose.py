"""The page on which people choose among variants, driven through Streamlit's own test client."""

import json
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from alignment_cases import make_alignment_set
from streamlit.testing.v1 import AppTest

from catalog.agreement import measure_agreement
from catalog.alignment_sets import AlignmentSet
from catalog.choices import record
from catalog.chosen_pairs import choices_of
from infra.dashboard.frame import short

SCRIPT = "from infra.dashboard import choose_page\nchoose_page.show()\n"


@pytest.fixture
def alignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AlignmentSet:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    monkeypatch.setenv("USER", "operator")
    return make_alignment_set(tmp_path, num_items=3, num_variants=3)


def page(person: str) -> AppTest:
    app = AppTest.from_string(SCRIPT, default_timeout=60)
    app.query_params["person"] = person
    return app.run()


def parts(app: AppTest, name: str) -> list[dict[str, Any]]:
    """What components of one kind were given."""
    assert not app.exception
    found = [one.proto for one in app.main if one.type == "bidi_component"]
    return [json.loads(one.json) for one in found if one.component_name.endswith(f"ieiw_{name}")]


def instruction(app: AppTest) -> str:
    return next(one.value for one in app.text if one.value.startswith("remove"))


def test_picks_that_are_not_saved_stay_with_person_and_pictures(alignment: AlignmentSet) -> None:
    app = page("anna")
    first = parts(app, "choices")[0]["item"]
    assert parts(page("anna"), "choices")[0]["item"] == first
    second = parts(app.text_input(key="person").input("bernd").run(), "choices")[0]["item"]
    make_alignment_set(alignment.workspace.home, num_items=3, num_variants=3, version=1)
    third = parts(page("anna"), "choices")[0]["item"]
    assert len({first, second, third}) == 3  # choices.js forgets its picks when ``item`` changes


def test_next_open_item_skips_the_one_shown_and_goes_round(alignment: AlignmentSet) -> None:
    record(alignment, "anna", "item-1", [])
    app = page("anna")
    seen = [instruction(app)]
    for _ in range(2):
        app = app.button(key="next_open").click().run()
        seen.append(instruction(app))
    assert [one[-1] for one in seen] == ["0", "2", "0"]
    record(alignment, "anna", "item-2", [1])
    assert page("anna").button(key="next_open").disabled  # no other is open


def test_answers_can_be_looked_through_after_the_last(alignment: AlignmentSet) -> None:
    for item, variants in {"item-0": [2, 0], "item-1": [], "item-2": [1]}.items():
        record(alignment, "anna", item, variants)
    app = page("anna")
    assert "You have answered for every item" in app.success[0].value and not parts(app, "choices")
    app = app.button(key="look_through").click().run()
    seen = [(instruction(app)[-1], place(app), parts(app, "choices")[0]["chosen"])]
    assert app.button(key="previous").disabled and app.button(key="next_open").disabled
    for _ in range(2):
        app = app.button(key="next").click().run()
        seen.append((instruction(app)[-1], place(app), parts(app, "choices")[0]["chosen"]))
    assert app.button(key="next").disabled
    orders = [[one.number for one in alignment.blind_order("anna", f"item-{item}")] for item in range(3)]
    first = " and ".join(str(one) for one in sorted(orders[0].index(number) + 1 for number in (0, 2)))
    assert seen == [
        ("0", f"Item 1 of 3: you chose variants {first}.", [0, 2]),
        ("1", "Item 2 of 3: you answered that none is good.", []),
        ("2", f"Item 3 of 3: you chose variant {orders[2].index(1) + 1}.", [1]),
    ]
    app = app.button(key="previous").click().run()
    assert instruction(app)[-1] == "1"
    app = app.number_input(key="item_place").set_value(1).run()
    assert instruction(app)[-1] == "0"
    record(alignment, "anna", "item-0", [])
    assert place(app.run()) == "Item 1 of 3: you answered that none is good."


def place(app: AppTest) -> str:
    return next(one.value for one in app.caption if one.value.startswith("Item "))


def test_an_item_without_pictures_can_be_passed(alignment: AlignmentSet) -> None:
    for path in (alignment.workspace.data).rglob("*.tar"):
        path.unlink()
    app = page("anna")
    assert place(app) == "Item 1 of 3: open." and not parts(app, "choices")
    assert place(app.button(key="next").click().run()) == "Item 2 of 3: open."


def test_people_and_programs_are_never_mixed(alignment: AlignmentSet) -> None:
    for item, chosen in {"item-0": ([0], [0, 1]), "item-1": ([], [2])}.items():
        for person, variants in zip(("anna", "bernd"), chosen, strict=True):
            record(alignment, person, item, variants)
        for program in ("one", "two"):
            record(alignment, program, item, [2], judge="simulated@1")
    app = page("anna")
    people, programs = parts(app, "table")
    assert [row[0] for row in people["rows"]] == ["anna", "bernd"]
    assert [row[:2] for row in programs["rows"]] == [["one", "simulated@1"], ["two", "simulated@1"]]
    for tiles, judges in zip(parts(app, "facts"), ("people", "simulated"), strict=True):
        found = measure_agreement(alignment, choices_of(alignment, judges))
        assert [one["value"] for one in tiles["items"]] == [
            "2",
            *(short(value, 3) for value in (found.alpha_variants, found.alpha_sets, found.overlap)),
        ]


@pytest.mark.parametrize(
    ("address", "name"), [("127.0.0.1", "operator"), ("::1", "operator"), ("0.0.0.0", ""), ("example.org", "")]
)
def test_the_operators_name_is_proposed_on_this_machine_alone(
    alignment: AlignmentSet, monkeypatch: pytest.MonkeyPatch, address: str, name: str
) -> None:
    get_option = st.get_option
    monkeypatch.setattr(st, "get_option", lambda key: address if key == "server.address" else get_option(key))
    assert AppTest.from_string(SCRIPT, default_timeout=60).run().text_input(key="person").value == name
