"""What a training run leaves behind, and how it knows that it is done.

::

    config.json           the resolved configuration, the mix and its digest
    checkpoints/          step-XXXXXXXX folders (`trainer.checkpoint`)
    training_log.parquet  one row per step (`trainer.training_log`)
    rejected_rows.parquet mix rows that were skipped; only with on_bad_row=skip
    pictures/             step-XXXXXXXX.png; only with pictures_every
    tensorboard/          the same curves for TensorBoard
    pipeline/             moving-average weights as a diffusers pipeline
    finished.json         written last: the run is done, and these are its figures
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.digests import file_digest
from catalog.durable import write_file
from catalog.errors import CheckpointError
from trainer.config import TrainingConfig, changed_fields


@dataclass(frozen=True)
class Finished:
    """Figures of a finished run."""

    steps: int
    samples_seen: int
    loss_first: float
    """Mean loss over the first tenth of the steps."""
    loss_last: float
    """Mean loss over the last tenth of the steps."""
    seconds: float
    """Spent in training steps, over all starts of the run."""


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run's output folder."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        """The Parquet log."""
        return self.path / "training_log.parquet"

    @property
    def rejected(self) -> Path:
        """Skipped rows."""
        return self.path / "rejected_rows.parquet"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def pipeline(self) -> Path:
        """The exported pipeline."""
        return self.path / "pipeline"

    @property
    def tiny_model(self) -> Path:
        """The starting point that a recipe with model "tiny" makes."""
        return self.path / "tiny_model"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.json"

    @property
    def finished(self) -> Path:
        """The mark of a finished run."""
        return self.path / "finished.json"

    def picture(self, step: int) -> Path:
        """The sample picture after ``step`` steps."""
        return self.path / "pictures" / f"step-{step:08d}.png"

    def read_micro_batch(self) -> int | None:
        """The micro-batch of the run's last start; None where it is not known."""
        try:
            return int(json.loads(self.config.read_text(encoding="utf-8"))["config"]["micro_batch_size"]) or None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def start(self, config: TrainingConfig, mix: Path, mix_sha256: str) -> None:
        """Save what this run is; from now on it is not finished."""
        self.finished.unlink(missing_ok=True)
        value = {"config": config.to_json(), "catalog": str(mix), "mix_sha256": mix_sha256}
        write_json(self.config, value)

    def write_finished(self, figures: Finished, config: TrainingConfig, mix_sha256: str) -> None:
        """Declare the run done; the exported pipeline's digests are part of the mark."""
        files = sorted(path for path in self.pipeline.rglob("*") if path.is_file())
        value = {
            **dataclasses.asdict(figures),
            "config": config.to_json(),
            "mix_sha256": mix_sha256,
            "pipeline": {path.relative_to(self.pipeline).as_posix(): file_digest(path) for path in files},
        }
        write_json(self.finished, value)

    def read_finished(self, config: TrainingConfig, mix_sha256: str) -> Finished | None:
        """Figures of the run if it is done and its pipeline is whole; None if there is work left.

        Raises:
            CheckpointError: a finished run of another mix or configuration is here.
        """
        if not self.finished.is_file():
            return None
        try:
            value = json.loads(self.finished.read_text(encoding="utf-8"))
            missing = {"mix_sha256", "config", "pipeline", *(f.name for f in dataclasses.fields(Finished))} - set(value)
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{self.finished} is not what was written ({error}): delete it to go on") from error
        if missing:
            raise CheckpointError(f"{self.finished} is not what was written: delete it to go on")
        if value["mix_sha256"] != mix_sha256:
            raise CheckpointError(
                f"{self.path} must belong to the mix of this run, but it holds one on mix "
                f"{value['mix_sha256'][:12]} and --catalog is now {mix_sha256[:12]}: choose another --output"
            )
        if changes := changed_fields(value["config"], config.to_json()):
            raise CheckpointError(
                f"{self.path} must have the configuration of this run, but it holds another "
                f"({'; '.join(changes)}): choose another --output"
            )
        if value["steps"] != config.num_steps or not self._pipeline_is(value["pipeline"]):
            return None
        return Finished(**{field.name: value[field.name] for field in dataclasses.fields(Finished)})

    def _pipeline_is(self, digests: Mapping[str, str]) -> bool:
        paths = {self.pipeline / name: digest for name, digest in digests.items()}
        return all(path.is_file() and file_digest(path) == digest for path, digest in paths.items())


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON, whole or not at all."""
    write_file(path, [json.dumps(value, indent=2).encode() + b"\n"])
