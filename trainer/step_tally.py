"""What one optimizer step saw and lost, added up over micro-batches and ranks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from catalog.errors import MixError, TrainingError
from catalog.schema import VISION_TASKS
from trainer.data import Batch, RejectedRow
from trainer.ranks import Ranks

_NAMED = 8
"""Pairs that an error names; the positions tell the rest."""


@dataclass(frozen=True)
class StepFigures:
    """One step over all ranks."""

    loss: float
    """Sum of the samples' losses over the global batch size: the objective itself."""
    task_losses: dict[str, float | None]
    """Mean by vision_task; None where the step had no sample of it."""
    num_rejected: int
    samples_digest: str
    data_wait_share: float
    stop: bool
    """Some rank was asked to stop."""


class StepTally:
    """Collects one rank's micro-batches of one step."""

    def __init__(self, ranks: Ranks, global_batch_size: int) -> None:
        self._ranks = ranks
        self._global_batch_size = global_batch_size
        self._sums = torch.zeros(2 * len(VISION_TASKS) + 2, dtype=torch.float64, device=ranks.device)
        self._digest = 0
        self._rejected: list[RejectedRow] = []
        self._seen: list[tuple[int, str]] = []
        self._losses: list[Tensor] = []

    def add(self, batch: Batch, losses: Tensor) -> None:
        """Count one micro-batch with its losses (B,)."""
        weighted = losses.double() * batch.weights.to(losses.device)
        tasks = torch.tensor([VISION_TASKS.index(task) for task in batch.vision_tasks], device=losses.device)
        for task in range(len(VISION_TASKS)):  # no scatter-add: sums in a fixed order
            mask = tasks == task
            self._sums[task] += torch.where(mask, weighted, 0.0).sum()
            self._sums[len(VISION_TASKS) + task] += (mask * batch.weights.to(losses.device)).sum()
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
        losses, counts = sums[: len(VISION_TASKS)], sums[len(VISION_TASKS) : -2]
        return StepFigures(
            loss=sum(losses) / self._global_batch_size,
            task_losses={
                task: loss / count if count else None
                for task, loss, count in zip(VISION_TASKS, losses, counts, strict=True)
            },
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

    def check_finite(self, step: int, figures: StepFigures, grad_norm: float) -> None:
        """Raise TrainingError, with the pairs to blame, if the loss or the gradient is not finite."""
        if math.isfinite(figures.loss) and math.isfinite(grad_norm):
            return
        losses = torch.cat(self._losses).tolist()
        mine = [seen for seen, loss in zip(self._seen, losses, strict=True) if not math.isfinite(loss)]
        pairs = sorted(pair for pairs in self._ranks.gather(mine) for pair in pairs)
        what = f"loss of step {step}"
        if not pairs:  # each loss is finite, their gradient is not: any sample may be the cause
            what = f"gradient of step {step}"
            pairs = sorted(pair for pairs in self._ranks.gather(self._seen) for pair in pairs)
        names = ", ".join(dict.fromkeys(name for _, name in pairs[:_NAMED]))
        more = f" and {len(pairs) - _NAMED} more samples" if len(pairs) > _NAMED else ""
        raise TrainingError(
            f"the {what} must be finite, but is not for pairs {names}{more} (samples {pairs[0][0]} to "
            f"{pairs[-1][0]}): look at these pairs, or lower learning_rate or set max_grad_norm"
        )
