"""PhraseCut's reader against a naive one, its record-by-record JSON against json.load, and its refusals."""

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import SourceError
from tasks.readers.json_records import JsonRecords
from tasks.readers.phrasecut import METADATA_FILES, PhraseCutReader, phrase_region
from tasks.readers.registry import READERS, make_reader

SQUARE = [[1, 1], [5, 1], [5, 5.5], [1, 5]]


def make_task(image_id: Any, number: int, **changes: Any) -> dict[str, Any]:
    task = {
        "task_id": f"{image_id}__{number}",
        "image_id": image_id,
        "ann_ids": [number],
        "instance_boxes": [[1, 1, 5, 5], [10, 2, 3, 4]],
        "Polygons": [[SQUARE, SQUARE], [[[10, 2], [12, 2], [12, 5]]]],
        "phrase": "blue bird on top of tree",
        "phrase_structure": {
            "name": "bird",
            "attributes": ["blue"],
            "relation_ids": [7],
            "relation_descriptions": [["on top of", "tree"]],
            "type": "relation",
        },
    }
    return {**task, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    sizes = [{"image_id": k, "width": 100 + k, "height": 50 + k, "split": "train"} for k in (1, 2, 10, 11)]
    (tmp_path / METADATA_FILES[0]).write_text(json.dumps(sizes))
    return tmp_path


def write_tasks(folder: Path, tasks: Any, split: str = "train") -> None:
    (folder / f"refer_{split}.json").write_text(json.dumps(tasks))


def read(folder: Path, **options: Any) -> list[Any]:
    return list(PhraseCutReader(root=folder, options=options).read())


def test_task_becomes_region() -> None:
    region = phrase_region(make_task(3, 1))
    assert region.annotation_id == "3__1"
    assert region.phrase == "blue bird on top of tree"
    assert region.label == "bird"
    assert region.attributes == ("blue",)
    assert region.relations == (("on top of", "tree"),)
    assert region.polygons == [SQUARE, SQUARE, [[10, 2], [12, 2], [12, 5]]]
    assert region.num_instances == 2
    assert region.box == [1, 1, 12, 5]


def test_images_in_numeric_order_with_all_their_tasks(folder: Path) -> None:
    tasks = [make_task(image_id, number) for image_id in (10, 2, 11, 1) for number in range(3)]
    random.Random(0).shuffle(tasks)
    write_tasks(folder, tasks)
    images = read(folder)
    assert [image.source_id for image in images] == ["1", "2", "10", "11"]
    for image in images:
        mine = [task for task in tasks if str(task["image_id"]) == image.source_id]
        assert list(image.regions) == [phrase_region(task) for task in mine]
        assert (image.width, image.height) == (100 + int(image.source_id), 50 + int(image.source_id))
        assert image.file == f"images/{image.source_id}.jpg"
        assert image.split == "train"


@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("val", "val"), ("test", "test"), ("miniv", "val")])
def test_split_of_each_file(folder: Path, name: str, split: str) -> None:
    write_tasks(folder, [make_task(1, 0)], name)
    assert [image.split for image in read(folder, split=name)] == [split]


def test_other_name_of_the_image_list(folder: Path) -> None:
    (folder / METADATA_FILES[0]).rename(folder / METADATA_FILES[1])
    write_tasks(folder, [make_task(1, 0)])
    assert read(folder)[0].width == 101


@pytest.mark.parametrize("above", [".", "images", "photos/vg"])
def test_photos_of_both_visual_genome_archives(folder: Path, above: str) -> None:
    """Each photo is found in the folder that it is in; one that is in none is asked for in the first."""
    write_tasks(folder, [make_task(image_id, 0) for image_id in (1, 2, 10)])
    if above != "images":
        (folder / "images").rmdir()
    for part, image_id in (("VG_100K", 1), ("VG_100K_2", 2)):
        (folder / above / part).mkdir(parents=True, exist_ok=True)
        (folder / above / part / f"{image_id}.jpg").write_bytes(b"jpeg")
    images = read(folder, **({"images": above} if above == "photos/vg" else {}))
    found = [image.file for image in images if (folder / image.file).is_file()]
    assert [Path(file).name for file in found] == ["1.jpg", "2.jpg"]
    assert images[2].file.endswith("/10.jpg")


def test_name_that_the_system_refuses_does_not_stop_the_stream(folder: Path) -> None:
    (folder / "VG_100K").mkdir()
    write_tasks(folder, [make_task(image_id, 0) for image_id in (1, "x" * 5000, "../../etc/passwd", "\0")])
    assert len(read(folder)) == 4


