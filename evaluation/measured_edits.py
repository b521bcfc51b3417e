"""The edits that an alignment is measured on, and that none of them trained."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from catalog.errors import MixError
from catalog.parquet_streams import reading_mix
from evaluation.benchmarks import PaperBenchmark
from evaluation.cases import HeldOutRow, read_benchmarks, read_paper_benchmark


def measured_edits(mix: Path, split: str, limit: int | None, benchmark: PaperBenchmark | None) -> list[HeldOutRow]:
    """Editing rows of a split, or of a benchmark's mix; at most ``limit`` of each edit type.

    Raises:
        MixError: no such mix, or no edit in it.
    """
    if benchmark is None:
        groups = read_benchmarks(mix, split, limit)
    else:
        groups = read_paper_benchmark(mix, benchmark, limit)
    rows = [row for (vision_task, _), members in groups.items() if vision_task == "image_editing" for row in members]
    if not rows:
        raise MixError(f"{mix} has no edit in split {split!r} to measure: take another split or mix")
    return rows


def refuse_trained(trained: Path, rows: Sequence[HeldOutRow]) -> None:
    """See that nothing is measured that a mix trains on: a copy of what was chosen would look like progress.

    Raises:
        MixError: a photo is in both, or there is no such mix.
    """
    with reading_mix(trained):
        table = pq.read_table(trained, columns=["group_id", "split"], filters=[("split", "=", "train")])
    shared = sorted(set(table["group_id"].to_pylist()) & {row.row["group_id"] for row in rows})
    if shared:
        raise MixError(
            f"photos that are measured must not train, but {len(shared)} of {trained} do (the first: "
            f"{shared[0]!s:.16}): measure on held-out rows, or bar them from the mix"
        )
