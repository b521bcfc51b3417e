"""The packaged sample: photos are there as listed, hand-drawn regions are sound, the reader yields them all."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalog.errors import SourceError
from catalog.masks import rasterize_polygons
from tasks.readers.sample import DATA, PACKAGES, SampleReader, find_photos_root

PHOTOS: list[dict[str, Any]] = json.loads((DATA / "image_data_split.json").read_text(encoding="utf-8"))
TASKS: list[dict[str, Any]] = json.loads((DATA / "refer_sample.json").read_text(encoding="utf-8"))
BY_ID = {photo["image_id"]: photo for photo in PHOTOS}

every_photo = pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: Path(photo["file"]).stem)
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task["phrase"])


def polygons_of(task: dict[str, Any]) -> list[list[list[float]]]:
    return [polygon for instance in task["Polygons"] for polygon in instance]


@every_photo
def test_photo_is_installed_with_the_listed_size(photo):
    with Image.open(find_photos_root() / photo["file"]) as image:
        assert image.size == (photo["width"], photo["height"])
    assert photo["licence"] and photo["origin"] and photo["title"]


def test_there_is_enough_of_everything():
    assert len(PHOTOS) >= 10
    assert len(TASKS) >= 32
    splits = Counter(photo["split"] for photo in PHOTOS)
    assert splits["train"] > splits["val"] + splits["test"]
    assert splits["val"] >= 2
    assert splits["test"] >= 1
    regions = Counter(BY_ID[task["image_id"]]["split"] for task in TASKS)
    assert min(regions[split] for split in ("train", "val", "test")) >= 5
    assert {task["image_id"] for task in TASKS} == set(BY_ID)
    assert sum(len(task["Polygons"]) > 1 for task in TASKS) >= 5
    assert {task["phrase_structure"]["type"] for task in TASKS} == {"name", "attribute", "relation", "verbose"}


def test_ids_are_unique():
    assert len(BY_ID) == len(PHOTOS)
    for ids in (
        [task["task_id"] for task in TASKS],
        [ann_id for task in TASKS for ann_id in task["ann_ids"]],
        [relation for task in TASKS for relation in task["phrase_structure"]["relation_ids"]],
        [photo["file"] for photo in PHOTOS],
        [(task["image_id"], task["phrase"]) for task in TASKS],
    ):
        assert len(set(ids)) == len(ids)


@every_task
def test_instances_boxes_and_polygons_agree(task):
    width, height = (BY_ID[task["image_id"]][side] for side in ("width", "height"))
    assert len(task["ann_ids"]) == len(task["instance_boxes"]) == len(task["Polygons"])
    assert task["task_id"] == f"{task['image_id']}__{'_'.join(map(str, task['ann_ids']))}"
    for (x, y, box_width, box_height), instance in zip(task["instance_boxes"], task["Polygons"], strict=True):
        points = np.array([point for polygon in instance for point in polygon], dtype=float)
        assert all(len(polygon) >= 4 for polygon in instance)
        assert (points >= 0).all()
        assert (points <= (width - 1, height - 1)).all()
        # PhraseCut counts inclusively: x2 = x + w - 1.
        bounds = [*points.min(0), *points.max(0)]
        assert np.abs(np.subtract([x, y, x + box_width - 1, y + box_height - 1], bounds)).max() <= 1


@every_task
def test_phrase_says_its_structure(task):
    phrase, structure = task["phrase"], task["phrase_structure"]
    assert phrase == phrase.lower().strip()
    assert not phrase.startswith(("a ", "an ", "the "))
    assert phrase.startswith(" ".join([*structure["attributes"], structure["name"]]))
    for predicate, other in structure["relation_descriptions"]:
        assert f" {predicate} " in phrase
        assert phrase.endswith(f" {other}")
    assert len(structure["relation_ids"]) == len(structure["relation_descriptions"])
    has_attribute, has_relation = bool(structure["attributes"]), bool(structure["relation_descriptions"])
    kinds = {
        (False, False): "name",
        (True, False): "attribute",
        (False, True): "relation",
        (True, True): "verbose",
    }
    assert structure["type"] == kinds[has_attribute, has_relation]
    assert structure["name"].endswith("s") == (len(task["Polygons"]) > 1 or structure["name"] == "branches")


@every_task
def test_mask_is_neither_specked_nor_whole(task):
    photo = BY_ID[task["image_id"]]
    mask = rasterize_polygons(polygons_of(task), photo["height"], photo["width"])
    assert 0.001 <= mask.mean() <= 0.6


def test_no_two_regions_of_a_photo_are_nearly_the_same():
    masks: dict[int, list[np.ndarray]] = {}
    for task in TASKS:
        photo = BY_ID[task["image_id"]]
        mask = rasterize_polygons(polygons_of(task), photo["height"], photo["width"])
        for other in masks.setdefault(task["image_id"], []):
            assert (mask & other).sum() / (mask | other).sum() < 0.5, task["phrase"]
        masks[task["image_id"]].append(mask)


def test_reader_yields_every_photo_and_region():
    images = list(SampleReader(root=None).read())
    assert [image.source_id for image in images] == [str(photo["image_id"]) for photo in PHOTOS]
    regions = [region for image in images for region in image.regions]
    assert sorted(region.annotation_id for region in regions) == sorted(task["task_id"] for task in TASKS)
    by_id = {region.annotation_id: region for region in regions}
    for task in TASKS:
        region = by_id[task["task_id"]]
        assert region.polygons == polygons_of(task)
        assert region.num_instances == len(task["Polygons"])
        assert region.label == task["phrase_structure"]["name"]
    assert {image.split for image in images} == {"train", "val", "test"}


def test_first_four_photos_have_every_split():
    reader = SampleReader(root=None, options={"limit": 4})
    assert len({image.split for image in reader.read()}) == 3


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": "3"}, {"limits": 3}])
def test_bad_options_are_refused(options):
    with pytest.raises(SourceError, match="limit"):
        SampleReader(root=None, options=options)


def test_missing_photos_are_named(tmp_path):
    reader = SampleReader(root=tmp_path)
    with pytest.raises(SourceError, match=r"skimage/data/astronaut\.png.*pip install") as caught:
        reader.read()
    assert str(tmp_path) in str(caught.value)


def test_missing_package_is_named(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else find_spec(name))
    with pytest.raises(SourceError, match="scikit-learn not found; run: pip install"):
        find_photos_root()


def test_packages_in_two_folders_are_refused(monkeypatch, tmp_path):
    def find_spec(name: str) -> ModuleSpec:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path / f"folder of {name}" / name)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(SourceError, match="one folder"):
        find_photos_root()


def test_reading_imports_neither_package():
    code = (
        "import sys\nfrom tasks.readers.sample import SampleReader\n"
        "assert list(SampleReader(root=None).read())\n"
        f"assert not set({list(PACKAGES)!r}) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
