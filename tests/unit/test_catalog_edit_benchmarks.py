"""Edit benchmarks: what people say of proposed samples, kept for good, and what it comes to."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from catalog.cleaning import remove_generated
from catalog.edit_benchmarks import (
    CANDIDATES,
    candidates_path,
    confirmations_path,
    count_states,
    list_disputed,
    list_edit_benchmarks,
    next_candidate,
    proposal_digest,
    read_candidates,
    read_confirmations,
    record_confirmation,
    settle,
)
from catalog.errors import ConfigError, ShardError
from catalog.parquet_streams import write_stream
from catalog.workspace import Workspace

REMOVAL, ADDITION = "object_removal", "object_addition"
NAME = "edits"


def candidate(number: int, **given: Any) -> dict[str, Any]:
    row = dict.fromkeys(CANDIDATES.names) | {"pair_id": f"pair-{number}", "instruction": f"remove dog {number}"}
    row |= {"source_caption": "a dog", "target_caption": "a lawn", "proposed_class": REMOVAL}
    for side in ("source_image", "target_image"):
        place = {"root": "made", "path": "x", "offset": 0, "length": 1, "width": 8, "height": 8}
        row[side] = {**place, "sha256": f"{side}-{number}"}
    row |= given
    return row | {"proposal": proposal_digest(row)}


def write(workspace: Workspace, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=CANDIDATES)
    footer = {"num_rows": len(rows), "num_usable": len(rows)}
    write_stream(candidates_path(workspace, NAME), "edit_candidates", CANDIDATES, table.to_batches(), footer, len(rows))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    write(workspace, [*map(candidate, range(4)), candidate(4, reason="missing_file")])
    return workspace


def states(workspace: Workspace) -> dict[str, tuple[str, str | None]]:
    found = settle(read_candidates(workspace, NAME), read_confirmations(workspace, NAME))
    return {pair_id: (one.state, one.edit_class) for pair_id, one in found.items()}


def say(workspace: Workspace, number: int, answer: str, person: str, caption: str | None = None) -> None:
    record_confirmation(workspace, NAME, read_candidates(workspace, NAME)[number], answer, person, caption)


def test_the_last_answer_of_each_person_counts_and_people_may_disagree(workspace: Workspace) -> None:
    assert list_edit_benchmarks(workspace) == [NAME]
    assert set(states(workspace)) == {f"pair-{number}" for number in range(4)}  # the unusable one is nobody's
    for number, answer, person in [
        (0, REMOVAL, "anna"),
        (1, REMOVAL, "anna"),
        (1, ADDITION, "bert"),
        (2, ADDITION, "anna"),
        (2, "left_out", "anna"),
        (1, ADDITION, "anna"),
        (0, ADDITION, "bert"),
    ]:
        say(workspace, number, answer, person)
    assert states(workspace) == {
        "pair-0": ("disputed", None),
        "pair-1": ("confirmed", ADDITION),
        "pair-2": ("left_out", None),
        "pair-3": ("open", None),
    }
    settled = settle(read_candidates(workspace, NAME), read_confirmations(workspace, NAME))
    counts = {"open": 1, "disputed": 1, "left_out": 1, "confirmed": 1}
    assert count_states(settled) == counts | {"object_replacement": 0, REMOVAL: 0, ADDITION: 1}
    assert len(read_confirmations(workspace, NAME)) == 7  # nothing is taken back


def test_captions_in_a_persons_words(workspace: Workspace) -> None:
    say(workspace, 0, REMOVAL, "anna", "a lawn")  # as proposed
    say(workspace, 1, REMOVAL, "anna", "an empty lawn ")
    say(workspace, 1, REMOVAL, "bert")
    found = settle(read_candidates(workspace, NAME), read_confirmations(workspace, NAME))
    assert [found[f"pair-{number}"].target_caption for number in (0, 1)] == [None, "an empty lawn"]
    assert found["pair-1"].people == ("anna", "bert")


def test_an_answer_about_another_proposal_does_not_count(workspace: Workspace) -> None:
    say(workspace, 0, REMOVAL, "anna")
    rows = read_candidates(workspace, NAME)
    rows[0] = candidate(0, target_caption="a lawn at night")
    write(workspace, rows)
    assert states(workspace)["pair-0"] == ("open", None)
    answers = read_confirmations(workspace, NAME)
    assert next_candidate(read_candidates(workspace, NAME), answers, "anna")["pair_id"] == "pair-0"


def test_an_answer_counts_again_when_its_proposal_comes_back(workspace: Workspace) -> None:
    first = read_candidates(workspace, NAME)
    say(workspace, 0, REMOVAL, "anna")
    write(workspace, [candidate(0, target_caption="a lawn at night"), *first[1:]])
    say(workspace, 0, ADDITION, "anna")
    write(workspace, first)
    assert states(workspace)["pair-0"] == ("confirmed", REMOVAL)
    answers = read_confirmations(workspace, NAME)
    assert next_candidate(first, answers, "anna")["pair_id"] == "pair-1"  # what is settled is what was answered


def test_what_people_differ_on_is_listed_until_they_agree(workspace: Workspace) -> None:
    say(workspace, 1, REMOVAL, "bert")
    say(workspace, 1, ADDITION, "anna")
    candidates = read_candidates(workspace, NAME)
    ((row, given),) = list_disputed(candidates, read_confirmations(workspace, NAME))
    assert row["pair_id"] == "pair-1"
    assert [(one.person, one.answer) for one in given] == [("anna", ADDITION), ("bert", REMOVAL)]
    say(workspace, 1, REMOVAL, "anna")
    assert list_disputed(candidates, read_confirmations(workspace, NAME)) == []


ANSWER = {
    "pair_id": "pair-0",
    "proposal": "p",
    "answer": REMOVAL,
    "target_caption": None,
    "person": "a",
    "given_at": "x",
}


@pytest.mark.parametrize(
    "line",
    [
        *(json.dumps(ANSWER | change) for change in ({"person": {}}, {"answer": []}, {"given_at": 3}, {"more": "x"})),
        json.dumps(ANSWER | {"person": "\ud800"}),
        json.dumps(ANSWER).replace(":", ";", 1),  # a line that is whole and wrong is not torn
        json.dumps(ANSWER)[1:],
        "[" * 5000,
        '{"pair_id": NaN}',
    ],
)
def test_a_line_that_is_not_torn_is_named_and_never_dropped(workspace: Workspace, line: str) -> None:
    say(workspace, 0, REMOVAL, "anna")
    path = confirmations_path(workspace, NAME)
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(ShardError, match=r"confirmations\.jsonl, line 3, must be an answer about a sample: mend"):
        read_confirmations(workspace, NAME)


def test_everybody_is_shown_what_they_have_not_answered(workspace: Workspace) -> None:
    candidates = read_candidates(workspace, NAME)
    for number in range(4):
        answers = read_confirmations(workspace, NAME)
        assert next_candidate(candidates, answers, " anna ")["pair_id"] == f"pair-{number}"
        say(workspace, number, REMOVAL, "anna")
    answers = read_confirmations(workspace, NAME)
    assert next_candidate(candidates, answers, "anna") is None
    assert next_candidate(candidates, answers, "bert")["pair_id"] == "pair-0"


def _answer_often(home: str, person: str) -> None:
    workspace = Workspace(Path(home))
    row = read_candidates(workspace, NAME)[0]
    for number in range(60):
        record_confirmation(workspace, NAME, row, REMOVAL, person, f"caption {number} by {person}")


def test_two_people_at_once_lose_nothing(workspace: Workspace) -> None:
    context = multiprocessing.get_context("fork")
    people = [context.Process(target=_answer_often, args=(str(workspace.home), name)) for name in ("anna", "bert")]
    for one in people:
        one.start()
    for one in people:
        one.join()
        assert one.exitcode == 0
    answers = read_confirmations(workspace, NAME)
    for name in ("anna", "bert"):
        own = [one.target_caption for one in answers if one.person == name]
        assert own == [f"caption {number} by {name}" for number in range(60)]


def test_a_torn_line_is_passed_over_and_the_next_answer_kept(workspace: Workspace) -> None:
    say(workspace, 0, REMOVAL, "anna")
    path = confirmations_path(workspace, NAME)
    path.write_bytes(path.read_bytes() + b'{"pair_id":"pair-1","ans')
    say(workspace, 2, ADDITION, "anna")
    assert [one.pair_id for one in read_confirmations(workspace, NAME)] == ["pair-0", "pair-2"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"answer": "nonsense"}, "an answer is one of object_replacement, object_removal, object_addition, left_out"),
        ({"person": "  "}, "a person's name must be 1 to 80 printable characters"),
        ({"person": "a\nb"}, "a person's name must be 1 to 80 printable characters"),
        ({"caption": "two\nlines"}, "a caption is one line"),
        ({"caption": " "}, "a caption is one line"),
        ({"number": 4}, r"cannot be used \(missing_file\)"),
    ],
)
def test_answers_that_cannot_be_kept(workspace: Workspace, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        say(workspace, **({"number": 0, "answer": REMOVAL, "person": "anna"} | given))
    assert not confirmations_path(workspace, NAME).exists()


def test_files_that_are_not_right_are_one_sentence(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*candidates\.parquet: propose samples first"):
        read_candidates(workspace, "others")
    with pytest.raises(ShardError, match="lower-case letters"):
        read_candidates(workspace, "../others")
    path = confirmations_path(workspace, NAME)
    path.write_text(json.dumps({"pair_id": "pair-0", "answer": REMOVAL}) + "\n")
    with pytest.raises(ShardError, match=r"line 1, must be an answer about a sample"):
        read_confirmations(workspace, NAME)
    candidates_path(workspace, NAME).write_bytes(b"PAR1 torn")
    with pytest.raises(ShardError, match="is torn or not Parquet"):
        read_candidates(workspace, NAME)


def test_cleaning_leaves_what_people_said(workspace: Workspace) -> None:
    say(workspace, 0, REMOVAL, "anna")
    workspace.runs.mkdir()
    assert remove_generated(workspace) == [workspace.runs]
    assert states(workspace)["pair-0"] == ("confirmed", REMOVAL)
