"""The edits that an alignment is measured on, and that its mix trains on none of their images."""

from collections.abc import Sequence
from pathlib import Path

from catalog.errors import MixError
from evaluation.benchmarks import PaperBenchmark
from evaluation.cases import HeldOutRow, read_benchmarks, read_paper_benchmark
from evaluation.trained_images import find_trained, image_digests


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

    Sources, targets and photos are compared by digest: a benchmark's rows and a build's may group their photos
    differently. What earlier stages trained on is another question (`evaluation.trained_images`).

    Raises:
        MixError: an image is in both, or there is no such mix.
    """
    every = [one.row for row in rows for one in (row, *row.earlier)]
    if shared := find_trained(trained, image_digests(every)):
        raise MixError(
            f"photos that are measured must not train, but {trained} trains on {len(shared)} of their "
            f"images (the first: {shared[0]:.16}): measure on held-out rows, or bar them from the mix"
        )
