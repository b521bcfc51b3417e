"""Edit datasets with forms of their own: InstructPix2Pix, MagicBrush, GIER, GQA-Inpaint, and IEIW from a build."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listed_pairs import cell, check_pixels, ingest_source, pixels, png, reasons, show, write_table
from PIL import Image
from plain_build import build

from catalog.decisions import decide
from catalog.digests import bytes_digest
from catalog.errors import RowRejected, SourceError
from catalog.images import resize_image
from catalog.masks import decode_mask
from catalog.policies import Policy
from catalog.source_files import read_source_file
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.profiles import read_profile
from tasks.readers.gier import GierReader
from tasks.readers.gqa_inpaint import GqaInpaintReader
from tasks.readers.gqa_words import object_words
from tasks.readers.ieiw import IeiwReader
from tasks.readers.instructpix2pix import InstructPix2PixReader
from tasks.readers.magicbrush import MagicBrushReader
from tasks.readers.run_length import encode_run_length
from tasks.readers.zip_files import ZipMembers

INFRA = Path(__file__).resolve().parents[2] / "infra"


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# InstructPix2Pix

SEEDS = [[f"{number:07d}", [str(4_000_000_000 + number), str(number)][: 1 + number % 2]] for number in range(20)]


def prompt_files(number: int, seeds: list[str]) -> dict[str, bytes]:
    texts = {"input" if number % 2 else "caption": f"a cat {number}", "edit": f"make it {number}", "output": "a dog"}
    files = {f"{number:07d}/prompt.json": json.dumps(texts).encode()}
    for index, seed in enumerate(seeds):
        files |= {f"{number:07d}/{seed}_{part}.jpg": png(1000 * part + 2 * number + index) for part in (0, 1)}
    return files


def write_shards(root: Path, methods: tuple[int, ...]) -> None:
    """Shard 0 has the odd prompts, shard 1 the even ones: which is where is not in seeds.json."""
    write_json(root / "seeds.json", SEEDS)
    for shard, method in enumerate(methods):
        with zipfile.ZipFile(root / f"shard-{shard:02d}.zip", "w", method) as archive:
            for number, (_, seeds) in reversed(list(enumerate(SEEDS))):
                if number % 2 != shard:
                    for name, data in prompt_files(number, seeds).items():
                        archive.writestr(name, data)


def expected(numbers: Any) -> list[tuple[str, int]]:
    return [(f"{n:07d}/{seed}", 2 * n + i) for n in numbers for i, seed in enumerate(SEEDS[n][1])]


@pytest.mark.parametrize("methods", [(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), None])
def test_ip2p_shards_and_folders(tmp_path: Path, methods: tuple[int, ...] | None) -> None:
    root = tmp_path / "root"
    if methods:
        write_shards(root, methods)
    else:
        write_json(root / "seeds.json", SEEDS)
        for number, (_, seeds) in enumerate(SEEDS):
            for name, data in prompt_files(number, seeds).items():
                write_bytes(root / name, data)
    rows = ingest_source(tmp_path / "home", "instructpix2pix", root)
    pairs = expected([*range(1, 20, 2), *range(0, 20, 2)] if methods else range(20))
    assert [row["region_id"] for row in rows] == [f"instructpix2pix/{name}" for name, _ in pairs]
    check_pixels(tmp_path / "home", rows, [one for _, one in pairs], [1000 + one for _, one in pairs])
    by_name = {row["region_id"].split("/")[1]: row for row in rows}
    assert by_name["0000003"]["instruction"] == "make it 3"
    assert by_name["0000003"]["source_caption"] == "a cat 3" and by_name["0000004"]["source_caption"] == "a cat 4"
    splits = [by_name[f"{number:07d}"]["split"] for number in range(20)]
    assert splits == ["train"] * 18 + ["val", "test"]
    if methods:  # stored members stay in their shard, compressed ones are copied
        assert by_name["0000003"]["source_image"]["path"] == "shard-00.zip"
        assert by_name["0000004"]["source_image"]["root"] == "store"


def test_ip2p_published_list_and_what_is_missing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_shards(root, (zipfile.ZIP_STORED,))
    ids = [expected([3])[1][0], expected([5])[0][0], expected([6])[0][0], "0000007/999", "9999999/1"]
    write_json(root / "filtered-ip2p-thres5.5-0.5.json", ids)
    rows = ingest_source(tmp_path / "home", "instructpix2pix", root, ids="filtered-ip2p-thres5.5-0.5.json")
    assert {row["region_id"].partition("/")[2] for row in rows} == set(ids)  # nothing of the list is lost
    found = {row["region_id"].partition("/")[2]: row["reason"] for row in rows}
    # in a shard; in a shard that is not here; of no known seed
    assert found == dict(zip(ids, [None, None, "missing_file", "missing_file", "missing_file"], strict=True))
    train = list(InstructPix2PixReader(root=root, options={"split": "val"}).read())
    assert [pair.source_id for pair in train] == [name for name, _ in expected([18])]


def test_ip2p_damage(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"looked for seeds\.json below .* holds nothing"):
        InstructPix2PixReader(root=tmp_path).read()
    write_json(tmp_path / "seeds.json", [["0000000", "12"]])
    with pytest.raises(SourceError, match=r'must be a list of \["<prompt>"'):
        InstructPix2PixReader(root=tmp_path).read()
    write_json(tmp_path / "seeds.json", [["0000000", [12]]])
    (tmp_path / "shard-00.zip").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(SourceError, match=r"must be a whole zip; .*shard-00\.zip"):
        list(InstructPix2PixReader(root=tmp_path).read())
    with zipfile.ZipFile(tmp_path / "shard-00.zip", "w") as archive:
        archive.writestr("0000000/prompt.json", "{torn")
        archive.writestr("0000000/12_0.jpg", png(0))
        archive.writestr("0000000/12_1.jpg", png(1))
    (pair,) = InstructPix2PixReader(root=tmp_path).read()
    assert pair.instruction is None
    write_json(tmp_path / "ids.json", ["0000000"])
    with pytest.raises(SourceError, match='"<prompt>/<seed>"'):
        InstructPix2PixReader(root=tmp_path, options={"ids": "ids.json"}).read()
    for file in ("../x.zip#/a.jpg", "gone.zip#/a.jpg", "shard-00.zip#/gone.jpg", "x"):
        with pytest.raises(RowRejected):
            InstructPix2PixReader(root=tmp_path).fetch(file)


def test_zip_places_are_those_of_the_local_headers(tmp_path: Path) -> None:
    """The extra field of a local header may be longer than the directory's: the data begins where it ends."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x/y.png")
        with archive.open(info, "w", force_zip64=True) as stream:
            stream.write(png(3))
        archive.writestr("big.bin", bytes(1000), zipfile.ZIP_DEFLATED)
    with ZipMembers(tmp_path, "a.zip", "A zip") as members:
        place = InstructPix2PixReader(root=tmp_path).locate(members.image_name("x/y.png"))
        assert place.is_plain and place.length == len(png(3))
        assert read_source_file(tmp_path, place.path, place.offset, place.length) == png(3)
        with pytest.raises(RowRejected, match="at most 999"):
            members.read("big.bin", 999)


