"""KNN-GIQA: an image is as good as it is close to good images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError
from tasks.backends.protocols import library_revision

_EPSILON = 1e-6
"""Official code: added to every difference of features (``pairwise_distance``), so that no distance is zero."""
_REFERENCES = 4096  # rows compared at once


class KnnGiqaScorer:
    """Sum of 1 / L1 distance to the K nearest references, by exact search; for ranking only, never a threshold.

    Gu et al., "GIQA: Generated Image Quality Assessment" (ECCV 2020), section 3.2, as the official code has it:
    L1 distance with 1e-6 added to each difference, not averaged, K = 1. The paper (section 3.2) compares with
    LAION-600M; here with whatever ``references`` holds. NaN where fewer than K references are left to compare with.
    """

    name = "knn-giqa"
    device = "cpu"

    def __init__(self, k: int = 1) -> None:
        if not isinstance(k, int) or k < 1:
            raise BackendError(f"quality_scorer 'knn-giqa': k must be a positive integer. Got {k!r}")
        self._k = k
        self.revision = library_revision(1, {"k": k}, numpy=np.__version__)

    def score(
        self,
        embeddings: NDArray[np.float32],
        references: NDArray[np.float32],
        exclude: Sequence[Sequence[int] | NDArray[np.integer]] | None = None,
    ) -> NDArray[np.float64]:
        """See `protocols.QualityScorer`; memory is flat in the number of references."""
        embeddings, references = np.asarray(embeddings), np.asarray(references)
        if embeddings.ndim != 2 or references.ndim != 2 or embeddings.shape[1] != references.shape[1]:
            raise ValueError(
                f"embeddings and references must be (N, D) and (M, D). Got {embeddings.shape} and {references.shape}"
            )
        if exclude is not None and len(exclude) != len(embeddings):
            raise ValueError(f"exclude needs one entry per embedding. Got {len(exclude)} for {len(embeddings)}")
        nearest = np.full((len(embeddings), self._k), np.inf)
        for start in range(0, len(references), _REFERENCES):
            distances = _distances(embeddings, references[start : start + _REFERENCES])
            for row, ids in enumerate(() if exclude is None else exclude):
                local = np.asarray(ids, np.int64) - start
                distances[row, local[(local >= 0) & (local < distances.shape[1])]] = np.inf
            nearest = np.partition(np.concatenate([nearest, distances], axis=1), self._k - 1)[:, : self._k]
        scores = (1 / np.sort(nearest, axis=1)).sum(axis=1)
        return np.where(np.isfinite(nearest).all(axis=1), scores, np.nan)


def _distances(embeddings: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float64]:
    """Float64 (N, M): sum over features of |x - y + epsilon|."""
    from scipy.spatial.distance import cdist

    shifted = embeddings.astype(np.float64) + _EPSILON
    distances: NDArray[np.float64] = cdist(shifted, references.astype(np.float64), "cityblock")
    return distances
