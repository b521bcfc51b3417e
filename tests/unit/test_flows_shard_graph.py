"""What the graph of shards decides by itself: which faults are tried again, which steps wait for the GPU."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from catalog.errors import BackendError, ShardError
from catalog.ledger import charge, read_entries
from catalog.store import Shard
from catalog.workspace import Workspace
from flows import shard_graph
from flows.shard_graph import BuildOutcome, ShardGraph
from tasks.build_plan import Job
from tasks.profiles import read_profile

PROFILE = Path(__file__).resolve().parents[2] / "infra" / "profiles" / "embedded.toml"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError(errno.EIO, "input/output error"), True),
        (ConnectionResetError("peer"), True),
        (TimeoutError("slow"), True),
        (OSError(errno.ENOSPC, "disk full"), False),
        (PermissionError(errno.EACCES, "not yours"), False),
        (ShardError("torn"), False),
        (BackendError("unknown"), False),
        (ZeroDivisionError(), False),
    ],
    ids=repr,
)
def test_only_passing_faults_are_tried_again(error: Exception, again: bool):
    state = SimpleNamespace(result=lambda raise_on_failure: error)
    assert shard_graph._may_pass(None, None, state) is again


@pytest.mark.parametrize(("device", "tags"), [("cuda", {"gpu"}), ("cpu", set())])
def test_steps_whose_backend_is_on_a_gpu_carry_the_tag(tmp_path, monkeypatch, device, tags):
    submitted: list[Any] = []
    graph = ShardGraph(Workspace(tmp_path), read_profile(PROFILE), workers=1)
    call = SimpleNamespace(device=device, find=lambda: None, run=lambda: None)
    monkeypatch.setattr(shard_graph, "Call", lambda *inputs, retry: call)
    monkeypatch.setattr(graph, "_submit", lambda work, *rest: submitted.append(work))
    shard = Shard(table="regions", key="k", path="p", sha256="s", num_rows=1, num_usable=1)
    graph._start(Job(step="remove_object", label="sample 1", place=(0, 1), inputs=(shard,)))
    assert [set(work.tags) for work in submitted] == [tags]


def test_what_was_paid_for_is_in_the_ledger_whatever_came_of_it(tmp_path):
    workspace = Workspace(tmp_path)
    shard = Shard(table="pairs", key="k", path="p.parquet", sha256="s", num_rows=3, num_usable=2)
    shard.file(workspace).parent.mkdir(parents=True)
    shard.file(workspace).touch()

    def make(cost: float, error: Exception | None) -> Shard:
        charge(cost)
        if error:
            raise error
        return shard

    shard_graph._timed(workspace, "word_edits", lambda: make(0.25, None), "run")
    for cost in (0.5, 0.0):  # a failure that cost nothing leaves no line
        with pytest.raises(BackendError):
            shard_graph._timed(workspace, "word_edits", lambda cost=cost: make(cost, BackendError("away")), "run")
    kept = [(entry.key, entry.usable, entry.cost) for entry in read_entries(workspace)]
    assert kept == [("k", 2, 0.25), ("", 0, 0.5)]


def test_the_outcome_names_what_failed_and_counts_the_rest():
    outcome = BuildOutcome(failures={"ingest sample 3": "torn"}, waiting=["score sample 1"])
    outcome.made["ingest"] = 4
    outcome.found["list"] = 2
    text = outcome.sentence()
    assert text.startswith("1 failed, 1 not started because of them, 6 shards done (2 were there already)")
    assert text.endswith("ingest sample 3: torn")
    assert BuildOutcome().sentence() == "0 shards done (0 were there already)"


def test_a_shard_that_exists_needs_no_task(tmp_path, monkeypatch):
    graph = ShardGraph(Workspace(tmp_path), read_profile(PROFILE), workers=1)
    shard = Shard(table="edits", key="k", path="p", sha256="s", num_rows=0, num_usable=0)
    monkeypatch.setattr(shard_graph, "Call", lambda *inputs, retry: SimpleNamespace(find=lambda: shard))
    monkeypatch.setattr(graph, "_submit", lambda *work: pytest.fail("a task was started"))
    graph._start(Job(step="remove_object", label="sample 1", place=(0, 1), inputs=()))
    assert graph._plan.shards == [shard]
    assert graph._outcome.found == {"remove_object": 1} and not graph._outcome.made
