"""Class readers (COCO-Stuff, VOC, Pascal Context, ADE20K): offsets, void, palettes, lists; and golden pairs."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from catalog.errors import SourceError
from catalog.masks import decode_mask
from tasks.readers.ade20k_classes import (
    Ade20kFullReader,
    SceneParseReader,
    full_classes,
    map_classes,
    read_object_info,
)
from tasks.readers.cocostuff import UNUSED, CocoStuffReader
from tasks.readers.label_maps import read_colours
from tasks.readers.pascal_context import PascalContextReader
from tasks.readers.voc import VocReader

LABELS = {number: f"class {number}" for number in range(183)} | {0: "unlabeled", 1: "person", 164: "wall-brick"}


def write_png(path: Path, values: Any, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette:
        image.putpalette([255 - i // 3 for i in range(768)])
    image.save(path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"jpeg")


def make_map(*values: int) -> np.ndarray:
    """Vertical stripes of equal width."""
    return np.repeat(np.array([values], np.uint16), 10, axis=1).repeat(40, axis=0)


def check_masks(regions: Any, values: np.ndarray) -> None:
    for region in regions:
        assert np.array_equal(decode_mask(region.mask), values == int(region.annotation_id))


def stuff(root: Path, values: np.ndarray, maps: str = "annotations", images: str = "images/") -> None:
    write_text(root / "labels.txt", "".join(f"{number}: {name}\n" for number, name in LABELS.items()))
    write_png(root / maps / "val2017" / "000000000009.png", values)
    touch(root / f"{images}val2017" / "000000000009.jpg")


# COCO-Stuff


@pytest.mark.parametrize(("maps", "images"), [("annotations", "images/"), ("stuffthingmaps", "")])
def test_cocostuff_offset_and_void(tmp_path: Path, maps: str, images: str) -> None:
    values = make_map(0, 163, 181, 255)
    stuff(tmp_path, values, maps, images)
    touch(tmp_path / f"{images}val2017" / "000000000011.jpg")
    write_png(tmp_path / maps / "val2017" / "000000000009_labelTrainIds.png", values)
    image, bare = CocoStuffReader(root=tmp_path, options={"split": "val"}).read()
    assert (image.file, image.split) == (f"{images}val2017/000000000009.jpg", "val")
    assert (image.width, image.height) == (40, 40)
    # value = number - 1: 0 is label 1, a thing, and not "unlabeled"
    assert [(one.annotation_id, one.label) for one in image.regions] == [
        ("0", "person"),
        ("163", "brick wall"),
        ("181", "class 182"),
    ]
    assert all(one.phrase == one.label for one in image.regions)
    check_masks(image.regions, values)
    assert "no file" in bare.regions[0].mask and bare.regions[0].annotation_id is None


def test_cocostuff_unused_numbers_and_all_void(tmp_path: Path) -> None:
    stuff(tmp_path, make_map(11, 11, 200, 200))
    reader = CocoStuffReader(root=tmp_path, options={"split": "val"})
    assert [(one.annotation_id, one.phrase) for one in next(iter(reader.read())).regions] == [
        ("11", None),
        ("200", None),
    ]
    stuff(tmp_path, make_map(255, 255, 255, 255))
    assert next(iter(reader.read())).regions == ()
    assert len(reader.class_names()) == 171 == 182 - len(UNUSED)


def test_cocostuff_real_names_are_distinct(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "coco_panoptic" / "cocostuff_labels.txt"
    if not path.is_file():
        pytest.skip("this sample is not here")
    stuff(tmp_path, make_map(0, 1, 2, 3))
    shutil.copy(path, tmp_path / "labels.txt")
    names = CocoStuffReader(root=tmp_path, options={"split": "val"}).class_names()
    assert len(set(names)) == len(names) == 171
    assert not [name for name in names if "-" in name or name in ("solid", "structural", "playingfield")]
    assert {"solid material", "structure", "playing field", "water drops", "window blind"} <= set(names)


def test_cocostuff_sample(shared_data: Path) -> None:
    root = shared_data / "cocostuff_derived"
    if not root.is_dir():
        pytest.skip("this sample is not here")
    images = list(CocoStuffReader(root=root, options={"split": "val"}).read())
    for image in images:
        values = np.asarray(Image.open(root / "stuffthingmaps" / "val2017" / f"{image.source_id}.png"))
        assert {int(one.annotation_id) for one in image.regions} == set(np.unique(values).tolist()) - {255}
        assert (image.width, image.height) == Image.open(root / image.file).size
        check_masks(image.regions, values)
    assert {one.label for image in images for one in image.regions} >= {"person", "grass", "sky", "tree"}


def test_damaged_and_colour_maps(tmp_path: Path) -> None:
    stuff(tmp_path, make_map(0, 1, 2, 3))
    path = tmp_path / "annotations" / "val2017" / "000000000009.png"
    reader = CocoStuffReader(root=tmp_path, options={"split": "val"})
    whole = path.read_bytes()
    for content, reason in (
        (b"", "empty_file"),
        (whole[: len(whole) // 2], "truncated"),
        (b"text", "not_an_image"),
    ):
        path.write_bytes(content)
        (region,) = next(iter(reader.read())).regions
        assert region.annotation_id is None and reason in region.mask
    write_png(path, np.zeros((40, 40, 3)))
    assert "mode RGB" in next(iter(reader.read())).regions[0].mask
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(path, format="JPEG")
    assert "JPEG" in next(iter(reader.read())).regions[0].mask


def test_cocostuff_labels_of_another_dataset(tmp_path: Path) -> None:
    stuff(tmp_path, make_map(0, 1, 2, 3))
    write_text(tmp_path / "labels.txt", "0: a\n1: b\n")
    with pytest.raises(SourceError, match="0 to 182"):
        CocoStuffReader(root=tmp_path, options={"split": "val"}).read()
    write_text(tmp_path / "labels.txt", "person\n")
    with pytest.raises(SourceError, match="12: name"):
        CocoStuffReader(root=tmp_path, options={"split": "val"}).read()


# VOC


@pytest.mark.parametrize("prefix", ["VOCdevkit/VOC2012", "VOC2012", "."])
def test_voc_palette_background_and_boundary(tmp_path: Path, prefix: str) -> None:
    base = tmp_path / prefix
    values = make_map(0, 1, 20, 255)
    write_png(base / "SegmentationClass" / "2011_1.png", values, palette=True)
    write_png(base / "SegmentationClass" / "2011_2.png", values, palette=True)
    touch(base / "JPEGImages" / "2011_1.jpg")
    write_text(base / "ImageSets" / "Segmentation" / "val.txt", "2011_1\n\n")
    (image,) = VocReader(root=tmp_path).read()
    assert (tmp_path / image.file).is_file()
    # indices, not the palette's colours
    assert [(one.annotation_id, one.label) for one in image.regions] == [("1", "aeroplane"), ("20", "tv monitor")]
    check_masks(image.regions, values)
    with pytest.raises(SourceError, match=r"train\.txt"):
        VocReader(root=tmp_path, options={"split": "train"}).read()


def test_voc_sample(shared_data: Path, tmp_path: Path) -> None:
    sample = shared_data / "voc_labelme" / "semantic_segmentation" / "data_dataset_voc"
    if not sample.is_dir():
        pytest.skip("this sample is not here")
    for folder in ("JPEGImages", "SegmentationClass"):
        shutil.copytree(sample / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.npy"))
    stems = [path.stem for path in sorted((tmp_path / "SegmentationClass").glob("*.png"))]
    write_text(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "\n".join(stems))
    found = {image.source_id: {one.label for one in image.regions} for image in VocReader(root=tmp_path).read()}
    assert found["2011_000003"] == {"bottle", "person"} or found["2011_000003"] == {"person", "chair"}
    for image in VocReader(root=tmp_path).read():
        assert (image.width, image.height) == Image.open(tmp_path / image.file).size


# Pascal Context


def context(root: Path) -> np.ndarray:
    base = root / "VOCdevkit" / "VOC2010"
    names = {number: f"thing {number}" for number in range(1, 460)} | {
        2: "aeroplane",
        7: "diningtable",
        9: "pottedplant",
    }
    write_text(base / "labels.txt", "".join(f"{number}: {name}\n" for number, name in names.items()))
    write_text(base / "59_labels.txt", "1: aeroplane\n11: table\n16: pottedplant\n")
    write_text(base / "pascalcontext_val.txt", "2008_1\n")
    values = make_map(2, 7, 9, 459)
    (base / "trainval").mkdir()
    for stem in ("2008_1", "2008_2"):
        savemat(base / "trainval" / f"{stem}.mat", {"LabelMap": values})
        touch(base / "JPEGImages" / f"{stem}.jpg")
    return values


def test_pascal_context_459_and_59(tmp_path: Path) -> None:
    values = context(tmp_path)
    (image,) = PascalContextReader(root=tmp_path, options={"classes": 459}).read()
    assert [(one.annotation_id, one.label) for one in image.regions] == [
        ("2", "aeroplane"),
        ("7", "dining table"),
        ("9", "potted plant"),
        ("459", "thing 459"),
    ]
    check_masks(image.regions, values)
    (frequent,) = PascalContextReader(root=tmp_path / "VOCdevkit").read()
    assert [one.label for one in frequent.regions] == ["aeroplane", "table", "potted plant"]
    check_masks(frequent.regions, values)
    (train,) = PascalContextReader(root=tmp_path, options={"split": "train"}).read()
    assert (frequent.source_id, train.source_id) == ("2008_1", "2008_2")


def test_pascal_context_damage(tmp_path: Path) -> None:
    context(tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2010" / "trainval" / "2008_1.mat"
    for write in (lambda: savemat(path, {"LabelMap": np.eye(3)}), lambda: path.write_bytes(b"no"), path.unlink):
        write()
        (region,) = next(iter(PascalContextReader(root=tmp_path).read())).regions
        assert region.annotation_id is None and isinstance(region.mask, str)
    write_text(tmp_path / "VOCdevkit" / "VOC2010" / "59_labels.txt", "1: dragon\n")
    with pytest.raises(SourceError, match="dragon"):
        PascalContextReader(root=tmp_path).read()
    with pytest.raises(SourceError, match="59 or 459"):
        PascalContextReader(root=tmp_path, options={"classes": 60})


# ADE20K


def test_scene_parse_from_one(tmp_path: Path, shared_data: Path) -> None:
    sample = shared_data / "ade20k_sceneparsing"
    if not sample.is_dir():
        pytest.skip("this sample is not here")
    for folder in ("images", "annotations"):
        shutil.copytree(sample / folder, tmp_path / folder / "validation")
    shutil.copy(sample / "objectInfo150.txt", tmp_path)
    names = read_object_info(tmp_path / "objectInfo150.txt")
    assert (names[1], names[2], names[150]) == ("wall", "building", "flag")
    for image in SceneParseReader(root=tmp_path).read():
        values = np.asarray(Image.open(tmp_path / "annotations" / "validation" / f"{image.source_id}.png"))
        assert {int(one.annotation_id) for one in image.regions} == set(np.unique(values).tolist()) - {0}
        assert all(one.label == names[int(one.annotation_id)] for one in image.regions)
        check_masks(image.regions, values)
        assert (image.width, image.height) == Image.open(tmp_path / image.file).size


def test_object_info_of_another_form(tmp_path: Path) -> None:
    write_text(tmp_path / "objectInfo150.txt", "Idx\tName\n1\twall\n")
    with pytest.raises(SourceError, match="150 classes"):
        read_object_info(tmp_path / "objectInfo150.txt")
    write_text(tmp_path / "objectInfo150.txt", "nothing\n")
    with pytest.raises(SourceError, match="columns"):
        read_object_info(tmp_path / "objectInfo150.txt")


def test_full_release_equals_150_classes(shared_data: Path) -> None:
    """The golden pair: classes of the full release, mapped and made smaller as published, pixel for pixel."""
    folder = shared_data / "ade20k_sceneparsing" / "convertFromADE"
    if not folder.is_dir():
        pytest.skip("this sample is not here")
    lines = (folder / "mapFromADE.txt").read_text().splitlines()
    numbers = {int(line.split()[1]): int(line.split()[0]) for line in lines if line.strip()}
    values = map_classes(full_classes(read_colours(folder, "ADE_train_00000970_raw.png")), numbers)
    expected = np.asarray(Image.open(folder / "ADE_train_00000970_challenge.png"))
    size = expected.shape[::-1]
    assert np.array_equal(cv2.resize(values.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT), expected)


def full(root: Path, split: str, stem: str, objects: list[tuple[int, str, int]], values: np.ndarray) -> None:
    folder = root / "images" / "ADE" / split / "urban" / "street"
    colours = np.stack([values // 256 * 10 + 3, values % 256, np.full_like(values, 77)], axis=2)
    write_png(folder / f"{stem}_seg.png", colours)
    entries = [{"name_ndx": ndx, "name": name, "parts": {"part_level": level}} for ndx, name, level in objects]
    write_text(folder / f"{stem}.json", json.dumps({"annotation": {"object": entries}}))


def test_full_release_shared_classes(tmp_path: Path) -> None:
    values = make_map(0, 300, 2978, 500)
    objects = [(300, "car, auto", 0), (2978, "wall", 0), (500, "wheel", 0)]
    full(tmp_path, "training", "ADE_train_1", objects, values)
    full(tmp_path, "validation", "ADE_val_1", [(300, "car, auto", 0), (2978, "wall", 0), (500, "wheel", 1)], values)
    (everything,) = Ade20kFullReader(root=tmp_path, options={"split": "train", "classes": "all"}).read()
    assert [(one.annotation_id, one.label) for one in everything.regions] == [
        ("300", "car"),
        ("500", "wheel"),
        ("2978", "wall"),
    ]
    check_masks(everything.regions, values)
    # in validation the wheel is a part alone: not shared
    (shared,) = Ade20kFullReader(root=tmp_path, options={"split": "train"}).read()
    assert [one.label for one in shared.regions] == ["car", "wall"]


def test_full_release_sample(shared_data: Path) -> None:
    root = shared_data / "ade20k_full" / "ADE20K_2021_17_01"
    if not root.is_dir():
        pytest.skip("this sample is not here")
    for image in Ade20kFullReader(root=root, options={"split": "train", "classes": "all"}).read():
        assert image.regions and all(one.label and one.phrase for one in image.regions)
        assert (image.width, image.height) == Image.open(root / image.file).size
    with pytest.raises(SourceError, match="images/ADE/validation"):
        Ade20kFullReader(root=root).read()
    # the sample has no validation split, without which nobody knows which of its classes are among the 847
    with pytest.raises(SourceError, match=r"images/ADE/validation below .* holds no record: .* classes = all"):
        Ade20kFullReader(root=root, options={"split": "train"}).read()


@pytest.mark.parametrize("reader", [CocoStuffReader, VocReader, PascalContextReader, SceneParseReader])
def test_wrong_folders(tmp_path: Path, reader: Any) -> None:
    with pytest.raises(SourceError, match="looked for") as caught:
        reader(root=tmp_path).read()
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(SourceError, match="existing folder"):
        reader(root=None).read()


def test_panoptic_areas_equal_the_json(shared_data: Path) -> None:
    """The golden pair: each segment that the COCO reader gives has the area that the JSON says."""
    from tasks.readers.coco import CocoReader

    root = shared_data / "coco_panoptic"
    if not root.is_dir():
        pytest.skip("this sample is not here")
    file = "panoptic_coco_detection_format.json"
    areas = {str(one["id"]): one["area"] for one in json.loads((root / file).read_text())["annotations"]}
    images = CocoReader(root=root, options={"annotations": file, "images": "input_images"}).read()
    found = {one.annotation_id: int(decode_mask(one.mask).sum()) for image in images for one in image.regions}
    assert found == areas and found
