"""Batches whose results do not depend on who else is in them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def run_in_batches(
    forward: Callable[[Sequence[_Item]], Iterable[_Result]], items: Sequence[_Item], batch_size: int, device: str
) -> list[_Result]:
    """``forward`` over all items, in batches of one size, so that each item's result is its own.

    Matrix products round differently with the number of rows. On a CPU items therefore go one by one, which costs
    little there. On CUDA the last batch is filled up by repeating its last item, so that the kernels see one shape;
    ``batch_size`` then belongs into the backend's revision.

    Args:
        forward: takes a batch of inputs and gives one result each.
        items: N inputs.
        batch_size: inputs per call on CUDA.
        device: "cpu" or "cuda".

    Returns:
        N results in order.
    """
    size = 1 if device == "cpu" else batch_size
    results: list[_Result] = []
    for start in range(0, len(items), size):
        part = list(items[start : start + size])
        filled = part + part[-1:] * (size - len(part))
        results += list(forward(filled))[: len(part)]
    return results
