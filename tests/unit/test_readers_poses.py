"""Keypoint readers (CrowdPose, HumanArt, AP-10K, AI Challenger, MPII): joints, codes, layouts; and real samples."""

import json
import shutil
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from catalog.errors import SourceError
from catalog.images import probe_image
from tasks.readers.aic import AicReader
from tasks.readers.ap10k import Ap10kReader
from tasks.readers.crowdpose import CrowdPoseReader
from tasks.readers.humanart import COCO_JOINTS, HumanArtReader
from tasks.readers.mpii import MpiiReader
from tasks.records_check import keypoints


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_coco(path: Path, people: list[dict[str, Any]], file_name: str, num_joints: int) -> None:
    category = {"id": 1, "name": "person", "keypoints": [f"joint_{i}" for i in range(num_joints)]}
    images = [{"id": 5, "file_name": file_name, "width": 64, "height": 48}]
    write_json(path, {"images": images, "annotations": people, "categories": [category]})


def make_person(number: int, keypoints: list[float], **changes: Any) -> dict[str, Any]:
    base = {"id": number, "image_id": 5, "category_id": 1, "bbox": [1, 2, 30, 40.5], "iscrowd": 0}
    return {**base, "keypoints": keypoints, **changes}


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"jpeg")


def need(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip("this sample is not here")
    return folder


def check_against_photos(root: Path, images: list[Any]) -> None:
    """Each labelled joint lies in its photo, as the ingest step will ask."""
    for image in images:
        width, height = probe_image((root / image.file).read_bytes())
        assert image.width in (None, width) and image.height in (None, height)
        for region in image.regions:
            if any(joint[3] for joint in region.keypoints):
                assert keypoints({"keypoints": region.keypoints}, width, height)
            assert region.phrase is None and region.polygons is None and region.mask is None


# CrowdPose


@pytest.mark.parametrize("file", ["json/crowdpose_train.json", "annotations/mmpose_crowdpose_train.json"])
def test_crowdpose_joints_and_layouts(tmp_path: Path, file: str) -> None:
    only_head = [0.0] * 36 + [20, 5, 1, 21, 9, 1]
    people = [
        make_person(1, only_head, num_keypoints=0),
        make_person(2, [0] * 42),
        make_person(3, only_head, iscrowd=1),
    ]
    write_coco(tmp_path / file, people, "100000.jpg", 14)
    touch(tmp_path / "images" / "100000.jpg")
    (image,) = CrowdPoseReader(root=tmp_path).read()
    head, nobody, crowd = image.regions
    assert (image.file, image.split, image.source_id) == ("images/100000.jpg", "train", "5")
    assert image.licence is not None and "non-commercial" in image.licence
    # num_keypoints leaves head and neck out: a person of whom only they are labelled is kept
    assert [joint for joint in head.keypoints if joint[3]] == [["head", 20, 5, 1], ["neck", 21, 9, 1]]
    assert (head.label, head.phrase, head.box) == ("person", None, [1, 2, 30, 40.5])
    # nothing labelled: joints at 0, so that the box is not taken for a region to segment
    assert len(nobody.keypoints) == 14 and not any(joint[3] for joint in nobody.keypoints)
    assert crowd.is_crowd and not head.is_crowd


def test_crowdpose_trainval_has_no_split_of_its_own(tmp_path: Path) -> None:
    write_coco(tmp_path / "json" / "crowdpose_trainval.json", [], "1.jpg", 14)
    touch(tmp_path / "images" / "1.jpg")
    assert next(iter(CrowdPoseReader(root=tmp_path, options={"split": "trainval"}).read())).split is None


def test_crowdpose_sample(shared_data: Path, tmp_path: Path) -> None:
    folder = need(shared_data / "keypoints_crowdpose")
    images = list(CrowdPoseReader(root=folder, options={"annotations": "test_crowdpose.json"}).read())
    check_against_photos(folder, images)
    assert images[0].regions[0].keypoints[1] == ["right shoulder", 208, 108, 2]
    official = json.loads((folder / "official" / "crowdpose_val.json").read_text())
    first = min(official["images"], key=lambda entry: int(entry["id"]))
    touch(tmp_path / "images" / first["file_name"])
    write_json(tmp_path / "json" / "crowdpose_val.json", official)
    regions = {
        region.annotation_id: region
        for image in CrowdPoseReader(root=tmp_path, options={"split": "val"}).read()
        for region in image.regions
    }
    assert len(regions) == len(official["annotations"])
    for annotation in official["annotations"]:
        region = regions[str(annotation["id"])]
        assert [value for joint in region.keypoints for value in joint[1:]] == annotation["keypoints"]
        assert sum(joint[3] > 0 for joint in region.keypoints[:12]) == annotation["num_keypoints"]
        assert all(joint[3] != 2 for joint in region.keypoints[12:])


# HumanArt


@pytest.mark.parametrize("is_parent", [False, True])
def test_humanart_names_are_relative_to_its_parent(tmp_path: Path, is_parent: bool) -> None:
    name = "HumanArt/images/real_human/drama/000000000001.jpg"
    write_coco(tmp_path / "HumanArt/annotations/validation_humanart.json", [make_person(1, [3, 4, 2] * 17)], name, 21)
    touch(tmp_path / name)
    root = tmp_path if is_parent else tmp_path / "HumanArt"
    (image,) = HumanArtReader(root=root).read()
    assert (root / image.file).is_file() and image.split == "val"
    # 17 of the 21 joints that the file names
    assert [joint[0] for joint in image.regions[0].keypoints] == list(COCO_JOINTS)


def test_humanart_sample(shared_data: Path) -> None:
    folder = need(shared_data / "keypoints_humanart" / "HumanArt")
    images = list(HumanArtReader(root=folder, options={"annotations": "annotations/test_humanart.json"}).read())
    check_against_photos(folder, images)
    joints = {joint[0]: joint[1:] for image in images for joint in image.regions[0].keypoints if "1648" in image.file}
    assert joints["nose"] == [715.4305, 970.0197, 2]


# AP-10K


def test_ap10k_joints_that_coco_has(tmp_path: Path) -> None:
    points = [value for i in range(17) for value in (i, i + 1, 2)]
    write_coco(tmp_path / "annotations" / "ap10k-val-split2.json", [make_person(1, points)], "1.jpg", 17)
    touch(tmp_path / "data" / "1.jpg")
    found = {}
    for choice in ("exact", "position", "all"):
        (image,) = Ap10kReader(root=tmp_path, options={"partition": 2, "joints": choice}).read()
        assert (image.file, image.split) == ("data/1.jpg", "val")
        found[choice] = {joint[0]: joint[1] for joint in image.regions[0].keypoints}
    assert [len(found[choice]) for choice in ("exact", "position", "all")] == [11, 15, 17]
    assert set(found["position"]) == set(COCO_JOINTS) - {"left ear", "right ear"}
    assert set(found["exact"]) == set(found["all"]) & set(COCO_JOINTS)
    assert found["position"]["left wrist"] == found["all"]["left front paw"] == 7
    assert found["position"]["right ankle"] == found["all"]["right back paw"] == 16
    with pytest.raises(SourceError, match="ap10k-val-split1"):
        Ap10kReader(root=tmp_path).read()


def test_ap10k_sample(shared_data: Path) -> None:
    folder = need(shared_data / "keypoints_ap10k")
    for choice in ("exact", "position", "all"):
        options = {"annotations": "test_ap10k.json", "joints": choice}
        check_against_photos(folder, list(Ap10kReader(root=folder, options=options).read()))
    (image,) = Ap10kReader(root=folder, options={"annotations": "test_ap10k.json"}).read()
    species = json.loads((folder / "test_ap10k.json").read_text())["categories"][25]
    assert species["id"] == 26 and image.regions[0].label == species["name"]


# AI Challenger

AIC_FOLDER = "ai_challenger_keypoint_train_20170902"


def write_aic(root: Path, entries: list[Any]) -> None:
    write_json(root / AIC_FOLDER / "keypoint_train_annotations_20170909.json", entries)
    touch(root / AIC_FOLDER / "keypoint_train_images_20170902" / "ab.jpg")


def test_aic_codes_boxes_and_order(tmp_path: Path) -> None:
    joints = [10, 11, 1, 12, 13, 2, 0, 0, 3, *[0, 0, 3] * 11]
    people = {"human10": joints, "human2": joints, "human1": joints}
    boxes = {"human1": [1, 2, 11, 22], "human2": [5, 5, 5, 5], "human10": [0, 0, 3, 3]}
    write_aic(tmp_path, [{"image_id": "ab", "keypoint_annotations": people, "human_annotations": boxes}, {"url": ""}])
    image, stray = AicReader(root=tmp_path).read()
    assert (image.source_id, image.split) == ("ab", "train")
    assert (tmp_path / image.file).is_file()
    assert [region.annotation_id for region in image.regions] == ["human1", "human2", "human10"]
    # 1 visible, 2 hidden, 3 not labelled -> COCO's 2, 1, 0
    assert image.regions[0].keypoints[:3] == [
        ["right shoulder", 10, 11, 2],
        ["right elbow", 12, 13, 1],
        ["right wrist", 0, 0, 0],
    ]
    assert [region.box for region in image.regions] == [[1, 2, 10, 20], [5, 5, 0, 0], [0, 0, 3, 3]]
    assert stray.file is None


def test_aic_unknown_code_is_refused_not_guessed(tmp_path: Path) -> None:
    people = {"human1": [10, 11, 7] * 14, "human2": [1, 2], "human3": "none"}
    write_aic(tmp_path, [{"image_id": "ab", "keypoint_annotations": people}])
    first, second, third = next(iter(AicReader(root=tmp_path).read())).regions
    assert first.keypoints[0] == ["right shoulder", 10, 11, 7]
    assert (second.keypoints, third.keypoints, first.box) == ([1, 2], "none", None)


def test_aic_original_equals_its_coco_conversion(shared_data: Path) -> None:
    """The golden pair: mmpose's conversion of the same photos, person by person."""
    folder = need(shared_data / "keypoints_aic")
    converted = {image.source_id: image for image in AicReader(root=folder, options=_aic("test_aic.json")).read()}
    file = "official/keypoint_annotations_example.json"
    original = {image.source_id: image for image in AicReader(root=folder, options=_aic(file)).read()}
    check_against_photos(folder, list(converted.values()))
    assert converted.keys() <= original.keys() and converted
    for name, image in converted.items():
        other = original[name]
        assert (image.file, image.licence, image.split) == (other.file, other.licence, other.split)
        assert sorted(map(_facts, image.regions)) == sorted(map(_facts, other.regions))


def _aic(file: str) -> dict[str, str]:
    return {"annotations": file, "images": "."}


def _facts(region: Any) -> tuple[Any, ...]:
    return region.box, region.keypoints, region.label, region.is_crowd


# MPII


def make_mpii(**changes: Any) -> dict[str, Any]:
    joints = [[float(i + 1), float(i + 2)] for i in range(16)]
    person = {"image": "05.jpg", "center": [30.0, 20.0], "scale": 0.1, "joints": joints, "joints_vis": [1] * 16}
    return {**person, **changes}


@pytest.mark.parametrize(("file", "split"), [("annot/valid.json", "val"), ("annotations/mpii_train.json", "train")])
def test_mpii_json_counts_from_one(tmp_path: Path, file: str, split: str) -> None:
    gone = make_mpii(joints=[[-1.0, -1.0]] + [[2.0, 2.0]] * 15, joints_vis=[0] + [1] * 15, center=[-1.0, -1.0])
    write_json(tmp_path / file, [make_mpii(), make_mpii(image="04.jpg"), gone, {"center": [1, 2]}, 5])
    touch(tmp_path / "images" / "05.jpg")
    first, second, *strays = MpiiReader(root=tmp_path, options={"split": split}).read()
    assert [first.source_id, second.source_id] == ["04", "05"]
    assert second.file == "images/05.jpg" and second.split == split
    whole, partly = second.regions
    assert whole.keypoints[0] == ["right ankle", 0, 1, 2]
    assert whole.keypoints[9] == ["head top", 9, 10, 2]
    assert partly.keypoints[:2] == [["right ankle", 0, 0, 0], ["right knee", 1, 1, 2]]
    # a square of 200 x scale, moved down by 15 x scale, from 0
    assert whole.box == [30 - 1 - 10, 20 + 1.5 - 1 - 10, 20, 20]
    assert partly.box is None
    assert [stray.file for stray in strays] == [None, None]


def struct(**fields: Any) -> np.ndarray:
    """A 1 x 1 MATLAB struct."""
    value = np.zeros((1, 1), [(name, object) for name in fields])
    for name, field in fields.items():
        value[name][0, 0] = field
    return value


def write_release(path: Path, people: list[Any], is_train: list[int]) -> None:
    annolist = np.zeros((1, len(people)), [("image", object), ("annorect", object)])
    for i, rect in enumerate(people):
        annolist["image"][0, i] = struct(name=f"{i:02d}.jpg")
        annolist["annorect"][0, i] = rect
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"RELEASE": struct(annolist=annolist, img_train=np.array([is_train]))})


