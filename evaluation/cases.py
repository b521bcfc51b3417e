"""The held-out rows of a mix as cases: grouped into benchmarks, rendered the same way every time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from catalog.errors import MixError, RowRejected
from catalog.images import decode_image
from catalog.parquet_streams import reading_mix
from catalog.reasons import Reason
from catalog.render_styles import RenderOptions, as_evaluated
from catalog.roots import Roots, read_image_bytes
from catalog.samples import Sample, render_sample
from catalog.schema import MIX, VISION_TASKS
from catalog.views import View
from evaluation.benchmarks import PaperBenchmark, Protocol
from evaluation.keypoint_reading import joint_groups
from evaluation.metrics import Image
from evaluation.sessions import session_places
from evaluation.tiles import tile_views

_BY_EDIT_TYPE = ("image_enhancement", "image_editing")
"""Vision tasks whose edit types are columns of their own (paper Table 5)."""

_TURNS = ("turns", "sessions")

NOTHING_TO_ASK = (Reason.EMPTY_MASK, Reason.NO_KEYPOINTS)
"""A region or all joints vanish at the evaluated size: such a row is left out, counted and named."""


@dataclass(frozen=True)
class HeldOutRow:
    """One row of the mix and its place in its split: the index that its rendering is drawn from."""

    index: int
    row: Mapping[str, Any]
    earlier: tuple["HeldOutRow", ...] = ()
    """Of a session: the turns before this one, its last."""

    @property
    def benchmark(self) -> tuple[str, str | None]:
        """(vision_task, edit_type), the latter only where it makes a benchmark of its own."""
        vision_task = self.row["vision_task"]
        return vision_task, self.row["edit_type"] if vision_task in _BY_EDIT_TYPE else None


@dataclass(frozen=True)
class Case:
    """A row and one of its samples. A row of keypoints has several, each asks for other joints."""

    row: Mapping[str, Any]
    sample: Sample
    earlier: tuple[Sample, ...] = ()
    """Of a session: the turns before this one, its last."""
    truth: Image | None = None
    """Of protocols ``turns`` and ``sessions``: the target at its own size, uint8 (H, W, 3)."""


Benchmarks = dict[tuple[str, str | None], list[HeldOutRow]]


def read_benchmarks(mix: Path, split: str, limit: int | None = None) -> Benchmarks:
    """Rows of one split in the mix's order, by benchmark; benchmarks by vision task, then edit type.

    Args:
        mix: the Parquet file.
        split: val or test.
        limit: at most so many rows of each benchmark, the first ones; None: all.

    Raises:
        MixError: no such file, not a mix, or no row of that split.
    """
    rows = [HeldOutRow(index, row) for index, row in enumerate(_read_split(mix, split))]
    if not rows:
        raise MixError(
            f"{mix} has no row of split {split!r} to evaluate on: take the other split, or build more images "
            "and mix again"
        )
    benchmarks: Benchmarks = {}
    for row in sorted(rows, key=lambda row: (VISION_TASKS.index(row.benchmark[0]), row.benchmark[1] or "")):
        benchmarks.setdefault(row.benchmark, []).append(row)
    return {benchmark: members[:limit] for benchmark, members in benchmarks.items()}


def read_paper_benchmark(mix: Path, benchmark: PaperBenchmark, limit: int | None = None) -> Benchmarks:
    """The rows of one of the paper's benchmarks, by edit type; rows of one image come one after the other, by label.

    Args:
        mix: the Parquet file that flow ``evaluate-benchmarks`` makes of the benchmark's dataset.
        benchmark: which one.
        limit: at most so many rows of each edit type.

    Raises:
        MixError: as `read_benchmarks`, or the mix is of another dataset or vision task.
    """
    rows = [HeldOutRow(index, row) for index, row in enumerate(_read_split(mix, benchmark.split))]
    foreign = sorted({row.row["dataset"] for row in rows} - {benchmark.key})
    if foreign:
        raise MixError(f"{mix} must hold the dataset {benchmark.key!r} alone, but holds {foreign[0]!r}: build it anew")
    rows = [row for row in rows if row.row["vision_task"] == benchmark.vision_task]
    if not rows:
        raise MixError(
            f"{mix} has no {benchmark.vision_task} row of split {benchmark.split!r}, which {benchmark.key} is: "
            "build it with flow evaluate-benchmarks"
        )
    if benchmark.protocol in _TURNS:
        joined = _join_sessions(rows) if benchmark.protocol == "sessions" else sorted(rows, key=_place_in_benchmark)
        return {(benchmark.vision_task, None): joined[:limit]}
    groups: Benchmarks = {}
    for row in sorted(rows, key=_place_in_benchmark):
        groups.setdefault(row.benchmark, []).append(row)
    return {group: members[:limit] for group, members in groups.items()}


def _join_sessions(rows: Sequence[HeldOutRow]) -> list[HeldOutRow]:
    """The last turn of each session, the others with it."""
    sessions = session_places([row.row["region_id"] for row in rows])
    return [replace(rows[last], earlier=tuple(rows[place] for place in before)) for *before, last in sessions]


def _place_in_benchmark(row: HeldOutRow) -> tuple[str, str, str, str]:
    columns = row.row["edit_type"], row.row["source_image"]["sha256"], row.row["label"], row.row["pair_id"]
    edit_type, image, label, pair_id = (value or "" for value in columns)
    return edit_type, image, label, pair_id


def render_cases(
    held_out: HeldOutRow, roots: Roots, seed: int, options: RenderOptions, protocol: Protocol = "crops"
) -> list[Case]:
    """All samples of a row; none where there is nothing to ask at this size (`NOTHING_TO_ASK`).

    Raises:
        MixError: the row cannot be rendered for any other reason: an evaluation must not shrink unseen.
    """
    options = as_evaluated(options)
    row = held_out.row
    parts: list[tuple[tuple[str, ...] | None, View | None]] = [(None, None)]
    if row["vision_task"] == "keypoint_detection":
        parts = [(joints, None) for joints in joint_groups(row, options.max_keypoints)]
    elif protocol == "tiles":
        height, width = (row["source_image"][side] for side in ("height", "width"))
        parts = [(None, window) for window in tile_views(height, width, options.size)]
    if protocol in ("referring", "semantic", "edits", *_TURNS):
        options = replace(options, crop="paper")  # the whole picture
    cases = []
    for joints, window in parts:
        try:
            sample = render_sample(
                row, roots, seed=seed, index=held_out.index, options=options, joints=joints, window=window
            )
        except RowRejected as error:
            if error.reason in NOTHING_TO_ASK:
                continue
            raise MixError(
                f"pair {held_out.row['pair_id']} of the mix cannot be evaluated ({error}): bring its images back, "
                "or build and mix again"
            ) from error
        cases.append(Case(held_out.row, sample))
    if protocol in _TURNS:
        turns = [render_cases(row, roots, seed, options, "edits") for row in held_out.earlier]
        before = tuple(case.sample for turn in turns for case in turn)
        truth = decode_image(read_image_bytes(roots, row["target_image"]))
        return [replace(case, earlier=before, truth=truth) for case in cases]
    return cases


def batches(cases: Iterator[Case], size: int) -> Iterator[list[Case]]:
    """Lists of ``size`` cases, the last one shorter."""
    batch: list[Case] = []
    for case in cases:
        batch.append(case)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_split(mix: Path, split: str) -> list[dict[str, Any]]:
    with reading_mix(mix):
        missing = sorted(set(MIX.names) - set(pq.read_schema(mix).names))
        if missing:
            raise MixError(f"{mix} is not a mix: it has no column {missing[0]!r}; make one with catalog mix")
        wanted = [("split", "=", split)]
        table = pq.read_table(mix, columns=MIX.names, filters=wanted, page_checksum_verification=True)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
