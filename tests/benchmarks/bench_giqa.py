"""What exact KNN-GIQA takes over 200,000 references of 2,048 features, against comparing with every one of them.

200,000 is the official code's own reference set (``cat_act_sample_200000.pkl``), 2,048 the width of Inception's
pool3. The features are drawn like pool3's: not negative, a good part zero, correlated. Both ways must give the same
scores, bit for bit. Brute force is SciPy's L1 in float64, on a few of the images as its time grows with their
number alone; FAISS's flat L1 index (float32), the fastest brute force at hand, is measured beside it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from benchmark_record import CannotRunHere, Record
from numpy.typing import NDArray

from tasks.backends.giqa import KnnGiqaScorer
from tasks.backends.l1_search import nearest_by_comparison

NUM_REFERENCES = 200_000
NUM_FEATURES = 2048
NUM_IMAGES = 256
NUM_COMPARED = 8
NUM_FACTORS = 48
GOAL = 20.0
_BYTES_NEEDED = 3 * 4 * NUM_FEATURES  # per reference: the features, FAISS's copy, codes and room


def bench_giqa_vs_bruteforce() -> Record:
    """Time per image of brute force over time per image of the scorer, whose references are prepared."""
    _check_memory()
    references, images = _features(NUM_REFERENCES, 1), _features(NUM_IMAGES, 2)
    references.setflags(write=False)
    scorer = KnnGiqaScorer()
    preparation, _ = _timed(lambda: scorer.score(images[:1], references))
    seconds, scores = _timed(lambda: scorer.score(images, references))
    few = images[:NUM_COMPARED]
    brute_seconds, distances = _timed(lambda: nearest_by_comparison(few, references, 1))
    if not np.array_equal(scores[:NUM_COMPARED], 1 / distances[:, 0]):
        raise AssertionError("the scorer must give what brute force gives, bit for bit")
    flat = faiss.IndexFlat(NUM_FEATURES, faiss.METRIC_L1)
    flat.add(references)
    flat_seconds, _ = _timed(lambda: flat.search(images, 1))
    each, brute, fast = seconds / NUM_IMAGES, brute_seconds / NUM_COMPARED, flat_seconds / NUM_IMAGES
    value = brute / each
    return Record(
        name="giqa_vs_bruteforce",
        value=value,
        unit="ratio",
        against=(
            f"{NUM_REFERENCES} x {NUM_FEATURES}: {each * 1000:.2f} ms per image, SciPy {brute * 1000:.0f} ms, FAISS "
            f"flat L1 {fast * 1000:.0f} ms ({fast / each:.1f} times); prepared once in {preparation:.1f} s"
        ),
        goal=f">= {GOAL:g}",
        holds=value >= GOAL,
    )


def _features(count: int, seed: int) -> NDArray[np.float32]:
    """Float32 (count, D): rectified sums of common factors and of noise, with other factors for each seed's rows."""
    loadings = np.random.default_rng(0).standard_normal((NUM_FACTORS, NUM_FEATURES), np.float32)
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, NUM_FACTORS), np.float32) @ (loadings / np.float32(NUM_FACTORS**0.5))
    for start in range(0, count, 4096):
        part = rows[start : start + 4096]
        part += np.float32(0.3) * random.standard_normal(part.shape, np.float32) - np.float32(0.5)
        np.maximum(part, 0, out=part)
    return rows


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def _check_memory() -> None:
    needed = NUM_REFERENCES * _BYTES_NEEDED
    with Path("/proc/meminfo").open() as file:
        free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    if free < needed:
        raise CannotRunHere(f"it needs {needed >> 30} GiB of free memory, of which there are {free >> 30}")
