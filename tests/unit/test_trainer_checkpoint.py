"""Checkpoints: whole or absent after a kill at any file operation, refused when torn or foreign."""

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from catalog.digests import value_digest
from catalog.errors import CheckpointError
from trainer.checkpoint import (
    Identity,
    TrainingState,
    check_tensors,
    checkpoint_digest,
    list_checkpoints,
    load_checkpoint,
    remove_rests,
    save_checkpoint,
)
from trainer.recipes import make_config

IDENTITY = Identity(make_config("demo").to_json(), "a" * 64, "b" * 64)


def make_state(step: int) -> TrainingState:
    generator = torch.Generator().manual_seed(step)
    weights = {"conv.weight": torch.randn(4, 3, generator=generator), "bias": torch.randn(4, generator=generator)}
    moments = {f"{name}/exp_avg": weight + 1 for name, weight in weights.items()}
    return TrainingState(step * 16, weights, {n: w * 2 for n, w in weights.items()}, moments)


def same(first: TrainingState, second: TrainingState) -> bool:
    pairs = [(first.files[name], second.files[name]) for name in first.files]
    equal = all(a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a) for a, b in pairs)
    return equal and first.samples_seen == second.samples_seen


def bytes_of(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 3, make_state(3), IDENTITY, keep_last=2)
    assert path.name == "step-00000003"
    assert same(load_checkpoint(path, IDENTITY), make_state(3))


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", 3, make_state(3), IDENTITY, keep_last=2)
    save_checkpoint(tmp_path / "b", 3, make_state(3), IDENTITY, keep_last=2)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    digests = {checkpoint_digest(tmp_path / name / "step-00000003") for name in "ab"}
    assert len(digests) == 1


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 9, 10, 11):
        save_checkpoint(tmp_path, step, make_state(step), IDENTITY, keep_last=3)
    assert [path.name[-2:] for path in list_checkpoints(tmp_path)] == ["09", "10", "11"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [p.name for p in list_checkpoints(tmp_path)]


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def forge_step(path: Path) -> None:
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "samples_seen": manifest["samples_seen"] + 16}))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: path.write_bytes(b""),
    "long": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "bit flipped": flip_bit,
}
NAMES = ("unet.safetensors", "averages.safetensors", "optimizer.safetensors", "manifest.json")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_torn_checkpoint_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    path = save_checkpoint(tmp_path, 3, make_state(3), IDENTITY, keep_last=2)
    DAMAGES[damage](path / name)
    with pytest.raises(CheckpointError, match=r"is torn .*: remove this folder") as caught:
        load_checkpoint(path, IDENTITY)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": 3, "sha256": "x"}', "null"])
def test_a_manifest_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = save_checkpoint(tmp_path, 3, make_state(3), IDENTITY, keep_last=2)
    (path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="torn"):
        load_checkpoint(path, IDENTITY)


def test_a_changed_number_in_the_manifest_is_noticed(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 3, make_state(3), IDENTITY, keep_last=2)
    forge_step(path / "manifest.json")
    with pytest.raises(CheckpointError, match="torn"):
        load_checkpoint(path, IDENTITY)


@pytest.mark.parametrize(
    ("identity", "sentence"),
    [
        (replace(IDENTITY, mix_sha256="c" * 64), "trained on mix aaaaaaaaaaaa and --catalog is now cccccccccccc"),
        (replace(IDENTITY, frozen_sha256="c" * 64), "autoencoder and text encoder"),
        (replace(IDENTITY, config={**IDENTITY.config, "seed": 8}), "seed: 0 -> 8"),
        (replace(IDENTITY, config={**IDENTITY.config, "image_size": 128}), "image_size: 64 -> 128"),
    ],
)
def test_a_foreign_checkpoint_is_refused(tmp_path: Path, identity: Identity, sentence: str) -> None:
    path = save_checkpoint(tmp_path, 3, make_state(3), IDENTITY, keep_last=2)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_checkpoint(path, identity)
    assert "\n" not in str(caught.value)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 3, make_state(3), IDENTITY, keep_last=2)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["format"] = 99
    manifest["sha256"] = value_digest(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="format 1, got 99"):
        load_checkpoint(path, IDENTITY)


def test_run_only_fields_may_change(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 3, make_state(3), IDENTITY, keep_last=2)
    longer = replace(IDENTITY, config={**IDENTITY.config, "num_steps": 10**6, "num_workers": 4})
    assert load_checkpoint(path, longer).samples_seen == 48


def test_other_shapes_are_refused() -> None:
    weights = dict(make_state(1).unet)
    check_tensors(Path("x"), weights, weights)
    for found in ({**weights, "more": weights["bias"]}, {"bias": weights["bias"]}, {**weights, "bias": torch.ones(5)}):
        with pytest.raises(CheckpointError, match="tensors of this run's model"):
            check_tensors(Path("x"), found, weights)


OPERATIONS = frozenset({"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree"})


def die_at_operation(number: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a child that SIGKILLs itself before its file operation ``number``; True if it came so far."""
    child = os.fork()
    if child == 0:
        left = number

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in OPERATIONS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_file_operation_leaves_usable_checkpoints_and_no_rests(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the child has no other threads
    home = tmp_path / "before"
    for step in (1, 2):
        save_checkpoint(home, step, make_state(step), IDENTITY, keep_last=2)
    undisturbed = Path(shutil.copytree(home, tmp_path / "undisturbed"))
    save_checkpoint(undisturbed, 3, make_state(3), IDENTITY, keep_last=2)

    number, died = 0, True
    while died:
        folder = Path(shutil.copytree(home, tmp_path / f"killed{number}"))
        died = die_at_operation(
            number, lambda folder=folder: save_checkpoint(folder, 3, make_state(3), IDENTITY, keep_last=2)
        )
        remove_rests(folder)
        left = list_checkpoints(folder)
        assert sorted(folder.iterdir()) == left
        for path in left:
            assert same(load_checkpoint(path, IDENTITY), make_state(int(path.name[-8:])))
        assert int(left[-1].name[-8:]) >= 2
        save_checkpoint(folder, 3, make_state(3), IDENTITY, keep_last=2)
        assert bytes_of(folder) == bytes_of(undisturbed)
        number += 1
    torch.set_num_threads(threads)
    assert number > 15
