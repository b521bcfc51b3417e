"""KNN-GIQA: an image is as good as it is close to good images."""

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from catalog.errors import BackendError
from tasks.backends.l1_search import Excluded, L1Index, nearest_by_comparison
from tasks.backends.protocols import library_revision

_FEW_REFERENCES = 4096
"""Up to here each image is simply compared with each reference: there is nothing to gain."""
_FEW_IMAGES = 16
"""Up to here likewise, where the references' codes could not be kept for the next call."""


class KnnGiqaScorer:
    """Sum of 1 / L1 distance to the K nearest references, by exact search; for ranking only, never a threshold.

    Gu et al., "GIQA: Generated Image Quality Assessment" (ECCV 2020), section 3.2, as the official code has it:
    L1 distance with 1e-6 added to each difference, not averaged, K = 1. The paper (section 3.2) compares with
    LAION-600M; here with whatever ``references`` holds. NaN where fewer than K references are left to compare with.
    Many references are searched by `l1_search`, which gives what comparing with each of them gives, bit for bit.
    """

    name = "knn-giqa"
    device = "cpu"

    def __init__(self, k: int = 1) -> None:
        if not isinstance(k, int) or k < 1:
            raise BackendError(f"quality_scorer 'knn-giqa': k must be a positive integer. Got {k!r}")
        self._k = k
        self._kept: tuple[tuple[Any, ...], L1Index] | None = None
        self.revision = library_revision(2, {"k": k}, numpy=np.__version__, scipy=scipy.__version__)

    def score(
        self,
        embeddings: NDArray[np.float32],
        references: NDArray[np.float32],
        exclude: Excluded | None = None,
    ) -> NDArray[np.float64]:
        """See `protocols.QualityScorer`.

        References in a read-only array (``setflags(write=False)``, a memory map) are prepared once, when they
        first come, and kept; give such an array where there are many. Beside it that takes one byte per number.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite.
        """
        embeddings, references = np.asarray(embeddings), np.asarray(references)
        if embeddings.ndim != 2 or references.ndim != 2 or embeddings.shape[1] != references.shape[1]:
            raise ValueError(
                f"embeddings and references must be (N, D) and (M, D). Got {embeddings.shape} and {references.shape}"
            )
        if exclude is not None and len(exclude) != len(embeddings):
            raise ValueError(f"exclude needs one entry per embedding. Got {len(exclude)} for {len(embeddings)}")
        if not np.isfinite(embeddings).all():
            raise ValueError("embeddings must be finite")
        nearest = self._nearest(embeddings, references, exclude)
        scores = (1 / nearest).sum(axis=1)
        return np.where(np.isfinite(nearest).all(axis=1), scores, np.nan)

    def _nearest(
        self, embeddings: NDArray[np.float32], references: NDArray[np.float32], exclude: Excluded | None
    ) -> NDArray[np.float64]:
        """Distances (N, k) to the nearest references, ascending."""
        fixed = not references.flags.writeable
        if len(references) <= _FEW_REFERENCES or not (fixed or len(embeddings) > _FEW_IMAGES):
            if not np.isfinite(references).all():
                raise ValueError("references must be finite")
            return nearest_by_comparison(embeddings, references, self._k, exclude)
        # The kept index holds the array, so its address cannot come to mean another one.
        place = (references.__array_interface__["data"][0], references.shape, references.strides, references.dtype)
        kept = self._kept
        if kept is None or kept[0] != place or not fixed:
            kept = (place, L1Index(references))
            self._kept = kept if fixed else None
        return kept[1].nearest(embeddings, self._k, exclude)
