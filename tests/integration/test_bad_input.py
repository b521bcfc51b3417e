"""Thirty kinds of bad input, one build: each becomes a row with its own reason, and the good ones are made."""

import json
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from plain_build import build

from catalog.reasons import Reason
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.profiles import read_profile

SIDE = 96
POLYGON = [[20, 20], [60, 22], [58, 60], [22, 58]]


def photo(path: Path, seed: int = 0) -> None:
    """A red ball on a smooth ground that compresses well and fills plausibly."""
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = [127 + 40 * np.sin(x / (9 + seed) + k) * np.cos(y / (11 + k) + seed) for k in range(3)]
    picture = Image.fromarray(np.stack(waves, -1).astype(np.uint8))
    ImageDraw.Draw(picture).polygon([tuple(point) for point in POLYGON], (200 + seed, 10, 20))
    picture.save(path, quality=90)


def bomb(path: Path) -> None:
    """A PNG of a few bytes whose header promises 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def truncate(path: Path) -> None:
    photo(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def animate(path: Path) -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue", "green")]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def small(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path)


def escape_by_link(path: Path) -> None:
    outside = path.parents[2] / "outside.jpg"
    photo(outside)
    path.symlink_to(outside)


FILES: dict[str, tuple[Callable[[Path], Any], Reason]] = {
    "missing": (lambda path: None, Reason.MISSING_FILE),
    "empty": (lambda path: path.write_bytes(b""), Reason.EMPTY_FILE),
    "text": (lambda path: path.write_text("not a picture"), Reason.NOT_AN_IMAGE),
    "truncated": (truncate, Reason.TRUNCATED_IMAGE),
    "bomb": (bomb, Reason.TOO_MANY_PIXELS),
    "animated": (animate, Reason.ANIMATED_IMAGE),
    "small": (small, Reason.IMAGE_TOO_SMALL),
    "folder": (lambda path: path.mkdir(), Reason.UNREADABLE_FILE),
    "pipe": (lambda path: os.mkfifo(path), Reason.UNREADABLE_FILE),
    "link": (escape_by_link, Reason.PATH_ESCAPE),
    "foreign": (lambda path: path.write_bytes(b"8BPS" + bytes(100)), Reason.UNSUPPORTED_FORMAT),
}
"""What is wrong with the image file."""

TASKS: dict[str, tuple[dict[str, Any], Reason]] = {
    "no_polygon": ({"Polygons": [], "instance_boxes": []}, Reason.NO_REGION),
    "two_points": ({"Polygons": [[[[1, 1], [5, 5]]]]}, Reason.DEGENERATE_POLYGON),
    "nan": ({"Polygons": [[[[1, 1], [math.nan, 5], [9, 9]]]]}, Reason.NOT_FINITE),
    "far_outside": ({"Polygons": [[[[1, 1], [5000, 5], [9, 9]]]]}, Reason.OUT_OF_RANGE),
    "text_points": ({"Polygons": [[[["a", "b"], [1, 2], [3, 4]]]]}, Reason.MALFORMED_RECORD),
    "only_a_label": ({"phrase": ""}, Reason.AMBIGUOUS_LABEL),
    "no_phrase": ({"phrase": "", "phrase_structure": {}}, Reason.EMPTY_PHRASE),
    "blank_phrase": ({"phrase": " \t ", "phrase_structure": None}, Reason.EMPTY_PHRASE),
    "long_phrase": ({"phrase": "very " * 80 + "long"}, Reason.LONG_PHRASE),
    "number_phrase": ({"phrase": 17}, Reason.MALFORMED_RECORD),
    "control_phrase": ({"phrase": "red\x00ball"}, Reason.BAD_ENCODING),
    "surrogate_phrase": ({"phrase": "red \ud83d ball"}, Reason.BAD_ENCODING),
    "mojibake_phrase": ({"phrase": "caf\ufffd table"}, Reason.BAD_ENCODING),
    "no_id": ({"task_id": None}, Reason.MALFORMED_RECORD),
    "bad_structure": ({"phrase_structure": {"name": 5, "attributes": []}}, Reason.MALFORMED_RECORD),
    "bad_relations": (
        {"phrase_structure": {"name": "ball", "attributes": [], "relation_descriptions": [["on"]]}},
        Reason.MALFORMED_RECORD,
    ),
    "tiny_region": ({"Polygons": [[[[5, 5], [6, 5], [6, 6]]]]}, Reason.REGION_TOO_SMALL),
    "endless_outline": ({"Polygons": [[[[0, 0], [95, 95]] * 5000]]}, Reason.POLYGON_TOO_LONG),
    "markup": ({"phrase": "ball <img src=x onerror=alert(1)>"}, Reason.BAD_ENCODING),
    "hidden_words": ({"phrase": "ball \u202e\u200b"}, Reason.BAD_ENCODING),
    "huge_number": ({"Polygons": [[[[10**400, 0], [95, 95], [0, 95]]]]}, Reason.OUT_OF_RANGE),
    "huge_region": ({"Polygons": [[[[0, 0], [95, 0], [95, 95], [0, 95]]]]}, Reason.REGION_TOO_LARGE),
}
"""What is wrong with the annotation."""


def task(image_id: Any, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "task_id": f"{image_id}__{name}",
        "image_id": image_id,
        "ann_ids": [1],
        "instance_boxes": [[20, 20, 40, 40]],
        "Polygons": [[POLYGON]],
        "phrase": "red ball on the table",
        "phrase_structure": {
            "name": "ball",
            "attributes": ["red"],
            "relation_ids": [1],
            "relation_descriptions": [["on", "table"]],
            "type": "relation",
        },
        **changes,
    }


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, list[dict[str, Any]]]]:
    """Build a PhraseCut folder of good and bad entries; rows by table."""
    home = tmp_path_factory.mktemp("bad")
    root = home / "phrasecut"
    (root / "images").mkdir(parents=True)
    images, tasks = [], []

    def add_image(image_id: Any, **changes: Any) -> None:
        images.append({"image_id": image_id, "width": SIDE, "height": SIDE, "split": "train", **changes})

    for number in range(3):
        photo(root / "images" / f"{number}.jpg", number)
        add_image(number)
        tasks.append(task(number, "good"))
    for number, (name, (write, _)) in enumerate(FILES.items(), start=100):
        write(root / "images" / f"{number}.jpg")
        add_image(number)
        tasks.append(task(number, name))
    photo(root / "images" / "200.jpg", 5)
    add_image(200)
    tasks += [task(200, name, **changes) for name, (changes, _) in TASKS.items()]
    tasks += [task(200, "twice"), task(200, "twice")]
    photo(root / "images" / "201.jpg", 6)
    add_image(201, width=640, height=480)
    tasks.append(task(201, "wrong_size"))
    add_image("../../outside")
    tasks += [task("../../outside", "escape"), task(None, "stray")]
    (root / "image_data_split.json").write_text(json.dumps(images))
    (root / "refer_train.json").write_text(json.dumps(tasks))
    profile = home / "profile.toml"
    embedded = (Path(__file__).parents[2] / "infra/profiles/embedded.toml").read_text()
    kept = "[split]" + embedded.split("[split]")[1]
    profile.write_text(
        'name = "bad"\nimages_per_shard = 4\n[[source]]\ndataset = "phrasecut"\nreader = "phrasecut"\n'
        f'root = "{root}"\n' + kept
    )
    workspace = Workspace(home / "workspace")
    manifest = build(workspace, read_profile(profile), workers=2)
    tables = {
        table: [row for path in manifest.paths(workspace, table) for row in read_rows(path)]
        for table in ("regions", "edits", "pairs", "scores")
    }
    tables["removals"] = [row for row in tables["edits"] if row["edit_type"] == "object_removal"]
    return workspace, tables


def _row(rows: list[dict[str, Any]], ending: str) -> dict[str, Any]:
    found = [row for row in rows if row["region_id"].endswith(ending)]
    assert len(found) == 1, (ending, [row["region_id"] for row in rows])
    return found[0]


@pytest.mark.parametrize("name", FILES)
def test_each_bad_file_has_its_reason(outcome, name):
    row = _row(outcome[1]["removals"], f"__{name}")
    assert (row["reason"], row["target_image"]) == (FILES[name][1], None)
    assert row["detail"]


@pytest.mark.parametrize("name", [name for name in TASKS if name != "no_id"])
def test_each_bad_annotation_has_its_reason(outcome, name):
    row = _row(outcome[1]["removals"], f"__{name}")
    assert (row["reason"], row["target_image"]) == (TASKS[name][1], None)
    assert row["detail"]


def test_what_cannot_be_identified_is_counted_too(outcome):
    reasons = {row["region_id"]: row["reason"] for row in outcome[1]["removals"]}
    position = list(TASKS).index("no_id")
    assert reasons[f"phrasecut/200/~{position}"] == Reason.MALFORMED_RECORD
    assert [reason for region, reason in reasons.items() if "__twice" in region] == [None, Reason.DUPLICATE_ID]
    assert reasons["phrasecut/201/201__wrong_size"] == Reason.SIZE_MISMATCH
    assert [reason for region, reason in reasons.items() if region.endswith("__escape")] == [Reason.PATH_ESCAPE]
    assert [reason for region, reason in reasons.items() if "unknown-" in region] == [Reason.MALFORMED_RECORD]


def test_nothing_is_lost_and_nothing_doubled(outcome):
    num_tasks = 3 + len(FILES) + len(TASKS) + 2 + 1 + 2
    tables = outcome[1]
    assert len(tables["regions"]) == len(tables["removals"]) == num_tasks
    assert len({row["region_id"] for row in tables["removals"]}) == num_tasks
    edited = [row for row in tables["pairs"] if row["edit_type"] in ("object_removal", "object_addition")]
    assert len(edited) == 2 * num_tasks
    assert len({row["pair_id"] for row in tables["pairs"]}) == len(tables["pairs"])


def test_the_good_ones_are_made(outcome):
    tables = outcome[1]
    usable = [row for row in tables["pairs"] if row["reason"] is None and row["vision_task"] == "image_editing"]
    assert {row["region_id"].split("/")[1] for row in usable} == {"0", "1", "2", "200"}
    assert len(usable) == len(tables["scores"]) == 8
    assert {row["instruction"] for row in usable} == {
        "remove the red ball on the table",
        "add a red ball on the table",
    }
