"""The best and the worst cases of each benchmark, with their pictures, for people to look at.

All tasks are ranked alike: by the mean absolute difference between prediction and target, in levels of 255. That is no
metric of the paper; it says which answers to look at first.

    cases/<key>.parquet    one row per case: `CASES`
    cases/<key>.tar        source, target and prediction of those that stand out, as PNG
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from catalog.durable import claim, publish, write_all
from catalog.images import encode_png
from catalog.parquet_streams import write_stream
from catalog.store import tar_header
from evaluation.cases import Case
from evaluation.metrics import Image

NUM_SHOWN = 4
"""Best and worst cases of each benchmark, so many of each."""

PICTURES = ("source", "target", "prediction")
PLACE = pa.struct([("offset", pa.int64()), ("length", pa.int64())])
"""Bytes of a picture in the tar."""

CASES = pa.schema(
    [
        ("benchmark", pa.string()),
        ("place", pa.int64()),  # of the case in its benchmark, from 0
        ("pair_id", pa.string()),
        ("instruction", pa.string()),
        ("difference", pa.float64()),  # mean absolute difference to the target, levels of 255
        ("standing", pa.string()),  # best, worst; null: neither
        ("rank", pa.int64()),  # 1: the best of the best, or the worst of the worst; null: neither
        *[(name, PLACE) for name in PICTURES],  # null where nothing stands out
    ]
)

_TAR_BLOCK = 512


class _Seen(NamedTuple):
    """A case that may stand out, with its pictures."""

    difference: float
    place: int
    pair_id: str
    pictures: tuple[Image, ...]


class Standouts:
    """Cases as they are evaluated; of pictures only those of the best and worst so far are kept."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._best: dict[str, list[_Seen]] = {}
        self._worst: dict[str, list[_Seen]] = {}

    def observe(self, benchmark: str, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Take in a batch of a benchmark."""
        best, worst = self._best.setdefault(benchmark, []), self._worst.setdefault(benchmark, [])
        for case, prediction in zip(cases, predictions, strict=True):
            sample = case.sample
            difference = float(np.abs(prediction.astype(np.int16) - sample.target).mean())
            names = {"benchmark": benchmark, "pair_id": sample.pair_id, "instruction": sample.instruction}
            self._rows.append({**names, "place": len(self._rows), "difference": difference})
            seen = _Seen(difference, len(self._rows) - 1, sample.pair_id, (sample.source, sample.target, prediction))
            for group, sign in ((best, 1), (worst, -1)):
                _insert(group, seen, sign)

    def write(self, path: Path) -> None:
        """Write ``path``, a Parquet file, and the tar beside it, each whole or not at all, the tar first."""
        first = {row["benchmark"]: row["place"] for row in reversed(self._rows)}
        with claim(path.with_suffix(".tar")) as descriptor:
            end = 0
            for benchmark, row, standing, rank, seen in self._standing():
                for name, picture in zip(PICTURES, seen.pictures, strict=True):
                    data = encode_png(picture)
                    header = tar_header(f"{benchmark.replace('/', '-')}.{standing}-{rank}.{name}.png", len(data))
                    write_all(descriptor, header + data + bytes(-len(data) % _TAR_BLOCK))
                    row[name] = {"offset": end + len(header), "length": len(data)}
                    end += len(header) + len(data) + -len(data) % _TAR_BLOCK
            write_all(descriptor, bytes(2 * _TAR_BLOCK))
            publish(descriptor, path.with_suffix(".tar"))
        rows = [{**row, "place": row["place"] - first[row["benchmark"]]} for row in self._rows]
        table = pa.Table.from_pylist(rows, schema=CASES)
        write_stream(path, "cases", CASES, table.to_batches(), {}, max(1, len(rows)))

    def _standing(self) -> list[tuple[str, dict[str, Any], str, int, _Seen]]:
        """The rows that stand out; where there are few cases, none is both."""
        found = []
        for benchmark, best in self._best.items():
            count = len({row["pair_id"] for row in self._rows if row["benchmark"] == benchmark})
            groups = {"best": best[: -(-count // 2)], "worst": self._worst[benchmark][: count // 2]}
            for standing, group in groups.items():
                for rank, seen in enumerate(group, start=1):
                    row = self._rows[seen.place]
                    row |= {"standing": standing, "rank": rank}
                    found.append((benchmark, row, standing, rank, seen))
        return found


def _insert(group: list[_Seen], seen: _Seen, sign: int) -> None:
    """Put a case among the `NUM_SHOWN` smallest (``sign`` 1) or largest (-1) so far, one of each pair."""
    group.append(seen)
    group.sort(key=lambda one: (sign * one.difference, one.place))
    first = {one.pair_id: one for one in reversed(group)}
    group[:] = [one for one in group if first[one.pair_id] is one][:NUM_SHOWN]
