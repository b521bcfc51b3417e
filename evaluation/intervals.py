"""Bootstrap intervals: how far a metric would move had other images of the same kind been drawn.

Source images are resampled with replacement, not samples: sentences about one photo, people in it and tiles of it
are not independent of each other (cluster bootstrap; Davison and Hinkley 1997, section 3.8). The interval spans the
2.5th to the 97.5th percentile of `NUM_RESAMPLES` resamples with seed `SEED`. It says nothing about the noise of the
sampler: that is another seed of the evaluation.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
SEED = 0
_CHUNK = 50
"""Resamples held at once: a benchmark of 10,000 images takes 4 MB."""
_PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights (resamples, images), how often each image was drawn -> a value per resample, NaN where there is none."""


class Share(NamedTuple):
    """What one sample adds to a ratio of sums."""

    image: str
    """Digest of the source image: what is resampled."""
    part: float
    whole: float = 1.0
    column: Hashable = None
    """Ratios are taken per column and then averaged: the class of mIoU."""


def ratio_interval(shares: Iterable[Share]) -> Interval | None:
    """Interval of the mean over columns of sum(part) / sum(whole); columns without a whole are left out.

    A plain mean is one column whose wholes are 1. None for fewer than two images: they say nothing about spread.
    """
    listed = list(shares)
    images = _places(share.image for share in listed)
    columns = _places(repr(share.column) for share in listed)
    parts, wholes = np.zeros((2, len(images), len(columns)))
    for share in listed:
        place = images[share.image], columns[repr(share.column)]
        parts[place] += share.part
        wholes[place] += share.whole

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums, totals = weights @ parts, weights @ wholes  # (resamples, columns)
        seen = totals > 0
        ratios = np.divide(sums, totals, out=np.zeros_like(sums), where=seen)
        counts = seen.sum(axis=1)
        values: NDArray[np.float64] = np.where(counts > 0, ratios.sum(axis=1) / np.maximum(counts, 1), np.nan)
        return values

    return bootstrap(len(images), statistic)


def bootstrap(num_images: int, statistic: Statistic) -> Interval | None:
    """Percentile interval of a statistic of weights; None for fewer than two images, or if no resample has a value."""
    if num_images < 2:
        return None
    return percentiles(np.concatenate([statistic(weights) for weights in resamples(num_images)]))


def resamples(num_images: int) -> Iterator[NDArray[np.float64]]:
    """How often each image is drawn, float64 (some, images), `NUM_RESAMPLES` in all; the same ones every time."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    shares = np.full(num_images, 1 / num_images)
    for start in range(0, NUM_RESAMPLES, _CHUNK):
        count = min(_CHUNK, NUM_RESAMPLES - start)
        yield rng.multinomial(num_images, shares, size=count).astype(np.float64)


def percentiles(values: NDArray[np.float64]) -> Interval | None:
    """Of the resamples that have a value; None where none has."""
    found = values[~np.isnan(values)]
    if not len(found):
        return None
    low, high = np.percentile(found, _PERCENTILES)
    return float(low), float(high)


def _places(names: Iterable[str]) -> dict[str, int]:
    """A place for each name, in sorted order: intervals do not depend on the order of the samples."""
    return {name: place for place, name in enumerate(sorted(set(names)))}
