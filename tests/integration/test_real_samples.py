"""Real annotations of COCO, COCO panoptic and ADE20K build, and every reject is deserved."""

import json
from collections import Counter
from pathlib import Path

import pytest
from plain_build import build

from catalog.masks import decode_mask
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.profiles import read_profile

PROFILE = Path(__file__).parents[2] / "infra" / "profiles" / "embedded.toml"


@pytest.fixture(scope="module")
def rows(shared_data, tmp_path_factory):
    """Rows by table of one build of the three samples."""
    folders = {
        "coco": ("coco", "keypoints_coco", {"annotations": "test_coco.json", "split": "train"}),
        "panoptic": (
            "coco",
            "coco_panoptic",
            {"annotations": "panoptic_coco_detection_format.json", "images": "input_images", "split": "train"},
        ),
        "ade20k": ("ade20k", "ade20k_full/ADE20K_2021_17_01", {"split": "train"}),
    }
    sources = [
        {"dataset": name, "reader": reader, "root": str(shared_data / folder), "options": options}
        for name, (reader, folder, options) in folders.items()
    ]
    profile = read_profile(PROFILE, {"source": sources, "images_per_shard": 4, "backends.inpainter": "opencv"})
    workspace = Workspace(tmp_path_factory.mktemp("real"))
    manifest = build(workspace, profile, workers=2)
    return {
        table: [row for path in manifest.paths(workspace, table) for row in read_rows(path)]
        for table in ("regions", "edits", "pairs")
    }


def test_every_annotation_is_a_row(rows, shared_data):
    annotated = 0
    for file in ("keypoints_coco/test_coco.json", "coco_panoptic/panoptic_coco_detection_format.json"):
        value = json.loads((shared_data / file).read_text())
        present = {image["id"] for image in value["images"]}
        annotated += sum(annotation["image_id"] in present for annotation in value["annotations"])
    found = [row for row in rows["regions"] if row["dataset"] != "ade20k"]
    assert len(found) >= annotated > 20


def test_rejects_are_deserved(rows):
    reasons = Counter(row["reason"] for row in rows["edits"])
    of_annotation = {"ambiguous_label", "crowd_region", "region_too_small", "region_too_large"}
    of_edit = {"object_remains", "no_donor"}  # an embedded fill that failed; a small gallery
    assert set(reasons) <= {None, *of_annotation, *of_edit}
    assert reasons["object_remains"] <= 0.1 * reasons[None]
    assert reasons[None] >= 30
    regions = {row["region_id"]: row for row in rows["regions"]}
    for row in rows["edits"]:
        region = regions[row["region_id"]]
        if row["reason"] == "ambiguous_label":  # another region of the same image has the label, or one that ends in it
            same = [other for other in regions.values() if other["source_id"] == region["source_id"]]
            assert region["phrase"] is None
            assert len(same) > 1
        if row["reason"] == "region_too_small":
            share = region["area"] / (region["source_image"]["width"] * region["source_image"]["height"])
            assert share < 0.0005


def test_masks_have_the_area_that_coco_states(rows, shared_data):
    value = json.loads((shared_data / "coco_panoptic" / "panoptic_coco_detection_format.json").read_text())
    areas = {str(annotation["id"]): annotation["area"] for annotation in value["annotations"]}
    checked = 0
    for row in rows["regions"]:
        identity = row["region_id"].split("/")[-1]
        if row["dataset"] == "panoptic" and row["mask"] is not None and identity in areas:
            assert int(decode_mask(row["mask"]).sum()) == row["area"] == areas[identity]
            checked += 1
    assert checked >= 4


def test_people_with_joints_become_keypoint_pairs(rows):
    pairs = [row for row in rows["pairs"] if row["vision_task"] == "keypoint_detection"]
    people = [row for row in rows["regions"] if row["keypoints"] and row["reason"] is None]
    assert len(pairs) == len(people) >= 4
    assert {"left shoulder", "right knee"} <= {joint["name"] for row in pairs for joint in row["keypoints"]}
