"""Best and worst cases: ranked as a naive sort ranks them, with their own pictures."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from evaluation_cases import SIDE, make_case

from catalog.images import decode_image
from evaluation.standouts import NUM_SHOWN, PICTURES, Standouts


def picture(level: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


def test_best_and_worst_are_those_of_a_plain_sort(tmp_path: Path) -> None:
    random, standouts = np.random.default_rng(0), Standouts()
    levels = {name: random.permutation(100)[:count].tolist() for name, count in {"a/val": 20, "b/val": 3}.items()}
    for name, values in levels.items():
        for start in range(0, len(values), 4):
            part = values[start : start + 4]
            cases = [make_case(f"{name}-{one}", target=picture(100), instruction=f"do {one}") for one in part]
            standouts.observe(name, cases, [picture(100 + value) for value in part])
    standouts.write(tmp_path / "key.parquet")
    rows = pq.read_table(tmp_path / "key.parquet").to_pylist()
    data = (tmp_path / "key.tar").read_bytes()
    for name, values in levels.items():
        own = [row for row in rows if row["benchmark"] == name]
        assert [row["difference"] for row in own] == values and [row["place"] for row in own] == [*range(len(values))]
        ranked, half = sorted(values), -(-len(values) // 2)
        expected = {"best": ranked[:half][:NUM_SHOWN], "worst": ranked[::-1][: len(values) - half][:NUM_SHOWN]}
        for standing, wanted in expected.items():
            found = sorted((row for row in own if row["standing"] == standing), key=lambda row: row["rank"])
            assert [row["difference"] for row in found] == wanted
            for row in found:
                shown = [data[row[one]["offset"] : row[one]["offset"] + row[one]["length"]] for one in PICTURES]
                assert [decode_image(one)[0, 0, 0] for one in shown] == [100, 100, 100 + row["difference"]]


def test_a_pair_stands_once_on_each_side_and_bytes_are_the_same_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        standouts = Standouts()
        cases = [make_case(f"pair-{number % 2}", target=picture(0)) for number in range(6)]
        standouts.observe("people/val", cases, [picture(number) for number in range(6)])
        standouts.write(tmp_path / f"{name}.parquet")
    rows = pq.read_table(tmp_path / "one.parquet").to_pylist()
    standing = {row["difference"]: row["standing"] for row in rows if row["standing"]}
    assert standing == {0.0: "best", 5.0: "worst"}  # of two pairs, one is best and one worst
    for ending in ("parquet", "tar"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
