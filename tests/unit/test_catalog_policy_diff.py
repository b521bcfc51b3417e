"""Differences of two policies against plain set differences, and the waterfall's picture against its numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog.command_line import run
from catalog.commands import main
from catalog.decisions import Decision, decide, list_decisions
from catalog.policies import Policy
from catalog.policy_diff import diff_policies
from catalog.waterfall import write_waterfall
from catalog.workspace import HOME_VARIABLE, Workspace

CONDITIONS = [
    {"name": "low", "score": "target_aesthetic", "minimum": 4.0},
    {"name": "gap", "difference": ["source_aesthetic", "target_aesthetic"], "maximum": 1.0},
    {"name": "tail", "score": "target_aesthetic", "quantile": 0.3, "side": "low"},
    {"name": "high", "score": "target_aesthetic", "maximum": 6.0},
]
numbers = st.one_of(st.none(), st.integers(0, 16).map(lambda value: value / 2))
policies = st.lists(st.sampled_from(CONDITIONS), unique_by=lambda item: item["name"], max_size=4)


def make_policy(conditions: list[dict[str, Any]], name: str = "test", version: int = 1) -> Policy:
    return Policy.parse({"name": name, "version": version, "condition": conditions}, "test")


def verdicts(workspace: Workspace, decision: Decision) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(decision.manifest.paths(workspace, "verdicts")[0]).to_pylist()
    return {row["pair_id"]: row for row in rows}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores=st.lists(st.tuples(numbers, numbers, st.sampled_from([None, "no_change"])), min_size=1, max_size=12),
    first=policies,
    second=policies,
)
def test_a_diff_is_the_difference_of_two_sets(
    tmp_path_factory: Any, make_build: Any, make_pair: Any, scores: Any, first: Any, second: Any
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("diff"))
    pairs = [make_pair(f"p{i:02d}", reason=reason) for i, (_, _, reason) in enumerate(scores)]
    rows = [
        {"pair_id": f"p{i:02d}", "source_aesthetic": source, "target_aesthetic": target}
        for i, (source, target, _) in enumerate(scores)
    ]
    make_build(workspace, pairs, rows)
    diff = diff_policies(workspace, "build-ieiw", make_policy(first), make_policy(second, version=2))
    before, after = verdicts(workspace, diff.first), verdicts(workspace, diff.second)
    accepted = [{key for key, row in one.items() if row["accepted"]} for one in (before, after)]
    assert set(diff.changes.gained) == accepted[1] - accepted[0]
    assert set(diff.changes.lost) == accepted[0] - accepted[1]
    moves: dict[Any, int] = {}
    for key in before:
        move = before[key]["condition"], after[key]["condition"]
        moves[move] = moves.get(move, 0) + 1
    assert diff.moves == moves and sum(moves.values()) == len(pairs)
    assert diff.changes.lost_to == {two: n for (one, two), n in moves.items() if one is None and two is not None}
    gained = {one: n for (one, two), n in moves.items() if two is None and one is not None}
    assert diff.changes.gained_from == gained
    assert not list_decisions(workspace, "build-ieiw")  # nothing goes on record


@pytest.fixture
def home(workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(HOME_VARIABLE, str(workspace.home))
    pairs = [make_pair(f"p{i:02d}", reason="no_change" if i >= 16 else None) for i in range(20)]
    scores = [{"pair_id": f"p{i:02d}", "source_aesthetic": 5.0, "target_aesthetic": i / 2} for i in range(16)]
    make_build(workspace, pairs, scores)
    for version, minimum in ((1, 4.0), (2, 6.0)):
        text = f'name = "test"\nversion = {version}\n[[condition]]\nname = "low"\nscore = "target_aesthetic"\n'
        (workspace.home / f"v{version}.toml").write_text(f"{text}minimum = {minimum}\n")
    return workspace


def test_the_command_takes_files_and_names(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = str(home.home / "v1.toml"), str(home.home / "v2.toml")
    assert run(main, ["decide", "--policy", first]) == 0
    capsys.readouterr()
    assert run(main, ["diff", "test", second, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["newly_rejected"] == ["p08", "p09", "p10", "p11"] and found["newly_accepted"] == []
    assert found["newly_rejected_by_condition"] == {"low": 4}
    assert found["num_accepted"] == [8, 4] and found["num_pairs"] == 20
    assert run(main, ["diff", second, "test"]) == 0
    out = capsys.readouterr().out
    assert "accepted by test v1 only: 4 (low 4)" in out and "p11" in out
    assert list_decisions(home, "build-ieiw")[0].parameters["policy"]["version"] == 1
    assert run(main, ["diff", "absent", second]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 'absent' must be a policy file or the name") and error.count("\n") == 1


def test_the_picture_shows_every_removal(home: Workspace, tmp_path: Path) -> None:
    decision = decide(home, "build-ieiw", Policy.read(home.home / "v1.toml"))
    picture = np.asarray(Image.open(write_waterfall(decision, tmp_path / "waterfall.png")))
    kept, removed = ((picture == colour).all(axis=2).sum(axis=1) for colour in ((66, 120, 176), (214, 112, 92)))
    unusable = (picture == (190, 190, 190)).all(axis=2).sum(axis=1)
    widths = [int(kept[56 + 30 * line + 9]) for line in range(3)]
    full = widths[0]
    assert full == pytest.approx(530, abs=1)
    assert widths[1] == pytest.approx(full * 16 / 20, abs=2) and widths[2] == pytest.approx(full * 8 / 20, abs=2)
    assert unusable[56 + 30 + 9] == pytest.approx(full * 4 / 20, abs=2)
    assert removed[56 + 60 + 9] == pytest.approx(full * 8 / 20, abs=2)
    again = write_waterfall(decision, tmp_path / "again.png")
    assert again.read_bytes() == (tmp_path / "waterfall.png").read_bytes()


def test_decide_draws_the_picture(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    picture = home.home / "deep" / "waterfall.png"
    assert run(main, ["decide", "--policy", str(home.home / "v1.toml"), "--picture", str(picture)]) == 0
    assert Image.open(picture).size[0] == 1000


@pytest.mark.parametrize("total", [0, 1, 10**7])
def test_any_number_of_pairs_can_be_drawn(total: int, home: Workspace, tmp_path: Path) -> None:
    from dataclasses import replace

    decision = decide(home, "build-ieiw", Policy.read(home.home / "v1.toml"))
    first = replace(decision.waterfall[0], remaining=total)
    long = replace(
        decision.waterfall[1], name="a_name_that_is_much_too_long_for_its_column", removed=0, remaining=total
    )
    write_waterfall(replace(decision, waterfall=(first, long)), tmp_path / "waterfall.png")
    assert Image.open(tmp_path / "waterfall.png").size == (1000, 56 + 30 * 3 + 12)


def test_the_strict_policy_is_stricter_than_the_papers() -> None:
    folder = Path(__file__).resolve().parents[2] / "infra" / "policies"
    strict, paper = (Policy.read(folder / f"{name}.toml") for name in ("strict", "paper"))
    of = {condition.name: condition for condition in strict.conditions}
    for condition in paper.conditions:
        other = of[condition.name]
        assert (other.scores, other.side) == (condition.scores, condition.side)
        assert (other.minimum or 0) >= (condition.minimum or 0)
        assert (other.maximum or 0) <= (condition.maximum or 0)
        assert (other.quantile or 0) >= (condition.quantile or 0)
