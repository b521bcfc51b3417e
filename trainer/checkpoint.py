"""Checkpoints that are whole or absent: ``checkpoints/step-00000040/`` with its tensors and a manifest.

::

    unet.safetensors        weights, float32
    averages.safetensors    their moving average
    optimizer.safetensors   AdamW: <parameter>/step, <parameter>/exp_avg, <parameter>/exp_avg_sq
    manifest.json           written last: digests of the files, samples seen, mix, configuration, its own digest

Of a sharded run (``parallel=fsdp``), each rank has written its parts of the three (`trainer.sharded_checkpoint`).
A folder gets its name by one rename after everything in it is on disk, and loses it by one rename before it is
removed. So after a kill at any moment the named folders are whole; unnamed rests go when the next run starts.
Nothing is unpickled.
"""

import json
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from catalog.digests import file_digest, value_digest
from catalog.durable import TEMPORARY_SUFFIX, publish_folder
from catalog.errors import CheckpointError
from trainer.config import changed_fields

if TYPE_CHECKING:
    from trainer.sharded_checkpoint import ShardWriter

FORMAT = 1

_NAME = re.compile(r"step-(\d{8,})")
_FILES = ("unet", "averages", "optimizer")
_SHARD = re.compile(r"shard-\d{5}-model-0000[123]-of-0000[123]\.safetensors")
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Identity:
    """What a checkpoint must agree on with the run that resumes from it."""

    config: Mapping[str, Any]
    """The configuration as JSON values."""
    mix_sha256: str
    frozen_sha256: str
    """Of the autoencoder and the text encoder."""


@dataclass(frozen=True)
class TrainingState:
    """All that training needs to go on, by name of tensor."""

    samples_seen: int
    unet: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    is_sharded: bool = False
    """Whether this rank has its parts of the tensors only."""

    @property
    def files(self) -> dict[str, Mapping[str, Tensor]]:
        """Tensors by file."""
        return {"unet": self.unet, "averages": self.averages, "optimizer": self.optimizer}


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after ``step`` optimizer steps is."""
    return folder / f"step-{step:08d}"


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in ``folder``, oldest first."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def remove_rests(folder: Path) -> None:
    """Remove folders that a killed run left half written or half removed. Only while nobody writes."""
    for path in folder.glob("*" + TEMPORARY_SUFFIX):
        if path.is_dir():
            shutil.rmtree(path)


def save_checkpoint(
    folder: Path,
    step: int,
    state: TrainingState,
    identity: Identity,
    *,
    keep_last: int,
    keep_every: int = 0,
    shards: "ShardWriter | None" = None,
    is_first: bool = True,
) -> Path:
    """Write one checkpoint and drop old ones; returns its path.

    Kept are the ``keep_last`` newest, and those after a multiple of ``keep_every`` steps unless that is 0. One that is
    already there is left as it is: equal steps of one run are equal. Of a sharded run every rank calls this, with the
    same ``shards``; the first one gives the folder its name when all have written.
    """
    path = checkpoint_path(folder, step)
    if not path.exists():
        temporary = _rest(path)
        _write_tensors(temporary, state, shards)
        if is_first:
            _write_manifest(temporary, step, state.samples_seen, identity)
            publish_folder(temporary, path)
    for old in list_checkpoints(folder)[:-keep_last] if is_first else ():
        if not keep_every or _step_of(old) % keep_every:
            shutil.rmtree(old.rename(_rest(old)))
    return path


def _write_tensors(folder: Path, state: TrainingState, shards: "ShardWriter | None") -> None:
    from safetensors.torch import save_file

    if shards is not None:
        shards.write(folder, state.files)
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, tensors in state.files.items():
        save_file(_on_cpu(tensors), folder / f"{name}.safetensors")


def _read_tensors(path: Path, names: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    from safetensors.torch import load_file

    if (path / f"{names[0]}.safetensors").is_file():
        return {name: load_file(path / f"{name}.safetensors") for name in names}
    from trainer.sharded_checkpoint import read_shards  # most runs are whole, and it takes a second to import

    return read_shards(path, names)


def check_checkpoint(path: Path, config: Mapping[str, Any], mix_sha256: str) -> dict[str, Any]:
    """The manifest, after checking every byte of the checkpoint and that it belongs to this run.

    Raises:
        CheckpointError: torn, or of another mix or configuration.
    """
    manifest = _read_manifest(path)
    if manifest["mix_sha256"] != mix_sha256:
        raise CheckpointError(
            f"{path} must belong to the mix of this run, but it was trained on mix {manifest['mix_sha256'][:12]} "
            f"and --catalog is now {mix_sha256[:12]}: restore that mix or choose another --output"
        )
    if changes := changed_fields(manifest["config"], config):
        raise CheckpointError(
            f"{path} must have the configuration of this run, but it differs ({'; '.join(changes)}): "
            "undo the change or choose another --output"
        )
    _check_files(path, manifest)
    return manifest


def _check_files(path: Path, manifest: Mapping[str, Any]) -> None:
    for name, recorded in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise _torn(path, f"{name} is missing")
        if file.stat().st_size != recorded["bytes"] or file_digest(file) != recorded["sha256"]:
            raise _torn(path, f"{name} is not what was written")


def load_checkpoint(path: Path, identity: Identity) -> TrainingState:
    """Read one checkpoint back, after checking all of it.

    Raises:
        CheckpointError: torn, or of another mix, configuration, autoencoder or text encoder.
    """
    manifest = check_checkpoint(path, identity.config, identity.mix_sha256)
    if manifest["frozen_sha256"] != identity.frozen_sha256:
        raise CheckpointError(
            f"{path} must belong to this autoencoder and text encoder, but it was trained with others: "
            "restore the model folder or choose another --output"
        )
    tensors = _read_tensors(path, _FILES)
    return TrainingState(manifest["samples_seen"], tensors["unet"], tensors["averages"], tensors["optimizer"])


def read_averages(path: Path) -> dict[str, Tensor]:
    """The moving average in a checkpoint of any run, to start another run from; all of it is checked.

    Raises:
        CheckpointError: torn.
    """
    _check_files(path, _read_manifest(path))
    return _read_tensors(path, ["averages"])["averages"]


def check_tensors(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Same names and shapes, else CheckpointError: the checkpoint of another network."""
    for name in sorted(found.keys() | wanted.keys()):
        ours, theirs = wanted.get(name), found.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            shapes = [None if t is None else tuple(t.shape) for t in (theirs, ours)]
            raise CheckpointError(
                f"{path} must hold the tensors of this run's model, but {name} is {shapes[0]} instead of "
                f"{shapes[1]}: choose another --output or the model it was trained with"
            )


