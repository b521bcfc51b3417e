"""Exact L1 nearest neighbours: candidates from 8-bit codes, proven complete, ranked by their true distances.

Features become bytes, code = round((x - low of the column) / step), and each row keeps the L1 norm e of what that
loses. With the sum of absolute differences S of two rows' codes, the triangle inequality gives
``step S - e1 - e2 <= |x1 - x2|_1 <= step S + e1 + e2``. OpenCV sums bytes many times faster than floats are
summed; only rows whose lower bound does not exceed the k-th true distance are compared in float64. Nothing is
approximate: the result is that of comparing with every row, bit for bit.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6
"""Official GIQA code: added to every difference of features (``pairwise_distance``), so no distance is zero."""

_BLOCK = 4096  # rows that are converted at once
_TILE = 256  # rows of codes that stay in a core's cache while many queries pass
_KEPT = 16  # smallest sums kept per tile; a tile that may hide more is opened again
_QUERIES = 64  # queries per pass over the codes
_CHUNK = 8  # candidates compared in float64 before the bound is looked at again
_SAMPLE = 1024  # rows that the step of the codes is chosen on
_RANGES = (0.99, 0.999, 0.9999, 1.0)  # shares of the sampled values that a byte may span
_ROUNDING = 1e-9  # relative; far above what float64 sums lose

Excluded = Sequence[Sequence[int] | NDArray[np.integer]]


def all_distances(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Float64 (N, M): sum over features of |x - y + `EPSILON`|."""
    from scipy.spatial.distance import cdist

    shifted = queries.astype(np.float64) + EPSILON
    distances: NDArray[np.float64] = cdist(shifted, rows.astype(np.float64), "cityblock")
    return distances


def nearest_by_comparison(
    queries: NDArray[np.float32], rows: NDArray[np.float32], k: int, exclude: Excluded | None = None
) -> NDArray[np.float64]:
    """Distances (N, k), ascending, to the k nearest rows, each query compared with each row; inf where too few.

    ``exclude[i]`` lists rows that query i is not compared with. Memory is flat in the number of rows.
    """
    nearest = np.full((len(queries), k), np.inf)
    for start in range(0, len(rows), _BLOCK):
        distances = all_distances(queries, rows[start : start + _BLOCK])
        for item, ids in enumerate(() if exclude is None else exclude):
            local = np.asarray(ids, np.int64) - start
            distances[item, local[(local >= 0) & (local < distances.shape[1])]] = np.inf
        nearest = np.partition(np.concatenate([nearest, distances], axis=1), k - 1)[:, :k]
    ordered: NDArray[np.float64] = np.sort(nearest, axis=1)
    return ordered


