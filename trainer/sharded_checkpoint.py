"""Tensors of a sharded run on disk: each rank writes its own parts, any number of ranks reads them whole.

PyTorch's distributed checkpoint (DCP) with safetensors as its form, so nothing is unpickled from a file:
``shard-<rank>-model-<k>-of-00003.safetensors`` with k = 1 for the weights, 2 for their moving average, 3 for AdamW
(none before its first update), and in each file's header where its parts lie in the whole tensors. Writing gathers
nothing; reading gives each rank the whole state on its CPU, out of which it takes its share.
"""

import json
import warnings
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from catalog.errors import CheckpointError


class ShardWriter:
    """Writes what all ranks have together. Each of its calls must be made by every rank, in the same order."""

    def __init__(self, timeout: float) -> None:
        """Beside training: with a group of its own, since training's collectives go on meanwhile.

        Args:
            timeout: seconds that a rank waits for the others.
        """
        self._group: Any = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        self._mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    def copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This rank's parts on the CPU, in memory of their own."""
        return {name: _copy(tensor, self._mesh) for name, tensor in tensors.items()}

    def write(self, folder: Path, files: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write tensors by file; returns on every rank once all have written theirs.

        Raises:
            CheckpointError: a rank could not write.
        """
        tensors = {f"{file}.{name}": tensor for file, part in files.items() for name, tensor in part.items()}
        numbers = {file: number for number, file in enumerate(files, start=1)}
        writer = HuggingFaceStorageWriter(
            str(folder), {name: numbers[name.partition(".")[0]] for name in tensors}, save_distributed=True
        )
        try:
            save(tensors, storage_writer=writer, process_group=self._group)
        except CheckpointException as error:
            rank, (cause, _) = next(iter(error.failures.items()))
            raise CheckpointError(
                f"all ranks must be able to write to {folder}, but rank {rank} was not ({cause}): "
                "free space or give a folder that all machines share"
            ) from error
        for path in folder.glob(f"shard-{dist.get_rank(self._group) + 1:05d}-*"):
            _sort_header(path)
        dist.barrier(self._group)


def read_shards(folder: Path, files: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """Whole tensors by file, on the CPU; only those of ``files`` are read."""
    reader = HuggingFaceStorageReader(str(folder))
    wanted: dict[str, Any] = {}
    for name, about in reader.read_metadata().state_dict_metadata.items():
        if name.partition(".")[0] in files:
            wanted[name] = torch.empty(about.size, dtype=about.properties.dtype)  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="torch.distributed is disabled"
        )  # each rank reads by itself, as asked
        load(wanted, storage_reader=reader, no_dist=True)
    found: dict[str, dict[str, Tensor]] = {file: {} for file in files}
    for full, tensor in wanted.items():
        file, _, name = full.partition(".")
        found[file][name] = tensor
    return found


def _sort_header(path: Path) -> None:
    """The same bytes for the same tensors: safetensors writes a header's entries in a random order."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        data = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        assert len(data) == length, "the same entries in another order"
        file.seek(8)
        file.write(data)


def _copy(tensor: Tensor, mesh: DeviceMesh) -> Tensor:
    if not isinstance(tensor, DTensor):
        return tensor.detach().to("cpu", copy=True)
    part = tensor.to_local().detach().to("cpu", copy=True)
    return DTensor.from_local(part, mesh, tensor.placements, shape=tensor.shape, stride=tensor.stride())
