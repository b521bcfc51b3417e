"""The SA-1B reader: folders and tars alike, order, hostile records and archives, memory; and the real sample."""

import io
import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from catalog.errors import RowRejected, SourceError
from catalog.masks import decode_mask
from catalog.source_files import read_source_file
from tasks.readers import sa1b_record
from tasks.readers.sa1b import Sa1bReader
from tasks.source_images import read_bytes

SIZE = (48, 64)


def make_record(number: int, num_masks: int = 2, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    annotations = []
    for index in range(num_masks):
        mask = np.zeros(SIZE, np.uint8)
        top, left = rng.integers(0, 24, 2)
        mask[top : top + 20, left : left + 20] = 1
        code = coco_mask.encode(np.asfortranarray(mask))
        annotations.append(
            {
                "id": number * 1000 + index,
                "segmentation": {"size": list(SIZE), "counts": code["counts"].decode()},
                "bbox": [int(left), int(top), 20, 20],
                "area": 400,
                "predicted_iou": 0.9,
                "stability_score": 0.97,
                "crop_box": [0, 0, 64, 48],
                "point_coords": [[int(left) + 3.5, int(top) + 3.5]],
            }
        )
    image = {"image_id": number, "width": SIZE[1], "height": SIZE[0], "file_name": f"sa_{number}.jpg"}
    return {"image": image, "annotations": annotations, **changes}


def photo(number: int) -> bytes:
    return b"\xff\xd8\xff" + number.to_bytes(4, "big") * 7


def write_folder(folder: Path, numbers: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"sa_{number}.json").write_text(json.dumps(make_record(number)))
        (folder / f"sa_{number}.jpg").write_bytes(photo(number))


def write_tar(path: Path, members: dict[str, bytes], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def packed_members(numbers: list[int], inner: str = "") -> dict[str, bytes]:
    members = {f"{inner}sa_{number}.jpg": photo(number) for number in numbers}
    return members | {f"{inner}sa_{number}.json": json.dumps(make_record(number)).encode() for number in numbers}


def read(root: Path, **options: Any) -> list[Any]:
    return list(Sa1bReader(root=root, options=options).read())


def test_record_becomes_regions_without_words(tmp_path: Path) -> None:
    write_folder(tmp_path, [7])
    (image,) = read(tmp_path)
    record = make_record(7)
    assert (image.source_id, image.file, image.width, image.height) == ("7", "sa_7.jpg", 64, 48)
    assert image.licence == "SA-1B Dataset Research License" and image.split is None
    assert [region.annotation_id for region in image.regions] == ["7000", "7001"]
    for region, entry in zip(image.regions, record["annotations"], strict=True):
        assert (region.phrase, region.label, region.box) == (None, None, entry["bbox"])
        assert int(decode_mask(region.mask).sum()) == entry["area"]


def test_order_is_by_folder_then_number(tmp_path: Path) -> None:
    folders = {"": [12, 3], "sa_000001": [100, 20, 9], "sa_000000/sa_000000": [5]}
    for folder, numbers in folders.items():
        write_folder(tmp_path / folder, numbers)
    (tmp_path / "sa_000001" / "b.json").write_text(json.dumps(make_record(1)))
    (tmp_path / "sa_000001" / "sa_007.json").write_text(json.dumps(make_record(8)))
    (tmp_path / "sa_000001" / "notes.txt").write_text("x")
    assert [(image.source_id, image.file) for image in read(tmp_path)] == [
        ("3", "sa_3.jpg"),
        ("12", "sa_12.jpg"),
        ("5", "sa_000000/sa_000000/sa_5.jpg"),
        ("9", "sa_000001/sa_9.jpg"),
        ("20", "sa_000001/sa_20.jpg"),
        ("100", "sa_000001/sa_100.jpg"),
        ("1", "sa_000001/sa_1.jpg"),
        ("8", "sa_000001/sa_8.jpg"),
    ]


@pytest.mark.parametrize("inner", ["", "sa_000000/", "./"])
@pytest.mark.parametrize("options", [{}, {"format": tarfile.PAX_FORMAT, "pax_headers": {"comment": "x"}}])
def test_tar_equals_its_folder(tmp_path: Path, inner: str, options: dict[str, Any]) -> None:
    numbers = [12, 3, 100]
    write_folder(tmp_path / "folder", numbers)
    members = list(packed_members(numbers, inner).items())
    random.Random(0).shuffle(members)
    write_tar(tmp_path / "packed" / "sa_000000.tar", dict(members), **options)
    reader = Sa1bReader(root=tmp_path / "packed", options={"packed": True})
    packed, plain = list(reader.read()), read(tmp_path / "folder")
    assert [image.regions for image in packed] == [image.regions for image in plain]
    for image, other in zip(packed, plain, strict=True):
        assert (image.source_id, image.width, image.licence) == (other.source_id, other.width, other.licence)
        assert reader.locate(image.file).path == "sa_000000.tar"  # referenced in place, nothing is copied
        assert read_bytes(reader, image.file) == read_source_file(tmp_path / "folder", other.file)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\n", "JSON"),
        (b'{"image": {"image_id": 1', "JSON"),
        (b"[]", "must hold an image"),
        (b'{"image": 5}', "must hold an image"),
        (b'{"image": {}}', "list its annotations"),
        (b'{"image": {}, "annotations": {}}', "list its annotations"),
        (b'{"image": {}, "annotations": [5]}', "must be an object"),
        (b"\xff\xff\xff", "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"image": ' + b"1" * 5000 + b"}", "JSON"),
    ],
)
def test_broken_record_does_not_stop_the_stream(tmp_path: Path, data: bytes, problem: str) -> None:
    write_folder(tmp_path / "folder", [3])
    (tmp_path / "folder" / "sa_2.json").write_bytes(data)
    write_tar(tmp_path / "packed" / "a.tar", {"sa_2.json": data, **packed_members([3])})
    for images in (read(tmp_path / "folder"), read(tmp_path / "packed", packed=True)):
        broken, sound = images
        assert broken.source_id == "sa_2" and broken.regions[0].annotation_id is None
        assert problem in broken.regions[0].mask
        assert [region.annotation_id for region in sound.regions] == ["3000", "3001"]


