"""Where networks come from: what the configuration's ``model`` may name.

::

    folder with unet/, vae/, ...        a checkpoint in the diffusers layout
    file.safetensors, .ckpt, .pt, ...   Stable Diffusion v1's original layout (`trainer.single_file`)
    runs/task_training                  another run's folder: its exported pipeline, or its newest checkpoint
    runs/.../checkpoints/step-00001000  one checkpoint of a run: its moving average
    owner/name                          a hub id in the diffusers layout, downloaded or taken from the cache

A relative path counts from the working directory, then from ``IEIW_HOME``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import CheckpointError
from catalog.workspace import Workspace
from trainer.checkpoint import list_checkpoints
from trainer.config import TINY_MODEL
from trainer.run_folder import RunFolder
from trainer.single_file import SUFFIXES

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@dataclass(frozen=True)
class StartingPoint:
    """Files to load: one of ``folder`` and ``file``, and weights that replace the UNet's."""

    folder: Path | None = None
    """In the diffusers layout."""
    file: Path | None = None
    """In the original layout."""
    checkpoint: Path | None = None
    """Checkpoint of a run; the UNet's weights are its moving average."""


def find_start(place: str) -> StartingPoint:
    """What ``place`` names.

    Raises:
        CheckpointError: nothing is there, or something of another layout.
    """
    path = _find_path(place)
    if path is None:
        return StartingPoint(folder=_download(place))
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise CheckpointError(f"model must be a folder or a file named {', '.join(SUFFIXES)}, got {path}")
        return StartingPoint(file=path)
    if (path / "manifest.json").is_file():
        return _start_of_checkpoint(path)
    run = RunFolder(path)
    if run.config.is_file():
        return _start_of_run(run)
    return StartingPoint(folder=_check_parts(path))


def _find_path(place: str) -> Path | None:
    path = Path(place).expanduser()
    candidates = [path] if path.is_absolute() else [path, Workspace.default().home / path]
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _start_of_run(run: RunFolder) -> StartingPoint:
    if run.pipeline.is_dir():
        return StartingPoint(folder=_check_parts(run.pipeline))
    checkpoints = list_checkpoints(run.checkpoints)
    if not checkpoints:
        raise CheckpointError(f"{run.path} must be a run with a checkpoint, but has none yet: let it train longer")
    return _start_of_checkpoint(checkpoints[-1])


def _start_of_checkpoint(checkpoint: Path) -> StartingPoint:
    """Its UNet in the networks that the run started from."""
    run = RunFolder(checkpoint.parent.parent)
    try:
        model = json.loads(run.config.read_text(encoding="utf-8"))["config"]["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoint} must lie in its run's folder, whose config.json names the other networks ({error}): "
            "give the checkpoint where it was written"
        ) from error
    base = find_start(str(run.tiny_model) if model == TINY_MODEL else str(model))
    return StartingPoint(folder=base.folder, file=base.file, checkpoint=checkpoint)


def _check_parts(folder: Path) -> Path:
    for part in PARTS:
        if not (folder / part).is_dir():
            raise CheckpointError(
                f"{folder} must be a checkpoint in the diffusers layout, but has no {part}/: "
                "give the folder that holds model_index.json"
            )
    return folder


def _download(place: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["model_index.json", "tokenizer/*", "scheduler/*.json"]
    for part, stem in _WEIGHTS.items():  # not the variants (fp16, non_ema) and not the pickled copies
        patterns += [f"{part}/*.json", f"{part}/{stem}.safetensors", f"{part}/{stem}-*-of-*.safetensors"]
    try:
        return _check_parts(Path(snapshot_download(place, allow_patterns=patterns)))
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"model must be a diffusers folder, a checkpoint file, a run, or a hub id that can be reached or is "
            f"cached, got {place!r}: give the path of a downloaded checkpoint ({first})"
        ) from error
