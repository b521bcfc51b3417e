"""Readers of damaged and clean pictures (GoPro, REDS, SIDD, CLWD): layouts, pairing by name, aligned crops."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listed_pairs import ingest_source, reasons, show
from PIL import Image
from scipy.io import savemat

from catalog.errors import SourceError
from catalog.images import decode_image
from catalog.masks import decode_mask
from tasks.readers import matlab_files, sidd
from tasks.readers.clwd import ClwdReader
from tasks.readers.gopro import GoProReader
from tasks.readers.picture_crops import crop_places
from tasks.readers.reds import RedsReader
from tasks.readers.sidd import SiddReader

READERS = {"gopro": GoProReader, "reds": RedsReader, "sidd": SiddReader, "clwd": ClwdReader}


def picture(seed: int, width: int = 40, height: int = 36) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write(path: Path, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(0) if pixels is None else pixels).save(path)


def read(kind: str, root: Path, **options: Any) -> list[Any]:
    return list(READERS[kind](root=root, options=options).read())


@pytest.mark.parametrize(
    ("kind", "options", "source", "target", "key"),
    [
        ("gopro", {}, "train/G_07_00/blur_gamma/000047.png", "train/G_07_00/sharp/000047.png", "G_07_00/000047"),
        ("gopro", {"blur": "linear"}, "train/G/blur/000047.png", "train/G/sharp/000047.png", "G/000047"),
        ("gopro", {}, "GOPRO_Large/train/G/blur_gamma/1.png", "GOPRO_Large/train/G/sharp/1.png", "G/1"),
        ("gopro", {"split": "test"}, "test/input/G-000001.png", "test/target/G-000001.png", "G-000001"),
        ("gopro", {}, "train/blur/a.png", "train/sharp/a.png", "a"),
        ("gopro", {}, "train/input_crops/a-1.png", "train/target_crops/a-1.png", "a-1"),
        ("reds", {}, "train/train_blur/000/00000000.png", "train/train_sharp/000/00000000.png", "000/00000000"),
        ("reds", {}, "train_blur/000/00000000.png", "train_sharp/000/00000000.png", "000/00000000"),
        ("reds", {}, "train/blur/000/00000000.png", "train/sharp/000/00000000.png", "000/00000000"),
        ("reds", {"split": "val"}, "val/blur/000_00000009.png", "val/sharp/000_00000009.png", "000_00000009"),
        ("reds", {}, "train/input/000_1.png", "train/target/000_1.png", "000_1"),
        ("reds", {"variant": "blur_jpeg"}, "train_blur_jpeg/000/1.jpg", "train_sharp/000/1.png", "000/1"),
        ("reds", {"variant": "blur_comp"}, "train/train_blur_comp/0/1.png", "train/train_sharp/0/1.png", "0/1"),
        (
            "sidd",
            {},
            "Data/0001_S6/0001_NOISY_SRGB_010.PNG",
            "Data/0001_S6/0001_GT_SRGB_010.PNG",
            "0001_S6/0001_SRGB_010",
        ),
        (
            "sidd",
            {},
            "SIDD_Medium_Srgb/Data/1/1_NOISY_SRGB_011.PNG",
            "SIDD_Medium_Srgb/Data/1/1_GT_SRGB_011.PNG",
            "1/1_SRGB_011",
        ),
        ("sidd", {}, "train/input/0001_NOISY_SRGB_010.PNG", "train/gt/0001_GT_SRGB_010.PNG", "0001_SRGB_010"),
        ("sidd", {"split": "val"}, "val/noisy/3.png", "val/gt/3.png", "3"),
        ("sidd", {}, "train/input/a.png", "train/groundtruth/a.png", "a"),
        (
            "sidd",
            {},
            "train/input_crops/1_NOISY_SRGB_010-7.png",
            "train/target_crops/1_NOISY_SRGB_010-7.png",
            "1_SRGB_010-7",
        ),
        ("sidd", {}, "train/SIDD/input_crops/1-7.png", "train/SIDD/target_crops/1-7.png", "1-7"),
        ("clwd", {}, "train/Watermarked_image/7.jpg", "train/Watermark_free_image/7.jpg", "7"),
        ("clwd", {"split": "test"}, "test/Watermarked_image/7.jpg", "test/Watermark_free_image/7.jpg", "7"),
    ],
)
def test_layouts(tmp_path: Path, kind: str, options: dict[str, Any], source: str, target: str, key: str) -> None:
    write(tmp_path / source)
    write(tmp_path / target)
    (pair,) = read(kind, tmp_path, **options)
    assert (pair.source_id, pair.file, pair.target_file) == (key, source, target)
    assert pair.vision_task == "image_enhancement" and pair.instruction is None and pair.licence
    assert pair.edit_type == {"sidd": "denoising", "clwd": "watermark_removal"}.get(kind, "deblurring")
    assert pair.split == options.get("split", "train")


def test_pairs_are_joined_by_name_and_orphans_refused(tmp_path: Path) -> None:
    """The two sorted listings differ by one file in the middle: joined by position, all after it would be wrong."""
    clean = {name: picture(number) for number, name in enumerate("abcde")}
    for name, pixels in clean.items():
        if name != "b":
            write(tmp_path / "root" / "train" / "input" / f"{name}.png", 255 - pixels)
        if name != "d":
            write(tmp_path / "root" / "train" / "target" / f"{name}.png", pixels)
    rows = ingest_source(tmp_path / "home", "gopro", tmp_path / "root")
    assert reasons(rows) == [None, "missing_file", None, "missing_file", None]
    assert "train/input/b.png" in rows[1]["detail"] and "train/target/d.png" in rows[3]["detail"]
    for row, name in zip(rows, "abcde", strict=True):
        if row["reason"] is None:
            assert row["source_image"]["path"] == f"train/input/{name}.png"  # where it is, nothing copied
            assert np.array_equal(show(tmp_path / "home", row["source_image"]), 255 - clean[name])
            assert np.array_equal(show(tmp_path / "home", row["target_image"]), clean[name])


@pytest.mark.parametrize("side", [32, 48, 64])
@pytest.mark.parametrize("stride", [None, 32])
def test_crops_are_of_the_same_place(tmp_path: Path, side: int, stride: int | None) -> None:
    noisy, clean = picture(1, 100, 70), picture(2, 100, 70)
    write(tmp_path / "root/Data/0001/0001_NOISY_SRGB_010.PNG", noisy)
    write(tmp_path / "root/Data/0001/0001_GT_SRGB_010.PNG", clean)
    options = {"crop": side} | ({"stride": stride} if stride else {})
    rows = ingest_source(tmp_path / "home", "sidd", tmp_path / "root", **options)
    covered = np.zeros(clean.shape[:2], bool)
    for row in rows:
        assert row["reason"] is None
        x, y = map(int, re.search(r"@(\d+),(\d+)$", row["region_id"]).groups())
        place = np.s_[y : y + side, x : x + side]
        assert np.array_equal(show(tmp_path / "home", row["source_image"]), noisy[place])
        assert np.array_equal(show(tmp_path / "home", row["target_image"]), clean[place])
        covered[place] = True
    assert len(rows) == len(
        crop_places(tmp_path / "root", *2 * ["Data/0001/0001_GT_SRGB_010.PNG"], side, stride or side)
    )
    assert covered.all() == (stride is None or stride <= side)
    assert len({row["group_id"] for row in rows}) == 1  # all of one photo, which is its group


def test_pair_of_two_sizes_is_refused_not_cropped(tmp_path: Path) -> None:
    write(tmp_path / "root/train/input/a.png", picture(1, 100, 70))
    write(tmp_path / "root/train/target/a.png", picture(1, 100, 72))
    write(tmp_path / "root/train/input/small.png", picture(1, 33, 70))
    write(tmp_path / "root/train/target/small.png", picture(2, 33, 70))
    rows = ingest_source(tmp_path / "home", "reds", tmp_path / "root", crop=48)
    assert reasons(rows) == ["size_mismatch", None]
    assert rows[1]["source_image"]["width"] == 33  # narrower than a crop: whole


def test_sidd_validation_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidd, "_BLOCKS_SHAPE", (2, 3, 32, 48, 3))
    blocks = {
        name: np.random.default_rng(i).integers(0, 256, (2, 3, 32, 48, 3), np.uint8) for i, name in enumerate("nc")
    }
    (tmp_path / "root").mkdir()
    for name, word in (("n", "Noisy"), ("c", "Gt")):
        variable = f"Validation{word}BlocksSrgb"
        savemat(tmp_path / "root" / f"{variable}.mat", {variable: blocks[name]}, do_compression=True)
    rows = ingest_source(tmp_path / "home", "sidd", tmp_path / "root", split="val")
    assert reasons(rows) == [None] * 6
    for number, row in enumerate(rows):
        assert np.array_equal(show(tmp_path / "home", row["source_image"]), blocks["n"][number // 3, number % 3])
        assert np.array_equal(show(tmp_path / "home", row["target_image"]), blocks["c"][number // 3, number % 3])
    savemat(tmp_path / "root" / "ValidationGtBlocksSrgb.mat", {"ValidationGtBlocksSrgb": blocks["c"][:1]})
    rows = ingest_source(tmp_path / "again", "sidd", tmp_path / "root", split="val")
    assert set(reasons(rows)) == {"unsupported_format"}


def test_sidd_blocks_that_explode_are_refused_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .mat of another size is not loaded at all, and what cannot be read is not tried for each of its blocks."""
    monkeypatch.setattr(sidd, "_BLOCKS_SHAPE", (2, 3, 32, 48, 3))
    (tmp_path / "root").mkdir()
    for word in ("Noisy", "Gt"):
        variable = f"Validation{word}BlocksSrgb"
        zeros = np.zeros((2, 3, 500, 1000, 3), np.uint8)
        savemat(tmp_path / "root" / f"{variable}.mat", {variable: zeros}, do_compression=True)
    loaded = []
    monkeypatch.setattr(matlab_files, "loadmat", lambda path, **options: loaded.append(path))
    measured: list[Path] = []
    measure = matlab_files._require_size
    monkeypatch.setattr(
        matlab_files, "_require_size", lambda path, *rest: measured.append(path) or measure(path, *rest)
    )
    rows = ingest_source(tmp_path / "home", "sidd", tmp_path / "root", split="val")
    assert set(reasons(rows)) == {"unreadable_file"} and len(rows) == 6
    assert "may take 1076224 bytes once decompressed" in rows[0]["detail"]
    assert loaded == [] and len(measured) == 1