# MagicBrush


def brush_mask() -> np.ndarray:
    mask = np.zeros((36, 40), bool)
    mask[5:20, 7:30] = True
    return mask


def transparent(mask: np.ndarray) -> bytes:
    stream = io.BytesIO()
    rgba = np.dstack([pixels(0), np.where(mask, 0, 255).astype(np.uint8)])
    Image.fromarray(rgba, "RGBA").save(stream, "PNG")
    return stream.getvalue()


def test_magicbrush_parquet_turns_share_their_photo(tmp_path: Path) -> None:
    white = png(np.where(brush_mask()[..., None], 255, 0).repeat(3, axis=2).astype(np.uint8))
    columns = {
        "img_id": ["139", "139", "139", "200"],
        "turn_index": [1, 2, 3, 1],
        "source_img": [cell(0), cell(1), cell(2), cell(8)],
        "mask_img": [cell(white)] * 4,
        "instruction": ["one", "two", "three", "four"],
        "target_img": [cell(1), cell(2), cell(3), cell(9)],
    }
    images = ("source_img", "mask_img", "target_img")
    write_table(tmp_path / "root/data/train-00000-of-00051-9fd9f23e74b1cb2b.parquet", columns, images)
    write_table(tmp_path / "root/data/dev-00000-of-00004.parquet", {k: v[3:] for k, v in columns.items()}, images)
    rows = ingest_source(tmp_path / "home", "magicbrush", tmp_path / "root")
    check_pixels(tmp_path / "home", rows, [0, 1, 2, 8], [1, 2, 3, 9])
    assert [row["region_id"] for row in rows] == [f"magicbrush/{name}" for name in ("139-1", "139-2", "139-3", "200-1")]
    assert len({row["group_id"] for row in rows[:3]}) == 1 and rows[0]["group_id"] == rows[0]["source_image"]["sha256"]
    assert np.array_equal(decode_mask(rows[0]["mask"]), brush_mask()) and rows[0]["edit_mask"] is None
    (dev,) = ingest_source(tmp_path / "dev", "magicbrush", tmp_path / "root", split="val")
    assert dev["split"] == "val"


