"""Reads pickled checkpoints (.ckpt, .pt, .pth, .bin) without running anything that they ask for.

PyTorch's own weights-only reader comes first. Files that Lightning saved also hold classes (callbacks, settings) and
are refused by it; they are read again with an unpickler that knows tensors and plain containers, and puts an inert
`Unknown` in the place of everything else. Nothing is imported by name from the file, nothing of it is called.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from catalog.errors import CheckpointError

MAX_BYTES = 64 * 2**30
"""Larger files are no Stable Diffusion v1 checkpoint: with averages and optimizer they take 16 GB."""

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    **{("torch", f"{name}Storage"): getattr(torch, f"{name}Storage") for name in _STORAGES},
}


class Unknown:
    """Stands where a file names a class or function that is not for checkpoints; takes any state, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Whatever the file gives."""

    def __setstate__(self, state: Any) -> None:
        """Forget it."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """What unpickling calls for the items of a mapping."""

    def append(self, item: Any) -> None:
        """What unpickling calls for the items of a list."""

    def extend(self, items: Any) -> None:
        """The same, for many."""


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _KNOWN.get((module, name), Unknown)


def _load(file: Any, **options: Any) -> Any:
    return _TensorUnpickler(file, **options).load()


_PICKLE = SimpleNamespace(__name__="restricted", Unpickler=_TensorUnpickler, load=_load)


def read_pickled(path: Path) -> dict[str, Any]:
    """The checkpoint's mapping: tensors and plain values, on the CPU.

    Raises:
        CheckpointError: too large, torn, or no mapping.
    """
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} must have at most {MAX_BYTES >> 30} GiB, got {path.stat().st_size}")
    try:
        try:
            value = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # it names other classes
            value = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_PICKLE)
    except Exception as error:  # a torn file raises nearly anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} must be a whole PyTorch checkpoint: {first}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a mapping of tensors, got {type(value).__name__}")
    return value
