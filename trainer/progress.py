"""What the first rank shows while it trains: a bar on a terminal, a line every few steps elsewhere."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.config import TrainingConfig


class TrainingProgress:
    """Shows the rows of the log as they come."""

    def __init__(self, config: TrainingConfig, first_step: int) -> None:
        self._config = config
        console = Console(stderr=False)
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = ("step {task.completed}/{task.total}", "{task.fields[figures]}")
            self._bar = Progress(TextColumn(columns[0]), BarColumn(), TextColumn(columns[1]), TimeRemainingColumn())
            self._task = self._bar.add_task("", total=config.num_steps, completed=first_step, figures="")
            self._bar.start()

    def show(self, step: int, rows: Sequence[dict[str, Any]]) -> None:
        """Step ``step`` is done; ``rows`` are the log's, this step's last."""
        recent = rows[-self._config.log_every :]
        loss = sum(row["loss"] for row in recent) / len(recent)
        pace = sum(row["seconds"] for row in recent) / len(recent)
        figures = (
            f"loss {loss:.4f}  {self._config.global_batch_size / pace:.1f} samples/s  "
            f"data wait {recent[-1]['data_wait_share']:.0%}"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=step, figures=figures)
        elif step % self._config.log_every == 0 or step in (1, self._config.num_steps):
            left = (self._config.num_steps - step) * pace
            sys.stdout.write(f"step {step}/{self._config.num_steps}  {figures}  about {left:.0f} s left\n")
            sys.stdout.flush()

    def warn(self, sentence: str) -> None:
        """Say something that must not be overlooked, on standard error."""
        sys.stderr.write(f"warning: {sentence}\n")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
