"""Conditions of a run as a whole: arithmetic that repeats, and a SIGTERM that waits for the step at hand."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from trainer.config import TrainingConfig


@contextmanager
def exact_arithmetic(config: TrainingConfig) -> Iterator[None]:
    """Threads and algorithms that give the same bits each time, where the configuration asks for it."""
    threads, algorithms = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.set_num_threads(config.num_threads)
    torch.use_deterministic_algorithms(config.deterministic)
    memory.fill_uninitialized_memory = False  # nothing here reads memory it did not write
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(algorithms)
        memory.fill_uninitialized_memory = fill


class StopRequest:
    """Turns SIGTERM into a wish that the loop grants after the step at hand."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "StopRequest":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
