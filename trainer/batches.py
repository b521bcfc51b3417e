"""Samples as batches: which ones a step takes, how they are stacked, and the processes that render them.

Step k takes the samples k * B .. (k + 1) * B - 1 of the global batch size B. Of W ranks, rank r takes those
with i mod W = r: any number of ranks sees the same set per step. Resuming needs one integer, samples_seen.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from trainer.data import RejectedRow, TrainingSample, TrainingSamples
from trainer.latent_cache import CachedStates


@dataclass(frozen=True)
class BatchStates:
    """What the cache has of a batch's samples, K of B."""

    places: list[int]
    """Which K of the B samples."""
    others: list[int]
    """The samples that are encoded online."""
    sources: Tensor
    """float16 (K, 4, h, w); see `trainer.latent_cache.CachedStates`."""
    target_means: Tensor
    target_stds: Tensor
    texts: Tensor
    """float16 (K, 77, C)."""


@dataclass(frozen=True)
class Batch:
    """B samples of one rank's micro-batch."""

    indices: list[int]
    pair_ids: list[str]
    vision_tasks: list[str]
    instructions: list[str]
    sources: Tensor
    """uint8 (B, S, S, 3) RGB; without a pixel in stage 1. Only the samples that are not in ``states``."""
    targets: Tensor
    keep_image: Tensor
    """float32 (B,): 0 where the image condition was dropped, else 1."""
    timesteps: Tensor
    """int64 (B,)."""
    target_noise: Tensor
    """float32 (B, 4, h, w)."""
    noise: Tensor
    weights: Tensor
    """float32 (B,): 0 for a rejected row, else 1."""
    rejected: list[RejectedRow]
    digests: list[int]
    states: BatchStates | None = None
    """Of samples in the cache; None where there is none."""

    def to(self, device: torch.device) -> "Batch":
        """With its tensors on ``device``; from pinned memory, the copies run beside other work."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """With its tensors in pinned memory; the loader calls this in a thread of its own."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        states = self.states and replace(self.states, **_changed(self.states, change))
        return replace(self, **_changed(self, change), states=states)


def _changed(record: Batch | BatchStates, change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    return {name: change(value) for name, value in vars(record).items() if isinstance(value, Tensor)}


def collate(samples: Sequence[TrainingSample]) -> Batch:
    """Stack samples into a batch."""
    online = [s for s in samples if s.states is None]
    return Batch(
        indices=[s.index for s in samples],
        pair_ids=[s.pair_id for s in samples],
        vision_tasks=[s.vision_task for s in samples],
        instructions=[s.instruction for s in samples],
        sources=_stack([s.source for s in online]),
        targets=_stack([s.target for s in online]),
        keep_image=torch.tensor([float(not s.draw.drop_image) for s in samples]),
        timesteps=torch.tensor([s.draw.timestep for s in samples]),
        target_noise=_stack([s.draw.target_noise for s in samples]),
        noise=_stack([s.draw.noise for s in samples]),
        weights=torch.tensor([float(s.rejected is None) for s in samples]),
        rejected=[s.rejected for s in samples if s.rejected is not None],
        digests=[s.digest() for s in samples],
        states=_stack_states([s.states for s in samples]),
    )


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)) if arrays else torch.zeros(0, 0, 0, 3, dtype=torch.uint8)


def _stack_states(states: Sequence[CachedStates | None]) -> BatchStates | None:
    found = {place: one for place, one in enumerate(states) if one is not None}
    if not found:
        return None
    return BatchStates(
        places=list(found),
        others=[place for place, one in enumerate(states) if one is None],
        sources=_stack([one.source for one in found.values()]),
        target_means=_stack([one.target_mean for one in found.values()]),
        target_stds=_stack([one.target_std for one in found.values()]),
        texts=_stack([one.text for one in found.values()]),
    )


@dataclass(frozen=True)
class MicroBatches(Sampler[list[int]]):
    """The sample indices of one rank's micro-batches, step by step."""

    first_step: int
    last_step: int
    """Exclusive."""
    global_batch_size: int
    """A multiple of ``world_size``."""
    micro_batch_size: int
    rank: int
    world_size: int

    @property
    def per_step(self) -> int:
        """Micro-batches per rank and step; the last may be smaller."""
        return -(-(self.global_batch_size // self.world_size) // self.micro_batch_size)

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * self.per_step

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.last_step):
            start = step * self.global_batch_size
            mine = range(start + self.rank, start + self.global_batch_size, self.world_size)
            for first in range(0, len(mine), self.micro_batch_size):
                yield list(mine[first : first + self.micro_batch_size])


def _leave_process_group(worker: int) -> None:
    """Torchrun and Ctrl-C signal the rank's whole group; the rank still needs us for the step before its checkpoint.

    A worker whose rank is gone notices within seconds and ends.
    """
    os.setpgid(0, 0)


def make_loader(
    samples: TrainingSamples, batches: MicroBatches, num_workers: int, *, pin_memory: bool = False
) -> "DataLoader[Any]":
    """Micro-batches in order, rendered here or in ``num_workers`` processes: the same either way.

    ``pin_memory``: a thread takes them from the processes ahead of time, into memory that a GPU reads by itself.
    """
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=num_workers,
        pin_memory=pin_memory and num_workers > 0,
        collate_fn=collate,
        multiprocessing_context="fork" if num_workers else None,
        worker_init_fn=_leave_process_group,
        generator=torch.Generator(),  # the loader draws a number that nobody uses: not from the global state
    )