def make_points(*points: tuple[int, float, float, Any]) -> np.ndarray:
    value = np.zeros((1, len(points)), [(name, object) for name in ("x", "y", "id", "is_visible")])
    for i, (number, x, y, visible) in enumerate(points):
        value[0, i] = (x, y, number, visible)
    return struct(point=value)


def test_mpii_release(tmp_path: Path) -> None:
    points = make_points((9, 11.0, 21.5, "0"), (0, 3.0, 4.0, 1), (4, 7.0, 8.0, np.zeros((0, 0))), (5, 1.0, 1.0, 0))
    whole = struct(annopoints=points, scale=0.1, objpos=struct(x=30, y=20))
    no_body = struct(annopoints=points)
    no_joints = struct(scale=1.0, objpos=struct(x=1, y=1))
    empty = np.zeros((0, 0))
    write_release(
        tmp_path / "annot" / "mpii_human_pose_v1_u12_1.mat",
        [whole, no_body, no_joints, empty, whole],
        [1, 1, 1, 1, 0],
    )
    touch(tmp_path / "images" / "00.jpg")
    first, second = MpiiReader(root=tmp_path).read()
    assert [first.source_id, second.source_id] == ["00", "01"]
    joints = {name: [x, y, v] for name, x, y, v in first.regions[0].keypoints}
    # by their numbers, from 0; hidden by text or number; no word on visibility is visible
    assert joints["head top"] == [10, 20.5, 1] and joints["left ankle"] == [0, 0, 1]
    assert joints["right ankle"] == [2, 3, 2] and joints["left knee"] == [6, 7, 2]
    assert joints["pelvis"] == [0, 0, 0] and len(joints) == 16
    assert first.regions[0].box == [30 - 1 - 10, 20 + 1.5 - 1 - 10, 20, 20]
    assert second.regions[0].box is None


