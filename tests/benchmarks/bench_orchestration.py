"""What Prefect costs: the same build as a flow and as plain calls in a thread pool, two workers each.

The build has 100 shards, made from listing shards of a profile's default size, 256 records: some four seconds' work
each. Measured is the call of the flow against the call of the plain build, each in a fresh process and a fresh
workspace, with the server on the same cores; the start of a process is in neither. Needs an otherwise idle machine.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmark_record import Record

from catalog.workspace import Workspace
from flows.child_process import start_child, stop_tree
from flows.local_server import REPOSITORY, prefect_environment

IMAGES_PER_SHARD = 256  # the default of tasks.profiles
NUM_LISTINGS = 11  # each leads to nine shards
RECORDS_PER_SCENE = 7  # the scene itself and ready-made pairs made from it
OVERRIDES = {
    "name": "overhead",
    "images_per_shard": IMAGES_PER_SHARD,
    "source": [
        {
            "dataset": "synthetic",
            "reader": "synthetic",
            "options": {"count": NUM_LISTINGS * IMAGES_PER_SHARD // RECORDS_PER_SCENE, "seed": 0},
        }
    ],
}
PROFILE = "infra/profiles/embedded.toml"
GOAL = 1.05

AS_FLOW = """
import json, sys, time
from flows.build_ieiw import build_ieiw
start = time.monotonic()
state = build_ieiw(profile=sys.argv[1], overrides=json.loads(sys.argv[2]), workers=2, return_state=True)
assert state.is_completed(), state
print("seconds", time.monotonic() - start)
"""

PLAIN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from plain_build import build
from catalog.workspace import Workspace
from tasks.contact_sheet import write_contact_sheet
from tasks.profiles import read_profile
start = time.monotonic()
workspace = Workspace.default()
manifest = build(workspace, read_profile(Path(sys.argv[1]), json.loads(sys.argv[2])), workers=2)
write_contact_sheet(workspace, manifest, workspace.home / "sheet.png")
print("seconds", time.monotonic() - start)
"""


def bench_orchestration_overhead() -> Record:
    """Wall time of the flow over wall time of the same steps called directly."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        plain = _seconds(PLAIN, {**os.environ, "IEIW_HOME": str(home / "plain")})
        num_shards = len(list((home / "plain" / "catalog" / "tables").rglob("*.parquet")))
        flow = _seconds_as_flow(Workspace(home / "flow"))
    value = flow / plain
    return Record(
        name="orchestration_overhead",
        value=value,
        unit="ratio",
        against=(
            f"{num_shards} shards, {flow:.1f} s as a flow, {plain:.1f} s as plain calls, 2 workers each: "
            f"{(flow - plain) / num_shards * 1000:.0f} ms per shard"
        ),
        goal=f"<= {GOAL}",
        holds=value <= GOAL,
    )


def _seconds_as_flow(workspace: Workspace) -> float:
    workspace.home.mkdir()
    keeper = start_child(
        [sys.executable, "-m", "flows.local_server", "--until-stdin-closes"],
        cwd=REPOSITORY,
        env={**os.environ, "IEIW_HOME": str(workspace.home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert keeper.stdout is not None
        url = next(line.split()[1] for line in keeper.stdout if line.startswith("ready: "))
        return _seconds(AS_FLOW, prefect_environment(workspace, url))
    finally:
        stop_tree(keeper, grace_seconds=60)


def _seconds(script: str, environment: dict[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", script, PROFILE, json.dumps(OVERRIDES)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return float(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds ")))
