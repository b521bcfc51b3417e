"""Samples: by position, from (seed, index) alone, the same for any number of ranks, workers and micro-batches."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import MixError
from catalog.roots import Roots
from catalog.schema import MIX
from trainer.batches import MicroBatches, collate, make_loader
from trainer.data import TrainingSamples, draw
from trainer.plan import TrainingPlan
from trainer.plan_columns import open_column
from trainer.recipes import make_config

_HELPERS = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))
make_mix, damage = _HELPERS["make_mix"], _HELPERS["damage"]
CONFIG = make_config("demo")


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mix(tmp_path_factory.mktemp("home"))


def open_samples(mix: Path, **changes) -> TrainingSamples:
    return TrainingSamples(TrainingPlan(mix), Roots.read(mix.parent / "roots.json"), replace(CONFIG, **changes))


def test_rows_come_by_position_and_wrap_around(mix: Path) -> None:
    plan = TrainingPlan(mix)
    assert plan.num_rows == 12
    rng = np.random.default_rng(0)
    for index in rng.integers(0, 200, 60).tolist():
        assert plan.row(index)["pair_id"] == f"pair-{index % 12:03d}"


def test_equal_rows_whatever_was_read_before(mix: Path) -> None:
    plan = TrainingPlan(mix)
    table = pq.read_table(mix, columns=list(plan.row(0))).to_pylist()
    assert [plan.row(i) for i in (11, 0, 5, 4, 11)] == [table[i] for i in (11, 0, 5, 4, 11)]


def test_a_mix_that_is_not_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mix.parquet"
    with pytest.raises(MixError, match="python -m catalog mix"):
        TrainingPlan(path)
    path.write_text("no Parquet")
    with pytest.raises(MixError, match="torn or not Parquet"):
        TrainingPlan(path)
    pq.write_table(pa.table({"position": [0]}), path)
    with pytest.raises(MixError, match="no column 'split'"):
        TrainingPlan(path)
    row = dict.fromkeys(MIX.names)
    pq.write_table(pa.Table.from_pylist([row], schema=MIX), path)
    with pytest.raises(MixError, match="has none"):
        TrainingPlan(path)
    pq.write_table(pa.Table.from_pylist([{**row, "position": 1}], schema=MIX), path)
    with pytest.raises(MixError, match="by position"):
        TrainingPlan(path)


def test_draws_depend_on_seed_and_index_only() -> None:
    first, again = draw(3, 17, CONFIG), draw(3, 17, CONFIG)
    assert first.timestep == again.timestep
    np.testing.assert_array_equal(first.noise, again.noise)
    for other in (draw(4, 17, CONFIG), draw(3, 18, CONFIG)):
        assert not np.array_equal(first.noise, other.noise)
    assert first.noise.shape == (4, 8, 8)
    assert not np.array_equal(first.noise, first.target_noise)


def test_draws_are_spread_as_they_should_be() -> None:
    drawn = [draw(0, index, CONFIG) for index in range(4000)]
    timesteps = np.array([d.timestep for d in drawn])
    assert timesteps.min() < 5
    assert timesteps.max() > 994
    assert timesteps.mean() == pytest.approx(499.5, abs=15)
    noise = np.stack([d.noise for d in drawn])
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert np.mean([d.drop_text and d.drop_image for d in drawn]) == pytest.approx(0.05, abs=0.012)
    assert np.mean([d.drop_text or d.drop_image for d in drawn]) == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("micro_batch_size", [1, 5, 12])
def test_any_number_of_ranks_sees_the_same_samples_per_step(world_size: int, micro_batch_size: int) -> None:
    steps: dict[int, list[int]] = {step: [] for step in (2, 3)}
    for rank in range(world_size):
        batches = MicroBatches(2, 4, 12, micro_batch_size, rank, world_size)
        listed = list(batches)
        assert len(listed) == len(batches) == 2 * batches.per_step
        assert max(map(len, listed)) <= micro_batch_size
        for number, indices in enumerate(listed):
            steps[2 + number // batches.per_step] += indices
            assert all(index % world_size == rank for index in indices)
    assert {step: sorted(indices) for step, indices in steps.items()} == {
        2: list(range(24, 36)),
        3: list(range(36, 48)),
    }


def test_workers_and_micro_batches_change_no_sample(mix: Path) -> None:
    def digests(micro_batch_size: int, num_workers: int) -> list[int]:
        loader = make_loader(open_samples(mix), MicroBatches(0, 2, 12, micro_batch_size, 0, 1), num_workers)
        return [digest for batch in loader for digest in batch.digests]

    here = digests(12, 0)
    assert here == digests(5, 0) == digests(4, 2)
    assert len(set(here)) == 24


def test_a_second_pass_draws_anew(mix: Path) -> None:
    samples = open_samples(mix)
    first, second = samples[1], samples[13]
    assert first.pair_id == second.pair_id
    assert not np.array_equal(first.draw.noise, second.draw.noise)


def test_batch_layout(mix: Path) -> None:
    samples = open_samples(mix)
    batch = collate([samples[i] for i in range(40)])
    assert batch.sources.shape == batch.targets.shape == (40, 64, 64, 3)
    assert batch.noise.shape == (40, 4, 8, 8)
    drawn = [draw(0, i, CONFIG) for i in range(40)]
    assert [not text for text in batch.instructions] == [d.drop_text for d in drawn]
    assert [keep == 0 for keep in batch.keep_image.tolist()] == [d.drop_image for d in drawn]
    assert batch.timesteps.tolist() == [d.timestep for d in drawn]
    assert any(d.drop_text for d in drawn)


def test_a_row_that_cannot_be_rendered_says_so_and_weighs_nothing(tmp_path: Path) -> None:
    mix = make_mix(tmp_path)
    damage(mix, 4)
    samples = open_samples(mix)
    batch = collate([samples[i] for i in (3, 4, 5)])
    assert batch.weights.tolist() == [1, 0, 1]
    (row,) = batch.rejected
    assert (row.index, row.position, row.pair_id, row.reason) == (4, 4, "pair-004", "changed_file")
    assert samples[16].rejected is not None


def test_an_unknown_root_is_the_catalogs_fault(tmp_path: Path) -> None:
    mix = make_mix(tmp_path)
    (mix.parent / "roots.json").write_text('{"elsewhere": "."}')
    rejected = open_samples(mix)[0].rejected
    assert rejected is not None
    assert rejected.reason is None
    assert "roots.json" in rejected.detail


VALUES = {
    "short": ["a", None, "", "é" * 20] * 8,
    "long": ["x" * 1000, None, "y" * 1000, "z"] * 8,
    "whole": [1, -5, 2**62, 0] * 8,
    "holes": [1, None, 3, None] * 8,
    "float": [0.5, None, 1e300, -0.0] * 8,
    "list": [[1.0, 2.0], None, [], [3.0]] * 8,
    "structure": [{"a": "x", "b": 3}, None, {"a": None, "b": 4}, {"a": "y", "b": 5}] * 8,
    "structures": [[{"a": "x", "b": 3}], None, [], [{"a": None, "b": None}]] * 8,
    "nested": [{"c": {"a": "x"}, "d": [1]}, None, {"c": None, "d": None}, {"c": {"a": None}, "d": []}] * 8,
}


@pytest.mark.parametrize("name", VALUES)
def test_columns_give_what_arrow_gives(name: str) -> None:
    values = pa.array(VALUES[name]).slice(3, 20)  # an offset, as in a file with several row groups
    column = open_column(values)
    for place in range(len(values)):
        found = column[place]
        assert found == values[place].as_py() and type(found) is type(values[place].as_py())


def test_a_worker_keeps_flat_memory(tmp_path: Path) -> None:
    mix = make_mix(tmp_path, num_rows=200)
    loader = iter(make_loader(open_samples(mix), MicroBatches(0, 400, 4, 4, 0, 1), 1))
    sizes = []
    for batch in loader:
        assert not batch.rejected
        if len(loader._workers) and batch.indices[0] % 100 == 0:
            lines = Path(f"/proc/{loader._workers[0].pid}/smaps_rollup").read_text().splitlines()
            sizes.append(sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024)
    assert len(sizes) >= 12
    assert max(sizes) < 500 and max(sizes[8:]) < max(sizes[:8]) + 20  # MiB
