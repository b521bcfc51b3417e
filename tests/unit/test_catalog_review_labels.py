"""Review labels: kept for good whoever writes and whatever is killed, drawn fairly, and what they say of filters."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_policies import GAP, LOW, make_policy
from scipy import stats

from catalog.decisions import decide
from catalog.errors import ConfigError, ShardError
from catalog.journals import append_line
from catalog.manifests import Manifest
from catalog.review_labels import list_labels, next_pair, record_label, reviews_path
from catalog.review_precision import estimate_precision, exact_interval
from catalog.workspace import Workspace

WRITER = """
import sys
from pathlib import Path
from catalog.journals import append_line
number = 0
while True:
    append_line(Path(sys.argv[1]), {"who": sys.argv[2], "number": number, "text": "x" * 3000})
    number += 1
    print(number, flush=True)
"""


@pytest.fixture
def decision(workspace: Workspace, make_build: Any, make_pair: Any) -> Manifest:
    """40 pairs: 10 too low, 10 too far apart, 20 accepted."""
    pairs = [make_pair(f"pair-{number:02d}") for number in range(40)]
    values = [(5.0, 1.0), (9.0, 5.0), (5.0, 5.0), (5.0, 5.0)]
    scores = [
        {"pair_id": pair["pair_id"], "source_aesthetic": values[place % 4][0], "target_aesthetic": values[place % 4][1]}
        for place, pair in enumerate(pairs)
    ]
    make_build(workspace, pairs, scores)
    return decide(workspace, "build-ieiw", make_policy(LOW, GAP)).manifest


def test_two_writers_that_are_killed_lose_no_line_that_was_promised(tmp_path: Path) -> None:
    path = tmp_path / "reviews" / "x.jsonl"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("anna", "bernd")]
    time.sleep(1.0)
    promised = {}
    for name, writer in zip(("anna", "bernd"), writers, strict=True):
        os.kill(writer.pid, signal.SIGKILL)
        promised[name] = len(writer.communicate()[0].splitlines())
    append_line(path, {"who": "clara", "number": 0})
    lines = []
    for line in path.read_text().splitlines():
        lines.append(json.loads(line))
    for name, count in promised.items():
        assert count > 0
        numbers = [line["number"] for line in lines if line["who"] == name]
        assert numbers[:count] == list(range(count))
    assert lines[-1] == {"who": "clara", "number": 0}


def test_a_line_that_a_power_cut_tore_is_passed_over(workspace: Workspace, decision: Manifest) -> None:
    record_label(workspace, decision, "pair-02", "good", "anna", drawn=True)
    path = reviews_path(workspace, "build-ieiw")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    record_label(workspace, decision, "pair-03", "bad", "anna", drawn=True)
    assert path.read_bytes().startswith(whole)
    found = list_labels(workspace, decision, ["pair-02", "pair-03"])
    assert [(row["pair_id"], row["answer"]) for row in found] == [("pair-02", "good"), ("pair-03", "bad")]


@pytest.mark.parametrize("change", [{"person": {}}, {"drawn": "yes"}, {"answer": "great"}, {"pair_id": None}, None])
def test_a_line_that_is_not_torn_is_named(workspace: Workspace, decision: Manifest, change: dict[str, Any]) -> None:
    record_label(workspace, decision, "pair-02", "good", "anna", drawn=True)
    path = reviews_path(workspace, "build-ieiw")
    whole = path.read_text()
    path.write_text(
        whole + (json.dumps(json.loads(whole) | change) if change else whole.replace(":", ";").strip()) + "\n"
    )
    with pytest.raises(ShardError, match=r"build-ieiw\.jsonl, line 2, must be an answer about a pair: mend or remove"):
        list_labels(workspace, decision, ["pair-02"])


def test_everybody_goes_through_a_stratum_in_one_order_and_once(workspace: Workspace, decision: Manifest) -> None:
    orders = []
    for person in ("anna", "bernd"):
        order = []
        while (pair_id := next_pair(workspace, decision, "low", person)) is not None:
            record_label(workspace, decision, pair_id, "bad", person, drawn=True)
            order.append(pair_id)
        orders.append(order)
    assert next_pair(workspace, decision, "low", "") == orders[0][0]  # who has not given a name yet
    assert orders[0] == orders[1] and orders[0] != sorted(orders[0])
    assert sorted(orders[0]) == [f"pair-{number:02d}" for number in range(0, 40, 4)]


def test_precision_counts_votes_of_drawn_pairs(workspace: Workspace, decision: Manifest) -> None:
    answers = {  # pair: answers by person, whether chance drew it
        "pair-00": ({"anna": "bad", "bernd": "bad", "clara": "good"}, True),  # low, right
        "pair-04": ({"anna": "good"}, True),  # low, wrong
        "pair-08": ({"anna": "good", "bernd": "bad"}, True),  # low, divided
        "pair-12": ({"anna": "unsure"}, True),  # low, nobody knows
        "pair-16": ({"anna": "bad"}, False),  # low, but somebody picked it
        "pair-02": ({"anna": "good"}, True),  # accepted, right
        "pair-03": ({"anna": "bad"}, True),  # accepted, wrong
    }
    for pair_id, (given_answers, drawn) in answers.items():
        for person, answer in given_answers.items():
            record_label(workspace, decision, pair_id, "bad" if answer == "good" else "good", person, drawn=drawn)
            record_label(workspace, decision, pair_id, answer, person, drawn=drawn)  # the last one counts
    found = {one.condition: one for one in estimate_precision(workspace, decision)}
    low, accepted, gap = found["low"], found[None], found["gap"]
    assert (low.num_pairs, low.num_right, low.num_wrong, low.num_open, low.num_people) == (10, 1, 1, 2, 3)
    assert (accepted.num_pairs, accepted.num_right, accepted.num_wrong) == (20, 1, 1)
    assert low.value == 0.5 and low.interval == exact_interval(1, 2)
    assert (gap.num_votes, gap.value, gap.interval) == (0, None, (0.0, 1.0))
    other = decide(workspace, "build-ieiw", make_policy(LOW, GAP, version=2)).manifest
    assert all(one.num_votes == 0 for one in estimate_precision(workspace, other))  # another decision


@given(st.integers(1, 60), st.data())
def test_interval_is_clopper_and_pearsons(total: int, data: Any) -> None:
    right = data.draw(st.integers(0, total))
    low, high = exact_interval(right, total)
    if right:
        assert stats.binom.sf(right - 1, total, low) == pytest.approx(0.025)
    else:
        assert low == 0
    if right < total:
        assert stats.binom.cdf(right, total, high) == pytest.approx(0.025)
    else:
        assert high == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "great"}, "an answer is one of good, bad, unsure. Got 'great'"),
        ({"person": " "}, "a person's name must be 1 to 80 printable characters"),
        ({"person": "a\x1b[2J"}, "printable"),
        ({"pair_id": "nobody"}, "has no verdict on 'nobody'"),
    ],
)
def test_what_is_no_label_is_refused(
    workspace: Workspace, decision: Manifest, change: dict[str, str], message: str
) -> None:
    values = {"pair_id": "pair-02", "answer": "good", "person": "anna"} | change
    with pytest.raises(ConfigError, match=message):
        record_label(workspace, decision, values["pair_id"], values["answer"], values["person"], drawn=False)
    assert not reviews_path(workspace, "build-ieiw").exists()
