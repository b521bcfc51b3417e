"""A mix of 1.5 million rows from 100 million candidates, beside a bare scan of what it reads.

The candidates are accepted before the clock starts: by then the verdicts are there, as after ``python -m catalog
decide``. The scan reads once, by DuckDB and with as many threads, every column that the mix reads, of pairs and of
verdicts, and does nothing with it. Both are judged by CPU seconds, which other work on the machine does not stretch;
the seconds on the clock are stated. The mix is ``python -m catalog mix`` in a process of its own: start and imports
count, and its peak of memory is seen.

Disk: 13 GB, in TMPDIR. Half an hour of one core goes into writing the candidates; with ``IEIW_BENCH_FOLDER`` set they
stay there for the next time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmark_record import Record
from large_build import large_workspace, scan, write_build

from catalog.decisions import decide
from catalog.digests import file_digest
from catalog.manifests import Manifest
from catalog.policies import Policy
from catalog.schema import MIX
from catalog.workspace import Workspace

NUM_PAIRS = int(os.environ.get("IEIW_BENCH_SHARE", 100)) * 1_000_000  # a share: millions instead of the 100
NUM_SHARDS = 64
GOAL, MEMORY_GOAL = 1.5, 4.0  # ratio, GiB
_EVERYTHING = Path(__file__).resolve().parents[2] / "infra" / "policies" / "everything.toml"
_MEMORY_LIMIT = "3GB"  # DuckDB's own; the process has more
_PLAN = """
name = "large"
seed = 0
[[source]]
name = "edits"
dataset = "openimages"
count = {0}
[[source]]
name = "masks"
dataset = "coco_stuff"
count = {1}
[[source]]
name = "poses"
dataset = "mpii"
count = {2}
"""
_OF_PAIRS = [name for name in MIX.names if name not in ("position", "split", "mix_source", "repeat")] + ["reason"]
_OF_VERDICTS = ["pair_id", "pair_key", "group_key", "donor_key"]
_OF_VERDICTS += ["dataset", "vision_task", "edit_type", "split", "usable", "accepted"]


def bench_mix_vs_scan() -> Record:
    """CPU seconds of the mix over those of the scan."""
    with large_workspace("mix") as workspace:
        manifest = write_build(workspace, NUM_PAIRS, NUM_SHARDS, scored=False)
        decision = decide(workspace, manifest.name, Policy.read(_EVERYTHING), threads=2)
        plan = workspace.home / "plan.toml"
        counts = (int(NUM_PAIRS * share) for share in (0.007, 0.004, 0.002))  # 1.3 million, and 0.2 in val and test
        plan.write_text(_PLAN.format(*counts))
        runs = {threads: _mix(workspace, manifest, plan, threads) for threads in (2, 1, 4)}
        paths = (manifest.paths(workspace, "pairs"), decision.manifest.paths(workspace, "verdicts"))
        scans = [scan(*one, threads=2) for one in zip(paths, (_OF_PAIRS, _OF_VERDICTS), strict=True)]
    if len({run.digest for run in runs.values()}) > 1:
        raise AssertionError("a mix must have the same bytes for any number of threads")
    memory = max(run.memory for run in runs.values())
    mixed, (cpu, seconds) = runs[2], (sum(one) for one in zip(*scans, strict=True))
    value = mixed.cpu / cpu
    return Record(
        name="mix_vs_scan",
        value=value,
        unit="ratio",
        against=(
            f"{NUM_PAIRS:,} candidates, two threads: mix {mixed.cpu:.0f} CPU s ({mixed.seconds:.0f} s), scan {cpu:.0f} "
            f"CPU s ({seconds:.0f} s); peak {memory:.1f} GiB; same bytes for 1, 2 and 4 threads; "
            f"load {os.getloadavg()[1]:.1f}"
        ),
        goal=f"<= {GOAL:g}, peak <= {MEMORY_GOAL:g} GiB",
        holds=value <= GOAL and memory <= MEMORY_GOAL,
    )


class _Run:
    """One ``python -m catalog mix``: CPU seconds, seconds, peak memory in GiB, digest of the mix."""

    def __init__(self, command: list[str], home: Path, output: Path) -> None:
        start = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, "IEIW_HOME": str(home)}, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise AssertionError(f"the mix failed with status {process.returncode}")
        self.seconds = time.perf_counter() - start
        self.cpu = usage.ru_utime + usage.ru_stime
        self.memory = usage.ru_maxrss / 2**20
        self.digest = file_digest(output)


def _mix(workspace: Workspace, manifest: Manifest, plan: Path, threads: int) -> _Run:
    output = workspace.catalog / "mix.parquet"
    given = {"build": manifest.name, "policy": _EVERYTHING, "weights": plan, "output": output}
    given |= {"threads": threads, "memory-limit": _MEMORY_LIMIT}
    options = [f"--{name}={value}" for name, value in given.items()]
    return _Run([sys.executable, "-m", "catalog", "mix", *options], workspace.home, output)
