"""The three stages: recipes, stage 1's samples, and runs that start from runs."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from catalog.errors import CheckpointError, ConfigError, RowRejected
from catalog.masks import encode_mask
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from catalog.samples import render_sample
from catalog.schema import MIX
from trainer.adaptation import SUFFIXES, read_suffixes, render_adaptation
from trainer.inference import edit
from trainer.main import main
from trainer.models import load_models
from trainer.recipes import make_config

make_mix = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))["make_mix"]
OPTIONS = RenderStyle().at_size(64)


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of every kind: edits with captions, a mask with and one without, joints."""
    path = make_mix(tmp_path_factory.mktemp("home"))
    rows = pq.read_table(path).to_pylist()
    mask = np.zeros((96, 96), bool)
    mask[20:60, 30:70] = True
    point = {"name": "nose", "x": 40.0, "y": 40.0, "visibility": 2}
    drawn = {"target_image": None, "instruction": None, "mask": encode_mask(mask), "label": "bird"}
    for row in rows:
        row["source_caption"], row["target_caption"] = "a bird in a tree", "a tree"
    rows[0] |= drawn | {"vision_task": "segmentation", "phrase": "the red bird"}
    rows[1] |= drawn | {"vision_task": "segmentation", "phrase": "the red bird", "source_caption": None}
    joints = [point, point | {"name": "left eye", "x": 50.0}]
    rows[2] |= drawn | {"vision_task": "keypoint_detection", "mask": None, "keypoints": joints}
    rows[2] |= {"bbox": [10.0, 10.0, 60.0, 60.0]}
    rows[3] |= {"target_caption": None}
    rows[4] |= {"target_caption": None, "source_caption": None}
    pq.write_table(pa.Table.from_pylist(rows, schema=MIX), path, row_group_size=5)
    return path


def adapt(mix: Path, position: int, index: int, plain_share: float, suffixes: Path = SUFFIXES):
    row, roots = pq.read_table(mix).to_pylist()[position], Roots.read(mix.parent / "roots.json")
    options = {"seed": 0, "index": index, "options": OPTIONS}
    sample = render_sample(row, roots, **options)
    return render_adaptation(row, roots, **options, plain_share=plain_share, suffixes=suffixes), sample


def test_masks_and_discs_are_told_by_a_suffix(mix: Path) -> None:
    prompts: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for position, found in prompts.items():
        for index in range(30):
            made, sample = adapt(mix, position, index, plain_share=0)
            assert np.array_equal(made.picture, sample.target)
            assert not np.array_equal(made.picture, sample.source)
            words = [name for name, _ in sample.colors]
            assert all(word in made.prompt for word in words) or "{" not in made.prompt
            found.add(made.prompt)
    assert "a bird in a tree, with a few different color patches here and there" in prompts[0]
    assert "a photo of the red bird, with a few different color patches here and there" in prompts[1]
    assert any("surrounded with a red circle" in prompt for prompt in prompts[2])
    assert any(" circle and a " in prompt for prompt in prompts[2])
    assert all(prompt.startswith("a bird in a tree, ") for prompt in prompts[2])


def test_plain_rows_keep_photo_and_caption(mix: Path) -> None:
    made, sample = adapt(mix, 0, 3, plain_share=1)
    assert made.prompt == "a bird in a tree"
    assert np.array_equal(made.picture, sample.source)
    made, sample = adapt(mix, 5, 3, plain_share=0)  # an edit: what its target shows
    assert made.prompt == "a tree"
    assert np.array_equal(made.picture, sample.target)
    made, sample = adapt(mix, 3, 3, plain_share=0)
    assert made.prompt == "a bird in a tree"
    assert np.array_equal(made.picture, sample.source)
    share = np.mean([adapt(mix, 0, index, plain_share=0.3)[0].prompt == "a bird in a tree" for index in range(200)])
    assert share == pytest.approx(0.3, abs=0.1)


def test_a_row_that_nothing_describes_is_rejected(mix: Path) -> None:
    with pytest.raises(RowRejected, match="no_caption"):
        adapt(mix, 4, 0, plain_share=0)


