"""Writes checkpoints beside training: the step after one begins as soon as its tensors are copied.

The copy is taken at once, so what is written is the state after its step, whatever training does meanwhile. Files,
digests and the rename that makes them a checkpoint (`trainer.checkpoint.save_checkpoint`) follow in a thread: the first
rank's, which has everything, or where the run is sharded every rank's, with the parts that it has.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.checkpoint import Identity, TrainingState, save_checkpoint
from trainer.ranks import Ranks

if TYPE_CHECKING:
    from trainer.sharded_checkpoint import ShardWriter

ALONE = Ranks(0, 1, torch.device("cpu"))
"""The one process of a run without torchrun."""


class CheckpointWriter:
    """One checkpoint at a time; leaving the ``with`` block waits for the last."""

    def __init__(self, ranks: Ranks = ALONE, timeout: float = 600.0) -> None:
        """``timeout``: seconds that ranks of a sharded run wait for each other's parts."""
        self._ranks = ranks
        self._timeout = timeout
        self._shards: ShardWriter | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[Path] | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown(wait=True)

    def save(
        self, folder: Path, step: int, state: TrainingState, identity: Identity, *, keep_last: int, keep_every: int
    ) -> None:
        """Copy ``state`` and write it in the background, after the checkpoint before it. Every rank must call it.

        Raises:
            OSError, CheckpointError: the checkpoint before it could not be written.
        """
        self.wait()
        if state.is_sharded and self._shards is None:
            from trainer.sharded_checkpoint import ShardWriter  # takes a second to import, and most runs are whole

            self._shards = ShardWriter(self._timeout)
        shards = self._shards
        if shards is None and not self._ranks.is_first:
            return
        copy = _copy if shards is None else shards.copy
        own = replace(state, unet=copy(state.unet), averages=copy(state.averages), optimizer=copy(state.optimizer))
        if self._ranks.device.type == "cuda":
            torch.cuda.synchronize()
        keep = {"keep_last": keep_last, "keep_every": keep_every}
        is_first = self._ranks.is_first
        self._writing = self._thread.submit(
            save_checkpoint, folder, step, own, identity, shards=shards, is_first=is_first, **keep
        )

    def wait(self) -> None:
        """Until the last checkpoint is on disk.

        Raises:
            OSError, CheckpointError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, in memory of its own."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
