"""The OpenImages reader: masks of another size, certain phrases, layouts, hostile tables, memory; genuine headers."""

import csv
import json
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalog.errors import SourceError
from catalog.images import resize_mask
from catalog.masks import decode_mask
from tasks.readers.openimages import OpenImagesReader
from tasks.readers.openimages_classes import read_ancestors, read_names, spoken_name
from tasks.readers.openimages_tables import MAX_ROWS

PERSON, MAN, DOG, HOUSE = "/m/01g317", "/m/04yx4", "/m/0bt9lr", "/m/03jm5"
NAMES = {PERSON: "Person", MAN: "Man", DOG: "Dog", HOUSE: "Tree house (Building)"}
HIERARCHY = {
    "LabelName": "/m/0bl9f",
    "Subcategory": [
        {"LabelName": PERSON, "Subcategory": [{"LabelName": MAN}], "Part": [{"LabelName": "/m/0dzct"}]},
        {"LabelName": DOG},
        {"LabelName": HOUSE},
    ],
}
MASKS = "train-annotations-object-segmentation.csv"
BOXES = "oidv6-train-annotations-bbox.csv"
PHOTOS = "train-images-boxable-with-rotation.csv"
CLASSES = "oidv7-class-descriptions-boxable.csv"
LICENCE = "https://creativecommons.org/licenses/by/2.0/"
MASK_HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
BOX_HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)
PHOTO_HEADER = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,"
    "OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation"
)
WIDTH, HEIGHT = 100, 60
IMAGE = "000a1c2d3e4f5061"