def test_record_that_is_too_large_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "folder", [2])
    write_tar(tmp_path / "packed" / "a.tar", packed_members([2]))
    for module in ("sa1b", "sa1b_archive"):
        monkeypatch.setattr(sys.modules[f"tasks.readers.{module}"], "MAX_RECORD_BYTES", 100)
    assert sa1b_record.MAX_RECORD_BYTES > 100
    for images in (read(tmp_path / "folder"), read(tmp_path / "packed", packed=True)):
        assert "at most 100" in images[0].regions[0].mask


@pytest.mark.parametrize(
    ("changes", "file"),
    [
        ({"file_name": "../../outside.jpg"}, "../../outside.jpg"),
        ({"file_name": "/etc/passwd"}, "/etc/passwd"),
        ({"file_name": 5}, 5),
        ({"image_id": "2"}, "sa_2.jpg"),
        ({"width": "wide"}, "sa_2.jpg"),
    ],
)
def test_odd_image_is_handed_on(tmp_path: Path, changes: dict[str, Any], file: Any) -> None:
    write_folder(tmp_path, [2])
    record = make_record(2)
    record["image"] |= changes
    (tmp_path / "sa_2.json").write_text(json.dumps(record))
    (image,) = read(tmp_path)
    assert image.source_id == ("sa_2" if "image_id" in changes else "2")
    assert image.file == file


def test_packed_photo_is_the_one_beside_its_record(tmp_path: Path) -> None:
    """A record cannot claim another's photo, nor a file outside its archive."""
    members = packed_members([2])
    for number, name in ((3, "sa_2.jpg"), (4, "../../sa_2.jpg")):
        record = make_record(number)
        record["image"]["file_name"] = name
        members[f"sa_{number}.json"] = json.dumps(record).encode()
    write_tar(tmp_path / "a.tar", members)
    reader = Sa1bReader(root=tmp_path, options={"packed": True})
    files = [image.file for image in reader.read()]
    assert read_bytes(reader, files[0]) == photo(2)
    for file in files[1:]:
        with pytest.raises(RowRejected, match="missing_file"):
            read_bytes(reader, file)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("a.tar#512+0/x.jpg", "empty_file"),
        ("a.tar#512+99999999999/x.jpg", "file_too_large"),
        ("a.tar#99999999+10/x.jpg", "changed_file"),
        ("gone.tar#512+10/x.jpg", "missing_file"),
        ("../a.tar#512+10/x.jpg", "path_escape"),
        ("/etc/a.tar#512+10/x.jpg", "path_escape"),
        ("link.tar#512+10/x.jpg", "path_escape"),
        ("folder.tar#512+10/x.jpg", "unreadable_file"),
        ("\0.tar#512+10/x.jpg", "path_escape"),
        ("x.jpg", "missing_file"),
    ],
)
def test_photo_that_cannot_be_read_says_why(tmp_path: Path, file: str, reason: str) -> None:
    root = tmp_path / "root"
    write_tar(root / "a.tar", packed_members([2]))
    write_tar(tmp_path / "a.tar", packed_members([2]))
    (root / "link.tar").symlink_to(tmp_path / "a.tar")
    (root / "folder.tar").mkdir()
    with pytest.raises(RowRejected) as caught:
        read_bytes(Sa1bReader(root=root, options={"packed": True}), file)
    assert str(caught.value.reason) == reason


