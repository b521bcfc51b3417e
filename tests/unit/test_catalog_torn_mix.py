"""A damaged Parquet file, in its pages or its footer, is one sentence wherever it is read, and never other rows."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import MixError, ShardError, UserError
from catalog.parquet_streams import write_stream
from catalog.roots import Roots
from catalog.schema import MIX, VERDICTS
from catalog.store import read_shard
from evaluation.cases import read_benchmarks
from trainer.batches import MicroBatches, make_loader
from trainer.data import TrainingSamples
from trainer.plan import TrainingPlan
from trainer.recipes import make_config

make_mix = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))["make_mix"]
NUM_ROWS = 12


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    """A mix as `build_mix` writes it, in row groups of 5."""
    path = make_mix(tmp_path, NUM_ROWS)
    write_stream(path, "mix", MIX, pq.read_table(path).to_batches(), {"num_train": NUM_ROWS}, 5)
    return path


def train_rows(mix: Path) -> list[dict]:
    plan = TrainingPlan(mix)
    return [plan.row(index) for index in range(NUM_ROWS)]


READERS: dict[str, tuple[Callable[[Path], object], type[UserError], str]] = {
    "trainer": (train_rows, MixError, "make it anew with `python -m catalog mix`"),
    "evaluation": (lambda mix: read_benchmarks(mix, "val"), MixError, "make it anew with `python -m catalog mix`"),
    "store": (lambda mix: read_shard(mix.with_name("verdicts.parquet")), ShardError, "run again what wrote it"),
}


def file_of(mix: Path, reader: str) -> Path:
    """The file that a reader reads."""
    if reader != "store":
        return mix
    path = mix.with_name("verdicts.parquet")
    rows = [dict.fromkeys(VERDICTS.names) | {"pair_id": f"pair {number}"} for number in range(NUM_ROWS)]
    batches = pa.Table.from_pylist(rows, schema=VERDICTS).to_batches()
    write_stream(path, "verdicts", VERDICTS, batches, {"num_rows": NUM_ROWS, "num_usable": NUM_ROWS}, 5)
    return path


def page_of(path: Path, column: str, group: int) -> int:
    """A byte in the middle of the pages of one column."""
    chunks = pq.ParquetFile(path).metadata.row_group(group)
    (chunk,) = [chunks.column(i) for i in range(chunks.num_columns) if chunks.column(i).path_in_schema == column]
    return int((chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size // 2)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_page_is_one_sentence(mix: Path, reader: str) -> None:
    read, kind, remedy = READERS[reader]
    file = file_of(mix, reader)
    read(mix)
    flip(file, page_of(file, "pair_id", 2))  # the last group, with the row of split val
    with pytest.raises(kind) as caught:
        read(mix)
    assert str(file) in str(caught.value) and remedy in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_a_truncated_footer_is_one_sentence(mix: Path, reader: str) -> None:
    read, kind, remedy = READERS[reader]
    file = file_of(mix, reader)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(kind) as caught:
        read(mix)
    assert str(file) in str(caught.value) and remedy in str(caught.value) and "\n" not in str(caught.value)


def test_no_damage_anywhere_makes_other_training_rows(mix: Path) -> None:
    rows, data = train_rows(mix), mix.read_bytes()
    refused = 0
    for place in np.random.default_rng(0).integers(4, len(data) - 8, 150).tolist():
        mix.write_bytes(data)
        flip(mix, place)
        try:
            assert train_rows(mix) == rows
        except MixError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_page_stops_all_ranks_with_its_sentence(mix: Path, num_workers: int) -> None:
    """A page that only one rank or loader process reads is reported as a row that always stops a run."""
    flip(mix, page_of(mix, "pair_id", 1))
    samples = TrainingSamples(TrainingPlan(mix), Roots.read(mix.parent / "roots.json"), make_config("demo"))
    (batch,) = list(make_loader(samples, MicroBatches(0, 1, NUM_ROWS, NUM_ROWS, 0, 1), num_workers))
    assert {row.index for row in batch.rejected} == {5, 6, 7, 8, 9}
    assert {row.reason for row in batch.rejected} == {None}
    assert all(str(mix) in row.detail for row in batch.rejected)
    assert batch.weights.tolist() == [float(index not in range(5, 10)) for index in range(NUM_ROWS)]


def test_a_missing_mix_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MixError, match="python -m catalog mix"):
        read_benchmarks(tmp_path / "none.parquet", "val")