class Writer:
    """A small dataset, object by object."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.masks: list[list[Any]] = []
        self.boxes: list[list[Any]] = []
        self.photos: list[list[Any]] = []

    def photo(self, image: str = IMAGE, folder: str = "images/train", exif: int | None = None) -> None:
        path = self.root / folder / f"{image}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = Image.Exif()
        if exif:
            data[0x0112] = exif
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(path, exif=data)
        self.photos.append([image, "train", "u", "l", LICENCE, "p", "A", 'A "title",\nof two lines', 1, "m", "t", 0])

    def box(self, label: str, x: float, image: str = IMAGE, width: float = 0.2, **flags: str) -> None:
        values = [flags.get(name, "0") for name in ("occluded", "truncated", "group", "depiction", "inside")]
        self.boxes.append([image, "xclick", label, 1, f"{x:.6f}", f"{x + width:.6f}", "0.250000", "0.750000", *values])

    def mask(
        self, label: str, x: float, identity: str, image: str = IMAGE, size: tuple[int, int] = (80, 48), **given: Any
    ) -> np.ndarray:
        """A mask drawn on a copy of ``size`` (width, height); returns it."""
        pixels = np.zeros((size[1], size[0]), bool)
        pixels[size[1] // 4 : size[1] * 3 // 4, int(x * size[0]) : int((x + 0.2) * size[0])] = True
        name = given.get("path", f"{image}_{label[1:].replace('/', '')}_{identity}.png")
        self.masks.append([name, image, label, identity, x, x + 0.2, 0.25, 0.75, 0.9, "0.5 0.5 1;0.4 0.4 0"])
        path = self.root / given.get("folder", "masks/train") / Path(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return pixels

    def write(self, folder: str = "annotations") -> Path:
        to = self.root / folder
        to.mkdir(parents=True, exist_ok=True)
        for name, header, rows in (
            (MASKS, MASK_HEADER, self.masks),
            (BOXES, BOX_HEADER, self.boxes),
            (PHOTOS, PHOTO_HEADER, self.photos),
        ):
            with (to / name).open("w", newline="") as stream:
                csv.writer(stream).writerows([header.split(","), *rows])
        (to / CLASSES).write_text("LabelName,DisplayName\n" + "".join(f"{k},{v}\n" for k, v in NAMES.items()))
        (to / "bbox_labels_600_hierarchy.json").write_text(json.dumps(HIERARCHY))
        return to


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    writer = Writer(tmp_path)
    writer.photo()
    return writer


def read(root: Path, **options: Any) -> list[Any]:
    return list(OpenImagesReader(root=root, options=options).read())


@pytest.mark.parametrize("size", [(80, 48), (100, 60), (77, 46), (333, 200)])
def test_mask_takes_the_size_of_the_photo(writer: Writer, size: tuple[int, int]) -> None:
    pixels = writer.mask(DOG, 0.1, "9a041d52", size=size)
    writer.box(DOG, 0.1)
    writer.write()
    (image,) = read(writer.root)
    assert (image.source_id, image.file, image.split) == (IMAGE, f"images/train/{IMAGE}.jpg", "train")
    assert (image.width, image.height, image.licence) == (WIDTH, HEIGHT, LICENCE)
    (region,) = image.regions
    assert (region.annotation_id, region.label, region.phrase) == ("9a041d52", "dog", "dog")
    assert np.array_equal(decode_mask(region.mask), resize_mask(pixels, WIDTH, HEIGHT))
    assert region.box == pytest.approx([10, 15, 20, 30], abs=1e-9)


def test_mask_of_another_shape_keeps_its_own_size(writer: Writer) -> None:
    writer.mask(DOG, 0.1, "a", size=(60, 60))
    writer.write()
    assert read(writer.root)[0].regions[0].mask["size"] == [60, 60]


@pytest.mark.parametrize(
    ("objects", "phrases"),
    [
        ([(DOG, 0.1, {})], ["dog"]),
        ([(DOG, 0.1, {}), (DOG, 0.6, {})], ["left dog", "right dog"]),
        ([(DOG, 0.1, {"group": "1"}), (DOG, 0.6, {})], [None, None]),
        ([(DOG, 0.1, {"depiction": "1"}), (DOG, 0.6, {})], [None, "right dog"]),
        ([(DOG, 0.1, {"group": "-1", "depiction": "-1"})], ["dog"]),
        ([(PERSON, 0.1, {}), (MAN, 0.6, {})], [None, None]),
        ([(MAN, 0.1, {}), (DOG, 0.6, {})], ["man", "dog"]),
        ([(HOUSE, 0.1, {}), (DOG, 0.6, {})], ["tree house", "dog"]),
        ([("/m/unknown", 0.1, {}), (DOG, 0.6, {})], [None, "dog"]),
    ],
)
def test_phrases_only_where_certain(writer: Writer, objects: list[Any], phrases: list[str | None]) -> None:
    for number, (label, x, flags) in enumerate(objects):
        writer.mask(label, x, str(number))
        writer.box(label, x + 0.001, **flags)
    writer.write()
    regions = {region.annotation_id: region for region in read(writer.root)[0].regions}
    assert [regions[str(number)].phrase for number in range(len(objects))] == phrases
    assert [regions[str(n)].is_crowd for n in range(len(objects))] == [o[2].get("group") == "1" for o in objects]


def test_boxes_without_masks_are_rivals(writer: Writer) -> None:
    writer.mask(DOG, 0.1, "a")
    for x in (0.1, 0.4, 0.7):
        writer.box(DOG, x)
    writer.write()
    (region,) = read(writer.root)[0].regions
    assert region.phrase == "leftmost dog"


def test_boxes_on_request(writer: Writer) -> None:
    writer.box(DOG, 0.1)
    writer.box(MAN, 0.6, group="1")
    (writer.write() / MASKS).unlink()
    (image,) = read(writer.root, regions="boxes")
    assert {region.label: (region.phrase, region.is_crowd) for region in image.regions} == {
        "dog": ("dog", False),
        "man": (None, True),
    }
    assert all(region.mask is None for region in image.regions)
    assert [len(set(region.annotation_id for region in image.regions)), len(image.regions)] == [2, 2]


def test_one_record_per_photo_whatever_the_order(tmp_path: Path) -> None:
    """Against a naive grouping; photos without a mask are left out; shuffled tables give the same records."""
    naive: dict[str, list[str]] = {}
    found = []
    for seed in range(2):
        writer = Writer(tmp_path / str(seed))
        ids = [f"{random.Random(number).getrandbits(64):016x}" for number in range(30)]
        for number, image in enumerate(ids):
            writer.photo(image)
            for k in range(number % 4):
                writer.mask(DOG, 0.2 * k, f"{number:04x}{k:04x}", image)
            for k in range(4):
                writer.box(DOG, 0.2 * k, image)
        for rows in (writer.masks, writer.boxes, writer.photos):
            random.Random(seed).shuffle(rows)
        writer.write()
        naive = {}
        for row in writer.masks:
            naive.setdefault(row[1], []).append(row[3])
        found.append(read(writer.root))
    assert found[0] == found[1]
    assert [image.source_id for image in found[0]] == sorted(naive)
    for image in found[0]:
        assert sorted(region.annotation_id for region in image.regions) == sorted(naive[image.source_id])


@pytest.mark.parametrize(
    ("tables", "photos", "masks"),
    [
        (".", "train", "train-masks"),
        ("annotations", "images", "masks"),
        ("csv", "train/data", f"masks/train/train-masks-{IMAGE[0]}"),
        ("annotations", ".", f"train-masks-{IMAGE[0]}"),
    ],
)
def test_layouts_are_found(tmp_path: Path, tables: str, photos: str, masks: str) -> None:
    writer = Writer(tmp_path)
    writer.photo(folder=photos)
    writer.mask(DOG, 0.1, "a", folder=masks)
    writer.write(tables)
    (image,) = read(tmp_path)
    assert (tmp_path / image.file).is_file() and isinstance(image.regions[0].mask, dict)


def test_fiftyone_layout_and_given_folders(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.photo(folder="data")
    writer.mask(DOG, 0.1, "a", folder=f"labels/masks/{IMAGE[0].upper()}")
    to = writer.write("labels")
    (tmp_path / "metadata").mkdir()
    for old, new in ((MASKS, "labels/segmentations.csv"), (BOXES, "labels/detections.csv")):
        (to / old).rename(tmp_path / new)
    for old, new in ((CLASSES, "classes.csv"), (PHOTOS, "image_ids.csv")):
        (to / old).rename(tmp_path / "metadata" / new)
    (to / "bbox_labels_600_hierarchy.json").rename(tmp_path / "metadata" / "hierarchy.json")
    assert isinstance(read(tmp_path)[0].regions[0].mask, dict)
    (tmp_path / "data").rename(tmp_path / "photos {1}")
    assert read(tmp_path, images="photos {1}")[0].file == f"photos {{1}}/{IMAGE}.jpg"
    with pytest.raises(SourceError, match="Option masks of reader openimages must be a folder"):
        read(tmp_path, images="photos {1}", masks="nowhere")


def test_folder_with_wildcards_in_its_name(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "open[images]*")
    writer.photo()
    writer.mask(DOG, 0.1, "a")
    writer.write()
    assert len(read(writer.root)) == 1


@pytest.mark.parametrize(
    ("path", "data", "problem"),
    [
        ("none.png", None, "missing_file"),
        ("../../outside.png", None, "plain name"),
        ("/etc/x.png", None, "plain name"),
        ("mask.jpg", None, "plain name"),
        ("", None, "plain name"),
        ("empty.png", b"", "empty_file"),
        ("text.png", b"no picture", "not_an_image"),
        ("torn.png", "torn", "truncated_image"),
        ("huge.png", "huge", "too_many_pixels"),
    ],
)
def test_mask_that_cannot_be_read_says_so(writer: Writer, path: str, data: Any, problem: str) -> None:
    writer.mask(DOG, 0.1, "a")
    writer.masks[0][0] = path
    writer.mask(MAN, 0.6, "b", size=(500, 300))
    png = next((writer.root / "masks" / "train").glob("*_b.png")).read_bytes()
    if data == "torn":
        data = png[: len(png) // 2]
    elif data == "huge":
        chunk = b"IHDR" + struct.pack(">II", 60_000, 60_000) + png[24:29]
        data = png[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    if data is not None:
        (writer.root / "masks" / "train" / path).write_bytes(data)
    writer.write()
    regions = {region.annotation_id: region for region in read(writer.root)[0].regions}
    assert isinstance(regions["a"].mask, str) and problem in regions["a"].mask
    assert isinstance(regions["b"].mask, dict)


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_photo_that_its_metadata_turns(tmp_path: Path, orientation: int) -> None:
    writer = Writer(tmp_path)
    writer.photo(exif=orientation)
    writer.mask(DOG, 0.1, "a")
    writer.write()
    (region,) = read(tmp_path)[0].regions
    assert "EXIF" in region.mask and isinstance(region.box, str)


@pytest.mark.parametrize("image", ["../../etc/passwd", "a/b", "", "x" * 5000, "\0"])
def test_odd_image_id_does_not_stop_the_stream(writer: Writer, image: str) -> None:
    writer.mask(DOG, 0.1, "a")
    writer.masks.append(["x.png", image, DOG, "b", 0, 1, 0, 1, "", ""])
    writer.write()
    images = read(writer.root)
    assert len(images) == 2
    odd = next(image for image in images if image.source_id != IMAGE)
    assert odd.file == (image or None) and isinstance(odd.regions[0].mask, str)


def test_photo_that_is_missing_or_no_number(writer: Writer) -> None:
    writer.mask(DOG, 0.1, "a")
    writer.mask(DOG, 0.1, "b", "ffff000000000000")
    writer.masks[0][4] = "left"
    writer.write()
    sound, missing = read(writer.root)
    assert sound.regions[0].box == "the box must be four numbers" and isinstance(sound.regions[0].mask, dict)
    assert (missing.width, missing.licence) == (None, None) and isinstance(missing.regions[0].mask, str)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (MASKS, lambda data: data[:-40], "Expected Number of Columns"),
        (BOXES, lambda data: data + b"x,1\r\n", "Expected Number of Columns"),
        (BOXES, lambda data: data.replace(b"/m/", b"\xff\xfe/"), "Invalid unicode"),
        (PHOTOS, lambda data: b"", "lacks ImageID"),
        (BOXES, lambda data: data.replace(b"XMin", b"Left"), "lacks XMin"),
        (BOXES, lambda data: b"\x89PNG" + b"\xff" * 999, "UTF-8"),
        (MASKS, lambda data: data + b'"' + b"x" * (5 << 20) + b"\r\n", "CSV"),
        (CLASSES, lambda data: b"nothing", "has none"),
        ("bbox_labels_600_hierarchy.json", lambda data: b"[]", "Subcategory"),
        ("bbox_labels_600_hierarchy.json", lambda data: data[:-9], "must be JSON"),
    ],
)
def test_damaged_table_is_one_sentence(writer: Writer, name: str, damage: Any, message: str) -> None:
    writer.mask(DOG, 0.1, "a")
    writer.box(DOG, 0.1)
    path = writer.write() / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=message) as caught:
        read(writer.root)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_too_many_rows_of_one_photo(writer: Writer) -> None:
    writer.mask(DOG, 0.1, "a")
    for _ in range(MAX_ROWS + 1):
        writer.box(DOG, 0.1)
    writer.write()
    with pytest.raises(SourceError, match=f"at most {MAX_ROWS} rows"):
        read(writer.root)


def test_refusals_name_what_was_looked_for_and_where(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path)
    for part in (
        MASKS,
        BOXES,
        PHOTOS,
        "class-descriptions-boxable.csv",
        "hierarchy.json",
        str(tmp_path),
        "annotations",
    ):
        assert part in str(caught.value)
    writer = Writer(tmp_path)
    writer.write()
    with pytest.raises(SourceError, match=r"\.png files.*looked in masks/train, train-masks"):
        read(tmp_path)
    writer.mask(DOG, 0.1, "a")
    with pytest.raises(SourceError, match=r"\.jpg files.*looked in images/train, train"):
        read(tmp_path)
    with pytest.raises(SourceError, match="existing folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="train, validation, test"):
        read(tmp_path, split="val")
    with pytest.raises(SourceError, match="masks, boxes"):
        read(tmp_path, regions="points")


def test_names_as_spoken() -> None:
    names = ["Human face", "Bat (Animal)", "French fries", "Christmas tree", "T-shirt", "Kitchen & dining room table"]
    assert [spoken_name(name) for name in names] == [
        "human face",
        "bat",
        "French fries",
        "Christmas tree",
        "T-shirt",
        "kitchen & dining room table",
    ]


PEAK = """
import resource, sys
from pathlib import Path
from tasks.readers.openimages import OpenImagesReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = sum(1 for _ in OpenImagesReader(root=Path(sys.argv[1])).read())
print(images, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_tables(tmp_path: Path) -> None:
    """70,000 photos, 210,000 masks, 560,000 boxes: within the sort's limit and its read buffers."""
    writer = Writer(tmp_path)
    writer.photo()
    writer.mask(DOG, 0.1, "a")
    to = writer.write()
    rng = random.Random(0)
    ids = [f"{rng.getrandbits(64):016x}" for _ in range(70_000)]
    # Ends of lines as the csv module writes them: DuckDB refuses a file of two kinds.
    tables = ((to / name).open("a", newline="\r\n") for name in (MASKS, BOXES, PHOTOS))
    with next(tables) as masks, next(tables) as boxes, next(tables) as photos:
        for image in ids:
            photos.write(f"{image},train,u,l,{LICENCE},p,An author,A title of some length,1,m,t,0\n")
            for k in range(8):
                sides = f"{k / 10},{k / 10 + 0.05},0.2,0.4"
                boxes.write(f"{image},xclick,{DOG},1,{sides},0,0,0,0,0\n")
                if k < 3:
                    masks.write(f"{image}_m0_{k}.png,{image},{DOG},{k:08x},{sides},0.8,{'0.954 0.651 1;' * 12}\n")
    result = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], check=True, capture_output=True, text=True)
    images, kibibytes = map(int, result.stdout.split())
    assert images == 70_001
    assert kibibytes < 640 << 10


