"""A 64-bit hash that pictures keep through resizing and recompression, and the search for near ones."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_VERSION = 1
"""Changes with every change of `difference_hash`: hashes of two versions cannot be compared."""

_BITS = 64
_CHUNK = 1 << 20  # comparisons at once


def difference_hash(image: NDArray[np.uint8]) -> int:
    """Of an RGB image (H, W, 3): which of two neighbours in a grid of 8 x 9 grey cells is brighter, row by row.

    Krawetz' "dHash" (2013). Evenly coloured pictures all have hashes near 0 and look alike to it.
    """
    cells = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def distance(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Differing bits, 0 to 64, by NumPy's rules of broadcasting."""
    bits = np.bitwise_xor(first, second)[..., None].view(np.uint8)
    counts: NDArray[np.int64] = np.unpackbits(bits, axis=-1).sum(axis=-1, dtype=np.int64)
    return counts


def near_hashes(first: NDArray[np.uint64], second: NDArray[np.uint64], radius: int) -> NDArray[np.int64]:
    """All (i, j) with at most ``radius`` bits between ``first[i]`` and ``second[j]``, int64 (K, 2), in order.

    Exact: with ``radius`` + 1 bands of bits, two near hashes agree in at least one band, so only hashes that share
    a band are compared.
    """
    if not 0 <= radius < _BITS:
        raise ValueError(f"radius must be from 0 to {_BITS - 1} bits. Got {radius}")
    edges = np.linspace(0, _BITS, radius + 2).astype(int)
    found = [np.empty((0, 2), np.int64)]
    for low, high in pairwise(edges):
        mask = np.uint64((1 << int(high)) - (1 << int(low)))
        found += _near_in_band(first, second, mask, radius)
    return np.unique(np.concatenate(found), axis=0)


def _near_in_band(
    first: NDArray[np.uint64], second: NDArray[np.uint64], mask: np.uint64, radius: int
) -> list[NDArray[np.int64]]:
    order = np.argsort(second & mask, kind="stable")
    keys = (second & mask)[order]
    starts = np.searchsorted(keys, first & mask, "left")
    counts = np.searchsorted(keys, first & mask, "right") - starts
    found = []
    ends = np.cumsum(counts)
    at = 0
    while at < len(first):
        base = ends[at] - counts[at]
        upto = max(at + 1, int(np.searchsorted(ends, base + _CHUNK, "right")))
        rows = np.repeat(np.arange(at, upto), counts[at:upto])
        within = np.arange(len(rows)) - np.repeat(ends[at:upto] - counts[at:upto] - base, counts[at:upto])
        others = order[np.repeat(starts[at:upto], counts[at:upto]) + within]
        near = distance(first[rows], second[others]) <= radius
        found.append(np.stack([rows[near], others[near]], axis=1).astype(np.int64))
        at = upto
    return found