def test_suffixes_of_your_own(mix: Path, tmp_path: Path) -> None:
    (tmp_path / "segmentation.txt").write_text("# mine\n\nmit etwas {color}\n")
    made, sample = adapt(mix, 0, 1, plain_share=0, suffixes=tmp_path)
    assert made.prompt == f"a bird in a tree, mit etwas {sample.colors[0][0]}"
    for name, text, sentence in (
        ("slot", "{size}", "the only slot is {color}"),
        ("brace", "{", "whole slots"),
        ("empty", "# nothing", "has none"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "segmentation.txt").write_text(text)
        with pytest.raises(ConfigError, match=sentence):
            read_suffixes("segmentation", tmp_path / name)
    with pytest.raises(ConfigError, match=r"must name a folder with keypoint_detection.txt"):
        read_suffixes("keypoint_detection", tmp_path)


def test_recipes_have_the_papers_stages() -> None:
    first, second, third = map(make_config, ("pretraining_adaptation", "task_training", "human_alignment"))
    assert [config.stage for config in (first, second, third)] == [c.recipe for c in (first, second, third)]
    assert (second.global_batch_size, second.num_steps, second.learning_rate, second.ema_decay) == (
        3072, 62_200, 1e-4, 0.9999,
    )  # fmt: skip
    assert (third.ema_decay, third.model) == (0.99, "runs/task_training")
    assert third.num_steps * third.global_batch_size == pytest.approx(10 * 1000, rel=0.01)
    assert not first.image_condition
    assert second.image_condition
    assert replace(make_config("paper"), recipe="task_training") == second


SMALL = ["image_size=32", "global_batch_size=4", "micro_batch_size=2", "num_steps=2", "checkpoint_every=1"]


def train(mix: Path, output: Path, *changes: str) -> Path:
    sets = [part for change in [*SMALL, *changes] for part in ("--set", change)]
    assert main(["--catalog", str(mix), "--output", str(output), *sets]) == 0
    return output


def test_three_stages_follow_each_other(mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    runs = tmp_path / "runs"
    first = train(mix, runs / "first", "stage=pretraining_adaptation", "on_bad_row=skip")
    adapted = load_models(first / "pipeline", image_condition=False)
    assert adapted.unet.config.in_channels == 4
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(str(first / "pipeline"), low_cpu_mem_usage=False)
    assert torch.equal(pipeline.unet.conv_in.weight, adapted.unet.conv_in.weight)
    with pytest.raises(ConfigError, match="task_training or human_alignment"):
        edit(adapted, [np.zeros((32, 32, 3), np.uint8)], ["x"])

    second = train(mix, runs / "second", "model=runs/first")  # a path below IEIW_HOME
    started = load_models("runs/first")
    assert started.unet.config.in_channels == 8
    assert torch.equal(started.unet.conv_in.weight[:, :4], adapted.unet.conv_in.weight)
    checkpoint = second / "checkpoints" / "step-00000001"
    third = train(mix, runs / "third", "stage=human_alignment", f"model={checkpoint}", "num_steps=1")
    averages = load_file(checkpoint / "averages.safetensors")
    loaded = load_models(checkpoint)
    assert all(torch.equal(weight, averages[name]) for name, weight in loaded.unet.state_dict().items())
    assert (third / "pipeline" / "model_index.json").is_file()

    with pytest.raises(CheckpointError, match="must be a text-to-image checkpoint"):
        train(mix, runs / "fourth", "stage=pretraining_adaptation", "model=runs/second")


def test_a_checkpoint_that_cannot_start_a_run_is_one_sentence(mix: Path, tmp_path: Path) -> None:
    run = train(mix, tmp_path / "run", "num_steps=1")
    checkpoint = run / "checkpoints" / "step-00000001"
    (checkpoint / "averages.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="is torn"):
        load_models(checkpoint)
    (run / "config.json").unlink()
    with pytest.raises(CheckpointError, match="must lie in its run's folder"):
        load_models(checkpoint)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has none yet"):
        load_models(empty)
