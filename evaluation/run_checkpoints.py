"""The checkpoints of a training run as predictors: where it started from, and each that it kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.digests import value_digest
from catalog.errors import CheckpointError
from evaluation.checkpoints import SamplingOptions, checkpoint_digest, edit_samples, library_versions
from evaluation.metrics import Image
from trainer.config import TINY_MODEL

if TYPE_CHECKING:
    from catalog.samples import Sample
    from trainer.models import Models


class RunPredictor:
    """Samples what a run started from, or one of its checkpoints by its moving average."""

    def __init__(self, place: Path | str, sha256: str, sampling: SamplingOptions, device: str) -> None:
        self._place, self._sampling, self._device = place, sampling, device
        self._models: Models | None = None
        self.checkpoint_sha256: str | None = sha256
        self.options: Mapping[str, Any] = {**asdict(sampling), "device": device, "libraries": library_versions()}

    def predict(self, samples: "Sequence[Sample]", seeds: Sequence[int]) -> list[Image]:
        """The edited sources, each with noise from its own seed."""
        from trainer.models import load_models
        from trainer.ranks import pick_device

        if self._models is None:
            device = pick_device(self._device)  # type: ignore[arg-type]
            self._models = load_models(self._place).to(device)
        return edit_samples(self._models, samples, seeds, self._sampling)


def find_checkpoints(run: Path, model: str) -> list[tuple[int, Path | str, str]]:
    """(step, place, digest) of what the run started from and of each checkpoint that it kept."""
    from trainer.checkpoint import checkpoint_digest as digest_of_checkpoint
    from trainer.checkpoint import list_checkpoints
    from trainer.starting_points import find_start

    place = str(run / "tiny_model") if model == TINY_MODEL else model
    start = find_start(place)
    files = start.file or start.folder
    assert files is not None
    sha256 = checkpoint_digest(files)
    if start.checkpoint is not None:
        sha256 = value_digest([sha256, digest_of_checkpoint(start.checkpoint)])
    kept = [(int(path.name.partition("-")[2]), path) for path in list_checkpoints(run / "checkpoints")]
    if not kept:
        raise CheckpointError(f"{run} must have a checkpoint to measure, but has none: let it train longer")
    found: list[tuple[int, Path | str, str]] = [(0, place, sha256)]
    return found + [(step, path, value_digest([sha256, digest_of_checkpoint(path)])) for step, path in kept]
