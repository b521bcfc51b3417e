"""The latent and text cache: same loss to a stated bound, other rows online, and what is refused."""

import runpy
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from catalog import command_line
from catalog.errors import ConfigError, ShardError
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from catalog.schema import MIX
from catalog.workspace import Workspace
from trainer.batches import collate
from trainer.data import TrainingSamples
from trainer.encode import main
from trainer.latent_cache import LatentCache, cache_key, is_static
from trainer.learner import Learner
from trainer.main import main as train
from trainer.models import Models, frozen_digest, load_models
from trainer.plan import TrainingPlan
from trainer.ranks import Ranks
from trainer.recipes import make_config
from trainer.tiny import make_tiny_checkpoint

_HELPERS = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))
make_mix, damage = _HELPERS["make_mix"], _HELPERS["damage"]
BOUND = 0.01
"""Relative difference of a sample's loss that float16 may make."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model, a mix (a row of which is damaged) and the cache of both."""
    home = tmp_path_factory.mktemp("home")
    make_tiny_checkpoint(home / "model", seed=0)
    mix = make_mix(home)
    rows = pq.read_table(mix).to_pylist()
    rows.insert(12, {**rows[1], "position": 12, "pair_id": "pair-001-again"})
    pq.write_table(pa.Table.from_pylist(rows, schema=MIX), mix, row_group_size=5)
    damage(mix, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IEIW_HOME", str(home))
        assert main(arguments(home)) == 1  # for the damaged row
    return home


def arguments(home: Path) -> list[str]:
    return ["--catalog", str(home / "catalog" / "mix.parquet"), "--set", f"model={home / 'model'}"]


@pytest.fixture(scope="module")
def models(home: Path) -> Models:
    return load_models(home / "model")


def open_samples(home: Path, cache: LatentCache | None) -> TrainingSamples:
    mix = home / "catalog" / "mix.parquet"
    return TrainingSamples(TrainingPlan(mix), Roots.read(mix.parent / "roots.json"), make_config("demo"), cache)


def open_cache(home: Path, models: Models) -> LatentCache:
    return LatentCache(Workspace(home), cache_key(models, frozen_digest(models), make_config("demo")))


def test_static_rows_are_those_that_are_drawn_the_same_each_time(home: Path) -> None:
    row = pq.read_table(home / "catalog" / "mix.parquet").to_pylist()[1]
    assert is_static(row, RenderStyle())
    assert not is_static(row, RenderStyle(flip_probability=0.5))
    assert not is_static(row, RenderStyle(crop="square"))
    assert not is_static({**row, "instruction": None}, RenderStyle())
    assert not is_static({**row, "target_image": None}, RenderStyle())
    assert not is_static({**row, "vision_task": "image_enhancement"}, RenderStyle())
    assert is_static({**row, "vision_task": "image_enhancement"}, RenderStyle(crop="paper"))


def test_each_static_row_is_encoded_once_and_the_damaged_one_says_why(home: Path, models: Models) -> None:
    (path,) = (home / "catalog" / "tables" / "latents").glob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [row["pair_id"] for row in rows] == [f"pair-{n:03d}" for n in (1, 2, 4, 5, 7, 8, 10, 11)]
    assert [row["reason"] for row in rows] == [None, None, None, "changed_file", None, None, None, None]
    assert len(open_cache(home, models)) == 7


def test_losses_with_the_cache_equal_online_ones_to_the_bound(home: Path, models: Models) -> None:
    cached, online = open_samples(home, open_cache(home, models)), open_samples(home, None)
    indices = [n for n in range(65) if n % 13 != 5]
    batch = collate([cached[n] for n in indices])
    assert batch.states is not None
    assert len(batch.sources) == len(batch.states.others) == 4 * 5
    assert any(not batch.instructions[n] for n in batch.states.places)  # dropped texts are among them
    learner = Learner(models, make_config("demo"), Ranks(0, 1, torch.device("cpu")))
    with torch.no_grad():
        ours, theirs = learner.losses(batch), learner.losses(collate([online[n] for n in indices]))
    torch.testing.assert_close(ours, theirs, rtol=BOUND, atol=0)
    assert not torch.equal(ours, theirs)
    same = batch.states.others
    torch.testing.assert_close(ours[same], theirs[same], rtol=1e-4, atol=0)


def test_a_whole_batch_from_the_cache_needs_no_picture(home: Path, models: Models) -> None:
    cached = open_samples(home, open_cache(home, models))
    batch = collate([cached[n] for n in (1, 2, 4)])
    assert batch.sources.numel() == batch.targets.numel() == 0
    learner = Learner(models, make_config("demo"), Ranks(0, 1, torch.device("cpu")))
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(Models, "encode_targets", None)
        patch.setattr(Models, "encode_sources", None)
        assert learner.losses(batch).isfinite().all()
    assert cached[5].rejected is not None  # not in the cache, so found damaged as ever


def test_encoding_again_keeps_what_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(home))
    files = {path: path.stat().st_mtime_ns for path in (home / "data" / "latents").iterdir()}
    monkeypatch.setattr(Models, "encode_sources", None)
    assert main(arguments(home)) == 1
    assert {path: path.stat().st_mtime_ns for path in (home / "data" / "latents").iterdir()} == files


def test_a_run_trains_from_the_cache_and_goes_on(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(home))
    sets = ["global_batch_size=4", "num_steps=2", "checkpoint_every=1", "on_bad_row=skip", "num_workers=1"]

    def run(output: Path, *changes: str) -> list:
        more = [part for change in [*sets, *changes] for part in ("--set", change)]
        assert train([*arguments(home), "--output", str(output), *more]) == 0
        return pq.read_table(output / "training_log.parquet", columns=["loss", "samples_digest"]).to_pylist()

    straight = run(tmp_path / "straight", "latents=use")
    run(tmp_path / "parts", "latents=use", "num_steps=1")
    assert run(tmp_path / "parts", "latents=use") == straight
    online = run(tmp_path / "online")
    for ours, theirs in zip(straight, online, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=BOUND)


def test_a_spoiled_record_and_another_model_are_refused(home: Path, models: Models) -> None:
    cache = open_cache(home, models)
    row = pq.read_table(home / "catalog" / "mix.parquet").to_pylist()[2]
    assert cache.find(row, RenderStyle()) is not None
    (file,) = (home / "data" / "latents").glob("*.float16")
    whole = file.read_bytes()
    spoiled = bytearray(whole)
    spoiled[len(whole) // 8 + 3] ^= 1
    try:
        file.write_bytes(bytes(spoiled))
        with pytest.raises(ShardError, match="not what was written"):
            open_cache(home, models).find(row, RenderStyle())
        file.write_bytes(whole[:-1])
        with pytest.raises(ShardError, match="must have the"):
            open_cache(home, models)
    finally:
        file.write_bytes(whole)
    key = cache_key(models, frozen_digest(models), make_config("demo"))
    for other in (replace(key, frozen_sha256="0" * 64), replace(key, image_size=128), replace(key, crop="paper")):
        with pytest.raises(ConfigError, match="needs a cache for this model"):
            LatentCache(Workspace(home), other)


def test_mistakes_are_one_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mix = str(home / "catalog" / "mix.parquet")
    for given, sentence in (
        (["--catalog", mix], "must be a checkpoint that exists, got 'tiny'"),
        (["--catalog", mix, "--recipe", "pretraining_adaptation"], "nothing to encode"),
        (["--catalog", str(home / "none.parquet"), "--set", f"model={home / 'model'}"], "there is no mix at "),
    ):
        assert command_line.run(main, given) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
