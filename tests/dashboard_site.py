"""A dashboard as ``make dashboard`` starts it, over a small workspace that real steps made."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from alignment_cases import make_alignment_set
from PIL import Image
from plain_build import build

from catalog.decisions import decide
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.workspace import Workspace
from evaluation.commands import main as evaluate
from tasks.profiles import read_profile

REPOSITORY = Path(__file__).parents[1]
POLICY = REPOSITORY / "infra" / "policies" / "embedded.toml"
HOSTILE = "<script>window.hit = 1</script> ![x](http://192.0.2.1/a.png) <img src=http://192.0.2.1/b.png onerror=hit()>"
"""An instruction that must stay text; the addresses are reserved for documentation."""
_HOSTILE_FILE = "<img src=x onerror=hit()>.png"
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def make_workspace(folder: Path) -> Workspace:
    """Build, decision, mix, training run, two evaluations and an alignment set, as small as they can be."""
    workspace = Workspace(folder / "home")
    sources = [
        {"dataset": "sample", "reader": "sample", "options": {"limit": 1}},
        {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 5, "seed": 1, "size": 128}},
        {"dataset": "pairs", "reader": "edit_pairs", "root": str(_write_hostile_pair(folder / "pairs"))},
    ]
    overrides = {"images_per_shard": 5, "backends.inpainter": "opencv", "source": sources, "split.val": 0.4}
    profile = read_profile(REPOSITORY / "infra" / "profiles" / "embedded.toml", overrides)
    manifest = build(workspace, profile)
    policy, mix = Policy.read(POLICY), workspace.catalog / "mix.parquet"
    decide(workspace, manifest.name, policy)
    build_mix(workspace, [manifest.name], policy, MixPlan.read(REPOSITORY / "infra/mixes/demo.toml"), mix)
    for control in ("oracle", "no-op"):
        output = workspace.runs / control / "evaluation"
        options = ["--control", control, "--split", "val", "--limit", "3", "--size", "64"]
        evaluate(["run", *options, "--mix", str(mix), "--output", str(output)])
    _train(mix, workspace.runs / "tiny")
    make_alignment_set(workspace.home, num_items=2, num_variants=6)
    return workspace


@contextmanager
def dashboard(home: Path) -> Iterator[tuple[str, int]]:
    """Its address and process id; stopped at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "IEIW_HOME": str(home)}
    command = [sys.executable, "-m", "infra.dashboard", "--port", "0"]
    server = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield _read_url(server, home), server.pid
    finally:
        server.terminate()
        server.wait(20)


def _read_url(server: "subprocess.Popen[str]", home: Path) -> str:
    """Where the server listens, which it says once it does: no other can answer there while it is alive."""
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith(f"dashboard of {home}: http://"), f"status {server.poll()}: {line!r}"
    url = line.removeprefix(f"dashboard of {home}: ").split()[0]
    with _LOCAL.open(f"{url}/_stcore/health", timeout=60) as health:
        assert health.status == 200
    assert server.poll() is None, f"the dashboard ended with status {server.returncode}"
    return url


def _write_hostile_pair(root: Path) -> Path:
    root.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    source = Image.fromarray(values).resize((96, 72), Image.Resampling.BICUBIC)
    source.save(root / _HOSTILE_FILE)
    source.rotate(180).save(root / "target.png")
    row = {"source_image": _HOSTILE_FILE, "target_image": "target.png", "instruction": HOSTILE}
    (root / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    return root


def _train(mix: Path, output: Path) -> None:
    fields = {"num_steps": 4, "global_batch_size": 2, "micro_batch_size": 2, "image_size": 32, "num_workers": 0}
    fields |= {"pictures_every": 4, "num_pictures": 1, "checkpoint_every": 4}
    settings = [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "trainer.main", "--catalog", str(mix), "--recipe", "demo", "--output", str(output)]
    done = subprocess.run([*command, *settings], cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
