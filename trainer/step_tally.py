"""What one optimizer step saw and lost, added up over micro-batches and ranks."""

import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from catalog.errors import MixError, TrainingError
from catalog.schema import VISION_TASKS
from trainer.batches import Batch
from trainer.data import RejectedRow
from trainer.diffusion import NUM_TIMESTEPS
from trainer.ranks import Ranks

NUM_BINS = 10
"""Bins of timesteps whose losses are logged apart: 0-99, 100-199, ..."""

_NAMED = 8
"""Pairs that an error names; the positions tell the rest."""

_WINDOW = 50
"""Steps that a leap is measured against."""
_ENOUGH = 10
"""Steps before which no step can leap."""

_TASKS = len(VISION_TASKS)
_GROUPS = _TASKS + NUM_BINS


@dataclass(frozen=True)
class StepFigures:
    """One step over all ranks."""

    loss: float
    """Sum of the samples' losses over the global batch size: the objective itself."""
    task_losses: dict[str, float | None]
    """Mean by vision_task; None where the step had no sample of it."""
    bin_losses: list[float | None]
    """Mean by bin of timesteps, `NUM_BINS` of them; None where the step had no sample of it."""
    num_rejected: int
    samples_digest: str
    data_wait_share: float
    stop: bool
    """Some rank was asked to stop."""


class Leaps:
    """Tells a step that is far worse than those before it, by their losses and gradient norms."""

    def __init__(self, factor: float, history: Iterable[tuple[float, float]]) -> None:
        """``factor`` 0 turns it off; ``history`` is (loss, gradient norm) of the steps so far, oldest first."""
        self._factor = factor
        self._history = deque(history, maxlen=_WINDOW)

    def note(self, loss: float, grad_norm: float) -> None:
        """Count a step that was not left out."""
        self._history.append((loss, grad_norm))

    def find(self, loss: float, grad_norm: float) -> str | None:
        """What leaps, and how far, as the middle of a sentence; None where nothing does."""
        if not self._factor or len(self._history) < _ENOUGH:
            return None
        for place, (what, value) in enumerate((("loss", loss), ("gradient norm", grad_norm))):
            limit = self._factor * statistics.median(step[place] for step in self._history)
            if value > limit:
                return f"{what} of step {{step}} must be at most {limit:.4g}, but is {value:.4g}"
        return None


