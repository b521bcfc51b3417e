"""The order of a build: what is ready, what waits, what a failure holds up."""

from pathlib import Path

import pytest

from catalog.store import Shard, shard_key, write_shard
from catalog.workspace import Workspace
from tasks.build_plan import BuildPlan, Job
from tasks.profiles import Profile, read_profile
from tasks.steps import STEPS

PROFILE = """
name = "p"
[[source]]
dataset = "a"
reader = "synthetic"
[[source]]
dataset = "b"
reader = "synthetic"
[replace_object]
enabled = true
"""


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    path = tmp_path / "p.toml"
    path.write_text(PROFILE)
    return read_profile(path)


@pytest.fixture
def plan(workspace: Workspace, profile: Profile) -> BuildPlan:
    return BuildPlan(workspace, profile)


def listing(workspace: Workspace, name: str, kinds: tuple[str, ...] = ("image",)) -> Shard:
    row = {"dataset": name, "kind": kinds[0], "source_id": name, "file": "f", "record": "{}"}
    key = shard_key("list", {}, [], [name])
    return write_shard(workspace, "listings", key, lambda writer: [row], {"kinds": list(kinds)})


def output(job: Job, num_rows: int = 1) -> Shard:
    return Shard(STEPS[job.step].writes, f"{job.name}", "p", f"sha of {job.name}", num_rows, num_rows)


def run_all(plan: BuildPlan, failing: str | None = None) -> list[str]:
    """Run whatever is ready, one by one, until nothing is; returns the names in order."""
    names = []
    while jobs := plan.ready():
        for job in jobs:
            names.append(job.name)
            if failing and job.name.startswith(failing):
                plan.fail(job)
            else:
                plan.done(job, output(job))
    return names


def test_gathering_waits_for_everything_that_can_add(plan, workspace):
    plan.listed(0, listing(workspace, "one"))
    first = run_all(plan)
    assert first == [
        "ingest a 1",
        "remove_object a 1",
        "embed_patches a 1",
        "annotate a 1",
        "word_edits a 1 remove_object",
    ]
    plan.listing_ended()
    assert plan.ready() == []
    plan.listed(1, listing(workspace, "two"))
    (ingest,) = plan.ready()
    plan.listing_ended()
    assert plan.ready() == []  # still running
    plan.done(ingest, output(ingest))
    names = run_all(plan)
    assert names.index("gallery of the whole build") > names.index("embed_patches b 1")
    assert names.index("replace_object a 1") > names.index("gallery of the whole build")
    assert sum(name.startswith("references") for name in names) == 1
    assert "score b 1 replace_object word_edits" in names
    assert plan.waiting == []


def test_gathered_shards_are_in_listing_order(plan, workspace):
    for source, name in ((1, "x"), (0, "y"), (0, "z")):
        plan.listed(source, listing(workspace, name))
    plan.listing_ended()
    plan.listing_ended()
    jobs = plan.ready()
    for job in reversed(jobs):
        plan.done(job, output(job))
    gathered = []
    while found := plan.ready():
        for job in found:
            if job.step == "references":
                gathered = [shard.key for shard in job.inputs]
            plan.done(job, output(job))
    assert gathered == ["ingest a 1", "ingest a 2", "ingest b 1"]


@pytest.mark.parametrize(
    ("failing", "lost"),
    [
        ("ingest a 1", ["gallery", "references", "replace_object", "score"]),
        ("embed_patches b", ["gallery", "replace_object"]),
        ("gallery", ["replace_object"]),
    ],
)
def test_a_failure_holds_up_what_depends_on_it_and_nothing_else(plan, workspace, failing, lost):
    plan.listed(0, listing(workspace, "one"))
    plan.listed(1, listing(workspace, "two"))
    plan.listing_ended()
    plan.listing_ended()
    names = run_all(plan, failing)
    done = {name.split()[0] for name in names if not name.startswith(failing)}
    everything = set(STEPS) - {"ingest_pairs"}
    assert done | set(lost) | {failing.split()[0]} == everything and done.isdisjoint(lost)
    waiting = {name.split()[0] for name in plan.waiting}
    assert waiting == set(lost) - {"gallery", "references"}


def test_a_failed_listing_holds_up_what_gathers(plan, workspace):
    plan.listed(0, listing(workspace, "one"))
    plan.listing_ended()
    plan.listing_ended(failed=True)
    names = run_all(plan)
    assert "word_edits a 1 remove_object" in names
    assert {name.split()[0] for name in plan.waiting} == {"replace_object", "score"}


def test_a_listing_that_repeats_itself_counts_once(plan, workspace):
    shard = listing(workspace, "one", ("image", "pair"))
    plan.listed(0, shard)
    plan.listed(0, shard)
    assert [job.name for job in plan.ready()] == ["ingest a 1", "ingest_pairs a 1"]


def test_empty_shards_lead_nowhere(plan, workspace):
    plan.listed(0, listing(workspace, "one"))
    plan.listing_ended()
    plan.listing_ended()
    (job,) = plan.ready()
    plan.done(job, output(job, num_rows=0))
    assert plan.ready() == [] and plan.waiting == []


def test_ready_made_pairs_alone_are_scored(plan, workspace):
    plan.listed(0, listing(workspace, "one", ("pair",)))
    plan.listing_ended()
    plan.listing_ended()
    assert run_all(plan) == ["ingest_pairs a 1", "references of the whole build", "score a 1 ingest_pairs"]