@pytest.mark.parametrize("folder", ["test/images/{id}/", "test/images/"])
@pytest.mark.parametrize("dash", ["", "-"])
def test_magicbrush_files(tmp_path: Path, folder: str, dash: str) -> None:
    """Names come from edit_turns.json: both spellings are in use."""
    turns = []
    for turn, source in enumerate(["139-input.png", f"139-output{dash}1.png"], 1):
        mask, target = f"139-mask{dash}{turn}.png", f"139-output{dash}{turn}.png"
        turns.append({"input": source, "mask": mask, "output": target, "instruction": f"turn {turn}"})
        write_bytes(tmp_path / "root" / folder.format(id=139) / mask, transparent(brush_mask()))
    for number, name in enumerate(["139-input.png", f"139-output{dash}1.png", f"139-output{dash}2.png"]):
        write_bytes(tmp_path / "root" / folder.format(id=139) / name, png(number))
    write_json(tmp_path / "root/test/edit_turns.json", turns)
    rows = ingest_source(tmp_path / "home", "magicbrush", tmp_path / "root", split="test")
    check_pixels(tmp_path / "home", rows, [0, 1], [1, 2])
    assert [row["split"] for row in rows] == ["test", "test"]
    assert len({row["group_id"] for row in rows}) == 1
    assert np.array_equal(decode_mask(rows[1]["mask"]), brush_mask())  # transparent there, white in the table


def test_magicbrush_repacked_and_wrong(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"looked for data/train-\*\.parquet, train/edit_turns\.json"):
        MagicBrushReader(root=tmp_path).read()
    for number in (0, 1):
        write_bytes(tmp_path / "root/processed-train" / f"{number}.png", png(number))
    entry = {"input": "processed-train/0.png", "edited": "processed-train/1.png", "instruction": "go"}
    write_json(tmp_path / "root/magic_train.json", [entry])
    check_pixels(tmp_path / "home", ingest_source(tmp_path / "home", "magicbrush", tmp_path / "root"), [0], [1])
    with pytest.raises(SourceError, match="train, val, test"):
        MagicBrushReader(root=tmp_path, options={"split": "dev"})


# GIER


def gier_entry(number: int, **changes: Any) -> dict[str, Any]:
    base = {
        "input": f"{number}_in.jpg",
        "output": f"{number}_out.jpg",
        "request": "Nnm",
        "detailed_request": float("nan"),
    }
    summaries = {"expert_summary": [f"expert {number}"], "amateur_summary": [f"amateur {number}", "b"]}
    return base | summaries | {"operator": {"brightness": {"local": False, "ids": []}}} | changes


