"""Finds the largest micro-batch that fits into memory, by trying 1, 2, 4, ... samples of zeros.

A trial is a whole forward and backward pass. On a GPU the allocator's own peak tells what it took; on a CPU the growth
of the process's resident memory. The next size is tried only where twice the last one's need is within the limit, so
the search runs out of memory only where a GPU's fragmentation surprises it.
"""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.batches import Batch
from trainer.config import LATENT_STRIDE, TrainingConfig
from trainer.data import LATENT_CHANNELS
from trainer.learner import Learner
from trainer.ranks import Ranks

SHARE = 0.9
"""Of the free memory that may be used: the rest is for fragments and the longer moments between steps."""


@dataclass(frozen=True)
class Trial:
    """One size that was tried."""

    size: int
    needed: int
    """Bytes beyond what the idle networks take."""


def find_micro_batch(learner: Learner, config: TrainingConfig, ranks: Ranks) -> tuple[int, str]:
    """(samples per micro-batch, why), the same on every rank; weights and optimizer are left as they were."""
    largest = config.global_batch_size // ranks.size
    free = free_memory(ranks.device) * SHARE
    size, reason = search(lambda size: try_size(learner, config, ranks, size), largest, int(free))
    found = min(ranks.gather(size))
    why = reason if found == size else "another rank has less memory"
    return found, f"micro_batch_size {found}: {why}"


def search(attempt: Callable[[int], Trial | None], largest: int, limit: int) -> tuple[int, str]:
    """The largest power of two up to ``largest`` whose need is within ``limit`` bytes, at least 1; and why.

    ``attempt`` returns None where memory ran out.
    """
    size, last = 1, attempt(1)
    while last is not None and 2 * size <= largest and 2 * last.needed <= limit:
        trial = attempt(2 * size)
        if trial is None or trial.needed > limit:
            return size, f"{2 * size} do not fit into {limit / 2**30:.1f} GiB"
        size, last = 2 * size, trial
    if last is None:
        return 1, "not even one sample fits: set activation_checkpointing=true or parallel=fsdp"
    if 2 * size > largest:
        return size, f"{last.needed / 2**30:.2f} GiB of {limit / 2**30:.1f} GiB; a rank has {largest} samples per step"
    return size, f"takes {last.needed / 2**30:.1f} GiB, twice as many would not fit into {limit / 2**30:.1f} GiB"


def try_size(learner: Learner, config: TrainingConfig, ranks: Ranks, size: int) -> Trial | None:
    """Run one micro-batch of ``size`` samples; None where memory ran out."""
    device = ranks.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        idle = torch.cuda.memory_allocated(device)
    else:
        idle = _peak_resident()
    try:
        learner.accumulate(_empty_batch(config, size), is_last=True)
    except torch.OutOfMemoryError:
        return None
    finally:
        learner.forget_gradient()
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_resident()
    return Trial(size, max(0, peak - idle))


def free_memory(device: torch.device) -> int:
    """Bytes that this rank may take: of the GPU, or of the machine (``MemAvailable``)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _peak_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _empty_batch(config: TrainingConfig, size: int) -> Batch:
    side = config.image_size // LATENT_STRIDE
    pictures = torch.zeros(size, config.image_size, config.image_size, 3, dtype=torch.uint8)
    latents = torch.zeros(size, LATENT_CHANNELS, side, side)
    return Batch(
        indices=[0] * size,
        pair_ids=[""] * size,
        vision_tasks=["image_editing"] * size,
        instructions=[""] * size,
        sources=pictures,
        targets=pictures,
        keep_image=torch.ones(size),
        timesteps=torch.zeros(size, dtype=torch.int64),
        target_noise=latents,
        noise=latents,
        weights=torch.zeros(size),
        rejected=[],
        digests=[0] * size,
    )