def checkpoint_digest(path: Path) -> str:
    """The digest that names a checkpoint's content: of its manifest, which has those of the files."""
    return str(_read_manifest(path)["sha256"])


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _rest(path: Path) -> Path:
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def _write_manifest(folder: Path, step: int, samples_seen: int, identity: Identity) -> None:
    files = sorted(folder.glob("*.safetensors"))
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "samples_seen": samples_seen,
        "mix_sha256": identity.mix_sha256,
        "frozen_sha256": identity.frozen_sha256,
        "config": dict(identity.config),
        "files": {f.name: {"bytes": f.stat().st_size, "sha256": file_digest(f)} for f in files},
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }
    manifest["sha256"] = value_digest(manifest)
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True), encoding="utf-8")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        digest = manifest.pop("sha256")
        names = set(manifest["files"])
        known = names == {f"{name}.safetensors" for name in _FILES} or all(map(_SHARD.fullmatch, names))
        whole = digest == value_digest(manifest) and bool(names) and known
    except FileNotFoundError as error:
        raise _torn(path, f"{_MANIFEST} is missing") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _torn(path, f"{_MANIFEST} is not what was written") from error
    if not whole:
        raise _torn(path, f"{_MANIFEST} is not what was written")
    if manifest["format"] != FORMAT:
        raise CheckpointError(
            f"{path} must have checkpoint format {FORMAT}, got {manifest['format']}: "
            "resume it with the version that wrote it, or choose another --output"
        )
    return {**manifest, "sha256": digest}


def _torn(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} is torn ({what}): remove this folder to go on from the checkpoint before it"
    )