def write_gier(root: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for number, (name, size) in enumerate(sizes.items()):
        write_bytes(root / name, png(pixels(number, *size)))


def test_gier_wordings_and_aligned_copies(tmp_path: Path) -> None:
    root = tmp_path / "root"
    sizes = {"images/0_in.jpg": (40, 36), "images/0_out.jpg": (40, 36)}
    sizes |= {"images/2_in.jpg": (40, 36), "images/2_out.jpg": (44, 36)}
    write_gier(root, sizes | {"warped/2_out.jpg": (40, 36)})
    entries = [
        gier_entry(0),
        gier_entry(2),
        gier_entry(0, output="gone.jpg", expert_summary=[], amateur_summary=[]),
    ]
    (root / "GIER.json").write_text(json.dumps(entries))  # NaN as it is in the file
    rows = ingest_source(tmp_path / "home", "gier", root)
    assert reasons(rows) == [None, None, "missing_file"]
    assert (
        rows[1]["target_image"]["path"] == "warped/2_out.jpg" and rows[1]["source_image"]["path"] == "images/2_in.jpg"
    )
    assert {row["edit_type"] for row in rows if row["reason"] is None} == {"photo_request"}
    every = list(GierReader(root=root, options={"wordings": "all"}).read())
    assert [pair.instruction for pair in every[:3]] == ["expert 0", "amateur 0", "b"] and every[-1].instruction is None
    assert {rows[0]["instruction"]} <= {"expert 0", "amateur 0", "b"}


def test_gier_of_two_sizes(tmp_path: Path, shared_data: Path) -> None:
    """A real photo, and results: brighter and scaled; brighter and cut; cropped on request; of another photo; torn."""
    root = tmp_path / "root"
    photo = np.array(Image.open(shared_data / "keypoints_coco/000000000785.jpg").convert("RGB"))
    other = np.array(Image.open(shared_data / "keypoints_coco/000000196141.jpg").convert("RGB"))
    brighter = np.clip(photo.astype(int) + 40, 0, 255).astype(np.uint8)
    height, width = photo.shape[:2]
    scaled = resize_image(brighter, width // 2, height // 2)
    cut = brighter[30:-20, 50:-70]
    torn = png(cut)
    results = [png(scaled), png(cut), png(cut), png(other[:-40]), torn[: len(torn) // 2]]
    entries = [gier_entry(n, operator={"crop": {"local": False, "ids": []}} if n == 2 else {}) for n in range(5)]
    for number, data in enumerate(results):
        write_bytes(root / f"images/{number}_in.jpg", png(photo))
        write_bytes(root / f"images/{number}_out.jpg", data)
    (root / "GIER.json").write_text(json.dumps(entries))

    home = tmp_path / "home"
    rows = ingest_source(home, "gier", root)
    assert reasons(rows) == [None, None, "size_mismatch", "unrelated_result", "truncated_image"]
    assert {row["group_id"] for row in rows[:2]} == {bytes_digest(png(photo))}
    first, second = ([show(home, row[f"{side}_image"]) for side in ("source", "target")] for row in rows[:2])
    assert np.array_equal(first[1], scaled)  # the coarser of the two grids: this one is as it was
    assert np.abs(first[0].astype(int) + 40 - first[1])[first[1] < 255].mean() < 3
    assert np.array_equal(second[0], photo[30:-20, 50:-70]) and np.array_equal(second[1], cut)

    rows = ingest_source(tmp_path / "official", "gier", root, sizes="official")
    assert reasons(rows) == [None, None, None, None, "truncated_image"]
    source, target = (show(tmp_path / "official", rows[2][f"{side}_image"]) for side in ("source", "target"))
    assert np.array_equal(source, photo) and np.array_equal(target, resize_image(cut, width, height))
    with pytest.raises(SourceError, match="sizes of reader gier"):
        GierReader(root=root, options={"sizes": "any"})


def test_gier_local_masks(tmp_path: Path) -> None:
    root = tmp_path / "root"
    masks = [np.zeros((36, 40), bool) for _ in range(3)]
    masks[0][2:5, 3:9], masks[1][10:20, 10:12], masks[2][30:, :] = True, True, True
    write_gier(root, {f"images/{number}_{part}.jpg": (40, 36) for number in range(4) for part in ("in", "out")})
    local = {"inpaint_obj": {"local": True, "ids": [0]}, "hue": {"local": True, "ids": [1]}}
    operators = [
        local,
        local | {"crop": {"local": False, "ids": []}},
        {"hue": {"local": True, "ids": [7]}},
        {"hue": {"local": True, "ids": []}},
    ]
    write_json(root / "GIER.json", [gier_entry(n, operator=operator) for n, operator in enumerate(operators)])
    for number in range(4):
        write_json(root / "masks" / f"{number}_in_mask.json", [encode_run_length(mask) for mask in masks])
    rows = ingest_source(tmp_path / "home", "gier", root)
    assert reasons(rows) == [None, None, "bad_mask", None]
    assert np.array_equal(decode_mask(rows[0]["mask"]), masks[0] | masks[1])
    assert rows[1]["mask"] is None and rows[3]["mask"] is None  # a global operator changes the whole picture


def test_gier_repacked(tmp_path: Path) -> None:
    write_gier(tmp_path / "root", {"images/a.jpg": (40, 36), "images/b.png": (40, 36)})
    write_json(tmp_path / "root/GIER_new.json", [{"input": "a.jpg", "output": "b.png", "prompts": ["x y", "x y"]}, 3])
    rows = ingest_source(tmp_path / "home", "gier", tmp_path / "root")
    assert reasons(rows) == [None, "malformed_record"] and rows[0]["instruction"] == "x y"
    with pytest.raises(SourceError, match=r"looked for val_sess_3\.json, splits/val_sess_3\.json"):
        GierReader(root=tmp_path / "root", options={"split": "val"}).read()


def test_gier_real_records(shared_data: Path) -> None:
    """618 genuine records, NaN among their values: each has sentences of people, and one of them is drawn."""
    folder = shared_data / "gier_annotations"
    if not folder.is_dir():
        pytest.skip("this sample is not here")
    entries = json.loads((folder / "splits/val_sess_3.json").read_text())
    pairs = list(GierReader(root=folder, options={"split": "val"}).read())
    assert len(pairs) == len(entries) == 618 and {pair.split for pair in pairs} == {"val"}
    for pair, entry in zip(pairs, entries, strict=True):
        sentences = entry["expert_summary"] + entry["amateur_summary"]
        assert pair.instruction in sentences and pair.file == f"images/{entry['input']}"
    every = list(GierReader(root=folder, options={"split": "val", "wordings": "all"}).read())
    assert len(every) == sum(len(entry["expert_summary"]) + len(entry["amateur_summary"]) for entry in entries)


# GQA-Inpaint


def gqa_object(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "bbox": [1, 2, 10, 12], "attributes": [], "relations": [], "bidirected": True} | changes


def gqa_scene() -> dict[str, Any]:
    on_table = [{"name": "wearing", "object": "4"}, {"name": "on", "object": "3"}]
    objects = {
        "1": gqa_object("cup", attributes=["red"], relations=on_table),
        "2": gqa_object("cup"),
        "3": gqa_object("table", bidirected=False),
        "4": gqa_object("orange", attributes=["ripe"]),
        "5": gqa_object("chair"),
        "6": gqa_object("chair"),
        "7": gqa_object("lamp", bidirected=False),
    }
    places = {"1": "to the left", "2": "to the right", "5": "to the left", "6": "to the left", "4": None}
    return {"width": 40, "height": 36, "objects": objects, "image_relative_positions": places}


def test_gqa_words_mean_one_object() -> None:
    scene = gqa_scene()
    assert object_words(scene, "1") == ("red cup", "on the table")  # wearing says nothing about a place
    assert object_words(scene, "2") == ("cup", "to the right")
    assert object_words(scene, "4") == ("ripe orange", "")
    assert object_words(scene, "5") is None  # both chairs are to the left
    scene["objects"]["8"] = gqa_object("cup")
    assert object_words(scene, "2") is None  # one of three
    scene["objects"]["3"]["name"] = None
    assert object_words(scene, "1") is None


def test_gqa_removal_and_addition(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_bytes(root / "images/77.jpg", png(0))
    expected_mask = np.zeros((36, 40), bool)
    expected_mask[8:24, 8:24] = True
    for number in "12456":
        write_bytes(root / f"images_inpainted/77/{number}.jpg", png(int(number)))
        write_bytes(root / f"masks/77/{number}.jpg", png((expected_mask[..., None] * np.uint8([250] * 3)), "JPEG"))
    write_json(root / "train_scenes.json", {"77": gqa_scene(), "78": 5, "79": {"objects": []}})
    rows = ingest_source(tmp_path / "home", "gqa_inpaint", root)
    words = {row["region_id"].partition("/")[2]: row["instruction"] for row in rows if row["reason"] is None}
    assert words == {
        "77/1/removal": "remove the red cup on the table",
        "77/1/addition": "add a red cup on the table",
        "77/2/removal": "remove the cup at the right",
        "77/2/addition": "add a cup to the right",
        "77/4/removal": "remove the ripe orange",
        "77/4/addition": "add a ripe orange",
    }
    assert reasons(rows).count("bad_instruction") == 4  # two chairs that nothing tells apart
    used = [row for row in rows if row["reason"] is None]
    assert len({row["group_id"] for row in used}) == 1
    assert {row["edit_type"] for row in used} == {"object_removal", "object_addition"}
    assert np.array_equal(show(tmp_path / "home", used[0]["source_image"]), pixels(0))
    assert np.array_equal(show(tmp_path / "home", used[1]["target_image"]), pixels(0))
    assert np.array_equal(decode_mask(used[0]["mask"]), expected_mask)  # JPEG's greys are cut at half


def test_gqa_test_instructions_and_list(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_json(root / "test_scenes.json", {"77": gqa_scene()})
    write_json(root / "test_instructions.json", {"i77-o5": "remove the chair by the wall", "i77-o4": "add an orange"})
    pairs = {pair.source_id: pair for pair in GqaInpaintReader(root=root, options={"split": "test"}).read()}
    assert pairs["77/5/removal"].instruction == "remove the chair by the wall"
    assert pairs["77/5/addition"].instruction is None
    assert pairs["77/4/addition"].instruction == "add an orange"
    entries = [
        {
            "source_image_path": "../datasets/images/1.jpg",
            "target_image_path": "../datasets/gqa-inpaint/images_inpainted/1/2.jpg",
            "instruction": "remove it",
        },
        {
            "source_image_path": "../datasets/gqa-inpaint/images_inpainted/1/2.jpg",
            "target_image_path": "../datasets/images/1.jpg",
            "instruction": "add it",
        },
        7,
    ]
    write_json(root / "meta_info.json", entries)
    first, second, stray = GqaInpaintReader(root=root, options={"annotations": "meta_info.json"}).read()
    assert (first.file, first.target_file, first.edit_type) == (
        "images/1.jpg",
        "images_inpainted/1/2.jpg",
        "object_removal",
    )
    assert (second.file, second.group, second.edit_type) == (
        "images_inpainted/1/2.jpg",
        "images/1.jpg",
        "object_addition",
    )
    assert stray.file is None
    with pytest.raises(SourceError, match=r"looked for train_scenes\.json"):
        GqaInpaintReader(root=root).read()


# IEIW


def test_ieiw_from_a_build(tmp_path: Path) -> None:
    """The accepted pairs of a build come out as they are there: pixels, groups, splits, masks, words."""
    home = Workspace(tmp_path / "first")
    overrides = {
        "source": [
            {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 2, "size": 128, "kinds": ["edits"]}}
        ]
    }
    profile = read_profile(INFRA / "profiles/embedded.toml", overrides | {"name": "build-ieiw"})
    with pytest.raises(SourceError, match=r"needs a build 'build-ieiw' in .*; it has none"):
        home.home.mkdir()
        IeiwReader(root=home.home).read()
    manifest = build(home, profile)
    with pytest.raises(SourceError, match=r"the verdicts of one policy .* it has those of none"):
        IeiwReader(root=home.home).read()
    policy = Policy.read(INFRA / "policies/embedded.toml")
    accepted = decide(home, "build-ieiw", policy).num_accepted
    rows = ingest_source(tmp_path / "second", "ieiw", home.home)
    assert len(rows) == accepted > 2 and set(reasons(rows)) == {None}
    pairs = {row["pair_id"]: row for path in manifest.paths(home, "pairs") for row in read_rows(path)}
    for row in rows:
        before = pairs[row["region_id"].partition("/")[2]]
        for name in (
            "group_id",
            "split",
            "licence",
            "edit_type",
            "instruction",
            "edit_mask",
            "source_caption",
            "phrase",
        ):
            assert row[name] == before[name], name
        for name in ("source_image", "target_image"):
            assert row[name]["sha256"] == before[name]["sha256"]
            assert row[name]["path"] == f"data/{before[name]['path']}"  # in that workspace's tar, not copied
            assert show(tmp_path / "second", row[name]).size


def test_ieiw_photos_outside_the_workspace_are_copied(tmp_path: Path) -> None:
    home = Workspace(tmp_path / "first")
    overrides: dict[str, Any] = {"source": [{"dataset": "sample", "reader": "sample", "options": {"limit": 1}}]}
    overrides |= {"backends.inpainter": "opencv", "name": "mine"}
    manifest = build(home, read_profile(INFRA / "profiles/embedded.toml", overrides))
    decide(home, "mine", Policy.read(INFRA / "policies/embedded.toml"))
    rows = ingest_source(tmp_path / "second", "ieiw", home.home, build="mine", policy="embedded")
    assert rows and set(reasons(rows)) == {None}
    pairs = {row["pair_id"]: row for path in manifest.paths(home, "pairs") for row in read_rows(path)}
    for row in rows:
        before = pairs[row["region_id"].partition("/")[2]]
        assert row["group_id"] == before["group_id"]
        for name in ("source_image", "target_image"):
            assert row[name]["sha256"] == before[name]["sha256"]
            assert (row[name]["root"] == "store") == (before[name]["root"] == "sample")
    (home.catalog / "roots.json").write_text("{}")
    rows = ingest_source(tmp_path / "third", "ieiw", home.home, build="mine")
    assert set(reasons(rows)) == {"missing_file"} and "roots.json has no folder" in rows[0]["detail"]
