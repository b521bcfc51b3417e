"""The LVIS reader: paths from addresses, spoken names, phrases only where annotation is exhaustive; refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import SourceError
from tasks.readers.lvis import LvisReader

CATEGORIES = [
    {"id": 1, "name": "mouse_(computer_equipment)", "synset": "mouse.n.04", "frequency": "f"},
    {"id": 2, "name": "mouse_(animal_rodent)", "synset": "mouse.n.01", "frequency": "r"},
    {"id": 3, "name": "frying_pan", "synset": "frying_pan.n.01", "frequency": "c"},
    {"id": 4, "name": "Rollerblade", "synset": "rollerblade.n.01", "frequency": "r"},
]


def make_image(image_id: int, part: str = "train2017", **changes: Any) -> dict[str, Any]:
    image = {
        "id": image_id,
        "coco_url": f"http://images.cocodataset.org/{part}/{image_id:012d}.jpg",
        "width": 64,
        "height": 48,
        "license": 4,
        "neg_category_ids": [4],
        "not_exhaustive_category_ids": [],
    }
    return {**image, **changes}


def make_annotation(number: int, image_id: int, category_id: int, x: float = 5) -> dict[str, Any]:
    polygon = [x, 5, x + 9, 5, x + 9, 20]
    base = {"id": number, "image_id": image_id, "category_id": category_id, "area": 67.5}
    return {**base, "segmentation": [polygon], "bbox": [x, 5, 9, 15]}


def write_dataset(root: Path, images: list[Any], annotations: list[Any], name: str = "lvis_v1_train.json") -> None:
    licences = [{"id": 4, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}]
    content = {"info": {}, "annotations": annotations, "images": images, "licenses": licences}
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "categories": CATEGORIES}))


def read(root: Path, name: str = "lvis_v1_train.json", **options: Any) -> list[Any]:
    return list(LvisReader(root=root, options={"annotations": name, **options}).read())


def put_photo(root: Path, file: str) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_bytes(b"jpeg")


@pytest.mark.parametrize(
    ("name", "above"),
    [
        ("lvis_v1_train.json", ""),
        ("annotations/lvis_v1_train.json", ""),
        ("annotations/lvis_v1_train.json", "images/"),
        ("lvis/lvis_v1_train.json", "coco/"),
        ("lvis_v1_train.json", "coco/images/"),
    ],
)
def test_photos_of_both_coco_folders(tmp_path: Path, name: str, above: str) -> None:
    """The address says the folder: photos of LVIS's validation split lie in train2017 as well."""
    write_dataset(tmp_path, [make_image(9), make_image(7, "val2017")], [make_annotation(1, 7, 3)], name)
    put_photo(tmp_path, f"{above}train2017/000000000009.jpg")
    first, second = read(tmp_path, name)
    assert [first.source_id, second.source_id] == ["7", "9"]
    assert first.file == f"{above}val2017/000000000007.jpg"
    assert second.file == f"{above}train2017/000000000009.jpg"
    assert (first.width, first.height, first.split, first.licence) == (64, 48, "train", "Attribution License")
    assert first.regions[0].polygons == [[[5, 5], [14, 5], [14, 20]]]


def test_names_are_spoken_and_brackets_make_no_difference(tmp_path: Path) -> None:
    annotations = [make_annotation(1, 7, 1, 5), make_annotation(2, 7, 2, 40), make_annotation(3, 7, 3)]
    write_dataset(tmp_path, [make_image(7)], annotations)
    put_photo(tmp_path, "train2017/000000000007.jpg")
    regions = read(tmp_path)[0].regions
    assert [region.label for region in regions] == ["mouse", "mouse", "frying pan"]
    assert [region.phrase for region in regions] == ["left mouse", "right mouse", "frying pan"]


def test_no_phrase_where_annotation_is_not_exhaustive(tmp_path: Path) -> None:
    annotations = [make_annotation(1, 7, 1), make_annotation(2, 7, 3)]
    write_dataset(tmp_path, [make_image(7, not_exhaustive_category_ids=[3])], annotations)
    put_photo(tmp_path, "train2017/000000000007.jpg")
    regions = read(tmp_path)[0].regions
    assert [region.phrase for region in regions] == ["mouse", None]
    assert not any(region.is_crowd for region in regions)


def test_other_frequencies_are_left_out_but_stay_rivals(tmp_path: Path) -> None:
    annotations = [make_annotation(1, 7, 1, 5), make_annotation(2, 7, 2, 40), make_annotation(3, 7, 3)]
    write_dataset(tmp_path, [make_image(7)], annotations)
    put_photo(tmp_path, "train2017/000000000007.jpg")
    assert [region.phrase for region in read(tmp_path, frequencies="r")[0].regions] == ["right mouse"]
    assert len(read(tmp_path, frequencies="cf")[0].regions) == 2


@pytest.mark.parametrize(
    ("changes", "file"),
    [
        ({"coco_url": None, "file_name": "val2017/000000000007.jpg"}, "val2017/000000000007.jpg"),
        ({"coco_url": None}, None),
        ({"coco_url": 5}, 5),
        ({"coco_url": "http://x/../../etc/passwd"}, "etc/passwd"),
        ({"coco_url": "http://x/../passwd"}, "../passwd"),
        ({"not_exhaustive_category_ids": 5}, "train2017/000000000007.jpg"),
        ({"not_exhaustive_category_ids": [[1]]}, "train2017/000000000007.jpg"),
    ],
)
def test_odd_image_is_handed_on(tmp_path: Path, changes: dict[str, Any], file: Any) -> None:
    write_dataset(tmp_path, [make_image(7, **changes), make_image(8)], [make_annotation(1, 7, 1)])
    put_photo(tmp_path, "train2017/000000000008.jpg")
    odd, sound = read(tmp_path)
    assert odd.file == file and len(odd.regions) == 1
    assert sound.file == "train2017/000000000008.jpg"


def test_strays_and_duplicates_are_yielded_to_be_refused(tmp_path: Path) -> None:
    write_dataset(
        tmp_path, [make_image(7), make_image(7), {"width": 5}], [make_annotation(1, 7, 1), make_annotation(2, 99, 1)]
    )
    put_photo(tmp_path, "train2017/000000000007.jpg")
    images = read(tmp_path)
    assert [image.source_id for image in images] == ["7", "7", "unknown-image-0", "unknown-0"]
    assert [len(image.regions) for image in images] == [1, 0, 0, 1]


def test_refusals_name_the_remedy(tmp_path: Path) -> None:
    write_dataset(tmp_path, [make_image(7)], [])
    with pytest.raises(SourceError, match=r"train2017/000000000007.jpg.*looked in \., images, coco, coco/images"):
        read(tmp_path)
    with pytest.raises(SourceError, match=r"found lvis_v1_train\.json"):
        read(tmp_path, "lvis_v1_val.json")
    with pytest.raises(SourceError, match="existing folder"):
        read(tmp_path / "nowhere")
    for frequencies in ("x", None, ""):
        with pytest.raises(SourceError, match="frequencies"):
            read(tmp_path, frequencies=frequencies)
    (tmp_path / "torn.json").write_text((tmp_path / "lvis_v1_train.json").read_text()[:200])
    with pytest.raises(SourceError, match="must be JSON"):
        read(tmp_path, "torn.json")
