"""Differences of two ways to train, paired by seed: same seed, same samples in the same order, same noise.

The interval is Student's for paired values (W. S. Gosset 1908): d +- t(0.975, n - 1) s / sqrt(n) over n seeds. It says
how far another set of seeds would move the difference; images are the same in every one.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy import stats

from evaluation.intervals import Interval
from evaluation.metrics import mean
from evaluation.studies import LEAST_SEEDS

_CONFIDENCE = 0.95


class Difference(NamedTuple):
    """Of the seeds that both sides have."""

    value: float | None
    """Mean difference; None where they share no seed."""
    interval: Interval | None
    """95 %; None for fewer than `LEAST_SEEDS` seeds."""
    seeds: tuple[int, ...]


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """``first`` minus ``second``, values by seed."""
    seeds = tuple(sorted(first.keys() & second.keys()))
    differences = [first[seed] - second[seed] for seed in seeds]
    value = mean(differences)
    if value is None or len(seeds) < LEAST_SEEDS:
        return Difference(value, None, seeds)
    count = len(differences)
    variance = math.fsum((one - value) ** 2 for one in differences) / (count - 1)
    reach = float(stats.t.ppf((1 + _CONFIDENCE) / 2, count - 1)) * math.sqrt(variance / count)
    return Difference(value, (value - reach, value + reach), seeds)
