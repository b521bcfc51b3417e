"""Indexes over vectors with FAISS: exact, or approximate from a size on.

All compare by inner product. An index is filled once, then searched; `write` and `read` keep it in one file, which is
mapped into memory when read, so that many processes share its pages. The same vectors in the same order give the same
bytes on any number of threads.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError, ShardError
from tasks.backends.protocols import library_revision

_QUERIES = 16
"""Queries per call: from 20 on FAISS multiplies matrices, whose rounding depends on how many queries there are."""
_LINKS = 32
"""Links per vector of a graph (M of HNSW, Malkov and Yashunin 2018)."""
_BUILD_WIDTH = 80
"""Candidates kept while linking (efConstruction)."""
_SEARCH_WIDTH = 32
"""Candidates kept while searching, or k where that is more (efSearch)."""
_CODE_BITS = 8
_NUMBERS_PER_CODE = 4
"""Vector components that share one byte of a product quantizer."""
_TRAINING_PER_LIST = 64
"""Training vectors per inverted list: FAISS asks for 39 to 256."""


class FaissFlatIndex:
    """Compares every query with every vector (FAISS, IndexFlatIP): exact, and the same one by one or in a batch."""

    name = "faiss-flat"
    device = "cpu"

    def __init__(self) -> None:
        import faiss

        self._faiss: Any = faiss
        self._index: Any = None
        self.revision = library_revision(1, faiss=faiss.__version__)

    def empty(self) -> Self:
        """A new index with the same options."""
        return type(self)()

    def num_training(self, num_vectors: int) -> int:
        """How many of so many vectors `expect` wants to see first."""
        return 0

    def expect(self, num_vectors: int, sample: NDArray[np.float32]) -> None:
        """Prepare for so many vectors, of which ``sample`` is a part."""

    def add(self, vectors: NDArray[np.float32]) -> None:
        """See `protocols.Index`."""
        vectors = _checked(vectors)
        if self._index is None:
            self._index = self._faiss.IndexFlatIP(vectors.shape[1])
        if vectors.shape[1] != self._index.d:
            raise ValueError(f"the index holds vectors of {self._index.d} numbers. Got {vectors.shape[1]}")
        self._add(vectors)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `protocols.Index`. An approximate index that finds fewer than k ends with ids -1."""
        queries = _checked(queries)
        if k < 1:
            raise ValueError(f"k must be at least 1. Got {k}")
        if self._index is None:
            raise ValueError("the index is empty: call add first")
        k = min(k, self._index.ntotal)
        scores = np.empty((len(queries), k), np.float32)
        ids = np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), _QUERIES):
            rows = slice(start, start + _QUERIES)
            scores[rows], ids[rows] = self._index.search(queries[rows], k)
        order = np.lexsort((ids, -scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def write(self, append: Callable[[bytes], None]) -> None:
        """Give the index as bytes, piece by piece."""
        self._faiss.write_index(self._index, self._faiss.PyCallbackIOWriter(append))

    def read(self, path: Path) -> Self:
        """An index from a file, mapped into memory: what is not searched is not read.

        Raises:
            ShardError: not an index of FAISS.
        """
        faiss, found = self._faiss, self.empty()
        try:
            found._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            what = str(error).rpartition(": ")[2]
            raise ShardError(f"{path} is no index ({what}): delete it and its table, and build again") from error
        return found

    def _add(self, vectors: NDArray[np.float32]) -> None:
        self._index.add(vectors)


class FaissAutoIndex(FaissFlatIndex):
    """Exact for few vectors, a graph (HNSW) for many, inverted lists of codes (IVF-PQ) for more than memory holds.

    Args:
        hnsw_from: vectors from which a graph takes over. Exact search is quick enough below, and exact.
        ivfpq_from: vectors from which codes take over. A graph holds every vector in memory, a code is 1/16 of it,
            but its similarities are estimates.
        device: "cpu", "cuda", or "auto": CUDA where FAISS sees a GPU. Only IVF-PQ is built on a GPU, and every
            index is searched on the CPU. The revision says which it is, as the two may round differently.

    An index that was not told what to `expect` is exact.
    """

    name = "faiss-auto"

    def __init__(self, hnsw_from: int = 50_000, ivfpq_from: int = 5_000_000, device: str = "auto") -> None:
        super().__init__()
        if not 0 < hnsw_from <= ivfpq_from:
            raise BackendError(
                f"index 'faiss-auto': hnsw_from must be above 0 and at most ivfpq_from. Got {hnsw_from}, {ivfpq_from}"
            )
        if device not in ("auto", "cpu", "cuda"):
            raise BackendError(f"index 'faiss-auto': device must be auto, cpu or cuda. Got {device!r}")
        num_gpus = self._faiss.get_num_gpus() if hasattr(self._faiss, "StandardGpuResources") else 0
        if device == "cuda" and not num_gpus:
            raise BackendError("index 'faiss-auto' on cuda needs faiss-gpu and a GPU: `pip install 'ieiw[gpu]'`")
        self.device = "cuda" if num_gpus and device != "cpu" else "cpu"
        self._options = {"hnsw_from": hnsw_from, "ivfpq_from": ivfpq_from}
        options = self._options | ({"built_on": "cuda"} if self.device == "cuda" else {})
        self.revision = library_revision(1, options, faiss=self._faiss.__version__)

    def empty(self) -> Self:
        """See `FaissFlatIndex.empty`."""
        return type(self)(**self._options, device=self.device)

    def kind(self, num_vectors: int) -> str:
        """What so many vectors get: "flat", "hnsw" or "ivfpq"."""
        if num_vectors < self._options["hnsw_from"]:
            return "flat"
        return "hnsw" if num_vectors < self._options["ivfpq_from"] else "ivfpq"

    def num_training(self, num_vectors: int) -> int:
        """See `FaissFlatIndex.num_training`."""
        if self.kind(num_vectors) != "ivfpq":
            return 0
        return min(num_vectors, _TRAINING_PER_LIST * max(_num_lists(num_vectors), 1 << _CODE_BITS))

    def expect(self, num_vectors: int, sample: NDArray[np.float32]) -> None:
        """See `FaissFlatIndex.expect`. Of the sample only IVF-PQ looks at the values."""
        dimension = sample.shape[1]
        kind = self.kind(num_vectors)
        if kind == "flat":
            self._index = self._faiss.IndexFlatIP(dimension)
        elif kind == "hnsw":
            self._index = self._faiss.IndexHNSWFlat(dimension, _LINKS, self._faiss.METRIC_INNER_PRODUCT)
            self._index.hnsw.efConstruction = _BUILD_WIDTH
            self._index.hnsw.efSearch = _SEARCH_WIDTH
        else:
            self._index = self._trained(_num_lists(num_vectors), _checked(sample))

    def _trained(self, num_lists: int, sample: NDArray[np.float32]) -> Any:
        faiss, dimension = self._faiss, sample.shape[1]
        num_codes = max(number for number in range(1, dimension // _NUMBERS_PER_CODE + 1) if dimension % number == 0)
        index = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(dimension), dimension, num_lists, num_codes, _CODE_BITS, faiss.METRIC_INNER_PRODUCT
        )
        index.nprobe = max(1, num_lists // 32)
        index.cp.max_points_per_centroid = _TRAINING_PER_LIST
        if self.device == "cuda":
            index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
        index.train(sample)
        return index

    def _add(self, vectors: NDArray[np.float32]) -> None:
        if isinstance(self._index, self._faiss.IndexHNSW):
            with _one_thread(self._faiss):  # a graph's links depend on which vector comes first
                self._index.add(vectors)
        else:
            self._index.add(vectors)

    def write(self, append: Callable[[bytes], None]) -> None:
        """See `FaissFlatIndex.write`."""
        if self.device == "cuda" and not isinstance(self._index, self._faiss.IndexFlat | self._faiss.IndexHNSW):
            self._index = self._faiss.index_gpu_to_cpu(self._index)
        super().write(append)


@contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    """One thread for what this thread asks of FAISS."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _num_lists(num_vectors: int) -> int:
    """FAISS's own advice, 4 to 16 times the square root: 4 here, so that a list is worth its overhead."""
    return max(1, 4 * math.isqrt(num_vectors))


def _checked(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must have the shape (N, D). Got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite")
    return vectors
