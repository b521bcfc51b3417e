"""What flow build-mix notes in the ledger, and where it writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import ConfigError
from catalog.ledger import read_entries
from catalog.parquet_streams import mix_digest
from catalog.workspace import Workspace
from flows.build_mix import decide, mix

POLICIES = Path(__file__).resolve().parents[2] / "infra" / "policies"
PLAN = """name = "all"
seed = {seed}
[[source]]
name = "all"
weight = 1.0
"""


@pytest.fixture
def build(workspace: Workspace, make_build: Callable[..., Any], make_pair: Callable[..., Any]) -> Workspace:
    make_build(workspace, [make_pair(f"pair {number}") for number in range(9)])
    return workspace


def draw(workspace: Workspace, seed: int) -> list[tuple[str, bool]]:
    """Decide and mix as the flow does; (step, made) of what this noted."""
    before = len(list(read_entries(workspace)))
    (workspace.home / "plan.toml").write_text(PLAN.format(seed=seed))
    policy = str(POLICIES / "everything.toml")
    decide.fn("build-ieiw", policy)
    mix.fn(["build-ieiw"], policy, str(workspace.home / "plan.toml"), "catalog/mix.parquet")
    return [(entry.step, entry.made) for entry in read_entries(workspace)][before:]


def test_what_was_there_already_is_not_noted_as_made(build: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(build.home))
    output = build.catalog / "mix.parquet"
    assert draw(build, seed=0) == [("decide", True), ("mix", True)]
    first = mix_digest(output)
    assert draw(build, seed=0) == [("decide", False), ("mix", False)]
    assert mix_digest(output) == first
    assert draw(build, seed=1) == [("decide", False), ("mix", True)]
    output.write_bytes(output.read_bytes()[:-20])  # torn: nobody can say what it was
    assert draw(build, seed=1) == [("decide", False), ("mix", True)]
    assert mix_digest(output) != first


def test_a_mix_takes_the_place_of_nothing_else(build: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(build.home))
    (build.home / "notes.txt").write_text("mine")
    (build.home / "plan.toml").write_text(PLAN.format(seed=0))
    given = (["build-ieiw"], str(POLICIES / "everything.toml"), str(build.home / "plan.toml"))
    with pytest.raises(ConfigError, match=r"must be a file named \*\.parquet"):
        mix.fn(*given, "notes.txt")
    with pytest.raises(ConfigError, match=r"notes\.txt is a file"):
        mix.fn(*given, "notes.txt/mix.parquet")
    assert (build.home / "notes.txt").read_text() == "mine"
