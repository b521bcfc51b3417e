"""python -m trainer.edit: one photo of any shape, or a whole split."""

import json
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from catalog import command_line
from catalog.schema import MIX
from trainer.edit import main, working_size
from trainer.inference import edit
from trainer.models import load_models
from trainer.pipeline_folder import write_pipeline
from trainer.tiny import make_tiny_checkpoint

make_mix = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))["make_mix"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pipeline")
    make_tiny_checkpoint(home / "tiny", seed=0)
    write_pipeline(home / "pipeline", load_models(home / "tiny"))
    return home / "pipeline"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((300, 125)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize(
    ("size", "working"),
    [
        ((300, 125), (64, 24)),
        ((64, 64), (64, 64)),
        ((10, 1000), (8, 64)),
        ((33, 32), (64, 64)),
        ((4000, 3000), (64, 48)),
    ],
)
def test_the_longer_side_is_the_size_and_both_are_multiples_of_8(
    size: tuple[int, int], working: tuple[int, int]
) -> None:
    assert working_size(*size, 64) == working


def test_a_photo_of_any_shape_comes_back_at_its_size(photo: Path, pipeline: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "out.png"
    options = ["--model", str(pipeline), "--output", str(output), "--steps", "2", "--sampler", "dpm_solver"]
    assert main([str(photo), "remove the red bird", *options]) == 0
    assert "300 x 125 pixels" in capsys.readouterr().out
    result = np.asarray(Image.open(output))
    assert (result.shape, Image.open(output).format) == ((125, 300, 3), "PNG")
    shown = np.asarray(Image.open(photo))
    from catalog.images import resize_image

    (expected,) = edit(
        load_models(pipeline), [resize_image(shown, 64, 24)], ["remove the red bird"], num_steps=2, sampler="dpm_solver"
    )
    assert np.abs(result.astype(int) - resize_image(expected, 300, 125).astype(int)).max() <= 1


def test_a_split_is_edited_and_gone_on_with(pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mix, output = make_mix(tmp_path), tmp_path / "edits"
    rows = pq.read_table(mix).to_pylist()
    rows += [{**rows[place], "split": "val", "position": None} for place in (3, 4)]
    rows[-1]["source_image"] = {**rows[-1]["source_image"], "sha256": "0" * 64}
    pq.write_table(pa.Table.from_pylist(rows, schema=MIX), mix, row_group_size=5)
    arguments = ["--catalog", str(mix), "--model", str(pipeline), "--output", str(output), "--steps", "1"]
    assert main([*arguments, "--limit", "1"]) == 0
    first = (output / "000000.png").read_bytes()
    assert main(arguments) == 1  # the last row is damaged, and said to be
    assert sorted(path.name for path in output.glob("*.png")) == ["000000.png", "000001.png"]
    assert (output / "000000.png").read_bytes() == first
    listed = json.loads((output / "edits.json").read_text())
    assert [row["pair_id"] for row in listed["edits"]] == ["pair-000", "pair-003"]
    assert [(row["number"], row["reason"].split(":")[0]) for row in listed["rejected"]] == [(2, "changed_file")]
    assert command_line.run(main, [*arguments, "--seed", "1"]) == 2
    assert "made with other options" in capsys.readouterr().err


def test_mistakes_are_one_sentence(photo: Path, pipeline: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    mix = make_mix(tmp_path)
    model = ["--model", str(pipeline)]
    for arguments, sentence in (
        ([], "either an image"),
        ([str(photo)], "needs an instruction"),
        ([str(photo), "x", "--catalog", str(mix)], "not both"),
        ([str(tmp_path / "none.jpg"), "x", *model], "must be a photo that can be read"),
        ([str(tmp_path / "text.jpg"), "x", *model], "not_an_image"),
        ([str(photo), "x", *model, "--size", "9999"], "from 32 to 2048"),
        ([str(photo), "x", *model, "--output", str(tmp_path / "x.jpg")], "named .png"),
        ([str(photo), "x", *model, "--steps", "0"], "from 1 to 1000"),
        ([str(photo), "x", *model, "--batch-size", "0"], "1 or more"),
        (["--catalog", str(mix), "--split", "test", *model, "--output", str(tmp_path / "t")], "has rows of"),
        ([str(photo), "x", "--model", str(tmp_path)], "no unet/"),
    ):
        assert command_line.run(main, arguments) == 2, arguments
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