def test_mpii_release_and_json_agree(tmp_path: Path) -> None:
    points = make_points(*[(i, i + 1.0, i + 2.0, 1) for i in range(16)])
    people = [struct(annopoints=points, scale=0.1, objpos=struct(x=30.0, y=20.0))]
    write_release(tmp_path / "annot" / "mpii_human_pose_v1_u12_1.mat", people, [1])
    write_json(tmp_path / "annot" / "train.json", [make_mpii(image="00.jpg")])
    touch(tmp_path / "images" / "00.jpg")
    (plain,) = MpiiReader(root=tmp_path).read()
    (release,) = MpiiReader(root=tmp_path, options={"annotations": "annot/mpii_human_pose_v1_u12_1.mat"}).read()
    assert plain == release


@pytest.mark.parametrize("content", [b"", b"no matlab", b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_mpii_damaged_release(tmp_path: Path, content: bytes) -> None:
    touch(tmp_path / "images" / "00.jpg")
    (tmp_path / "r.mat").write_bytes(content)
    with pytest.raises(SourceError, match=r"r\.mat"):
        list(MpiiReader(root=tmp_path, options={"annotations": "r.mat"}).read())


def test_mpii_other_variables(tmp_path: Path) -> None:
    savemat(tmp_path / "r.mat", {"RELEASE": np.eye(3)})
    with pytest.raises(SourceError, match="RELEASE as a struct"):
        list(MpiiReader(root=tmp_path, options={"annotations": "r.mat"}).read())
    savemat(tmp_path / "r.mat", {"other": np.eye(3)})
    with pytest.raises(SourceError, match="variable RELEASE"):
        list(MpiiReader(root=tmp_path, options={"annotations": "r.mat"}).read())


@pytest.mark.parametrize("dims", [(1, 2**27), (2**15, 2**14), (2**31 - 1, 2**31 - 1), (-5, 3)])
@pytest.mark.parametrize(
    "value", [np.zeros((1, 3), [("q", object)]), np.array([["a", "b", "c"]], object), np.ones((1, 3))]
)
def test_mpii_release_that_claims_more_than_it_holds(tmp_path: Path, dims: tuple[int, int], value: Any) -> None:
    """A few hundred bytes that speak of millions of people take neither memory nor time."""
    path = tmp_path / "annot" / "mpii_human_pose_v1_u12_1.mat"
    path.parent.mkdir()
    savemat(path, {"RELEASE": value})
    data = bytearray(path.read_bytes())
    place = data.index(np.array([1, 3], "<i4").tobytes(), 128)
    data[place : place + 8] = np.array(dims, "<i4").tobytes()
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(SourceError, match="MPII's release must"):
        MpiiReader(root=tmp_path).read()
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def write_hourglass(path: Path, people: list[dict[str, Any]], **changes: Any) -> None:
    """The hourglass code's form of people of the JSON: centre and scale moved, unannotated joints at (0, 0)."""
    scales = np.array([person["scale"] for person in people])
    centers = np.array([person["center"] for person in people]) + np.outer(15 * scales, [0, 1])
    parts = np.array([person["joints"] for person in people])
    parts[np.array([person["joints_vis"] for person in people]) == 0] = 0
    names = np.array([person["image"].encode() for person in people], "S13")
    arrays = {"imgname": names, "center": centers, "scale": scales * 1.25, "part": parts}
    arrays |= {"visible": np.array([person["joints_vis"] for person in people], float)} | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file[name] = values


def test_mpii_hourglass_equals_the_json(tmp_path: Path, shared_data: Path) -> None:
    """The real people in both forms: the same joints and boxes; a joint with visible 0 and a place is hidden."""
    people = json.loads((need(shared_data / "keypoints_mpii") / "test_mpii.json").read_text())
    write_json(tmp_path / "json/annot/train.json", people)
    write_hourglass(tmp_path / "h5/annot/train.h5", people)
    for form in ("json", "h5"):
        for person in people:
            touch(tmp_path / form / "images" / person["image"])
    plain, packed = (list(MpiiReader(root=tmp_path / form).read()) for form in ("json", "h5"))
    assert len(plain) == len(packed) == 3
    for one, other in zip(plain, packed, strict=True):
        assert (one.source_id, one.file) == (other.source_id, other.file)
        for first, second in zip(one.regions, other.regions, strict=True):
            assert first.keypoints == second.keypoints
            assert second.box == pytest.approx(first.box, abs=1e-6)
    hidden = np.array([person["joints_vis"] for person in people], float)
    hidden[0, 5] = 0
    write_hourglass(tmp_path / "h5/annot/train.h5", people, visible=hidden)
    images = {image.file: image for image in MpiiReader(root=tmp_path / "h5").read()}
    joint = images[f"images/{people[0]['image']}"].regions[0].keypoints[5]
    assert joint[0] == "left ankle" and joint[3] == (1 if people[0]["joints_vis"][5] else 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": np.zeros((1, 15, 2))}, r"part of \(people, 16, 2\), at most 1000000 of them; .* has \(1, 15, 2\)"),
        ({"visible": None}, "must hold the array visible itself"),
        ({"scale": np.array([np.nan])}, "must hold finite numbers; scale"),
        ({"imgname": np.array([7])}, "must hold imgname"),
        ({"center": h5py.ExternalLink("/etc/passwd", "/x")}, "must hold the array center itself"),
        ({"center": h5py.SoftLink("/scale")}, "must hold the array center itself"),
    ],
)
def test_mpii_hourglass_of_another_form(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_hourglass(tmp_path / "annot/train.h5", [make_mpii()], **changes)
    touch(tmp_path / "images/05.jpg")
    with pytest.raises(SourceError, match=message) as caught:
        list(MpiiReader(root=tmp_path).read())
    assert "\n" not in str(caught.value)


def test_mpii_hourglass_reads_no_other_file_and_needs_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "annot/train.h5"
    write_hourglass(path, [make_mpii()], scale=None)
    (tmp_path / "secret").write_bytes(bytes(8))
    with h5py.File(path, "a") as file:
        file.create_dataset("scale", (1,), "f8", external=[(str(tmp_path / "secret"), 0, 8)])
    touch(tmp_path / "images/05.jpg")
    with pytest.raises(SourceError, match="must hold the array scale itself"):
        list(MpiiReader(root=tmp_path).read())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match="must be whole"):
        list(MpiiReader(root=tmp_path).read())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SourceError, match=r"needs the package h5py .*: pip install h5py, or give annot/"):
        list(MpiiReader(root=tmp_path).read())


