"""Embedded feature similarity: the cosine of two pictures' histograms."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.backends.embedding import HistogramEmbedder
from tasks.backends.protocols import Image, library_revision


class HistogramFeatureSimilarity:
    """Cosine of `embedding.HistogramEmbedder` vectors, embedded: where which colours and edges are."""

    name = "histogram"
    device = "cpu"

    def __init__(self) -> None:
        self._embedder = HistogramEmbedder()
        self.revision = library_revision(1, opencv=cv2.__version__, numpy=np.__version__)

    def compare(self, images: Sequence[Image], others: Sequence[Image]) -> NDArray[np.float64]:
        """See `protocols.FeatureSimilarity`."""
        return row_cosines(self._embedder.embed(images), self._embedder.embed(others))


def row_cosines(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows (N, D), (N, D) of any length but zero -> cosines, float64 (N,) in [-1, 1]; each as it is alone."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.sqrt((first * first).sum(axis=1) * (second * second).sum(axis=1))
    cosines: NDArray[np.float64] = np.clip((first * second).sum(axis=1) / lengths, -1, 1)
    return cosines
