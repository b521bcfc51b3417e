"""Retrieval from a gallery of a million patches: how much it finds of what exact search finds, and how much faster.

The vectors are synthetic: 256 numbers each, in clusters of 24 intrinsic dimensions with a little noise in the others,
about as features of photos are. The gallery is built by the step itself, from patch shards on disk, in a process of
its own whose memory is limited to 8 GiB.

``IEIW_BENCH_SHARE=0.05`` takes a twentieth of the vectors: a trial, whose figures are not kept.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from benchmark_record import Record

from catalog.schema import PATCHES
from catalog.store import Shard, ShardWriter, shard_key, write_shard
from catalog.workspace import Workspace
from tasks.backends.vector_index import FaissAutoIndex, FaissFlatIndex
from tasks.gallery import INDEX_SUFFIX, build_gallery
from tasks.parameters import GalleryIndexParameters, ReplacementParameters

SHARE = float(os.environ.get("IEIW_BENCH_SHARE", "1"))
NUM_VECTORS = int(1_000_000 * SHARE)
DIMENSION = 256
INTRINSIC = 24
CLUSTERS = 2000
SHARD = 50_000
QUERIES = 2000
EXACT_QUERIES = 160
NEIGHBOURS = 10
MEMORY = 8 * 2**30
GOAL_RECALL = 0.95
GOAL_RATIO = 50.0


def bench_retrieval_recall_at_10() -> Record:
    """Share of the ten exact neighbours that the gallery's index finds."""
    figures = _measure()
    value = figures["recall"]
    return Record(
        name="retrieval_recall_at_10",
        value=value,
        unit="share",
        against=_story(figures),
        goal=f">= {GOAL_RECALL}",
        holds=value >= GOAL_RECALL and figures["peak_bytes"] <= MEMORY,
    )


def bench_retrieval_qps_vs_flat() -> Record:
    """Queries per second over those of the exact index, both asked as the step asks: a few queries a call."""
    figures = _measure()
    value = figures["approximate_qps"] / figures["exact_qps"]
    return Record(
        name="retrieval_qps_vs_flat",
        value=value,
        unit="ratio",
        against=_story(figures),
        goal=f">= {GOAL_RATIO:g}",
        holds=value >= GOAL_RATIO,
    )


def _story(figures: dict[str, float]) -> str:
    return (
        f"{figures['vectors']:.0f} vectors of {DIMENSION}, {figures['build_seconds']:.0f} s to build within "
        f"{figures['peak_bytes'] / 2**30:.2f} GiB; {figures['approximate_qps']:.0f} queries/s at recall "
        f"{figures['recall']:.4f}, exact {figures['exact_qps']:.0f} queries/s, "
        f"or {figures['batched_qps']:.0f} with all queries multiplied at once, whose rounding depends on the batch; "
        f"for {figures['step_candidates']:.0f} neighbours, as the step replace_object asks, "
        f"{figures['step_qps']:.0f} against {figures['exact_step_qps']:.0f} queries/s"
    )


@cache
def _measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("patches", "build", "search"):
            done = subprocess.run(
                [sys.executable, __file__, stage, folder], stdout=subprocess.PIPE, text=True, check=True
            )
        figures: dict[str, float] = json.loads(done.stdout)
        return figures


def make_patches(workspace: Workspace) -> None:
    """Patch shards of `NUM_VECTORS` rows, and queries that are like them."""
    random = np.random.default_rng(0)
    basis = random.normal(size=(INTRINSIC, DIMENSION)) / INTRINSIC**0.5
    centres = random.normal(size=(CLUSTERS, INTRINSIC))

    def draw(count: int) -> np.ndarray:
        places = centres[random.integers(0, CLUSTERS, count)] + 0.7 * random.normal(size=(count, INTRINSIC))
        made = places @ basis + 0.05 * random.normal(size=(count, DIMENSION))
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    workspace.home.mkdir(exist_ok=True)
    np.save(workspace.home / "queries.npy", draw(QUERIES))
    for start in range(0, NUM_VECTORS, SHARD):
        vectors = draw(min(SHARD, NUM_VECTORS - start))
        write_shard(workspace, "patches", shard_key("bench", {}, [], [str(start)]), _Rows(start, vectors), {})


