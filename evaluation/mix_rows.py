"""The held-out rows of a mix, grouped into benchmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import MixError
from catalog.schema import MIX, VISION_TASKS

_BY_EDIT_TYPE = ("image_enhancement", "image_editing")
"""Vision tasks whose edit types are columns of their own (paper Table 5)."""


@dataclass(frozen=True)
class HeldOutRow:
    """One row of the mix and its place in its split: the index that its rendering is drawn from."""

    index: int
    row: Mapping[str, Any]

    @property
    def benchmark(self) -> tuple[str, str | None]:
        """(vision_task, edit_type), the latter only where it makes a benchmark of its own."""
        vision_task = self.row["vision_task"]
        return vision_task, self.row["edit_type"] if vision_task in _BY_EDIT_TYPE else None


Benchmarks = dict[tuple[str, str | None], list[HeldOutRow]]


def read_benchmarks(mix: Path, split: str, limit: int | None = None) -> Benchmarks:
    """Rows of one split in the mix's order, by benchmark.

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
            f"{mix} has no row of split {split!r} to evaluate on: evaluate the other split, or build more "
            "images and mix again"
        )
    benchmarks: Benchmarks = {}
    for row in sorted(rows, key=lambda row: (VISION_TASKS.index(row.benchmark[0]), row.benchmark[1] or "")):
        benchmarks.setdefault(row.benchmark, []).append(row)
    return {benchmark: members[:limit] for benchmark, members in benchmarks.items()}


def _read_split(mix: Path, split: str) -> list[dict[str, Any]]:
    try:
        schema = pq.read_schema(mix)
        missing = sorted(set(MIX.names) - set(schema.names))
        if missing:
            raise MixError(f"{mix} is not a mix: it has no column {missing[0]!r}; make one with catalog mix")
        table = pq.read_table(mix, columns=MIX.names, filters=[("split", "=", split)])
    except FileNotFoundError as error:
        raise MixError(f"there is no mix at {mix}: make one with `python -m catalog mix`") from error
    except pa.ArrowInvalid as error:
        raise MixError(f"{mix} is torn or not Parquet ({error}): make it anew") from error
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
