"""The RefCOCO family: joins, splits, unions, no target, RefClef's forms; and pickles that are not plain data."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from catalog.errors import SourceError
from catalog.masks import decode_mask, region_mask
from tasks.readers.plain_pickle import load_plain
from tasks.readers.refer import (
    GRefCocoReader,
    RefClefReader,
    RefCocoGReader,
    RefCocoPlusReader,
    RefCocoReader,
    in_split,
)

HEIGHT, WIDTH = 40, 60
SQUARE = [5, 5, 25, 5, 25, 25, 5, 25]
OVERLAP = [15, 15, 35, 15, 35, 35, 15, 35]
FAR = [40, 5, 50, 5, 50, 15]


def make_ref(ref_id: int, ann_id: Any, split: str = "train", image_id: Any = 9, **changes: Any) -> dict[str, Any]:
    sentences = [
        {"sent_id": 10 * ref_id + i, "sent": text, "raw": text.upper(), "tokens": text.split()}
        for i, text in enumerate(("the left dog", "dog on the grass"))
    ]
    base = {"ref_id": ref_id, "ann_id": ann_id, "image_id": image_id, "split": split, "category_id": 18}
    name = {"file_name": "COCO_train2014_000000000009_7.jpg", "sent_ids": [0, 1]}
    return {**base, **name, "sentences": sentences, **changes}


def make_object(ann_id: Any, segmentation: Any, category: int = 18, **changes: Any) -> dict[str, Any]:
    return {
        "id": ann_id,
        "image_id": 9,
        "category_id": category,
        "bbox": [5, 5, 20, 20],
        "segmentation": segmentation,
        "iscrowd": 0,
        **changes,
    }


def write_set(
    root: Path,
    kind: str,
    refs: Any,
    objects: list[Any],
    file: str = "refs(unc).p",
    image: str | None = "images/train2014/COCO_train2014_000000000009.jpg",
    **changes: Any,
) -> None:
    folder = root / kind
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "width": WIDTH, "height": HEIGHT, **changes}
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
    content = {"images": [entry, {**entry, "id": 10}], "annotations": objects, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    if file.endswith(".json"):
        (folder / file).write_text(json.dumps(refs))
    else:
        (folder / file).write_bytes(pickle.dumps(refs, protocol=0))
    if image is not None:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).write_bytes(b"jpeg")


def mask_of(region: Any) -> np.ndarray:
    shapes = {"polygons": region.polygons, "mask": region.mask}
    return region_mask(**shapes, height=HEIGHT, width=WIDTH, rule="coco")


@pytest.mark.parametrize("folder", ["images/mscoco/images/train2014", "images/train2014", "train2014"])
def test_one_region_per_sentence(tmp_path: Path, folder: str) -> None:
    image = f"{folder}/COCO_train2014_000000000009.jpg"
    write_set(tmp_path, "refcoco", [make_ref(0, 7), make_ref(1, 8, "val")], [make_object(7, [SQUARE])], image=image)
    (found,) = RefCocoReader(root=tmp_path).read()
    # the image's own name, not the reference's with its extra number
    assert (found.source_id, found.file, found.split) == ("9", image, "train")
    assert [(region.annotation_id, region.phrase) for region in found.regions] == [
        ("0/0", "the left dog"),
        ("0/1", "dog on the grass"),
    ]
    assert {(region.label, region.num_instances) for region in found.regions} == {("dog", 1)}
    assert found.regions[0].polygons == [[[5, 5], [25, 5], [25, 25], [5, 25]]]


def test_overlapping_polygons_leave_no_hole(tmp_path: Path) -> None:
    write_set(tmp_path, "refcoco", [make_ref(0, 7)], [make_object(7, [SQUARE, OVERLAP])])
    region = next(iter(RefCocoReader(root=tmp_path).read())).regions[0]
    union = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([SQUARE, OVERLAP], HEIGHT, WIDTH)))
    assert np.array_equal(mask_of(region), union > 0) and mask_of(region)[20, 20]


def test_the_official_code_s_holes_are_an_option_of_refcoco(tmp_path: Path) -> None:
    for reader, rule in (
        (RefCocoReader(root=tmp_path), "coco"),
        (RefCocoReader(root=tmp_path, options={"overlaps": "corrected"}), "coco"),
        (RefCocoReader(root=tmp_path, options={"overlaps": "official"}), "coco_once"),
        (RefCocoPlusReader(root=tmp_path), "coco"),
    ):
        assert reader.polygon_rule == rule
    with pytest.raises(SourceError, match="overlaps"):
        RefCocoReader(root=tmp_path, options={"overlaps": "paper"})
    with pytest.raises(SourceError, match="overlaps"):
        GRefCocoReader(root=tmp_path, options={"overlaps": "official"})


def test_run_length_object_is_tested_before_its_polygons(tmp_path: Path) -> None:
    code = {"size": [HEIGHT, WIDTH], "counts": [10, 5, HEIGHT * WIDTH - 15]}
    write_set(tmp_path, "refcoco", [make_ref(0, 7)], [make_object(7, code, iscrowd=1)])
    region = next(iter(RefCocoReader(root=tmp_path).read())).regions[0]
    assert region.mask == code and region.polygons is None and region.is_crowd


def test_divisions_and_splits(tmp_path: Path) -> None:
    objects = [make_object(7, [SQUARE])]
    write_set(tmp_path, "refcocog", [make_ref(0, 7, "test")], objects, "refs(umd).p")
    write_set(tmp_path, "refcocog", [make_ref(1, 7, "val")], objects, "refs(google).p")
    write_set(tmp_path, "refcoco+", [make_ref(2, 7, "testA")], objects)
    (umd,) = RefCocoGReader(root=tmp_path, options={"split": "test"}).read()
    (google,) = RefCocoGReader(root=tmp_path, options={"division": "google", "split": "val"}).read()
    (plus,) = RefCocoPlusReader(root=tmp_path, options={"split": "testA"}).read()
    assert (umd.split, google.split, plus.split) == ("test", "val", "testA")
    with pytest.raises(SourceError, match="split"):
        RefCocoGReader(root=tmp_path, options={"division": "google", "split": "test"})


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [
        ("testAB", "testA", True),
        ("testAB", "testB", True),
        ("testAB", "testC", False),
        ("testBC", "test", True),
        ("train", "train", True),
        ("trainA", "testA", False),
        ("val", "train", False),
        (None, "train", False),
    ],
)
def test_splits_by_letter(own: Any, asked: str, expected: bool) -> None:
    assert in_split(own, asked) is expected


def test_what_cannot_be_joined_is_kept(tmp_path: Path) -> None:
    refs = [
        make_ref(0, 99),
        make_ref(1, 7, image_id=5),
        make_ref(2, 7, sentences=None),
        make_ref(3, 7) | {"ref_id": None},
    ]
    write_set(tmp_path, "refcoco", [*refs, 5, make_ref(4, 7, image_id=None)], [make_object(7, [SQUARE])])
    image, *strays = RefCocoReader(root=tmp_path).read()
    assert [region.annotation_id for region in image.regions] == ["0/0", "0/1", "2/~0", "~3/30", "~3/31"]
    assert isinstance(image.regions[0].mask, str) and "99" in image.regions[0].mask
    assert image.regions[2].phrase is None
    assert [stray.file for stray in strays] == [None] * 3
    assert len({stray.source_id for stray in strays}) == 3


# gRefCOCO


def test_several_objects_none_and_crowds(tmp_path: Path) -> None:
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    refs = [
        make_ref(0, [7, 8], category_id=[18, 3]),
        make_ref(1, [-1], category_id=[-1], no_target=True),
        make_ref(2, 7),
        make_ref(3, [7, 6], category_id=[18, 18]),
    ]
    objects = [make_object(7, [SQUARE]), make_object(8, [FAR], 3), make_object(6, crowd, iscrowd=1)]
    write_set(tmp_path, "grefcoco", refs, objects, "grefs(unc).json")
    (image,) = GRefCocoReader(root=tmp_path).read()
    both, nothing, single, without_crowd = image.regions[::2]
    merged = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([SQUARE, FAR], HEIGHT, WIDTH))) > 0
    assert np.array_equal(mask_of(both), merged)
    assert (both.num_instances, both.label, both.box) == (2, None, None)
    assert (nothing.num_instances, nothing.label, nothing.phrase) == (0, None, "the left dog")
    assert decode_mask(nothing.mask).shape == (HEIGHT, WIDTH) and not decode_mask(nothing.mask).any()
    assert (single.num_instances, single.label, single.box) == (1, "dog", [5, 5, 20, 20])
    assert np.array_equal(mask_of(without_crowd), mask_of(single))
    assert without_crowd.num_instances == 1 and not without_crowd.is_crowd


def test_older_grefcoco_is_a_pickle(tmp_path: Path) -> None:
    write_set(tmp_path, "grefcoco", [make_ref(0, [7], "testB")], [make_object(7, [SQUARE])], "grefs(unc).p")
    (image,) = GRefCocoReader(root=tmp_path, options={"split": "testB"}).read()
    assert len(image.regions) == 2 and image.licence == GRefCocoReader.licence


# RefClef


def pack(polygon: list[float]) -> dict[str, Any]:
    code = coco_mask.frPyObjects([polygon], HEIGHT, WIDTH)[0]
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}


@pytest.mark.parametrize("file", ["images/saiapr_tc-12/12/images/12345.jpg", "images/saiaprtc12/named.jpg"])
def test_refclef_text_ids_and_codes(tmp_path: Path, file: str) -> None:
    objects = [
        make_object("12345_1", [pack(SQUARE)], image_id=12345, mask_name="m"),
        make_object("12345_2", [pack(SQUARE), pack(FAR)], image_id=12345),
    ]
    for entry in objects:
        del entry["iscrowd"]
    refs = [make_ref(0, "12345_1", "testAB", 12345), make_ref(1, "12345_2", "testB", 12345)]
    write_set(tmp_path, "refclef", refs, objects, image=file, id=12345, file_name="named.jpg")
    # the helper lists a second image, without references: it is left out
    (image,) = RefClefReader(root=tmp_path, options={"split": "testB"}).read()
    assert image.file == file
    one, two = image.regions[::2]
    assert np.array_equal(mask_of(one), coco_mask.decode(pack(SQUARE)) > 0)
    expected = coco_mask.decode(coco_mask.merge([pack(SQUARE), pack(FAR)])) > 0
    assert np.array_equal(mask_of(two), expected) and two.num_instances == 1
    assert len(next(iter(RefClefReader(root=tmp_path, options={"split": "testA"}).read())).regions) == 2


# pickles


def test_python_2_texts(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'caf\\xc3\\xa9'\np3\nsS'id'\np4\nI7\nsa.")
    assert load_plain(path, "refs") == [{"sent": "café", "id": 7}]
    path.write_bytes(b"(lp0\nS'caf\\xe9'\np1\na.")
    assert load_plain(path, "refs") == ["café"]
    path.write_bytes(b"(lp0\nS'caf\xe9'\np1\na.")
    assert load_plain(path, "refs") == ["café"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = [{"a": (1, 2.5, None, True, "é" * 300)}, [2**70, -1, "x"], {}, ()]
    (tmp_path / "refs.p").write_bytes(pickle.dumps(value, protocol))
    assert load_plain(tmp_path / "refs.p", "refs") == value


class _Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_something_runs_nothing(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "made"
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([make_ref(0, 7), _Harmful(victim)], protocol))
    with pytest.raises(SourceError, match="nothing of it was run"):
        load_plain(path, "refs")
    assert not victim.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        b"(lp0\n",
        b"(lp99999999999\n.",
        b"r\xff\xff\xff\x7f.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"(ibuiltins\neval\n.",
        b"P1\n.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"c__builtin__\nlist\n.",
        pickle.dumps({1, 2}),
        pickle.dumps(np.int64(3)),
        pickle.dumps([1, 2])[:-3],
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(SourceError, match="nothing of it was run"):
        load_plain(tmp_path / "refs.p", "refs")


def test_genuine_record(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "refcoco_fragments" / "refs_unc_record0.json"
    if not path.is_file():
        pytest.skip("this sample is not here")
    record = json.loads(path.read_text())
    name = "COCO_train2014_000000581857.jpg"
    image = f"images/train2014/{name}"
    objects = [make_object(record["ann_id"], [SQUARE], 1, image_id=record["image_id"])]
    write_set(tmp_path, "refcoco", [record], objects, image=image, id=record["image_id"], file_name=name)
    (found,) = RefCocoReader(root=tmp_path).read()
    assert found.file == image
    assert [region.phrase for region in found.regions] == [entry["sent"] for entry in record["sentences"]]


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"refcoco/refs\(unc\)\.p below"):
        RefCocoReader(root=tmp_path).read()
    write_set(tmp_path, "refcoco", [make_ref(0, 7)], [make_object(7, [SQUARE])], image=None)
    with pytest.raises(SourceError, match="images/mscoco/images/train2014, images/train2014"):
        RefCocoReader(root=tmp_path).read()
    (tmp_path / "refcoco" / "instances.json").unlink()
    with pytest.raises(SourceError, match=r"instances\.json"):
        RefCocoReader(root=tmp_path).read()
    with pytest.raises(SourceError, match="existing folder"):
        RefCocoReader(root=None).read()