class L1Index:
    """Codes of a fixed set of rows; a quarter of their memory. The rows may be a memory map."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """Read the rows (M, D), M and D at least 1, once; they must not change afterwards.

        Raises:
            ValueError: a row is not finite.
        """
        self.rows = rows
        sample = np.nan_to_num(rows[:: -(-len(rows) // _SAMPLE)].astype(np.float32))
        self._low = sample.min(axis=0)
        self._step = _choose_step(sample, self._low)
        self._codes = np.empty(rows.shape, np.uint8)
        self._errors = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            if not np.isfinite(rows[part]).all():
                raise ValueError("references must be finite")
            self._codes[part], self._errors[part] = _encode(rows[part], self._low, self._step)
        starts = np.arange(0, len(rows), _TILE)
        self._worst = np.maximum.reduceat(self._errors, starts)  # (T,) largest error of each tile

    def nearest(self, queries: NDArray[np.float32], k: int, exclude: Excluded | None = None) -> NDArray[np.float64]:
        """As `nearest_by_comparison` gives it, for finite queries (N, D)."""
        found = np.full((len(queries), k), np.inf)
        for start in range(0, len(queries), _QUERIES):
            part = queries[start : start + _QUERIES]
            codes, errors = _encode(part, self._low, self._step)
            sums, ids = self._scan(codes, k)
            for item in range(len(part)):
                number = start + item
                left_out = np.asarray([] if exclude is None else exclude[number], np.int64)
                slack = errors[item] + part.shape[1] * EPSILON
                query = _Query(self, part[item : item + 1], codes[item : item + 1], slack, left_out, k)
                found[number] = query.nearest(sums[item], ids[item])
        return found

    def _scan(self, codes: NDArray[np.uint8], k: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Per query and tile the smallest sums (N, T, K) ascending and their rows; -1 where a tile has fewer."""
        kept = max(_KEPT, k)
        num_tiles = len(self._worst)
        sums = np.full((len(codes), num_tiles, kept), np.iinfo(np.int32).max, np.int32)
        ids = np.full((len(codes), num_tiles, kept), -1, np.int64)
        for tile in range(num_tiles):
            first = tile * _TILE
            rows = self._codes[first : first + _TILE]
            width = min(kept, len(rows))
            sums[:, tile, :width], local = _smallest_sums(codes, rows, width)
            ids[:, tile, :width] = local + first
        return sums, ids

    def lower_bounds(self, sums: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the distance, but for the query's own slack."""
        bounds: NDArray[np.float64] = sums * self._step * (1 - _ROUNDING) - self._errors[ids]
        return bounds

    def hidden_bounds(self, sums: NDArray[np.int32]) -> NDArray[np.float64]:
        """(T,): lower bounds of the rows of each tile that were not kept; inf where all were."""
        sizes = np.minimum(_TILE, len(self.rows) - _TILE * np.arange(len(self._worst)))
        bounds = sums[:, -1] * self._step * (1 - _ROUNDING) - self._worst
        return np.where(sizes > sums.shape[1], bounds, np.inf)

    def open_tile(self, code: NDArray[np.uint8], tile: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All sums of one tile, ascending, and their rows."""
        rows = self._codes[tile * _TILE : (tile + 1) * _TILE]
        sums, local = _smallest_sums(code, rows, len(rows))
        return sums[0], local[0].astype(np.int64) + tile * _TILE


class _Query:
    """One query's search through its candidates."""

    def __init__(
        self,
        index: L1Index,
        features: NDArray[np.float32],
        code: NDArray[np.uint8],
        slack: float,
        left_out: NDArray[np.int64],
        k: int,
    ) -> None:
        self._index, self._features, self._code = index, features, code
        self._slack, self._left_out = slack, left_out
        self._best = np.full(k, np.inf)

    def nearest(self, sums: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The k smallest true distances from the sums (T, K) of a scan."""
        self._compare(sums[ids >= 0], ids[ids >= 0])
        hidden = self._index.hidden_bounds(sums)
        for tile in np.argsort(hidden, kind="stable"):
            if hidden[tile] - self._slack > self._best[-1] or hidden[tile] == np.inf:
                break
            all_sums, all_ids = self._index.open_tile(self._code, int(tile))
            seen = sums.shape[1]
            self._compare(all_sums[seen:], all_ids[seen:])
        return self._best

    def _compare(self, sums: NDArray[np.int32], ids: NDArray[np.int64]) -> None:
        """Look at the true distances of rows, nearest bound first, until no bound can beat the best."""
        bounds = self._index.lower_bounds(sums, ids) - self._slack
        if np.isfinite(self._best[-1]):
            may = bounds <= self._best[-1]
            bounds, ids = bounds[may], ids[may]
        if len(self._left_out):
            allowed = ~np.isin(ids, self._left_out)
            bounds, ids = bounds[allowed], ids[allowed]
        order = np.argsort(bounds, kind="stable")
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            chunk = chunk[bounds[chunk] <= self._best[-1]]
            if len(chunk) == 0:
                return
            distances = all_distances(self._features, self._index.rows[np.sort(ids[chunk])])[0]
            self._best = np.sort(np.concatenate([self._best, distances]))[: len(self._best)]


def _smallest_sums(
    codes: NDArray[np.uint8], rows: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sums of absolute differences of bytes: the ``count`` smallest per query, ascending, and their rows."""
    sums, ids = cv2.batchDistance(codes, rows, cv2.CV_32S, normType=cv2.NORM_L1, K=count)
    return sums, ids


def _choose_step(sample: NDArray[np.float32], low: NDArray[np.float32]) -> float:
    """The step that loses least on the sample: a rare large value is better cut off than served."""
    values = sample - low
    steps = [max(float(np.quantile(values, share)) / 255, float(np.finfo(np.float32).tiny)) for share in _RANGES]
    losses = [float(_encode(sample, low, step)[1].mean()) for step in steps]
    return steps[int(np.argmin(losses))]


def _encode(
    rows: NDArray[np.float32], low: NDArray[np.float32], step: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Codes (N, D) and the L1 norm of what each row loses by them, rounded up."""
    scaled = (rows.astype(np.float64) - low) / step
    codes = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    errors = np.abs(scaled - codes).sum(axis=1) * step * (1 + _ROUNDING)
    return codes, errors