def _torn(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:700])


def _huge_name(path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path.write_bytes(info.tobuf() + bytes(10240))


def _huge_member(path: Path) -> None:
    info = tarfile.TarInfo("sa_1.json")
    info.size = 1 << 62
    path.write_bytes(info.tobuf() + bytes(10240))


def _backwards(path: Path) -> None:
    info = tarfile.TarInfo("sa_1.json")
    info.size = 512
    header = bytearray(info.tobuf())
    header[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    path.write_bytes(bytes(header) + bytes(10240))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "damage",
    [
        _torn,
        _huge_name,
        _huge_member,
        _backwards,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("x"),
    ],
)
def test_archive_that_is_no_tar_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    write_tar(tmp_path / "sa_000000.tar", packed_members([2, 3]))
    damage(tmp_path / "sa_000000.tar")
    with pytest.raises(SourceError, match=r"sa_000000\.tar") as caught:
        read(tmp_path, packed=True)
    assert "\n" not in str(caught.value)


def test_links_and_loops_are_not_followed(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", [2])
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [image.source_id for image in read(tmp_path)] == ["2"]


def test_refusals_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has none; give the folder"):
        read(tmp_path)
    write_tar(tmp_path / "sa_000000.tar", packed_members([2]))
    with pytest.raises(SourceError, match=r"found sa_000000\.tar: unpack it, or set the option packed"):
        read(tmp_path)
    write_folder(tmp_path / "folder", [2])
    with pytest.raises(SourceError, match=r"found sa_2\.json: leave out the option packed"):
        read(tmp_path / "folder", packed=True)
    with pytest.raises(SourceError, match="existing folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="existing folder"):
        Sa1bReader(root=None).read()
    with pytest.raises(SourceError, match="true or false"):
        read(tmp_path, packed="yes")
    with pytest.raises(SourceError, match="options packed"):
        read(tmp_path, pack=True)


PEAK = """
import resource, sys
from pathlib import Path
from tasks.readers.sa1b import Sa1bReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = sum(1 for _ in Sa1bReader(root=Path(sys.argv[1]), options={"packed": sys.argv[2] == "packed"}).read())
print(images, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("form", ["folders", "packed"])
def test_memory_does_not_grow_with_the_source(tmp_path: Path, form: str) -> None:
    """20,000 records of 120 KB, all told 2.4 GB of JSON, read within 48 MiB more than the interpreter has."""
    data = json.dumps(make_record(1, 2, padding="x" * 120_000)).encode()
    if form == "folders":
        tmp_path.joinpath("first").write_bytes(data)
        for number in range(20_000):
            folder = tmp_path / "set" / f"sa_{number // 5000:06d}"
            folder.mkdir(parents=True, exist_ok=True)
            os.link(tmp_path / "first", folder / f"sa_{number}.json")  # one file's bytes under every name
    else:
        members = {f"sa_{number}.json": data for number in range(100)}
        write_tar(tmp_path / "first.tar", members)
        for number in range(200):
            (tmp_path / "set").mkdir(exist_ok=True)
            os.link(tmp_path / "first.tar", tmp_path / "set" / f"sa_{number:06d}.tar")
    result = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "set"), form], check=True, capture_output=True, text=True
    )
    images, kibibytes = map(int, result.stdout.split())
    assert images == 20_000
    assert kibibytes < 48 << 10


def test_real_sample_masks_have_their_areas_and_boxes(shared_data: Path) -> None:
    root = shared_data / "sa1b_images" / "derived_from_ade20k"
    if not root.is_dir():
        pytest.skip("this sample is not here")
    images = read(root)
    assert [len(image.regions) for image in images] == [51, 34]
    for image in images:
        assert read_source_file(root, image.file)
        record = json.loads((root / image.file).with_suffix(".json").read_text())
        for region, entry in list(zip(image.regions, record["annotations"], strict=True))[::5]:
            mask = decode_mask(region.mask)
            assert mask.shape == (image.height, image.width)
            assert int(mask.sum()) == entry["area"]
            assert coco_mask.toBbox(entry["segmentation"]).tolist() == region.box
