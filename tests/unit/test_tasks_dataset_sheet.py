"""The sheet of one dataset: every kind of row has its block, bad input is one sentence, the picture is a function of
the files."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from catalog import command_line
from catalog.render_styles import RenderOptions
from tasks.commands import main
from tasks.dataset_sheet import _CELL, write_dataset_sheet
from tasks.profiles import Source
from tasks.sheet_drawing import Block, draw_sheet, fit, wrap

SCENES = Source(dataset="scenes", reader="synthetic", options={"count": 4, "seed": 5})


def test_a_sheet_shows_regions_joints_and_pairs_and_is_the_same_again(tmp_path: Path) -> None:
    sheet = write_dataset_sheet(SCENES, tmp_path / "one.png", RenderOptions(size=64), num_images=8, limit=6)
    write_dataset_sheet(SCENES, tmp_path / "two.png", RenderOptions(size=64), num_images=8, limit=6)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sheet.num_shown == 6 <= sheet.num_rows and sheet.num_images == 8
    other = RenderOptions(size=64, alpha=1.0)
    write_dataset_sheet(SCENES, tmp_path / "opaque.png", other, num_images=8, limit=6)
    assert (tmp_path / "opaque.png").read_bytes() != (tmp_path / "one.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "one.png"))
    assert picture.shape[0] > 3 * _CELL and picture.shape[1] > 6 * _CELL and picture.std() > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "opaque.png", "two.png"]


def test_the_command_writes_a_picture_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sheet", "synthetic", "--option", "count=3", "--output", str(tmp_path / "s.png"), "--limit", "2"]
    assert command_line.run(main, [*arguments, "--set", "render.alpha=0.8", "--name", "drawn"]) == 0
    said = capsys.readouterr().out
    assert "drawn" in said and "shown" in said and f"written to {tmp_path / 's.png'}" in said
    assert Image.open(tmp_path / "s.png").format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["coco", "nowhere", "--option", "annotations=a.json"], "needs an existing folder as its root"),
        (["synthetic", "--limit", "0"], "--limit 1 to 200. Got 64 and 0"),
        (["synthetic", "--set", "alpha=1"], "--set must be render.NAME=VALUE"),
        (["synthetic", "--set", "render.alpha=much"], "render.alpha must be a number. Got 'much'"),
        (["synthetic", "--set", "render.crop=round"], "crop must be one of official, paper, square"),
        (["synthetic", "--option", "count"], "NAME=VALUE"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    output = tmp_path / "sheet.png"
    assert command_line.run(main, ["sheet", *arguments, "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and not output.exists()


def test_nothing_to_show_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "a.json").write_text(
        '{"images": [{"id": 1, "file_name": "gone.jpg", "width": 9, "height": 9}], "annotations": [], "categories": []}'
    )
    (tmp_path / "images" / "other.jpg").write_bytes(b"x")
    arguments = ["sheet", "coco", str(tmp_path), "--option", "annotations=a.json", "--option", "images=images"]
    assert command_line.run(main, [*arguments, "--output", str(tmp_path / "s.png")]) == 2
    assert "Nothing of coco can be shown: of its first 1 records, 1 missing_file" in capsys.readouterr().err


def test_layout() -> None:
    wide, tall = np.zeros((50, 200, 3), np.uint8), np.zeros((300, 100, 3), np.uint8)
    assert fit(wide, 100).size == fit(tall, 100).size == (100, 100)
    image = Image.open(BytesIO(draw_sheet([Block([wide, tall], "c", "words " * 99)], 1, 2, 100)))
    pixels = np.asarray(image)
    assert (pixels == 0).all(axis=2).sum() > 100 * 25 + 100 * 33 - 300  # both pictures, and some text

    font = ImageFont.load_default(15)
    lines = wrap("many words that do not fit into one line of this width at all", font, 120).split("\n")
    assert len(lines) == 2 and lines[1].endswith("…") and all(font.getlength(line) <= 130 for line in lines)


SAMPLES = {
    "coco": ("coco", "keypoints_coco", {"annotations": "test_coco.json", "split": "train"}),
    "panoptic": (
        "coco",
        "coco_panoptic",
        {"annotations": "panoptic_coco_detection_format.json", "images": "input_images", "split": "train"},
    ),
    "crowdpose": ("crowdpose", "keypoints_crowdpose", {"annotations": "test_crowdpose.json"}),
    "aic": ("aic", "keypoints_aic", {"annotations": "official/keypoint_annotations_example.json", "images": "."}),
    "mpii": ("mpii", "keypoints_mpii", {"annotations": "test_mpii.json"}),
    "humanart": ("humanart", "keypoints_humanart/HumanArt", {"annotations": "annotations/test_humanart.json"}),
    "ap10k": ("ap10k", "keypoints_ap10k", {"annotations": "test_ap10k.json", "joints": "all"}),
    "cocostuff": ("cocostuff", "cocostuff_derived", {"split": "val"}),
    "ade20k": ("ade20k", "ade20k_full/ADE20K_2021_17_01", {"split": "train"}),
    "sa1b": ("sa1b", "sa1b_images/derived_from_ade20k", {}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_real_samples_have_a_sheet(name: str, shared_data: Path, tmp_path: Path) -> None:
    reader, folder, options = SAMPLES[name]
    if not (shared_data / folder).is_dir():
        pytest.skip("this sample is not here")
    source = Source(dataset=name, reader=reader, root=str(shared_data / folder), options=options)
    sheet = write_dataset_sheet(source, tmp_path / "sheet.png", RenderOptions(), limit=2)
    assert 1 <= sheet.num_shown <= 2 and (tmp_path / "sheet.png").stat().st_size > 20_000
