"""The processes of one run: started by torchrun, or just this one. ``gloo`` on CPUs, ``nccl`` on GPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from catalog.errors import ConfigError, TrainingError

_LOST = ("Connection closed by peer", "Connection reset", "Broken pipe", "Timed out", "timed out", "NCCL", "gloo")
"""In PyTorch's messages when a rank no longer answers; it raises plain RuntimeErrors."""


@dataclass(frozen=True)
class Ranks:
    """This process among all of them."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """The one rank that writes files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Add up ``values`` over all ranks, in place; every rank gets the sum."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Every rank's ``value``, in the order of ranks, on every rank. Slow: for rare events."""
        values = [value]
        if self.size > 1:
            values = [None] * self.size
            dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            dist.barrier()


def environment_rank() -> int:
    """Rank that torchrun gave this process; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def start_ranks(device: str, timeout: float) -> Iterator[Ranks]:
    """Join the other ranks that torchrun started, on ``device`` "auto", "cpu" or "cuda".

    Args:
        device: where.
        timeout: seconds that a rank waits for the others before it gives up.

    Raises:
        ConfigError: no GPU where one is asked for, or more ranks than GPUs on this machine.
        TrainingError: another rank is gone.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    ranks = Ranks(environment_rank(), size, pick_device(device))
    if ranks.device.type == "cuda":
        torch.cuda.set_device(ranks.device)
    if size > 1:
        # Gloo beside NCCL: it gathers the sharded state of checkpoints and what is said about bad steps.
        backend = "cpu:gloo,cuda:nccl" if ranks.device.type == "cuda" else "gloo"
        _join(backend, timedelta(seconds=timeout))
    try:
        yield ranks
    except RuntimeError as error:
        if size > 1 and any(words in str(error) for words in _LOST):
            raise TrainingError(
                f"all {size} ranks must go on together, but rank {ranks.rank} lost another: look for its own error; "
                "torchrun --max-restarts=3 starts all of them again from the newest checkpoint"
            ) from error
        raise
    finally:
        if size > 1:
            dist.destroy_process_group()


def _join(backend: str, timeout: timedelta) -> None:
    """Meet the other ranks where those of an attempt before this one left nothing.

    torchrun keeps one store through its restarts, with the addresses of processes that are gone: without a prefix of
    its own the second attempt would try to reach the first (seen with torch 2.14).
    """
    store, rank, size = next(rendezvous("env://", timeout=timeout))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    own = dist.PrefixStore(f"attempt-{attempt}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=timeout)


def pick_device(device: str) -> torch.device:
    """This process's device for "auto", "cpu" or "cuda": under torchrun, each local rank's own GPU.

    Raises:
        ConfigError: no GPU where one is asked for, or more ranks than GPUs on this machine.
    """
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and num_gpus == 0):
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if local_rank >= num_gpus:
        raise ConfigError(
            f"every rank needs its own GPU, but this machine has {num_gpus}: "
            "lower --nproc_per_node or give --set device=cpu"
        )
    return torch.device("cuda", local_rank)
