"""The training log: one row per optimizer step, in Parquet and in TensorBoard, and on Weights & Biases where asked.

The Parquet file is rewritten whole before each checkpoint, so the log of a resumed run has each step once.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.durable import write_file
from catalog.errors import TrainingError
from catalog.schema import VISION_TASKS
from trainer.config import TrainingConfig
from trainer.diffusion import NUM_TIMESTEPS
from trainer.run_folder import RunFolder
from trainer.step_tally import NUM_BINS
from trainer.wandb_log import WandbLog

_WIDTH = NUM_TIMESTEPS // NUM_BINS
BIN_LOSSES = [f"loss_t{first:03d}_{first + _WIDTH - 1:03d}" for first in range(0, NUM_TIMESTEPS, _WIDTH)]
"""Columns of losses by bin of timesteps: loss_t000_099, ..."""

TRAINING_LOG = pa.schema(
    [
        ("step", pa.int64()),  # optimizer steps done, from 1
        ("samples_seen", pa.int64()),
        ("loss", pa.float64()),  # equation 1, mean over the global batch
        *[(f"loss_{task}", pa.float64()) for task in VISION_TASKS],  # null where the step had no such sample
        *[(name, pa.float64()) for name in BIN_LOSSES],  # by timestep; null where the step had no such sample
        ("learning_rate", pa.float64()),
        ("grad_norm", pa.float64()),  # before clipping
        ("skipped", pa.bool_()),  # the step was left out (on_bad_step=skip): the weights are those before it
        ("num_rejected", pa.int64()),  # mix rows of this step that could not be rendered
        ("samples_digest", pa.string()),  # of all samples of the step: equal for any number of ranks
        ("samples_per_s", pa.float64()),
        ("mfu", pa.float64()),  # share of the devices' peak that the UNet's arithmetic took; null: peak not known
        ("data_wait_share", pa.float64()),  # of the step's time, [0, 1], mean over ranks
        ("memory_mib", pa.float64()),  # peak of the first rank: on the GPU, or resident
        ("seconds", pa.float64()),
    ]
)

REJECTED_ROWS = pa.schema(
    [
        ("index", pa.int64()),  # sample index in the run
        ("position", pa.int64()),  # of the mix
        ("pair_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


class TrainingLog:
    """Rows so far, of this start and those before it."""

    def __init__(self, folder: RunFolder, config: TrainingConfig, first_step: int) -> None:
        """Continue the log after ``first_step`` steps; rows of later steps, lost by a kill, are dropped.

        Raises:
            ConfigError: Weights & Biases are asked for and cannot be had.
            TrainingError: the log so far is torn.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self.rows = [row for row in _read(folder.log) if row["step"] <= first_step]
        samples_seen = first_step * config.global_batch_size
        self.rejected = [row for row in _read(folder.rejected) if row["index"] < samples_seen]
        events = str(folder.tensorboard)
        self._events: Any = SummaryWriter(events, purge_step=first_step + 1)  # type: ignore[no-untyped-call]
        self._wandb = WandbLog(folder, config) if config.wandb else None

    def add(self, row: dict[str, Any]) -> None:
        """Note one step."""
        assert row.keys() == set(TRAINING_LOG.names)
        self.rows.append(row)
        for name, value in row.items():
            if isinstance(value, float):
                self._events.add_scalar(name, value, row["step"])
        if self._wandb is not None:
            self._wandb.add(row)

    def history(self) -> list[tuple[float, float]]:
        """(loss, gradient norm) of the steps that counted, oldest first."""
        return [(row["loss"], row["grad_norm"]) for row in self.rows if not row.get("skipped")]

    def add_picture(self, step: int, picture: np.ndarray) -> None:
        """Show a picture, uint8 (H, W, 3)."""
        self._events.add_image("edits", picture, step, dataformats="HWC")
        if self._wandb is not None:
            self._wandb.add_picture(step, picture)

    def flush(self) -> None:
        """Put all rows on disk."""
        self._events.flush()
        _write(self._folder.log, self.rows, TRAINING_LOG)
        if self.rejected or self._folder.rejected.exists():
            _write(self._folder.rejected, self.rejected, REJECTED_ROWS)

    def close(self) -> None:
        """Close the event file and the run on Weights & Biases."""
        self._events.close()
        if self._wandb is not None:
            self._wandb.close()


def mean_losses(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Mean loss over the first and over the last tenth of the steps (at least one step each)."""
    losses = [float(row["loss"]) for row in rows]
    if not losses:  # the log of a finished run was removed
        return math.nan, math.nan
    count = max(1, len(losses) // 10)
    return sum(losses[:count]) / count, sum(losses[-count:]) / count


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, page_checksum_verification=True).to_pylist()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's own refusal
        what = str(error).partition("\n")[0]
        raise TrainingError(
            f"{path} is torn or not Parquet ({what}): delete it and start again by the same command; the steps so far "
            "then stand in TensorBoard's files alone"
        ) from error
    return rows


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    write_file(path, [sink.getvalue()])
