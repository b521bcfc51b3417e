"""Tiny checkpoints of real helper models: the true architecture, random weights, saved as published ones are.

They go through the very code a user runs, and say nothing about quality. Below: ways in which a download goes wrong.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random weights from ``seed``, the generator of the test left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def drop_tensor(file: Path, name: str) -> None:
    """Take one tensor out of a safetensors file."""
    tensors = load_file(file)
    del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})


def rename_tensor(file: Path, name: str, new: str) -> None:
    """Give one tensor of a safetensors file another name."""
    tensors = load_file(file)
    tensors[new] = tensors.pop(name)
    save_file(tensors, file, metadata={"format": "pt"})


def truncate(file: Path) -> None:
    """A download that stopped at two thirds."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def cache_as_hub_repository(folder: Path, cache: Path, repository: str) -> None:
    """Lay ``folder`` out as the hub's cache holds a downloaded repository, for runs with ``HF_HUB_OFFLINE``."""
    commit = "0" * 40
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots").mkdir()
    (home / "snapshots" / commit).symlink_to(folder.resolve(), target_is_directory=True)
