"""Does a pair cost at the end of a long build what it cost at the start, and does memory stay?

10,000 edit pairs through the embedded chain, in one process, one worker: listing, checking, removal, retrieval,
replacement, wording and scoring of rendered scenes. The build is cut into twenty parts of equal size, each a source of
its own; the cost of a pair at the end is that of the last four parts, at the start that of the second to fifth (the
first one warms up). Gathering is part of each part, so that parts are alike. Costs are seconds of the process on a
core, which do not depend on what else the machine does.

``IEIW_BENCH_SHARE=0.05`` takes a twentieth of the pairs: a trial, whose figures are not kept.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmark_record import Record

REPOSITORY = Path(__file__).resolve().parents[2]
SHARE = float(os.environ.get("IEIW_BENCH_SHARE", "1"))
NUM_PAIRS = int(10_000 * SHARE)
PARTS = 20
PAIRS_PER_SCENE = 8  # removals, their additions, and replacements, about
GOAL = 1.10


def bench_cost_growth() -> Record:
    """Seconds per pair of the last parts over those of the first."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, folder], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
        )
    parts = json.loads(done.stdout)
    costs = [part["seconds"] / part["pairs"] for part in parts]
    start, end = median(costs[1:5]), median(costs[-4:])
    memory = [part["bytes"] / 2**20 for part in parts]
    grown = memory[-1] / memory[4]
    value = end / start
    return Record(
        name="cost_growth",
        value=value,
        unit="ratio",
        against=(
            f"{sum(part['pairs'] for part in parts)} pairs: {start * 1000:.1f} ms of CPU per pair at the start, "
            f"{end * 1000:.1f} ms at the end; memory {memory[4]:.0f} MiB after a quarter, "
            f"{memory[-1]:.0f} MiB at the end"
        ),
        goal=f"<= {GOAL}, and memory within 10 %",
        holds=value <= GOAL and grown <= GOAL,
    )


def run_parts(home: Path) -> list[dict[str, float]]:
    """Build part after part; of each its CPU seconds, usable edit pairs and the resident memory after it."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from plain_build import build

    from catalog.store import read_shard
    from catalog.workspace import Workspace
    from tasks.profiles import read_profile

    scenes = max(4, NUM_PAIRS // PARTS // PAIRS_PER_SCENE)
    figures = []
    for part in range(PARTS):
        source = {"dataset": "synthetic", "reader": "synthetic", "options": {"count": scenes, "seed": part}}
        overrides = {"name": f"part-{part}", "images_per_shard": 64, "source": [source]}
        profile = read_profile(REPOSITORY / "infra" / "profiles" / "embedded.toml", overrides)
        workspace = Workspace(home)
        start = time.process_time()
        manifest = build(workspace, profile, workers=1)
        seconds = time.process_time() - start
        pairs = 0
        for path in manifest.paths(workspace, "pairs"):
            rows = read_shard(path, ["vision_task", "reason"])
            tasks = zip(rows["vision_task"].to_pylist(), rows["reason"].to_pylist(), strict=True)
            pairs += sum(task == "image_editing" and reason is None for task, reason in tasks)
        figures.append({"seconds": seconds, "pairs": pairs, "bytes": _resident()})
    return figures


def _resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run_parts(Path(sys.argv[1]))))