def test_clwd_numbers_and_masks(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        clean = np.full((64, 64, 3), 90, np.uint8)
        marked = clean.copy()
        marked[16:32, 24:48] = (200, 30, number)
        write(tmp_path / "root" / "train" / "Watermark_free_image" / f"{number}.jpg", clean)
        write(tmp_path / "root" / "train" / "Watermarked_image" / f"{number}.jpg", marked)
        noise = np.random.default_rng(number).integers(0, 20, (64, 64), np.uint8)  # JPEG-like, below the threshold
        noise[16:32, 24:48] = 255
        write(tmp_path / "root" / "train" / "Mask" / f"{number}.png", noise)
    (tmp_path / "root" / "train" / "Mask" / "9.png").unlink()
    rows = ingest_source(tmp_path / "home", "clwd", tmp_path / "root", masks=True)
    assert [row["region_id"] for row in rows] == ["clwd/1", "clwd/9", "clwd/10"]
    assert reasons(rows) == [None, "bad_mask", None]
    expected = np.zeros((64, 64), bool)
    expected[16:32, 24:48] = True
    assert np.array_equal(decode_mask(rows[0]["mask"]), expected)
    # JPEG: the two pictures differ around the mark as well, so the mask does not bound the edit
    assert rows[0]["edit_mask"] is None
    assert reasons(ingest_source(tmp_path / "plain", "clwd", tmp_path / "root")) == [None] * 3


@pytest.mark.parametrize("kind", READERS)
def test_wrong_folders_say_what_was_looked_for(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceError, match=f"Reader {kind} needs the folder with"):
        read(kind, tmp_path / "nowhere")
    (tmp_path / "holiday").mkdir()
    with pytest.raises(SourceError, match=r"looked for the folders .*train.* that folder holds holiday/") as caught:
        read(kind, tmp_path)
    assert "\n" not in str(caught.value)


def test_more_refusals(tmp_path: Path) -> None:
    write(tmp_path / "train" / "input" / "a.png")
    (tmp_path / "train" / "target").mkdir()
    with pytest.raises(SourceError, match="pictures in train/target"):
        read("gopro", tmp_path)
    write(tmp_path / "train" / "target" / "b.png")
    with pytest.raises(SourceError, match=r"no two names agree \(a.png and b.png\)"):
        read("gopro", tmp_path)
    (tmp_path / "val" / "Data").mkdir(parents=True)
    with pytest.raises(SourceError, match="one of blur, blur_comp, blur_jpeg"):
        RedsReader(root=tmp_path, options={"variant": "blur_bicubic"})
    with pytest.raises(SourceError, match="from 32 to 8192"):
        GoProReader(root=tmp_path, options={"crop": 8})
    with pytest.raises(SourceError, match="needs the option crop"):
        GoProReader(root=tmp_path, options={"stride": 64})
    with pytest.raises(SourceError, match="true or false"):
        ClwdReader(root=tmp_path, options={"masks": "yes"})
    with pytest.raises(SourceError, match="gamma, linear"):
        GoProReader(root=tmp_path, options={"blur": "strong"})
    (tmp_path / "empty" / "Data").mkdir(parents=True)
    with pytest.raises(SourceError, match="_NOISY_SRGB_"):
        read("sidd", tmp_path / "empty")


def test_sidd_orphans_name_their_partner(tmp_path: Path) -> None:
    write(tmp_path / "Data/0001_A/0001_NOISY_SRGB_010.PNG")
    write(tmp_path / "Data/0001_A/0001_GT_SRGB_011.PNG")
    first, second = read("sidd", tmp_path)
    assert first.target_file == "Data/0001_A/0001_GT_SRGB_010.PNG"
    assert second.file == "Data/0001_A/0001_NOISY_SRGB_011.PNG"


def test_real_motion_blur(shared_data: Path, tmp_path: Path) -> None:
    """A real pair of GoPro's authors, 1280 x 720: its crops are aligned, measured as they state it (24.05 dB)."""
    sample = shared_data / "gopro_deepdeblur"
    if not sample.is_dir():
        pytest.skip("this sample is not here")
    for name in ("blur", "sharp"):
        shutil.copytree(sample / name, tmp_path / "root" / "test" / name)
    rows = ingest_source(tmp_path / "home", "gopro", tmp_path / "root", split="test", crop=256)
    assert reasons(rows) == [None] * 15 and {row["split"] for row in rows} == {"test"}
    errors = []
    for row in rows:
        before, after = (show(tmp_path / "home", row[name]).astype(float) for name in ("source_image", "target_image"))
        shifted = np.roll(after, 4, axis=1)
        errors.append(np.mean((before - after) ** 2))
        assert np.mean((before - shifted)[:, 8:] ** 2) > 0.9 * errors[-1]
    (whole,) = ingest_source(tmp_path / "whole", "gopro", tmp_path / "root", split="test")
    before, after = (show(tmp_path / "whole", whole[name]).astype(float) for name in ("source_image", "target_image"))
    assert 10 * np.log10(255**2 / np.mean((before - after) ** 2)) == pytest.approx(24.05, abs=0.01)


def test_real_noise(shared_data: Path, tmp_path: Path) -> None:
    """Real noisy and clean photos, in SIDD's layout: every pair is usable, and noise is all that it adds."""
    folder = shared_data / "real_noise_polyu" / "CroppedImages"
    if not folder.is_dir():
        pytest.skip("this sample is not here")
    sources = sorted(folder.glob("*_real.JPG"))
    pairs = [(path, path.with_name(path.name.replace("_real", "_mean"))) for path in sources]
    pairs = [(noisy, clean) for noisy, clean in pairs if clean.is_file()][:6]
    for noisy, clean in pairs:
        for path, role in ((noisy, "NOISY"), (clean, "GT")):
            file = tmp_path / "root" / "train" / ("input" if role == "NOISY" else "gt") / f"{noisy.stem}_{role}.JPG"
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, file)
    rows = ingest_source(tmp_path / "home", "sidd", tmp_path / "root")
    assert reasons(rows) == [None] * len(pairs) and rows
    for row, (noisy, clean) in zip(rows, pairs, strict=True):
        before, after = show(tmp_path / "home", row["source_image"]), show(tmp_path / "home", row["target_image"])
        assert np.array_equal(before, decode_image(noisy.read_bytes()))
        assert np.array_equal(after, decode_image(clean.read_bytes()))
        assert 30 < 10 * np.log10(255**2 / np.mean((before.astype(float) - after) ** 2)) < 42
