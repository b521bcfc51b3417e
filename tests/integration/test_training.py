"""The trainer as users start it: torchrun with two ranks, killed, resumed, torn, and given another mix."""

import contextlib
import hashlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from catalog.errors import CheckpointError
from trainer.checkpoint import read_averages

ROOT = Path(__file__).parents[2]
TRAINER = ROOT / "trainer" / "main.py"
make_mix = runpy.run_path(str(ROOT / "tests" / "training_mix.py"))["make_mix"]

NUM_STEPS = 12
SMALL = ["image_size=32", "global_batch_size=8", "micro_batch_size=2", f"num_steps={NUM_STEPS}"]
SMALL += ["checkpoint_every=2", "keep_last=9"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mix(tmp_path_factory.mktemp("home"))


def command(mix: Path, output: Path, num_ranks: int, *changes: str) -> list[str]:
    """torchrun for two ranks; one rank as ``python -m trainer.main``, which must do the same."""
    launcher = [sys.executable, "-m", "trainer.main"]
    if num_ranks > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_ranks}"]
        launcher = [*torchrun, str(TRAINER)]
    sets = [part for change in [*SMALL, *changes] for part in ("--set", change)]
    return [*launcher, "--catalog", str(mix), "--output", str(output), *sets]


def start(arguments: list[str], folder: Path, **variables: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        arguments, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def finish(arguments: list[str], folder: Path) -> tuple[int, str, str]:
    process = start(arguments, folder)
    try:
        output, errors = process.communicate(timeout=240)
    finally:
        kill(process)
    return process.returncode, output, errors


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to torchrun and every rank of it at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    for _ in range(9000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def run(mix: Path, output: Path, num_ranks: int, *changes: str) -> Path:
    status, _, errors = finish(command(mix, output, num_ranks, *changes), output.parent)
    assert status == 0, errors
    return output


def run_with_a_kill(mix: Path, output: Path, num_ranks: int, *changes: str) -> Path:
    """Kill it as soon as the first checkpoint is there, then start it again with the same command."""
    process = start(command(mix, output, num_ranks, *changes), output.parent)
    try:
        wait_for(output / "checkpoints" / "step-00000002", process)
    finally:
        kill(process)
    assert not (output / "finished.json").exists()
    return run(mix, output, num_ranks, *changes)


def digests(output: Path) -> dict[str, str]:
    files = [*output.glob("checkpoints/*/*.safetensors"), *output.glob("pipeline/**/*.safetensors")]
    return {str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def log(output: Path, *columns: str) -> list[dict]:
    return pq.read_table(output / "training_log.parquet", columns=list(columns)).to_pylist()


@pytest.fixture(scope="module")
def one_rank(mix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(mix, tmp_path_factory.mktemp("one") / "run", 1)


@pytest.fixture(scope="module")
def two_ranks(mix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(mix, tmp_path_factory.mktemp("two") / "run", 2)


def test_one_rank_killed_and_resumed_ends_bit_for_bit_the_same(one_rank: Path, mix: Path, tmp_path: Path) -> None:
    killed = run_with_a_kill(mix, tmp_path / "run", 1, "num_workers=2")
    assert digests(killed) == digests(one_rank)
    assert log(killed, "step", "loss", "samples_digest") == log(one_rank, "step", "loss", "samples_digest")
    assert [str(path) for path in killed.rglob("*.tmp")] == []


def test_two_ranks_killed_and_resumed_end_bit_for_bit_the_same(two_ranks: Path, mix: Path, tmp_path: Path) -> None:
    killed = run_with_a_kill(mix, tmp_path / "run", 2)
    assert digests(killed) == digests(two_ranks)
    assert log(killed, "step", "loss", "samples_digest") == log(two_ranks, "step", "loss", "samples_digest")


def test_two_ranks_see_the_samples_of_one_and_learn_the_same(one_rank: Path, two_ranks: Path) -> None:
    assert len(log(one_rank, "step")) == NUM_STEPS
    assert log(two_ranks, "step", "samples_digest") == log(one_rank, "step", "samples_digest")
    for ours, theirs in zip(log(two_ranks, "loss", "grad_norm"), log(one_rank, "loss", "grad_norm"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
    # Early in the run: AdamW divides by the gradient's size, so rounding grows with every step.
    name = f"checkpoints/step-{2:08d}/averages.safetensors"
    first, second = load_file(one_rank / name), load_file(two_ranks / name)
    near = sum(int(((first[n] - second[n]).abs() < 1e-4).sum()) for n in first)
    assert near / sum(tensor.numel() for tensor in first.values()) > 0.999
    assert all(torch.isfinite(tensor).all() for tensor in second.values())


def test_one_rank_goes_on_from_two(two_ranks: Path, mix: Path, tmp_path: Path, one_rank: Path) -> None:
    output = Path(shutil.copytree(two_ranks, tmp_path / "run"))
    for step in (10, 12):
        shutil.rmtree(output / "checkpoints" / f"step-{step:08d}")
    (output / "finished.json").unlink()
    run(mix, output, 1)
    assert log(output, "step", "samples_digest") == log(one_rank, "step", "samples_digest")


def test_torchrun_shows_a_torn_checkpoint_and_a_changed_mix_as_one_sentence(
    two_ranks: Path, mix: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(two_ranks, tmp_path / "run"))
    (output / "finished.json").unlink()
    torn = output / "checkpoints" / f"step-{NUM_STEPS:08d}" / "unet.safetensors"
    torn.write_bytes(torn.read_bytes()[:-7])
    status, _, errors = finish(command(mix, output, 2), tmp_path)
    assert status != 0
    sentences = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1
    assert f"step-{NUM_STEPS:08d} is torn (unet.safetensors is not what was written)" in sentences[0]
    assert "exitcode  : 2" in errors
    assert "traceback : error: checkpoint" in errors.split("Root Cause")[1]

    other = make_mix(tmp_path / "home", seed=5)
    status, _, errors = finish(command(other, two_ranks, 1), tmp_path)
    assert status == 2
    assert errors.startswith("error: ")
    assert "--catalog is now" in errors
    assert errors.count("\n") == 1


def test_a_finished_run_returns_in_seconds(one_rank: Path, mix: Path) -> None:
    began = time.monotonic()
    status, output, _ = finish(command(mix, one_rank, 1), one_rank.parent)
    assert status == 0
    assert output.startswith("already finished")
    assert time.monotonic() - began < 5
    assert json.loads((one_rank / "finished.json").read_text())["steps"] == NUM_STEPS


def test_sigterm_to_torchrun_ends_all_ranks_after_one_checkpoint(mix: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = start(command(mix, output, 2, "num_steps=100000", "checkpoint_every=100000"), tmp_path)
    try:
        wait_for(output / "tensorboard", process)
        time.sleep(0.5)
        process.terminate()
        text, errors = process.communicate(timeout=60)
    finally:
        kill(process)
    assert "run the same command to go on" in text
    assert "error: " not in errors
    (checkpoint,) = (output / "checkpoints").iterdir()
    rows = log(output, "step")
    assert checkpoint.name == f"step-{len(rows):08d}"


def test_a_lost_rank_ends_the_job_and_torchrun_starts_all_of_them_again(
    two_ranks: Path, mix: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    arguments = command(mix, output, 2)
    arguments.insert(arguments.index("--standalone"), "--max-restarts=1")
    process = start(arguments, tmp_path)
    try:
        wait_for(output / "checkpoints" / "step-00000002", process)
        os.kill(rank_process(process.pid, "1"), signal.SIGKILL)
        _, errors = process.communicate(timeout=240)
    finally:
        kill(process)
    assert process.returncode == 0, errors
    assert digests(output) == digests(two_ranks)
    assert log(output, "step", "loss", "samples_digest") == log(two_ranks, "step", "loss", "samples_digest")


def rank_process(parent: int, rank: str) -> int:
    """Process of a rank below torchrun."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if f"\0RANK={rank}\0" in "\0" + Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError(f"no rank {rank} below {parent}")


def test_a_rank_that_lost_another_says_so(tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(
        "import os, signal, torch\n"
        "from catalog import command_line\n"
        "from trainer.ranks import start_ranks\n"
        "def lose(_):\n"
        "    with start_ranks('cpu', 20.0) as ranks:\n"
        "        ranks.wait()\n"
        "        if ranks.rank == 1:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        ranks.sum(torch.ones(1))\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"  # torchrun's: this rank speaks all the same
        "raise SystemExit(command_line.run(lose, []))\n"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    status, _, errors = finish(launcher, tmp_path)
    assert status != 0
    assert "error: all 2 ranks must go on together, but rank 0 lost another: " in errors


def test_sharded_ranks_learn_the_same_and_change_places_with_whole_ones(
    two_ranks: Path, mix: Path, tmp_path: Path
) -> None:
    output = run(mix, tmp_path / "run", 2, "parallel=fsdp", "num_steps=6")
    assert log(output, "step", "samples_digest") == log(two_ranks, "step", "samples_digest")[:6]
    for ours, theirs in zip(log(output, "loss", "grad_norm"), log(two_ranks, "loss", "grad_norm"), strict=False):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
    # Killed while the second checkpoint is written, they go on from the shards of the first.
    killed = tmp_path / "killed"
    process = start(command(mix, killed, 2, "parallel=fsdp", "num_steps=6"), tmp_path)
    try:
        wait_for(killed / "checkpoints" / "step-00000002", process)
        while not list((killed / "checkpoints").glob("step-00000004*")) and process.poll() is None:
            time.sleep(0.002)
    finally:
        kill(process)
    assert not (killed / "finished.json").exists()
    assert digests(run(mix, killed, 2, "parallel=fsdp", "num_steps=6")) == digests(output)
    # Each rank has written its parts, which read back whole.
    checkpoint = output / "checkpoints" / "step-00000006"
    assert len(list(checkpoint.glob("shard-*.safetensors"))) == 2 * 3
    averages, exported = read_averages(checkpoint), load_file(next(output.glob("pipeline/unet/*.safetensors")))
    assert averages.keys() == exported.keys()
    assert all(torch.equal(averages[name], exported[name]) for name in averages)
    # A sharded run goes on with whole weights.
    whole = run(mix, Path(shutil.copytree(output, tmp_path / "whole")), 2, "num_steps=8")
    assert log(whole, "step", "samples_digest") == log(two_ranks, "step", "samples_digest")[:8]
    torn = checkpoint / "shard-00002-model-00003-of-00003.safetensors"
    torn.write_bytes(torn.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=f"is torn .{torn.name} is not what was written"):
        read_averages(checkpoint)


def test_two_agents_with_a_real_rendezvous_are_two_ranks_of_one_run(two_ranks: Path, mix: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nodes = {"NUM_NODES": "2", "RENDEZVOUS": f"127.0.0.1:{port}", "JOB_ID": "test", "RANKS_PER_NODE": "1"}
    nodes |= {"PYTHON": sys.executable, "MAX_RESTARTS": "0", "LOCAL_ADDRESS": "127.0.0.1"}
    output = tmp_path / "run"
    arguments = [str(ROOT / "infra" / "train.sh"), *command(mix, output, 1)[3:]]
    agents = [start(arguments, tmp_path, **nodes) for _ in range(2)]
    try:
        ended = [agent.communicate(timeout=240) for agent in agents]
    finally:
        for agent in agents:
            kill(agent)
    assert [agent.returncode for agent in agents] == [0, 0], ended
    assert digests(output) == digests(two_ranks)