class _Rows:
    """Patches as one Arrow table."""

    def __init__(self, start: int, vectors: np.ndarray) -> None:
        self._start, self._vectors = start, vectors

    def __call__(self, writer: ShardWriter) -> pa.Table:
        count = len(self._vectors)
        names = [f"bench/{self._start + number}/0" for number in range(count)]
        offsets = pa.array(np.arange(0, count * DIMENSION + 1, DIMENSION, dtype=np.int32))
        columns: dict[str, Any] = {name: pa.nulls(count, PATCHES.field(name).type) for name in PATCHES.names}
        columns |= {
            "region_id": pa.array(names),
            "group_id": pa.array([f"{name:0>64}" for name in names]),
            "embedding": pa.ListArray.from_arrays(offsets, pa.array(self._vectors.ravel())),
        }
        return pa.table(columns, schema=PATCHES)


def build(workspace: Workspace) -> None:
    """Run the step ``gallery`` and note what it took."""
    paths = tuple(sorted(workspace.table_folder("patches").glob("*.parquet")))
    context: Any = SimpleNamespace(
        inputs=paths,
        backends={"index": FaissAutoIndex(device="cpu")},
        profile=SimpleNamespace(gallery_index=GalleryIndexParameters()),
    )
    if SHARE < 1:
        context.backends["index"] = FaissAutoIndex(hnsw_from=1000, device="cpu")
    start = time.monotonic()
    shard: Shard = write_shard(workspace, "gallery", "g", lambda writer: build_gallery(context, writer), {})
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {"vectors": shard.num_rows, "build_seconds": seconds, "peak_bytes": peak}
    (workspace.home / "figures.json").write_text(json.dumps(figures))


def search(workspace: Workspace) -> None:
    """Search the mapped index and an exact one for the same neighbours; print all figures as JSON."""
    import faiss

    index = FaissAutoIndex(device="cpu").read(workspace.tar_path("gallery", "g").with_suffix(INDEX_SUFFIX))
    queries = np.load(workspace.home / "queries.npy")
    stored = index._index
    exact = faiss.IndexFlatIP(DIMENSION)
    exact.add(stored.storage.reconstruct_n(0, stored.ntotal))
    figures = json.loads((workspace.home / "figures.json").read_text())
    flat = FaissFlatIndex()
    flat._index = exact
    found, figures["approximate_qps"] = _timed(lambda: index.search(queries, NEIGHBOURS)[1], QUERIES)
    wanted, figures["batched_qps"] = _timed(lambda: exact.search(queries, NEIGHBOURS)[1], QUERIES)
    few = queries[:EXACT_QUERIES]
    _, figures["exact_qps"] = _timed(lambda: flat.search(few, NEIGHBOURS)[1], EXACT_QUERIES)
    candidates = ReplacementParameters().num_candidates
    figures["step_candidates"] = candidates
    _, figures["step_qps"] = _timed(lambda: index.search(queries, candidates)[1], QUERIES)
    _, figures["exact_step_qps"] = _timed(lambda: flat.search(few, candidates)[1], EXACT_QUERIES)
    hits = sum(len(set(one) & set(other)) for one, other in zip(found, wanted, strict=True))
    figures["recall"] = hits / wanted.size
    sys.stdout.write(json.dumps(figures))


def _timed(work: Any, count: int) -> tuple[np.ndarray, float]:
    """The answer and queries per second: the better of two runs, the first of which reads the pages."""
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        answer = work()
        seconds.append(time.monotonic() - start)
    return answer, count / min(seconds)


if __name__ == "__main__":
    {"patches": make_patches, "build": build, "search": search}[sys.argv[1]](Workspace(Path(sys.argv[2])))
