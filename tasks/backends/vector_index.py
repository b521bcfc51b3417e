"""Embedded index: exact search with FAISS."""

import numpy as np
from numpy.typing import NDArray

from tasks.backends.protocols import library_revision

_QUERIES = 16
"""Queries per call: from 20 on FAISS multiplies matrices, whose rounding depends on how many queries there are."""


class FaissFlatIndex:
    """Compares every query with every vector (FAISS, IndexFlatIP): exact, and the same one by one or in a batch."""

    name = "faiss-flat"
    device = "cpu"

    def __init__(self) -> None:
        import faiss

        self._faiss = faiss
        self._index: object | None = None
        self.revision = library_revision(1, faiss=faiss.__version__)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """See `protocols.Index`."""
        vectors = _checked(vectors)
        if self._index is None:
            self._index = self._faiss.IndexFlatIP(vectors.shape[1])
        if vectors.shape[1] != self._index.d:  # type: ignore[attr-defined]
            raise ValueError(f"the index holds vectors of {self._index.d} numbers. Got {vectors.shape[1]}")  # type: ignore[attr-defined]
        self._index.add(vectors)  # type: ignore[attr-defined]

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `protocols.Index`."""
        queries = _checked(queries)
        if k < 1:
            raise ValueError(f"k must be at least 1. Got {k}")
        if self._index is None:
            raise ValueError("the index is empty: call add first")
        k = min(k, self._index.ntotal)  # type: ignore[attr-defined]
        scores = np.empty((len(queries), k), np.float32)
        ids = np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), _QUERIES):
            rows = slice(start, start + _QUERIES)
            scores[rows], ids[rows] = self._index.search(queries[rows], k)  # type: ignore[attr-defined]
        order = np.lexsort((ids, -scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def _checked(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must have the shape (N, D). Got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite")
    return vectors
