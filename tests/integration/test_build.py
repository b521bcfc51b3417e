"""A small build of packaged photos and rendered scenes: what every later stage relies on."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plain_build import build

from catalog.errors import ShardError
from catalog.images import decode_image
from catalog.manifests import Manifest
from catalog.masks import decode_mask
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.store import read_metadata, read_rows
from catalog.workspace import Workspace
from tasks.backends.inpainting import OpenCVInpainter
from tasks.backends.registry import load_backend
from tasks.contact_sheet import write_contact_sheet
from tasks.profiles import Profile, read_profile

ROOT = Path(__file__).parents[2]
OVERRIDES = {
    "images_per_shard": 5,
    "backends.inpainter": "opencv",
    "source": [
        {"dataset": "sample", "reader": "sample", "options": {"limit": 4}},
        {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 3, "seed": 1, "size": 128}},
    ],
}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "roots.json"
    }


class Built:
    """One build and its tables."""

    def __init__(self, home: Path, profile: Profile, workers: int) -> None:
        self.workspace, self.profile = Workspace(home), profile
        self.manifest: Manifest = build(self.workspace, profile, workers)
        self.roots = Roots.read(self.workspace.roots_path)

    def rows(self, table: str):
        return [row for path in self.manifest.paths(self.workspace, table) for row in read_rows(path)]

    def contents(self, table: str) -> list[str]:
        """Each row as text, without the keys of the shards that its images are in."""
        texts = (json.dumps(row, sort_keys=True, default=str) for row in self.rows(table))
        return sorted(re.sub(r'"edits/[0-9a-f]{32}\.tar"', '"edits/...tar"', text) for text in texts)

    def pixels(self, image) -> np.ndarray:
        return decode_image(read_image_bytes(self.roots, image))


@pytest.fixture(scope="module")
def profile() -> Profile:
    return read_profile(ROOT / "infra" / "profiles" / "embedded.toml", OVERRIDES)


@pytest.fixture(scope="module")
def built(tmp_path_factory, profile) -> Built:
    return Built(tmp_path_factory.mktemp("one"), profile, workers=1)


@pytest.fixture(scope="module")
def pairs(built):
    return [row for row in built.rows("pairs") if row["reason"] is None]


def test_any_number_of_workers_in_any_folder_gives_the_same_bytes(built, profile, tmp_path):
    other = Built(tmp_path / "some" / "other folder", profile, workers=4)
    assert digests(other.workspace.home) == digests(built.workspace.home)


def test_building_again_makes_nothing(built, profile):
    before = {path: path.stat().st_mtime_ns for path in built.workspace.home.rglob("*.parquet")}
    again = build(built.workspace, profile)
    assert again == built.manifest
    assert {path: path.stat().st_mtime_ns for path in built.workspace.home.rglob("*.parquet")} == before


def test_outside_the_edit_mask_nothing_changes(built, pairs):
    checked = 0
    for row in pairs:
        if row["edit_mask"] is not None:
            source, target = built.pixels(row["source_image"]), built.pixels(row["target_image"])
            mask = decode_mask(row["edit_mask"])
            assert np.array_equal(source[~mask], target[~mask]), row["pair_id"]
            assert not np.array_equal(source[mask], target[mask])
            checked += 1
    assert checked > 40


def test_replacements_take_a_donor_of_another_photo_and_the_same_split(built, pairs):
    regions = {row["region_id"]: row for row in built.rows("regions")}
    (gallery,) = built.manifest.tables["gallery"]
    patches = {row["region_id"] for row in built.rows("gallery")}
    replaced = [row for row in pairs if row["edit_type"] == "object_replacement" and row["donor"]]
    assert len(replaced) >= 3
    for row in replaced:
        donor = row["donor"]
        region = regions[donor["region_id"]]
        assert donor["gallery"] == gallery.key and donor["region_id"] in patches
        assert donor["group_id"] == region["group_id"] != row["group_id"]
        assert region["split"] == row["split"]
        assert row["reversed_pair_id"] is None
        assert donor["name"].split()[-1] in row["instruction"]
    assert not any(row["donor"] for row in pairs if row["edit_type"] != "object_replacement")


def test_additions_are_removals_read_backwards(pairs):
    by_id = {row["pair_id"]: row for row in pairs}
    removals = [row for row in pairs if row["edit_type"] == "object_removal" and row["reversed_pair_id"]]
    assert len(removals) > 20
    for removal in removals:
        addition = by_id[removal["reversed_pair_id"]]
        assert addition["edit_type"] == "object_addition"
        assert addition["reversed_pair_id"] == removal["pair_id"]
        for one, other in (("source_image", "target_image"), ("source_caption", "target_caption")):
            assert (addition[one], addition[other]) == (removal[other], removal[one])
        assert removal["instruction"].startswith("remove ")
        assert addition["instruction"].startswith("add ")


def test_one_photo_one_split_one_group(pairs):
    splits: dict[str, set[str]] = {}
    for row in pairs:
        splits.setdefault(row["group_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "val", "test"}
    scenes = {row["group_id"] for row in pairs if row["dataset"] == "synthetic"}
    assert len(scenes) == 3  # all pairs of a scene, degraded and edited ones too, share its group


def test_every_image_is_where_its_row_says(built, pairs):
    images = {row[name]["sha256"]: row[name] for row in pairs for name in ("source_image", "target_image") if row[name]}
    for image in images.values():
        height, width = built.pixels(image).shape[:2]
        assert (image["width"], image["height"]) == (width, height)
    roots = {image["root"] for image in images.values()}
    assert roots == {"store", "sample"}


def test_every_vision_task_is_there(pairs):
    assert {row["vision_task"] for row in pairs} == {
        "image_editing",
        "segmentation",
        "keypoint_detection",
        "image_enhancement",
    }


def test_exactly_the_usable_edits_are_scored(built, pairs):
    scored = {row["pair_id"]: row for row in built.rows("scores")}
    assert set(scored) == {row["pair_id"] for row in pairs if row["vision_task"] == "image_editing"}
    assert not any(row["reason"] for row in scored.values())


def test_scores_equal_a_naive_computation(built, pairs):
    scored = {row["pair_id"]: row for row in built.rows("scores")}
    references = built.rows("references")
    features = np.array([row["embedding"] for row in references], np.float64)
    embedder, scorer = load_backend("embedder", "histogram"), load_backend("aesthetic_scorer", "image-statistics")
    edits = [row for row in pairs if row["vision_task"] == "image_editing"]
    for row in edits[:: len(edits) // 8]:
        score = scored[row["pair_id"]]
        source, target = built.pixels(row["source_image"]), built.pixels(row["target_image"])
        assert score["changed_share"] == pytest.approx((source != target).any(axis=2).mean())
        for side, pixels in (("source", source), ("target", target)):
            assert score[f"{side}_aesthetic"] == pytest.approx(scorer.score([pixels])[0])
            feature = embedder.embed([pixels])[0].astype(np.float64)
            others = [other["group_id"] != row["group_id"] for other in references]
            nearest = np.abs(feature - features[others] + 1e-6).sum(axis=1).min()
            assert score[f"{side}_quality"] == pytest.approx(1 / nearest, rel=1e-4)
    trained = {row["group_id"] for row in pairs if row["split"] == "train"}
    assert {row["group_id"] for row in references} <= trained


def test_lineage_is_in_every_shard(built):
    known = {shard.sha256 for shards in built.manifest.tables.values() for shard in shards}
    for table, shards in built.manifest.tables.items():
        for shard in shards:
            lineage = read_metadata(shard.file(built.workspace))
            assert lineage["table"] == table
            if table not in ("listings", "regions") and lineage["step"] != "ingest_pairs":
                assert set(lineage["inputs"]) <= known
    made_by = {
        read_metadata(shard.file(built.workspace))["step"]: read_metadata(shard.file(built.workspace))["backends"]
        for shard in built.manifest.tables["edits"]
    }
    assert made_by["remove_object"][-1].startswith("inpainter=opencv@")
    assert [one.partition("@")[0] for one in made_by["replace_object"]] == [
        "index=faiss-auto",
        "replacer=gradient-paste",
    ]


def test_no_row_and_no_shard_names_a_folder_of_this_machine(built):
    here = str(built.workspace.home).encode()
    for path in built.workspace.home.rglob("*"):
        if path.is_file() and path.name != "roots.json":
            assert here not in path.read_bytes(), path


def test_a_damaged_shard_is_refused_not_taken_over(tmp_path, profile):
    home = tmp_path / "home"
    first = Built(home, profile, 1)
    path = first.manifest.tables["scores"][0].file(first.workspace)
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(ShardError, match="has changed since build"):
        build(first.workspace, profile)
    path.write_bytes(whole)
    tars = (first.workspace.tar_path("edits", shard.key) for shard in first.manifest.tables["edits"])
    tar = next(tar for tar in tars if tar.exists())
    tar.rename(tar.with_suffix(".away"))
    with pytest.raises(ShardError, match=r"must have the .* bytes"):
        build(first.workspace, profile)


def test_the_size_of_batches_changes_no_shard(built, profile, tmp_path):
    batches = {"remove_object.batch_size": 3, "score.batch_size": 5}
    other = read_profile(ROOT / "infra" / "profiles" / "embedded.toml", {**OVERRIDES, **batches})
    tables = Built(tmp_path / "other", other, 2).manifest.tables
    assert tables == built.manifest.tables


def test_the_contact_sheet_is_a_picture_and_the_same_again(built, tmp_path):
    sheets = [write_contact_sheet(built.workspace, built.manifest, tmp_path / f"{n}.png") for n in range(2)]
    assert sheets[0].read_bytes() == sheets[1].read_bytes()
    with Image.open(sheets[0]) as picture:
        assert picture.size[0] > 1000
        assert len(picture.getcolors(1 << 24) or []) > 1000


def test_a_file_that_was_missing_is_read_once_it_is_there(tmp_path):
    root = tmp_path / "phrasecut"
    (root / "images").mkdir(parents=True)
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)).save(photo)
    (root / "image_data_split.json").write_text(json.dumps([{"image_id": 1, "width": 90, "height": 80}]))
    task = {
        "task_id": "1__1",
        "image_id": 1,
        "phrase": "red ball",
        "phrase_structure": {"name": "ball", "attributes": ["red"]},
        "Polygons": [[[[10, 10], [40, 10], [40, 40]]]],
        "instance_boxes": [[10, 10, 31, 31]],
    }
    (root / "refer_train.json").write_text(json.dumps([task]))
    source = {"dataset": "phrasecut", "reader": "phrasecut", "root": str(root)}
    profile = read_profile(ROOT / "infra" / "profiles" / "embedded.toml", {**OVERRIDES, "source": [source]})
    assert [row["reason"] for row in Built(tmp_path / "home", profile, 1).rows("regions")] == [Reason.MISSING_FILE]
    shutil.copy(photo, root / "images" / "1.jpg")
    assert [row["reason"] for row in Built(tmp_path / "home", profile, 1).rows("regions")] == [None]


def test_rows_that_failed_for_a_passing_reason_are_made_when_asked(built, profile, tmp_path, monkeypatch):
    fill = OpenCVInpainter._fill

    def fill_unless_wide(self, image, mask):
        if image.shape[1] == 512:
            raise ConnectionError("the helper model is away")
        return fill(self, image, mask)

    with monkeypatch.context() as away:
        away.setattr(OpenCVInpainter, "_fill", fill_unless_wide)
        failed = Built(tmp_path, profile, 2)
    rows = failed.rows("edits")
    missing = [row for row in rows if row["reason"] == Reason.BACKEND_FAILED]
    assert missing and all("the helper model is away" in row["detail"] for row in missing)
    assert build(failed.workspace, profile) == failed.manifest  # not of its own accord: that would never end
    again = build(failed.workspace, profile, retry=True)
    assert again != failed.manifest
    failed.manifest = again
    for table in built.manifest.tables:  # as if it had never been away, but for the names of tars
        assert failed.contents(table) == built.contents(table), table
    assert build(failed.workspace, profile, retry=True) == build(failed.workspace, profile) == again
