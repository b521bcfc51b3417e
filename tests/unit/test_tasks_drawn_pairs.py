"""Targets that are drawn, from files to samples: classes with absent ones, expressions without target."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from plain_build import build

from catalog.masks import decode_mask
from catalog.render_styles import RenderOptions
from catalog.roots import Roots
from catalog.samples import render_sample
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.profiles import read_profile

PROFILE = Path(__file__).parents[2] / "infra" / "profiles" / "embedded.toml"
PHOTO = skimage.data.coffee()[:120, :160]
NAMES = ["unlabeled", "person", "bicycle", "car"] + [f"class {number}" for number in range(4, 183)]


def write_photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PHOTO).save(path, "PNG")


def build_pairs(home: Path, reader: str, root: Path) -> tuple[dict[str, list[dict[str, Any]]], Roots]:
    source = {"dataset": reader, "reader": reader, "root": str(root), "options": {}}
    workspace = Workspace(home)
    manifest = build(workspace, read_profile(PROFILE, {"source": [source], "backends.inpainter": "opencv"}))
    tables = ("regions", "edits", "pairs")
    rows = {table: [row for path in manifest.paths(workspace, table) for row in read_rows(path)] for table in tables}
    return rows, Roots.read(workspace.roots_path)


def test_class_pairs_carry_what_their_photo_lacks(tmp_path: Path) -> None:
    root = tmp_path / "stuff"
    write_photo(root / "images" / "train2017" / "000000000001.jpg")
    values = np.full((120, 160), 255, np.uint8)
    values[20:100, 20:70], values[30:90, 80:150] = 0, 2  # person and car: label numbers less one
    (root / "annotations" / "train2017").mkdir(parents=True)
    Image.fromarray(values).save(root / "annotations" / "train2017" / "000000000001.png")
    (root / "labels.txt").write_text("".join(f"{number}: {name}\n" for number, name in enumerate(NAMES)))
    rows, roots = build_pairs(tmp_path / "home", "cocostuff", root)
    pairs = [row for row in rows["pairs"] if row["vision_task"] == "segmentation"]
    assert {row["phrase"] for row in pairs} == {"person", "car"}
    for row in pairs:
        assert row["present_classes"] == ["person", "car"] and len(row["class_names"]) == 171
        options = RenderOptions(size=64, absent_probability=1.0)
        for index in range(10):
            sample = render_sample(row, roots, seed=0, index=index, options=options)
            assert not sample.mask.any() and (sample.source == sample.target).all()
            assert not any(f" {name} " in sample.instruction for name in ("person", "car"))
        sample = render_sample(row, roots, seed=0, index=0, options=RenderOptions(absent_probability=0.0))
        assert sample.mask.any() and f" {row['phrase']}" in sample.instruction
        assert f"the {row['phrase']}" not in sample.instruction
    assert all(row["class_names"] is None for row in rows["pairs"] if row["vision_task"] == "image_editing")


def test_classes_of_the_full_ade20k_are_called_by_their_names(tmp_path: Path) -> None:
    """Its records alone say which classes there are, so none is asked for in vain."""
    root = tmp_path / "ade"
    entries = [{"name_ndx": number, "name": name, "parts": {"part_level": 0}} for number, name in ((300, "car, auto"),)]
    for split, stem in (("training", "ADE_train_1"), ("validation", "ADE_val_1")):
        folder = root / "images" / "ADE" / split / "urban" / "street"
        write_photo(folder / f"{stem}.jpg")
        colours = np.zeros((120, 160, 3), np.uint8)
        colours[30:90, 20:70] = (300 // 256 * 10, 300 % 256, 7)  # two cars
        colours[30:90, 90:150] = colours[30, 20]
        Image.fromarray(colours).save(folder / f"{stem}_seg.png")
        (folder / f"{stem}.json").write_text(json.dumps({"annotation": {"object": entries}}))
    rows, roots = build_pairs(tmp_path / "home", "ade20k_847", root)
    (row,) = [row for row in rows["pairs"] if row["vision_task"] == "segmentation"]
    assert row["class_names"] == [] == row["present_classes"]
    for index in range(20):
        for colors in ("corrected", "fixed"):
            sample = render_sample(row, roots, seed=0, index=index, options=RenderOptions(size=64, colors=colors))
            assert sample.mask.any() and " car" in sample.instruction and "the car" not in sample.instruction


def test_an_expression_without_target_leaves_the_picture(tmp_path: Path) -> None:
    root = tmp_path / "refer"
    write_photo(root / "images" / "train2014" / "COCO_train2014_000000000001.jpg")
    square = [20, 20, 80, 20, 80, 80, 20, 80]
    instances = {
        "images": [{"id": 1, "file_name": "COCO_train2014_000000000001.jpg", "width": 160, "height": 120}],
        "annotations": [
            {
                "id": 7,
                "image_id": 1,
                "category_id": 18,
                "segmentation": [square],
                "bbox": [20, 20, 60, 60],
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    refs = [
        {
            "ref_id": ref,
            "ann_id": meant,
            "image_id": 1,
            "split": "train",
            "sentences": [{"sent_id": ref, "sent": words}],
        }
        for ref, meant, words in ((0, [7], "the dog"), (1, [-1], "the zebra on the moon"))
    ]
    (root / "grefcoco").mkdir(parents=True)
    (root / "grefcoco" / "instances.json").write_text(json.dumps(instances))
    (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    rows, roots = build_pairs(tmp_path / "home", "grefcoco", root)
    regions = {row["phrase"]: row for row in rows["regions"]}
    nothing = regions["the zebra on the moon"]
    assert (nothing["reason"], nothing["num_instances"], nothing["area"], nothing["bbox"]) == (None, 0, 0, None)
    assert not decode_mask(nothing["mask"]).any()
    reasons = {row["phrase"]: row["reason"] for row in rows["edits"]}
    assert reasons["the zebra on the moon"] == "empty_mask"  # nothing there to remove
    pairs = {row["phrase"]: row for row in rows["pairs"] if row["vision_task"] == "segmentation"}
    assert pairs.keys() == {"the dog", "the zebra on the moon"}
    for index in range(5):
        sample = render_sample(pairs["the zebra on the moon"], roots, seed=0, index=index, options=RenderOptions())
        assert "the zebra on the moon" in sample.instruction and (sample.source == sample.target).all()
        assert render_sample(pairs["the dog"], roots, seed=0, index=index, options=RenderOptions()).mask.any()
