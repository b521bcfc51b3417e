"""The sheet of one dataset: every kind of row has its block, bad input is one sentence, the picture is a function of
the files."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from catalog import command_line
from catalog.render_styles import RenderOptions
from tasks.commands import main
from tasks.dataset_sheet import _CELL, write_dataset_sheet
from tasks.joint_overlay import Rectangle, draw_joints, overlap, place_name
from tasks.profiles import Source
from tasks.sheet_drawing import Block, draw_sheet, fit, needed_lines, wrap

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
    text = "many words that do not fit into one line of this width at all"
    lines = wrap(text, font, 120)
    assert len(lines) == 2 and lines[1].endswith("…") and all(font.getlength(line) <= 120 for line in lines)
    assert " ".join(wrap(text, font, 120, 9)) == text and wrap("", font, 120) == [""]
    assert wrap("x" * 99 + " y", font, 120) == [wrap("x" * 99, font, 120)[0], "y"]


def test_the_longest_text_is_shown_whole() -> None:
    text = "words " * 60
    assert needed_lines(["a", text], 3, 240) == len(wrap(text, ImageFont.load_default(15), 720, 99)) > 2
    assert needed_lines(["a"], 3, 240) == 2 and needed_lines([text * 99], 3, 240) == 12
    picture = np.zeros((50, 50, 3), np.uint8)
    heights = [
        Image.open(BytesIO(draw_sheet([Block([picture], "c", text)], 1, 1, 240, lines))).height for lines in (2, 7)
    ]
    assert heights[1] - heights[0] == 5 * 18


JOINTS = {"left elbow": (30, 30), "left wrist": (33, 31), "left hip": (31, 36), "right hip": (28, 36)}


def keypoints_at(places: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"name": name, "x": x, "y": y, "visibility": 2} for name, (x, y) in places.items()]


def test_no_joint_s_name_covers_another_s_name_or_cross() -> None:
    places = {name: [8 * x, 8 * y] for name, (x, y) in JOINTS.items()}
    taken: list[Rectangle] = [(x - 9, y - 9, x + 9, y + 9) for x, y in places.values()]
    for name, place in places.items():
        left, top, right, bottom = found = place_name(name, place, (480, 480), taken)
        assert 0 <= left < right <= 480 and 0 <= top < bottom <= 480
        assert not any(overlap(found, other) for other in taken)
        taken.append(found)
    full = place_name("nose", (5, 5), (20, 30), [(0, 0, 30, 20)])  # no room at all: there is a place nevertheless
    assert full[:2] == (0, 0)


def test_joints_outside_the_box_are_shown() -> None:
    photo = np.full((200, 300, 3), 120, np.uint8)
    hidden = {"name": "nose", "x": 0, "y": 0, "visibility": 0}
    joints = [*keypoints_at(JOINTS | {"left ankle": (280, 190)}), hidden]
    red, blue = (255, 0, 0), (0, 0, 255)
    shown = draw_joints(photo, joints, [20, 20, 40, 40], {"left ankle": red, "left hip": blue})
    assert max(shown.shape[:2]) == 480 and np.array_equal(photo, np.full_like(photo, 120))
    for rgb, (x, y) in ((red, (280, 190)), (blue, (31, 36))):
        rows, columns = np.nonzero((shown == rgb).all(axis=2))
        # the part begins 10 % of its size before the box and ends at the photo's edge
        factor = 480 / 300
        assert abs(np.median(columns) - x * factor) < 12 and abs(np.median(rows) - (y - 3) * factor) < 12
    without = draw_joints(photo, joints, None, {"left ankle": red})
    assert (without == red).all(axis=2).any() and not (without == blue).all(axis=2).any()


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
