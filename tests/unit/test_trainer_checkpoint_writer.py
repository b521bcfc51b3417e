"""Checkpoints written beside training: the state of their step, errors not lost."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor

from trainer.checkpoint import Identity, TrainingState, check_checkpoint, list_checkpoints, load_checkpoint
from trainer.checkpoint_writer import CheckpointWriter
from trainer.ranks import Ranks
from trainer.recipes import make_config

IDENTITY = Identity(make_config("demo").to_json(), "mix", "frozen")
KEEP = {"keep_last": 9, "keep_every": 0}


def test_later_updates_do_not_reach_a_checkpoint(tmp_path: Path) -> None:
    weights = {"w": torch.zeros(1000, 1000)}
    with CheckpointWriter() as writer:
        for step in (1, 2, 3):
            weights["w"] += 1
            writer.save(tmp_path, step, TrainingState(step, weights, weights, weights), IDENTITY, **KEEP)
        weights["w"] += 100
    found = list_checkpoints(tmp_path)
    assert [path.name for path in found] == ["step-00000001", "step-00000002", "step-00000003"]
    for step, path in enumerate(found, start=1):
        check_checkpoint(path, IDENTITY.config, "mix")
        state = load_checkpoint(path, IDENTITY)
        assert state.samples_seen == step
        assert (state.unet["w"] == step).all()
    assert list(tmp_path.glob("*.tmp")) == []


def test_what_went_wrong_is_raised_at_the_next_one_or_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = TrainingState(1, *[{"w": torch.zeros(1)}] * 3)
    with pytest.raises(OSError), CheckpointWriter() as writer:
        writer.save(tmp_path / "file", 1, state, IDENTITY, **KEEP)
    with CheckpointWriter() as writer:
        writer.save(tmp_path / "file", 1, state, IDENTITY, **KEEP)
        with pytest.raises(OSError):
            writer.save(tmp_path / "good", 2, state, IDENTITY, **KEEP)


def test_a_sharded_state_without_moments_reads_back(tmp_path: Path) -> None:
    """Where every step so far was left out, AdamW has none."""
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        whole = torch.arange(12.0).reshape(4, 3)
        weights = {"w": distribute_tensor(whole, init_device_mesh("cpu", (1,)))}
        state = TrainingState(5, weights, weights, {}, is_sharded=True)
        with CheckpointWriter(Ranks(0, 1, torch.device("cpu")), timeout=60) as writer:
            writer.save(tmp_path / "checkpoints", 1, state, IDENTITY, **KEEP)
    finally:
        dist.destroy_process_group()
    (path,) = list_checkpoints(tmp_path / "checkpoints")
    found = load_checkpoint(path, IDENTITY)
    assert torch.equal(found.unet["w"], whole) and torch.equal(found.averages["w"], whole)
    assert found.samples_seen == 5 and found.optimizer == {}
