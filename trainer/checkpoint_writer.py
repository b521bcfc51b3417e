"""Writes checkpoints beside training: the step after one begins as soon as its tensors are copied.

The copy is taken at once, so what is written is the state after its step, whatever training does meanwhile. Files,
digests and the rename that makes them a checkpoint (`trainer.checkpoint.save_checkpoint`) follow in a thread.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from trainer.checkpoint import Identity, TrainingState, save_checkpoint


class CheckpointWriter:
    """One checkpoint at a time; leaving the ``with`` block waits for the last."""

    def __init__(self) -> None:
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
        """Copy ``state`` and write it in the background, after the checkpoint before it.

        Raises:
            OSError: the checkpoint before it could not be written.
        """
        self.wait()
        copy = replace(state, unet=_copy(state.unet), averages=_copy(state.averages), optimizer=_copy(state.optimizer))
        keep = {"keep_last": keep_last, "keep_every": keep_every}
        self._writing = self._thread.submit(save_checkpoint, folder, step, copy, identity, **keep)

    def wait(self) -> None:
        """Until the last checkpoint is on disk.

        Raises:
            OSError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, in memory of its own."""
    copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
    if any(tensor.is_cuda for tensor in tensors.values()):
        torch.cuda.synchronize()
    return copied
