"""Checkpoints that saw withdrawn rows, against every sample that training drew, run after run."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.affected_checkpoints import Draws, affected_steps, find_affected, read_runs
from catalog.errors import ShardError
from catalog.workspace import Workspace

LENGTHS = {"m0": 7, "m1": 10}


def make_run(workspace: Workspace, name: str, mix: str, batch: int, num_steps: int, model: str) -> None:
    folder = workspace.runs / name
    for step in (num_steps // 2, num_steps):
        (folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True, exist_ok=True)
    (folder / "pipeline").mkdir()
    fields = {"global_batch_size": batch, "num_steps": num_steps, "model": model}
    (folder / "config.json").write_text(json.dumps({"mix_sha256": mix, "config": fields}))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), num_train=st.integers(1, 40), batch=st.integers(1, 17), num_steps=st.integers(0, 30))
def test_steps_are_those_that_saw_a_position(data: Any, num_train: int, batch: int, num_steps: int) -> None:
    positions = data.draw(st.lists(st.integers(0, num_train - 1), unique=True))
    expected = [
        step
        for step in range(num_steps)
        if any(sample % num_train in positions for sample in range(step * batch, (step + 1) * batch))
    ]
    ranges = affected_steps(np.array(sorted(positions), np.int64), num_train, batch, num_steps)
    assert [step for first, last in ranges for step in range(first, last)] == expected
    assert all(one[1] < two[0] for one, two in pairwise(ranges))


def saw(runs: list[dict[str, Any]], index: int, num_steps: int, revoked: dict[str, set[int]]) -> bool:
    """Whether a run up to a step, or anything that it builds on, drew a revoked row: sample by sample."""
    run = runs[index]
    for sample in range(num_steps * run["batch"]):
        if sample % LENGTHS[run["mix"]] in revoked[run["mix"]]:
            return True
    if run["parent"] is None:
        return False
    return saw(runs, run["parent"], run["parent_steps"], revoked)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_chains_of_runs_equal_a_walk_over_all_their_samples(tmp_path_factory: Any, data: Any) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("runs"))
    runs: list[dict[str, Any]] = []
    for index in range(data.draw(st.integers(1, 4))):
        steps = data.draw(st.integers(1, 6))
        run = {"mix": data.draw(st.sampled_from(["m0", "m1"])), "batch": data.draw(st.integers(1, 3)), "steps": steps}
        run["parent"] = data.draw(st.sampled_from([None, *range(index)]))
        model = "tiny"
        if run["parent"] is not None:
            parent = runs[run["parent"]]
            run["parent_steps"] = data.draw(st.sampled_from([parent["steps"] // 2, parent["steps"]]))
            model = f"runs/r{run['parent']}/checkpoints/step-{run['parent_steps']:08d}"
            if run["parent_steps"] == parent["steps"] and data.draw(st.booleans()):
                model = str(workspace.runs / f"r{run['parent']}" / data.draw(st.sampled_from(["", "pipeline"])))
        make_run(workspace, f"r{index}", run["mix"], run["batch"], steps, model)
        runs.append(run)
    revoked = {mix: data.draw(st.sets(st.integers(0, length - 1), max_size=2)) for mix, length in LENGTHS.items()}
    draws = {
        mix: Draws(positions=np.array(sorted(found), np.int64), num_train=LENGTHS[mix])
        for mix, found in revoked.items()
        if found
    }
    expected = {
        (f"r{index}", name)
        for index, run in enumerate(runs)
        for name, steps in [(f"step-{steps:08d}", steps) for steps in (run["steps"] // 2, run["steps"])]
        + [("pipeline", run["steps"])]
        if saw(runs, index, steps, revoked)
    }
    found = find_affected(workspace, read_runs(workspace), draws)
    assert {(one.run, one.checkpoint) for one in found} == expected
    for one in found:
        assert one.steps or one.started_from


def test_a_later_stage_names_what_it_started_from(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_run(workspace, "one", "m0", 1, 4, "tiny")
    make_run(workspace, "three", "m1", 1, 4, "runs/two")
    make_run(workspace, "two", "m1", 1, 4, "runs/one")
    draws = {"m0": Draws(positions=np.array([3], np.int64), num_train=7)}
    found = find_affected(workspace, read_runs(workspace), draws)
    assert [(one.run, one.checkpoint, one.steps, one.started_from) for one in found] == [
        ("one", "step-00000004", ((3, 4),), None),
        ("one", "pipeline", ((3, 4),), None),
        *[("three", name, (), "one") for name in ("step-00000002", "step-00000004", "pipeline")],
        *[("two", name, (), "one") for name in ("step-00000002", "step-00000004", "pipeline")],
    ]


def test_a_damaged_run_is_one_sentence(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_run(workspace, "one", "m0", 1, 4, "tiny")
    (workspace.runs / "one" / "config.json").write_text("{}")
    with pytest.raises(ShardError, match="not what a training run writes"):
        read_runs(workspace)
