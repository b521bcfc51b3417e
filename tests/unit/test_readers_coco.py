"""The COCO reader: every kind of segmentation, joints, layouts, certain phrases, refusals; and real samples."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from catalog.errors import SourceError
from tasks.readers.coco import CocoReader
from tasks.readers.phrases import plain_name, referring_phrases

CATEGORIES = [
    {"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "Right Eye"], "skeleton": [[1, 2]]},
    {"id": 2, "name": "wall-brick"},
    {"id": 3, "name": "wall-other-merged"},
    {"id": 4, "name": "dog"},
]


def make_annotation(number: int, image_id: Any, **changes: Any) -> dict[str, Any]:
    polygon = [10.5, 10, 20, 10, 20, 30]
    box = [10.5, 10, 9.5, 20]
    base = {"id": number, "image_id": image_id, "category_id": 4, "segmentation": [polygon], "bbox": box, "iscrowd": 0}
    return {**base, **changes}


def write_dataset(
    root: Path,
    annotations: list[Any],
    images: list[Any] | None = None,
    name: str = "annotations/instances_val2017.json",
    folder: str = "val2017",
) -> None:
    images = images or [{"id": 7, "file_name": "7.jpg", "width": 64, "height": 48, "license": 3}]
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    licences = [{"id": 3, "name": "Attribution License"}, {"id": 4, "name": ""}]
    content = {"annotations": annotations, "images": images, "categories": CATEGORIES, "licenses": licences}
    path.write_text(json.dumps(content))
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "7.jpg").write_bytes(b"jpeg")


def read(root: Path, name: str = "annotations/instances_val2017.json", **options: Any) -> list[Any]:
    return list(CocoReader(root=root, options={"annotations": name, **options}).read())


def test_polygons_become_points(tmp_path: Path) -> None:
    write_dataset(tmp_path, [make_annotation(1, 7)])
    (image,) = read(tmp_path)
    assert (image.source_id, image.file, image.width, image.height) == ("7", "val2017/7.jpg", 64, 48)
    assert (image.split, image.licence) == ("val", "Attribution License")
    (region,) = image.regions
    assert region.polygons == [[[10.5, 10], [20, 10], [20, 30]]]
    assert (region.annotation_id, region.label, region.phrase) == ("1", "dog", "dog")
    assert region.box == [10.5, 10, 9.5, 20]
    assert not region.is_crowd and region.keypoints is None and region.mask is None


def test_run_length_codes_pass_as_they_are(tmp_path: Path) -> None:
    plain = {"size": [48, 64], "counts": [100, 5, 48 * 64 - 105]}
    packed = coco_mask.frPyObjects(plain, 48, 64)
    packed = {"size": list(packed["size"]), "counts": packed["counts"].decode()}
    crowd = make_annotation(1, 7, segmentation=plain, iscrowd=1)
    write_dataset(tmp_path, [crowd, make_annotation(2, 7, segmentation=packed, category_id=2)])
    first, second = read(tmp_path)[0].regions
    assert (first.mask, first.is_crowd, first.phrase) == (plain, True, None)
    assert (second.mask, second.is_crowd, second.phrase) == (packed, False, "brick wall")


def test_joints_have_plain_names(tmp_path: Path) -> None:
    labelled = make_annotation(1, 7, category_id=1, keypoints=[1, 2, 2, 0, 0, 0, 5.5, 6, 1])
    unlabelled = make_annotation(2, 7, category_id=1, keypoints=[0] * 9)
    odd = make_annotation(3, 7, category_id=1, keypoints=[1, 2])
    fewer = make_annotation(4, 7, category_id=1, keypoints=[1, 2, 2])
    write_dataset(tmp_path, [labelled, unlabelled, odd, fewer])
    first, second, third, fourth = read(tmp_path)[0].regions
    assert first.keypoints == [["nose", 1, 2, 2], ["left eye", 0, 0, 0], ["right eye", 5.5, 6, 1]]
    assert second.keypoints is None
    assert third.keypoints == [1, 2]
    assert fourth.keypoints == [["nose", 1, 2, 2]]


@pytest.mark.parametrize("folder", ["images/val2017", "val2017", "images", "data", "."])
def test_layouts_are_found(tmp_path: Path, folder: str) -> None:
    write_dataset(tmp_path, [], folder=folder)
    assert (tmp_path / read(tmp_path)[0].file).is_file()


def test_given_folder_of_images(tmp_path: Path) -> None:
    write_dataset(tmp_path, [], folder="photos/all")
    assert read(tmp_path, images="photos/all")[0].file == "photos/all/7.jpg"
    with pytest.raises(SourceError, match="images/val2017, val2017, images, data"):
        read(tmp_path)
    with pytest.raises(SourceError, match="must be a folder"):
        read(tmp_path, images="photos/none")


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("person_keypoints_train2017", "train"),
        ("validation_humanart", "val"),
        ("ap10k-test-split1", "test"),
        ("crowdpose_trainval", None),
        ("instances", None),
    ],
)
def test_split_by_name(tmp_path: Path, stem: str, split: str | None) -> None:
    write_dataset(tmp_path, [], name=f"{stem}.json", folder="images")
    assert read(tmp_path, f"{stem}.json")[0].split == split
    assert read(tmp_path, f"{stem}.json", split="test")[0].split == "test"


def test_the_official_code_trains_on_val2017(tmp_path: Path) -> None:
    write_dataset(tmp_path, [], name="person_keypoints_val2017.json", folder="images")
    assert read(tmp_path, "person_keypoints_val2017.json")[0].split == "val"
    assert read(tmp_path, "person_keypoints_val2017.json", validation="official")[0].split == "train"
    assert read(tmp_path, "person_keypoints_val2017.json", validation="official", split="test")[0].split == "test"
    with pytest.raises(SourceError, match="validation"):
        read(tmp_path, "person_keypoints_val2017.json", validation="paper")


def test_images_by_id_and_strays_last(tmp_path: Path) -> None:
    images = [{"id": k, "file_name": f"{k}.jpg", "width": 9, "height": 9} for k in (20, 7, 100)]
    annotations = [make_annotation(1, 100), make_annotation(2, 999), {"id": 3}, 5, make_annotation(4, 7)]
    write_dataset(tmp_path, annotations, [*images, {"file_name": "x.jpg"}, images[0]])
    found = read(tmp_path)
    assert [image.source_id for image in found] == [
        "7",
        "20",
        "20",
        "100",
        "unknown-image-0",
        "unknown-0",
        "unknown-1",
        "unknown-2",
    ]
    assert [len(image.regions) for image in found] == [1, 0, 0, 1, 0, 1, 1, 0]
    assert all(image.file is None for image in found[4:])


@pytest.mark.parametrize(
    "changes",
    [
        {"segmentation": "none"},
        {"segmentation": [[1, 2, 3]]},
        {"segmentation": [5]},
        {"bbox": None},
        {"bbox": ["a"]},
        {"category_id": 55},
        {"category_id": [1]},
        {"id": None},
        {"keypoints": "none"},
    ],
)
def test_malformed_annotation_is_handed_on(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_dataset(tmp_path, [make_annotation(1, 7, **changes), make_annotation(2, 7)])
    (image,) = read(tmp_path)
    assert len(image.regions) == 2


def test_refusals_name_the_remedy(tmp_path: Path) -> None:
    write_dataset(tmp_path, [])
    with pytest.raises(SourceError, match=r"found annotations/instances_val2017\.json"):
        read(tmp_path, "annotations/instances_val2014.json")
    with pytest.raises(SourceError, match="must name a JSON file"):
        list(CocoReader(root=tmp_path).read())
    with pytest.raises(SourceError, match="existing folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "panoptic.json").write_text(json.dumps({"images": [], "annotations": [{"segments_info": []}]}))
    with pytest.raises(SourceError, match="panoptic2detection"):
        read(tmp_path, "panoptic.json")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(SourceError, match="list of images"):
        read(tmp_path, "empty.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("[", "starts with '\\['"),
        ('[{"id": 1}]', "an object with images, annotations and categories"),
        ('{"images": 5}', "images as a list, as COCO files do; got a number"),
        ('{"images": {"id": 1}}', "images as a list, as COCO files do; got an object"),
        ('{"images": [{"id": 1}], "annotations": null}', "annotations as a list, as COCO files do; got null"),
        ('{"images": [{"id": 1}], "categories": "x"}', "categories as a list, as COCO files do; got a text"),
        ('{"images": [', "must be JSON"),
    ],
)
def test_file_of_another_form_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        read(tmp_path, "odd.json")
    assert "\n" not in str(caught.value) and str(tmp_path / "odd.json") in str(caught.value)


def test_overlong_file_name_does_not_stop_the_stream(tmp_path: Path) -> None:
    images = [{"id": k, "file_name": name, "width": 9, "height": 9} for k, name in enumerate(["x" * 5000, "7.jpg"])]
    write_dataset(tmp_path, [], images)
    assert [image.file for image in read(tmp_path)] == [f"val2017/{'x' * 5000}", "val2017/7.jpg"]


def test_plain_names() -> None:
    names = ["tree-merged", "wall-other-merged", "wall-brick", "floor-wood", "alarm_clock", "T-shirt", "dog"]
    assert [plain_name(name) for name in names] == [
        "tree",
        "wall",
        "brick wall",
        "wood floor",
        "alarm clock",
        "T-shirt",
        "dog",
    ]


def test_phrases_by_hand() -> None:
    boxes = [[0, 0, 10, 10], [40, 0, 10, 10], [20, 0, 10, 10]]
    assert referring_phrases(["dog"], boxes[:1], [False]) == ["dog"]
    assert referring_phrases(["dog", "dog"], boxes[:2], [False] * 2) == ["left dog", "right dog"]
    assert referring_phrases(["dog"] * 3, boxes, [False] * 3) == ["leftmost dog", "rightmost dog", None]
    assert referring_phrases(["dog", "dog"], [[0, 0, 10, 10], [3, 20, 10, 10]], [False] * 2) == [None, None]
    assert referring_phrases(["dog", "dog"], boxes[:2], [False, True]) == [None, None]
    assert referring_phrases(["wall", "brick wall"], boxes[:2], [False] * 2) == [None, "brick wall"]
    assert referring_phrases(["dog", "dog", None, 5], [boxes[0], "x", None, []], [False] * 4) == [None] * 4


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(1, 30), st.booleans()), min_size=1, max_size=6
    )
)
def test_phrases_mean_one_region(rows: list[tuple[str, int, int, bool]]) -> None:
    """Naive reading: the bare name fits one region; left is left of every other of its class by a clear margin."""
    labels = [row[0] for row in rows]
    boxes = [[row[1], 0, row[2], 5] for row in rows]
    phrases = referring_phrases(labels, boxes, [row[3] for row in rows])
    given_phrases = [phrase for phrase in phrases if phrase]
    assert len(set(given_phrases)) == len(given_phrases)
    for index, phrase in enumerate(phrases):
        rivals = [k for k in range(len(rows)) if labels[k] == labels[index] and k != index]
        if phrase is None:
            continue
        assert phrase.split()[-1] == labels[index]
        assert not any(rows[k][3] for k in [index, *rivals])
        centre = rows[index][1] + rows[index][2] / 2
        sign = {"l": 1, "r": -1}.get(phrase[0], 0) if rivals else 0
        assert (len(rivals) == 0) == (phrase == labels[index])
        for k in rivals:
            other = rows[k][1] + rows[k][2] / 2
            assert sign * (other - centre) > 0
            assert not rows[k][1] <= centre <= rows[k][1] + rows[k][2]
            assert not rows[index][1] <= other <= rows[index][1] + rows[index][2]


def rasterize(region: Any, height: int, width: int) -> np.ndarray:
    if region.mask is not None:
        return np.asarray(coco_mask.decode(region.mask), bool)
    flat = [[value for point in polygon for value in point] for polygon in region.polygons]
    return np.asarray(coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width))), bool)


@pytest.mark.parametrize(
    ("folder", "annotations", "options"),
    [
        ("keypoints_coco", "test_coco.json", {}),
        ("coco_panoptic", "panoptic_coco_detection_format.json", {"images": "input_images"}),
    ],
)
def test_real_samples_agree_with_pycocotools(
    shared_data: Path, folder: str, annotations: str, options: dict[str, Any]
) -> None:
    root = shared_data / folder
    reference = COCO(str(root / annotations))
    images = read(root, annotations, **options)
    assert [image.source_id for image in images] == [str(key) for key in sorted(reference.imgs)]
    for image in images:
        assert image.licence
        assert (root / image.file).is_file()
        for region in image.regions:
            entry = reference.anns[int(region.annotation_id)]
            expected = np.asarray(reference.annToMask(entry), bool)
            assert np.array_equal(rasterize(region, image.height, image.width), expected)
            num_labelled = sum(joint[3] > 0 for joint in region.keypoints or [])
            assert num_labelled == entry.get("num_keypoints", 0)
            assert region.is_crowd == bool(entry["iscrowd"])


def test_real_stuff_has_phrases_and_crowded_people_none(shared_data: Path) -> None:
    images = read(shared_data / "coco_panoptic", "panoptic_coco_detection_format.json", images="input_images")
    phrases = {region.label: region.phrase for image in images for region in image.regions}
    assert phrases["grass"] == "grass" and phrases["sky"] == "sky"
    assert all(r.phrase is None for r in images[0].regions if r.label == "person" and len(images[0].regions) > 10)


@pytest.mark.parametrize(
    ("folder", "annotations", "num_joints"),
    [
        ("keypoints_crowdpose", "test_crowdpose.json", 14),
        ("keypoints_aic", "test_aic.json", 14),
        ("keypoints_humanart", "HumanArt/annotations/test_humanart.json", 17),
        ("keypoints_ap10k", "test_ap10k.json", 17),
    ],
)
def test_real_keypoint_relatives(shared_data: Path, folder: str, annotations: str, num_joints: int) -> None:
    if not (shared_data / folder / annotations).is_file():
        pytest.skip("this sample is not here")
    images = read(shared_data / folder, annotations)
    joints = [region.keypoints for image in images for region in image.regions if region.keypoints]
    assert joints and all(len(each) == num_joints for each in joints)
    assert all("_" not in joint[0] and joint[0] == joint[0].lower() for each in joints for joint in each)
