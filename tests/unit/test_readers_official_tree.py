"""The folders that the official code's README asks for are read as they are: every source of the datasets profile."""

import json
import pickle
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listed_pairs import pixels, png
from PIL import Image

from tasks.profiles import Profile, read_profile
from tasks.source_check import check_source

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILE = REPOSITORY / "infra" / "profiles" / "datasets.toml"
MADE_HERE = {"phrasecut", "photo_request"}  # of the mix: IEIW, which other profiles build


def write(path: Path, data: bytes | Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def person(num_joints: int, **more: Any) -> dict[str, Any]:
    joints = [value for n in range(num_joints) for value in (3 + n % 9, 4 + n % 11, 2)]
    return {"id": 1, "image_id": 9, "category_id": 1, "iscrowd": 0, "bbox": [1, 2, 20, 25], "area": 300} | {
        "keypoints": joints,
        "num_keypoints": num_joints,
        **more,
    }


def coco_file(file_name: str, annotation: dict[str, Any], num_joints: int = 0) -> dict[str, Any]:
    category = {"id": 1, "name": "person", "keypoints": [f"joint_{n}" for n in range(num_joints)]}
    image = {"id": 9, "file_name": file_name, "width": 40, "height": 36}
    return {"images": [image], "annotations": [annotation], "categories": [category]}


def coco(root: Path) -> None:
    outline = {"segmentation": [[1, 2, 20, 2, 20, 25]]}
    write(
        root / "annotations/person_keypoints_train2017.json", coco_file("000000000009.jpg", person(17, **outline), 17)
    )
    write(root / "images/train2017/000000000009.jpg", png(0))


def mpii(root: Path) -> None:
    entry = {
        "image": "005808361.jpg",
        "center": [20.0, 18.0],
        "scale": 0.1,
        "joints": [[5.0, 6.0]] * 16,
        "joints_vis": [1] * 16,
    }
    write(root / "annot/train.json", [entry])
    write(root / "images/005808361.jpg", png(0))


def crowdpose(root: Path) -> None:
    write(root / "json/crowdpose_train.json", coco_file("9.jpg", person(14), 14))
    write(root / "images/9.jpg", png(0))


def aic(root: Path) -> None:
    write(root / "annotations/aic_train.json", coco_file("ab.jpg", person(14), 14))
    write(root / "ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902/ab.jpg", png(0))


def coco_stuff(root: Path) -> None:
    values = np.full((36, 40), 255, np.uint8)
    values[:, :20], values[:10, 20:] = 0, 181
    (root / "annotations/train2017").mkdir(parents=True)
    Image.fromarray(values).save(root / "annotations/train2017/000000000009.png")
    write(root / "images/train2017/000000000009.jpg", png(0))
    write(root / "labels.txt", "".join(f"{n}: class {n}\n" for n in range(183)).encode())


def coco_2014(root: Path) -> None:
    file = "COCO_train2014_000000000009.jpg"
    outline = {"id": 1, "image_id": 9, "category_id": 1, "iscrowd": 0, "bbox": [1, 2, 19, 23]}
    objects = coco_file(file, outline | {"segmentation": [[1, 2, 20, 2, 20, 25]]})
    sentence = {"sent_id": 5, "sent": "the left one", "raw": "The left one", "tokens": ["the", "left", "one"]}
    reference = {
        "ref_id": 3,
        "image_id": 9,
        "split": "train",
        "sentences": [sentence],
        "sent_ids": [5],
        "file_name": "x_1.jpg",
    }
    write(root / "refcoco/refs(unc).p", pickle.dumps([reference | {"ann_id": 1, "category_id": 1}], 0))
    many = reference | {"ann_id": [1], "category_id": [1], "no_target": False}
    none = reference | {"ref_id": 4, "ann_id": [-1], "category_id": [-1], "no_target": True}
    write(root / "grefcoco/grefs(unc).json", [many, none | {"sentences": [sentence | {"sent_id": 6}]}])
    for name in ("refcoco", "grefcoco"):
        write(root / name / "instances.json", objects)
    write(root / "images/train2014" / file, png(0))


def paired(*folders: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for number, folder in enumerate(folders):
            write(root / folder, png(number))

    return make


def instructpix2pix(root: Path) -> None:
    write(root / "seeds.json", [[f"{prompt:07d}", ["12"]] for prompt in range(10)])
    with zipfile.ZipFile(root / "shard-00.zip", "w") as archive:
        for prompt in range(10):
            texts = {"input": "a", "edit": "make it red", "output": "b"}
            archive.writestr(f"{prompt:07d}/prompt.json", json.dumps(texts))
            for number in (0, 1):
                archive.writestr(f"{prompt:07d}/12_{number}.jpg", png(number))


def gier(root: Path) -> None:
    write(root / "GIER_new.json", [{"input": "a_a.jpg", "output": "a_b.jpg", "prompts": ["make it bright"]}])
    for number, name in enumerate("ab"):
        write(root / f"images/a_{name}.jpg", png(number))


def gqa_inpaint(root: Path) -> None:
    cup = {"name": "cup", "bbox": [1, 2, 9, 9], "attributes": [], "relations": [], "bidirected": True}
    write(root / "train_scenes.json", {"77": {"width": 40, "height": 36, "objects": {"1": cup}}})
    write(root / "images/77.jpg", png(0))
    write(root / "images_inpainted/77/1.jpg", png(1))
    write(root / "masks/77/1.jpg", png(np.full((36, 40, 3), 255, np.uint8)))
    write(root / "meta_info.json", [])


def magicbrush(root: Path) -> None:
    write(root / "magic_train.json", [{"input": "data/1.png", "edited": "data/2.png", "instruction": "go"}])
    for number in (1, 2):
        write(root / f"data/{number}.png", png(pixels(number)))


TREE: dict[str, Callable[[Path], None]] = {
    "coco": coco,
    "mpii": mpii,
    "crowdpose": crowdpose,
    "aic": aic,
    "coco-stuff": coco_stuff,
    "coco_2014": coco_2014,
    "GoPro": paired("train/input/G_07-000001.png", "train/target/G_07-000001.png"),
    "REDS": paired("train/blur/000/00000000.png", "train/sharp/000/00000000.png"),
    "SIDD": paired("train/input/1_NOISY_SRGB_010.PNG", "train/gt/1_GT_SRGB_010.PNG"),
    "CLWD": paired("train/Watermarked_image/1.jpg", "train/Watermark_free_image/1.jpg"),
    "clip-filtered-dataset": instructpix2pix,
    "GIER_editing_data": gier,
    "gqa-inpaint": gqa_inpaint,
    "MagicBrush": magicbrush,
}
"""Folder below data/ -> what writes a small one."""


@pytest.fixture(scope="module")
def profile() -> Profile:
    return read_profile(PROFILE)


def test_names_are_those_of_the_papers_mix(profile: Profile) -> None:
    mix = tomllib.loads((REPOSITORY / "infra/mixes/paper.toml").read_text())
    wanted = {source["dataset"] for source in mix["source"] if "dataset" in source} - MADE_HERE
    assert {source.dataset for source in profile.sources} == wanted


@pytest.mark.parametrize("index", range(15))
def test_the_official_tree_is_read_as_it_is(tmp_path: Path, profile: Profile, index: int) -> None:
    source = profile.sources[index]
    above, _, folder = source.root.partition("/")
    assert above == "data"
    TREE[folder](tmp_path / folder)
    found = check_source(replace(source, root=str(tmp_path / folder)), None)
    assert found.is_sound and found.num_rows >= 1 and not found.reasons and not found.oddities, found
    others = {"gier": {"by hash"}, "instructpix2pix": {"train", "test"}}
    assert set(found.splits) == others.get(source.dataset, {"train"})


def test_every_folder_is_some_sources(profile: Profile) -> None:
    assert len(profile.sources) == 15
    assert {source.root.partition("/")[2] for source in profile.sources} == set(TREE)