@pytest.mark.parametrize(
    ("name", "value", "attribute"),
    [
        ("phrase", 7, "phrase"),
        ("phrase", None, "phrase"),
        ("task_id", None, "annotation_id"),
        ("Polygons", "none", "polygons"),
        ("Polygons", [3], "polygons"),
        ("instance_boxes", [["a", 0, 1, 1]], "box"),
        ("instance_boxes", {"x": 1}, "box"),
    ],
)
def test_malformed_value_is_handed_on(folder: Path, name: str, value: Any, attribute: str) -> None:
    write_tasks(folder, [make_task(1, 0, **{name: value}), make_task(1, 1)])
    (image,) = read(folder)
    assert getattr(image.regions[0], attribute) == value
    assert image.regions[1] == phrase_region(make_task(1, 1))


def test_not_a_number_stays_one(folder: Path) -> None:
    polygons = [[[[math.nan, 1], [2, 3], [4, 5]]]]
    write_tasks(folder, [make_task(1, 0, Polygons=polygons)])
    assert math.isnan(read(folder)[0].regions[0].polygons[0][0][0])


@pytest.mark.parametrize("structure", [None, 5, [], {}, {"attributes": "red", "relation_descriptions": [4]}])
def test_odd_phrase_structure_does_not_stop_the_stream(folder: Path, structure: Any) -> None:
    write_tasks(folder, [make_task(1, 0, phrase_structure=structure), make_task(2, 0)])
    assert [image.source_id for image in read(folder)] == ["1", "2"]


@pytest.mark.parametrize("stray", [None, 5, "text", [1], {}, {"image_id": None}, {"image_id": [1]}, {"image_id": 1.5}])
def test_task_without_image_is_yielded_to_be_refused(folder: Path, stray: Any) -> None:
    write_tasks(folder, [make_task(2, 0), stray, make_task(1, 0)])
    images = read(folder)
    assert [image.source_id for image in images] == ["1", "2", "unknown-1"]
    assert images[-1].file is None
    assert len(images[-1].regions) == isinstance(stray, dict)


def test_wrong_folder_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "VGPhraseCut_v0").mkdir()
    with pytest.raises(SourceError) as caught:
        PhraseCutReader(root=tmp_path).read()
    for part in (*METADATA_FILES, "refer_train.json", "images, VG_100K", str(tmp_path), "VGPhraseCut_v0 as the root"):
        assert part in str(caught.value)
    with pytest.raises(SourceError, match="does not exist"):
        PhraseCutReader(root=tmp_path / "nowhere").read()
    with pytest.raises(SourceError, match="got none"):
        PhraseCutReader(root=None).read()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"task_id": "1"', "is not"),
        (b'{"tasks": []}', "must be a list"),
        (b"", "must be a list"),
        (b"[1 2]", "expected ',' or ']'"),
        (b"[1] 2", "after the end"),
        (b'["\xff\xfe"]', "byte 2"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "digit"),
    ],
)
def test_file_that_is_no_json_is_one_sentence(folder: Path, data: bytes, message: str) -> None:
    (folder / "refer_train.json").write_bytes(data)
    with pytest.raises(SourceError, match=message) as caught:
        PhraseCutReader(root=folder).read()
    assert "\n" not in str(caught.value) and "refer_train.json" in str(caught.value)


def test_unknown_options_name_the_choices() -> None:
    with pytest.raises(SourceError, match="images, licence, split"):
        PhraseCutReader(root=None, options={"spilt": "train"})
    with pytest.raises(SourceError, match="train, val, test, miniv"):
        PhraseCutReader(root=None, options={"split": "testA"})


def test_registry_knows_every_kind(tmp_path: Path) -> None:
    reader = make_reader("phrasecut", "my phrases", tmp_path, {"split": "val"})
    assert (reader.name, reader.root) == ("my phrases", tmp_path)
    assert reader.options == {"split": "val", "licence": None, "images": None}
    assert reader.polygon_rule == "phrasecut"
    with pytest.raises(SourceError, match=re.escape(", ".join(sorted(READERS)))):
        make_reader("phrasecutt", "x", tmp_path, {})


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(st.lists(values, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_array_equals_json_load(tmp_path_factory: Any, items: list[Any], indent: int | None, ascii_only: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "array.json"
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    records = JsonRecords(path, "a list")
    found = list(records.array())
    assert [value for _, value in found] == items
    assert [records.decode(span) for span, _ in found] == items


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers() | st.text("ab"))))
def test_members_equal_json_load(tmp_path_factory: Any, table: dict[str, list[Any]]) -> None:
    path = tmp_path_factory.getbasetemp() / "object.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    streamed = frozenset(sorted(table)[::2])
    found: dict[str, Any] = {key: [] for key in streamed}
    for key, _, value in JsonRecords(path, "an object").members(streamed):
        if key in streamed:
            found[key].append(value)
        else:
            found[key] = value
    assert found == table


@pytest.mark.parametrize(
    "text", ["{", '{"a"', '{"a":', '{"a": [1', '{"a": [1,', '{"a": [1] ', '{"a": 1} x', "[1]", "{1: 2}"]
)
def test_torn_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "torn.json"
    path.write_text(text)
    with pytest.raises(SourceError):
        list(JsonRecords(path, "an object").members(frozenset({"a"})))