def test_mpii_sample(shared_data: Path) -> None:
    folder = need(shared_data / "keypoints_mpii")
    images = list(MpiiReader(root=folder, options={"annotations": "test_mpii.json"}).read())
    there = [image for image in images if (folder / image.file).is_file()]
    check_against_photos(folder, there)
    (region,) = next(image for image in images if image.source_id == "005808361").regions
    assert region.keypoints[0] == ["right ankle", 803.0, 710.0, 2]


# wrong folders


@pytest.mark.parametrize("reader", [CrowdPoseReader, HumanArtReader, Ap10kReader, AicReader, MpiiReader])
def test_wrong_folder_says_what_was_looked_for_and_where(tmp_path: Path, reader: Any) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SourceError, match=r"annotation file; looked for .*json") as caught:
        list(reader(root=tmp_path).read())
    assert str(tmp_path) in str(caught.value) and "photos/" in str(caught.value)
    with pytest.raises(SourceError, match="existing folder"):
        list(reader(root=tmp_path / "none").read())
    with pytest.raises(SourceError, match="existing folder"):
        list(reader(root=None).read())
    with pytest.raises(SourceError, match="has the options"):
        reader(root=tmp_path, options={"splitt": "train"})
    with pytest.raises(SourceError, match="Option split"):
        reader(root=tmp_path, options={"split": "nothing"})


def test_missing_images_say_where_was_looked(tmp_path: Path) -> None:
    write_json(tmp_path / "annot" / "train.json", [make_mpii()])
    with pytest.raises(SourceError, match=r"05\.jpg.*looked in images"):
        list(MpiiReader(root=tmp_path).read())
    shutil.copy(tmp_path / "annot" / "train.json", tmp_path / "x.json")
    with pytest.raises(SourceError, match="Option images"):
        list(MpiiReader(root=tmp_path, options={"images": "none"}).read())
