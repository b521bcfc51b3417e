"""Whole runs in this process: stopping, resuming, finishing, logs, and what is refused with one sentence."""

import hashlib
import json
import os
import runpy
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from catalog import command_line
from catalog.errors import CheckpointError, MixError, TrainingError
from catalog.parquet_streams import mix_digest
from trainer.learner import Learner
from trainer.main import main
from trainer.models import load_models
from trainer.training_log import TRAINING_LOG

_HELPERS = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))
make_mix, damage = _HELPERS["make_mix"], _HELPERS["damage"]

SMALL = ["image_size=32", "global_batch_size=4", "micro_batch_size=2", "num_steps=4", "checkpoint_every=2"]


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mix(tmp_path_factory.mktemp("home"))


def train(mix: Path, output: Path, *changes: str, resume: str = "auto") -> int:
    arguments = ["--catalog", str(mix), "--output", str(output), "--resume", resume]
    return main([*arguments, *(part for change in [*SMALL, *changes] for part in ("--set", change))])


@pytest.fixture(scope="module")
def straight(mix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of an undisturbed run."""
    output = tmp_path_factory.mktemp("runs") / "straight"
    assert train(mix, output) == 0
    return output


def tensors(output: Path) -> dict[str, str]:
    """Digest of each tensor file of the last checkpoint and of the pipeline."""
    files = [*output.glob("checkpoints/step-00000004/*.safetensors"), *output.glob("pipeline/**/*.safetensors")]
    return {str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def steps(output: Path) -> list[tuple]:
    """The log without what depends on the clock."""
    columns = ["step", "samples_seen", "loss", "grad_norm", "samples_digest", "num_rejected"]
    return [tuple(row.values()) for row in pq.read_table(output / "training_log.parquet", columns=columns).to_pylist()]


def test_a_run_leaves_what_the_documentation_says(straight: Path, mix: Path) -> None:
    assert sorted(path.name for path in straight.iterdir()) == [
        "checkpoints", "config.json", "finished.json", "pipeline", "tensorboard", "tiny_model", "training_log.parquet",
    ]  # fmt: skip
    log = pq.read_table(straight / "training_log.parquet")
    assert log.schema.equals(TRAINING_LOG)
    rows = log.to_pylist()
    assert [(row["step"], row["samples_seen"]) for row in rows] == [(1, 4), (2, 8), (3, 12), (4, 16)]
    assert all(0 <= row["data_wait_share"] <= 1 and row["samples_per_s"] > 0 for row in rows)
    assert len({row["samples_digest"] for row in rows}) == 4
    finished = json.loads((straight / "finished.json").read_text())
    assert (finished["steps"], finished["samples_seen"]) == (4, 16)
    assert (finished["loss_first"], finished["loss_last"]) == (rows[0]["loss"], rows[3]["loss"])
    saved = json.loads((straight / "config.json").read_text())
    assert saved["config"]["image_size"] == 32
    assert saved["mix_sha256"] == mix_digest(mix)


def test_the_exported_weights_are_the_moving_averages(straight: Path) -> None:
    from safetensors.torch import load_file

    averages = load_file(straight / "checkpoints" / "step-00000004" / "averages.safetensors")
    unet = load_models(straight / "pipeline").unet
    assert unet.config.sample_size == 32 // 8
    exported = unet.state_dict()
    assert averages.keys() == exported.keys()
    assert all((averages[name] == exported[name]).all() for name in averages)


def test_a_finished_run_is_left_as_it_is(straight: Path, mix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in straight.rglob("*")}
    assert train(mix, straight) == 0
    assert capsys.readouterr().out.startswith("already finished")
    assert {path: path.stat().st_mtime_ns for path in straight.rglob("*")} == before


def test_more_steps_go_on_from_where_it_ended(straight: Path, mix: Path, tmp_path: Path) -> None:
    assert train(mix, tmp_path / "run", "num_steps=2") == 0
    assert train(mix, tmp_path / "run") == 0
    assert tensors(tmp_path / "run") == tensors(straight)
    assert steps(tmp_path / "run") == steps(straight)


@pytest.mark.parametrize("deadly", [2, 3, 4])
def test_a_crash_in_any_step_changes_nothing(
    deadly: int, straight: Path, mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Learner.update

    def crash(learner: Learner, step: int) -> None:
        if step == deadly:
            raise KeyboardInterrupt
        update(learner, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "update", crash)
        train(mix, tmp_path / "run")
    assert train(mix, tmp_path / "run", "num_workers=1") == 0
    assert tensors(tmp_path / "run") == tensors(straight)
    assert steps(tmp_path / "run") == steps(straight)


def test_sigterm_writes_a_checkpoint_and_the_run_goes_on_later(
    straight: Path, mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update = Learner.update

    def terminate(learner: Learner, step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        update(learner, step)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", terminate)
        assert train(mix, tmp_path / "run", "checkpoint_every=1000") == 0
    assert "run the same command to go on" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000003"]
    assert not (tmp_path / "run" / "finished.json").exists()
    assert train(mix, tmp_path / "run", "checkpoint_every=1000") == 0
    assert tensors(tmp_path / "run") == tensors(straight)


def test_an_unfinished_export_is_made_again(straight: Path, mix: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    weights = run / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert train(mix, run) == 0
    assert tensors(run) == tensors(straight)
    assert steps(run) == steps(straight)


def test_rests_of_a_killed_run_are_removed(straight: Path, mix: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    (run / "finished.json").unlink()
    shutil.copytree(run / "pipeline", run / "pipeline.tmp")
    shutil.copytree(run / "checkpoints" / "step-00000002", run / "checkpoints" / "step-00000006.tmp")
    (run / "training_log.parquet.tmp").write_bytes(b"half")
    assert train(mix, run) == 0
    assert list(run.rglob("*.tmp")) == []
    assert tensors(run) == tensors(straight)


def test_a_torn_log_is_named_and_can_be_left_behind(straight: Path, mix: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    (run / "finished.json").unlink()
    log = run / "training_log.parquet"
    log.write_bytes(log.read_bytes()[:-20])
    with pytest.raises(TrainingError, match=f"{log} is torn or not Parquet .*: delete it and start again"):
        train(mix, run)
    log.unlink()
    assert train(mix, run) == 0
    assert tensors(run) == tensors(straight)


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_configuration_is_refused(straight: Path, mix: Path, tmp_path: Path, finished: bool) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    if not finished:
        (run / "finished.json").unlink()
    with pytest.raises(CheckpointError, match=r"learning_rate: 0.001 -> 0.01\).*choose another --output"):
        train(mix, run, "learning_rate=0.01")


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_mix_is_refused(straight: Path, tmp_path: Path, finished: bool) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    if not finished:
        (run / "finished.json").unlink()
    with pytest.raises(CheckpointError, match=r"--catalog is now .*choose another --output"):
        train(make_mix(tmp_path / "home", seed=1), run)


def test_a_torn_checkpoint_is_refused_and_the_one_before_it_serves(straight: Path, mix: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    (run / "finished.json").unlink()
    torn = run / "checkpoints" / "step-00000004"
    (torn / "optimizer.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="step-00000004 is torn"):
        train(mix, run)
    shutil.rmtree(torn)
    assert train(mix, run) == 0
    assert tensors(run) == tensors(straight)


def test_another_autoencoder_is_refused(straight: Path, mix: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    (run / "finished.json").unlink()
    shutil.copy(straight / "tiny_model" / "vae" / "config.json", run / "tiny_model" / "vae" / "config.json")
    from safetensors.torch import load_file, save_file

    file = run / "tiny_model" / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["quant_conv.bias"] += 1
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="this autoencoder and text encoder"):
        train(mix, run)


def test_fewer_steps_than_done_and_resume_never_are_refused(straight: Path, mix: Path) -> None:
    with pytest.raises(ValueError, match="at least the 4 steps"):
        train(mix, straight, "num_steps=3")
    with pytest.raises(CheckpointError, match="--resume never"):
        train(mix, straight, "num_steps=9", resume="never")


def test_a_bad_row_stops_the_run_and_is_named(tmp_path: Path) -> None:
    mix = make_mix(tmp_path)
    damage(mix, 6)
    with pytest.raises(MixError, match=r"pair pair-006 at position 6 is changed_file"):
        train(mix, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_skipped_rows_are_counted_in_their_steps(tmp_path: Path) -> None:
    mix = make_mix(tmp_path, num_rows=8)
    damage(mix, 6)
    assert train(mix, tmp_path / "run", "on_bad_row=skip") == 0
    assert [step[-1] for step in steps(tmp_path / "run")] == [0, 1, 0, 1]
    rows = pq.read_table(tmp_path / "run" / "rejected_rows.parquet").to_pylist()
    assert [(row["index"], row["position"]) for row in rows] == [(6, 6), (14, 6)]


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = Learner.losses

    def spoil(learner: Learner, batch):
        spoiled = losses(learner, batch)
        return spoiled * float("nan") if 9 in batch.indices else spoiled

    monkeypatch.setattr(Learner, "losses", spoil)
    with pytest.raises(TrainingError, match=r"loss of step 3 .*pair-008, pair-009 \(samples 8 to 9\)"):
        train(mix, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]


def spoil_sample(monkeypatch: pytest.MonkeyPatch, index: int, factor: float) -> None:
    losses = Learner.losses

    def spoil(learner: Learner, batch):
        spoiled = losses(learner, batch)
        return spoiled * factor if index in batch.indices else spoiled

    monkeypatch.setattr(Learner, "losses", spoil)


def test_a_step_that_is_left_out_changes_nothing(
    mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        spoil_sample(patch, 9, float("nan"))
        assert train(mix, tmp_path / "run", "on_bad_step=skip", "num_steps=3", "checkpoint_every=1") == 0
    assert "warning: step 3 is left out, as the loss of step 3 must be finite" in capsys.readouterr().err
    rows = pq.read_table(tmp_path / "run" / "training_log.parquet").to_pylist()
    assert [row["skipped"] for row in rows] == [False, False, True]
    second, third = (tmp_path / "run" / "checkpoints" / f"step-0000000{step}" for step in (2, 3))
    for name in ("unet", "averages", "optimizer"):
        assert (second / f"{name}.safetensors").read_bytes() == (third / f"{name}.safetensors").read_bytes()


def test_a_leap_is_found_again_after_resuming(mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longer = ("global_batch_size=1", "micro_batch_size=1", "spike_factor=100", "checkpoint_every=11")
    assert train(mix, tmp_path / "run", "num_steps=11", *longer) == 0
    with monkeypatch.context() as patch:
        spoil_sample(patch, 11, 1e6)
        with pytest.raises(
            TrainingError, match=r"loss of step 12 must be at most .* pairs pair-011 \(samples 11 to 11\)"
        ):
            train(mix, tmp_path / "run", "num_steps=13", *longer)


def test_keep_every_keeps_checkpoints_for_good(mix: Path, tmp_path: Path) -> None:
    assert train(mix, tmp_path / "run", "checkpoint_every=1", "keep_last=1", "keep_every=2", "num_steps=5") == 0
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000002", "step-00000004", "step-00000005"]


def test_sample_pictures_show_held_out_rows(straight: Path, mix: Path, tmp_path: Path) -> None:
    assert train(mix, tmp_path / "run", "pictures_every=2", "num_pictures=2") == 0
    pictures = sorted((tmp_path / "run" / "pictures").iterdir())
    assert [path.name for path in pictures] == ["step-00000002.png", "step-00000004.png"]
    first, second = (np.asarray(Image.open(path)) for path in pictures)
    assert first.shape == (2 * (32 + 2 * 14), 3 * 32, 3)  # each instruction takes two lines
    assert np.array_equal(first[:, :64], second[:, :64])
    assert not np.array_equal(first[28:60, 64:], second[28:60, 64:])
    assert tensors(tmp_path / "run") == tensors(straight)


def test_the_micro_batch_is_found_and_kept(
    straight: Path, mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(mix, tmp_path / "run", "micro_batch_size=0", "num_steps=2") == 0
    found = capsys.readouterr().out
    assert "micro_batch_size 4: " in found
    assert "a rank has 4 samples per step" in found
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["micro_batch_size"] == 4
    assert steps(tmp_path / "run")[0][2] == pytest.approx(steps(straight)[0][2], rel=1e-5)
    assert train(mix, tmp_path / "run", "micro_batch_size=0") == 0
    assert "micro_batch_size 4: as at the run's first start" in capsys.readouterr().out


def test_mfu_is_logged_where_the_peak_is_known(straight: Path, mix: Path, tmp_path: Path) -> None:
    assert train(mix, tmp_path / "run", "peak_tflops=0.1", "num_steps=1") == 0
    (row,) = pq.read_table(tmp_path / "run" / "training_log.parquet").to_pylist()
    assert 0 < row["mfu"] < 1
    assert pq.read_table(straight / "training_log.parquet").column("mfu").null_count == 4


def test_a_user_mistake_ends_with_status_2_and_one_sentence(
    mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["--catalog", str(tmp_path / "mix.parquet")],
        ["--catalog", str(mix), "--recipe", "other"],
        ["--catalog", str(mix), "--set", "image_size=250"],
    ):
        assert command_line.run(main, arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1


def test_help_names_every_field_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert "torchrun --nproc_per_node=2 trainer/main.py" in text
    assert "global_batch_size=16" in text
    assert "Samples per optimizer step, over all ranks" in text