class StepTally:
    """Collects one rank's micro-batches of one step."""

    def __init__(self, ranks: Ranks, global_batch_size: int) -> None:
        self._ranks = ranks
        self._global_batch_size = global_batch_size
        self._sums = torch.zeros(2 * _GROUPS + 2, dtype=torch.float64, device=ranks.device)
        self._digest = 0
        self._rejected: list[RejectedRow] = []
        self._seen: list[tuple[int, str]] = []
        self._losses: list[Tensor] = []

    def add(self, batch: Batch, losses: Tensor) -> None:
        """Count one micro-batch with its losses (B,)."""
        weights = batch.weights.to(losses.device)
        weighted = losses.double() * weights
        tasks = torch.tensor([VISION_TASKS.index(task) for task in batch.vision_tasks], device=losses.device)
        bins = batch.timesteps.to(losses.device) * NUM_BINS // NUM_TIMESTEPS
        # No scatter-add: sums in a fixed order.
        masks = [*(tasks == task for task in range(_TASKS)), *(bins == number for number in range(NUM_BINS))]
        for group, mask in enumerate(masks):
            self._sums[group] += torch.where(mask, weighted, 0.0).sum()
            self._sums[_GROUPS + group] += (mask * weights).sum()
        self._digest += sum(batch.digests)
        self._rejected += batch.rejected
        self._seen += zip(batch.indices, batch.pair_ids, strict=True)
        self._losses.append(losses)

    def reduce(self, *, wait_share: float, stop: bool) -> StepFigures:
        """Add up over all ranks; every rank gets the same figures."""
        self._sums[-2] = wait_share / self._ranks.size
        self._sums[-1] = float(stop)
        sums = self._ranks.sum(self._sums).tolist()
        signed = (self._digest + 2**63) % 2**64 - 2**63  # int64 sums wrap around, as this one does
        whole = torch.tensor([signed, len(self._rejected)], dtype=torch.int64, device=self._ranks.device)
        digest, num_rejected = self._ranks.sum(whole).tolist()
        losses, counts = sums[:_GROUPS], sums[_GROUPS:-2]
        means = [loss / count if count else None for loss, count in zip(losses, counts, strict=True)]
        return StepFigures(
            loss=sum(losses[:_TASKS]) / self._global_batch_size,
            task_losses=dict(zip(VISION_TASKS, means, strict=False)),
            bin_losses=means[_TASKS:],
            num_rejected=num_rejected,
            samples_digest=f"{digest % 2**64:016x}",
            data_wait_share=sums[-2],
            stop=sums[-1] > 0,
        )

    def rejected_rows(self) -> list[RejectedRow]:
        """The step's rejected rows on all ranks, by sample index."""
        rows = [row for rows in self._ranks.gather(self._rejected) for row in rows]
        return sorted(rows, key=lambda row: row.index)

    def check_rejected(self, rows: list[RejectedRow], on_bad_row: str) -> None:
        """Raise MixError for the first row that must not be skipped."""
        for row in rows:
            if row.reason is None:
                raise MixError(row.detail)
            if on_bad_row == "stop":
                raise MixError(
                    f"every row of the mix must render, but pair {row.pair_id} at position {row.position} is "
                    f"{row.reason} ({row.detail}): mend it, mix without it, or give --set on_bad_row=skip"
                )

    def find_fault(self, step: int, figures: StepFigures, grad_norm: float, leaps: Leaps) -> str | None:
        """What is wrong with the step, with the pairs to blame, the same on every rank; None where nothing is."""
        if not (math.isfinite(figures.loss) and math.isfinite(grad_norm)):
            return self._blame_not_finite(step)
        leap = leaps.find(figures.loss, grad_norm)
        if leap is None:
            return None
        worst = sorted((pair for pairs in self._ranks.gather(self._by_loss()) for pair in pairs), reverse=True)
        pairs = [(index, name) for _, index, name in worst]
        return f"the {leap.format(step=step)}; the largest losses are those of pairs {_name(pairs)}"

    def _by_loss(self) -> list[tuple[float, int, str]]:
        losses = torch.cat(self._losses).tolist()
        return [(loss, index, name) for loss, (index, name) in zip(losses, self._seen, strict=True)]

    def _blame_not_finite(self, step: int) -> str:
        mine = [(index, name) for loss, index, name in self._by_loss() if not math.isfinite(loss)]
        pairs = sorted(pair for pairs in self._ranks.gather(mine) for pair in pairs)
        what = f"loss of step {step}"
        if not pairs:  # each loss is finite, their gradient is not: any sample may be the cause
            what = f"gradient of step {step}"
            pairs = sorted(pair for pairs in self._ranks.gather(self._seen) for pair in pairs)
        return f"the {what} must be finite, but is not for pairs {_name(pairs)}"


def check_fault(fault: str, on_bad_step: str) -> None:
    """Raise TrainingError for a step that must not be left out."""
    if on_bad_step == "stop":
        raise TrainingError(
            f"{fault}: look at these pairs, lower learning_rate or set max_grad_norm, or give --set on_bad_step=skip"
        )


def _name(pairs: list[tuple[int, str]]) -> str:
    """(sample index, pair_id) each: the first few by name, and between which samples all are."""
    names = ", ".join(dict.fromkeys(name for _, name in pairs[:_NAMED]))
    more = f" and {len(pairs) - _NAMED} more samples" if len(pairs) > _NAMED else ""
    indices = [index for index, _ in pairs]
    return f"{names}{more} (samples {min(indices)} to {max(indices)})"