def test_genuine_headers_rows_and_names(shared_data: Path, tmp_path: Path) -> None:
    """Rows of the published tables: no photo is here, so every region waits for ingest to say so."""
    sample = shared_data / "openimages_format"
    if not sample.is_dir():
        pytest.skip("this sample is not here")
    for name in (MASKS, BOXES, "oidv6-class-descriptions-boxable.csv"):
        (tmp_path / name).write_bytes((sample / "real_rows" / name).read_bytes())
    (tmp_path / PHOTOS).write_text(PHOTO_HEADER + "\n")
    (tmp_path / "hierarchy.json").write_text(json.dumps(HIERARCHY))
    writer = Writer(tmp_path)
    writer.photo("x")
    writer.mask(DOG, 0.1, "x")
    images = read(tmp_path)
    assert len(images) >= 3 and all(len(image.source_id) == 16 for image in images)
    assert {region.annotation_id for image in images for region in image.regions} >= {"9a041d52", "b1115fd0"}
    assert read_names(tmp_path / "oidv6-class-descriptions-boxable.csv")["/m/011k07"] == "tortoise"
    assert read_ancestors(tmp_path / "hierarchy.json")[MAN] == {PERSON}
    boxes = read(tmp_path, regions="boxes")
    assert [image.source_id for image in boxes] == ["000002b66c9c498e"]
