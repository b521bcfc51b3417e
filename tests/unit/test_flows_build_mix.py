"""What flow build-mix notes in the ledger, and where it writes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from catalog.errors import ConfigError
from catalog.ledger import read_entries
from catalog.parquet_streams import mix_digest
from catalog.workspace import Workspace
from flows import build_mix as flow_module
from flows.build_mix import build_mix, decide, mix

POLICIES = Path(__file__).resolve().parents[2] / "infra" / "policies"
PLAN = """name = "all"
seed = {seed}
[[source]]
name = "all"
weight = 1.0
"""
POLICY = """name = "mine"
version = 1
[[condition]]
name = "low"
score = "target_aesthetic"
minimum = 4.0
edit_types = ["{edit_type}"]
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


def test_the_output_is_checked_before_anything_is_decided(build: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(build.home))
    monkeypatch.setattr(flow_module, "decide", lambda *_: pytest.fail("decided first"))
    (build.home / "notes.txt").write_text("mine")
    state = build_mix.fn(output="notes.txt/mix.parquet")
    assert state.is_failed() and f"{build.home}/notes.txt is a file" in state.message


def test_all_rows_of_a_mix_are_told(build: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(build.home))
    counts = SimpleNamespace(num_train=730, num_val=178, num_test=107)
    for name in ("decide", "publish_decision", "publish_mix"):
        monkeypatch.setattr(flow_module, name, lambda *_: None)
    monkeypatch.setattr(flow_module, "mix", lambda *_: counts)
    said = build_mix.fn(output="mix.parquet").message
    assert said == "1015 rows in mix.parquet (730 train, 178 val, 107 test)"


def test_a_decision_that_takes_the_place_of_another_is_logged(
    build: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(build.home))
    said: list[str] = []
    monkeypatch.setattr(flow_module, "get_run_logger", lambda: SimpleNamespace(warning=said.append))
    policy = tmp_path / "policy.toml"
    for edit_type in ("object_addition", "object_addition", "style"):
        policy.write_text(POLICY.format(edit_type=edit_type))
        decide.fn("build-ieiw", str(policy))
    assert len(said) == 1 and said[0].startswith("replaced the decision of policy mine v1 on build-ieiw, ")
