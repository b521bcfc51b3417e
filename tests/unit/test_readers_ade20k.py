"""The ADE20K reader: visible masks, parts, names, broken records; and the real sample against its label map."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from catalog.errors import SourceError
from tasks.readers.ade20k import Ade20kReader

SCENE = Path("images/ADE/training/urban/street")
STEM = "ADE_train_00000001"


def make_object(number: int, name: str, x: int, part_level: int = 0, **changes: Any) -> dict[str, Any]:
    entry = {
        "id": number,
        "name": name,
        "name_ndx": number + 1,
        "attributes": [],
        "parts": {"hasparts": [], "ispartof": [], "part_level": part_level},
        "instance_mask": f"{STEM}/instance_{number:03d}_{STEM}.png",
        "polygon": {"x": [x, x + 10, x + 10], "y": [5, 5, 20]},
    }
    return {**entry, **changes}


def write_image(root: Path, objects: list[Any], stem: str = STEM) -> dict[int, np.ndarray]:
    folder = root / SCENE
    (folder / stem).mkdir(parents=True, exist_ok=True)
    masks = {}
    for entry in objects:
        rng = np.random.default_rng(entry["id"])
        masks[entry["id"]] = rng.choice(np.array([0, 128, 255], np.uint8), (40, 60))
        cv2.imwrite(str(folder / stem / f"instance_{entry['id']:03d}_{stem}.png"), masks[entry["id"]])
    write_record(root, {"annotation": {"imsize": [40, 60, 3], "object": objects}}, stem)
    return masks


def write_record(root: Path, value: Any, stem: str = STEM, encoding: str = "utf-8") -> None:
    (root / SCENE).mkdir(parents=True, exist_ok=True)
    (root / SCENE / f"{stem}.json").write_text(json.dumps(value, ensure_ascii=False), encoding=encoding)


def read(root: Path, **options: Any) -> list[Any]:
    return list(Ade20kReader(root=root, options=options).read())


def test_region_is_the_visible_part(tmp_path: Path) -> None:
    objects = [
        make_object(0, "car, auto, automobile", 5),
        make_object(1, "wheel", 8, 1),
        make_object(2, "car, auto", 40),
    ]
    masks = write_image(tmp_path, objects)
    (image,) = read(tmp_path)
    assert (image.source_id, image.file) == (STEM, f"{SCENE.as_posix()}/{STEM}.jpg")
    assert (image.width, image.height, image.split) == (60, 40, "train")
    assert [(region.label, region.phrase) for region in image.regions] == [("car", "left car"), ("car", "right car")]
    for region in image.regions:
        assert np.array_equal(coco_mask.decode(region.mask) > 0, masks[int(region.annotation_id)] == 255)


def test_parts_on_request_and_as_rivals(tmp_path: Path) -> None:
    write_image(tmp_path, [make_object(0, "window", 5), make_object(1, "window", 6, 1), make_object(2, "door", 9, 2)])
    assert [region.phrase for region in read(tmp_path)[0].regions] == [None]
    assert [region.label for region in read(tmp_path, parts=True)[0].regions] == ["window", "window", "door"]


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_mask": f"{STEM}/none.png"},
        {"instance_mask": f"../{STEM}/../../../../outside.png"},
        {"instance_mask": None},
        {"instance_mask": f"{STEM}/broken.png"},
        {"instance_mask": f"{STEM}/empty.png"},
    ],
)
def test_unreadable_mask_says_so(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_image(tmp_path, [make_object(0, "car", 5), make_object(1, "dog", 20)])
    write_record(
        tmp_path,
        {
            "annotation": {
                "imsize": [40, 60, 3],
                "object": [make_object(0, "car", 5, **changes), make_object(1, "dog", 20)],
            }
        },
    )
    (tmp_path / SCENE / STEM / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    (tmp_path / SCENE / STEM / "empty.png").write_bytes(b"")
    first, second = read(tmp_path)[0].regions
    assert isinstance(first.mask, str) and "PNG" in first.mask
    assert isinstance(second.mask, dict)


@pytest.mark.parametrize(
    "value", [5, {}, {"annotation": {"object": 3}}, {"annotation": {"object": [3]}}, {"annotation": []}]
)
def test_broken_record_does_not_stop_the_stream(tmp_path: Path, value: Any) -> None:
    write_record(tmp_path, value, "ADE_train_00000000")
    write_image(tmp_path, [make_object(0, "car", 5)])
    broken, sound = read(tmp_path)
    assert [region.annotation_id for region in broken.regions] == [None]
    assert [region.annotation_id for region in sound.regions] == ["0"]


def test_torn_json_and_latin_1(tmp_path: Path) -> None:
    write_record(tmp_path, {"annotation": {"imsize": [4, 6, 3], "object": [], "who": "Adèle"}}, encoding="latin-1")
    (tmp_path / SCENE / "ADE_train_00000002.json").write_text('{"annotation": {')
    sound, torn = read(tmp_path)
    assert (sound.width, sound.regions) == (6, ())
    assert "is not" in torn.regions[0].mask


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="images/ADE/training"):
        Ade20kReader(root=tmp_path).read()
    with pytest.raises(SourceError, match="train, val"):
        Ade20kReader(root=tmp_path, options={"split": "test"})
    with pytest.raises(SourceError, match="true or false"):
        Ade20kReader(root=tmp_path, options={"parts": "yes"})
    with pytest.raises(SourceError, match="parts, split"):
        Ade20kReader(root=tmp_path, options={"part": True})


def test_real_sample_agrees_with_its_label_map(shared_data: Path) -> None:
    """Where an object is visible, the official label map has its class: (R // 10) * 256 + G."""
    root = shared_data / "ade20k_full" / "ADE20K_2021_17_01"
    if not root.is_dir():
        pytest.skip("this sample is not here")
    for image in read(root):
        path = root / image.file
        seg = cv2.imread(str(path.with_name(f"{path.stem}_seg.png")))
        classes = seg[:, :, 2].astype(int) // 10 * 256 + seg[:, :, 1]
        objects = json.loads(path.with_suffix(".json").read_text(encoding="latin-1"))["annotation"]["object"]
        indices = {str(entry["id"]): entry["name_ndx"] for entry in objects}
        assert seg.shape[:2] == (image.height, image.width)
        for region in image.regions[::6]:
            mask = coco_mask.decode(region.mask) > 0
            assert np.all(classes[mask] == indices[region.annotation_id])
