"""Replay and explain: pairs of every kind come out byte for byte; each change is named at the step where it arises."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plain_build import build

from catalog.command_line import run
from catalog.commands import main as catalog_main
from catalog.decisions import decide
from catalog.duplicates import list_photos, read_photos
from catalog.images import decode_image
from catalog.manifests import Manifest, read_manifest
from catalog.policies import Policy
from catalog.roots import Roots, read_image_bytes, record_root
from catalog.store import read_rows
from catalog.workspace import HOME_VARIABLE, Workspace
from tasks.backends.embedding import HistogramEmbedder
from tasks.commands import main
from tasks.profiles import read_profile
from tasks.readers.sample import find_photos_root
from tasks.readers.sample import read_photos as sample_photos

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[dict[str, Any]]]:
    """A build of photos in a folder of their own and of rendered scenes; its pairs."""
    home = tmp_path_factory.mktemp("replay")
    photos = home / "photos"
    for photo in sample_photos()[:4]:
        (photos / photo["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(find_photos_root() / photo["file"], photos / photo["file"])
    overrides = {
        "images_per_shard": 3,
        "backends.inpainter": "opencv",
        "source": [
            {"dataset": "sample", "reader": "sample", "root": str(photos), "options": {"limit": 4}},
            {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 3, "seed": 1, "size": 96}},
        ],
    }
    workspace = Workspace(home / "home")
    manifest = build(workspace, read_profile(ROOT / "infra" / "profiles" / "embedded.toml", overrides))
    return workspace, [row for path in manifest.paths(workspace, "pairs") for row in read_rows(path)]


@pytest.fixture
def home(built: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy of the workspace, to be damaged at will; the photos stay where they are."""
    copy = Workspace(tmp_path / "home")
    shutil.copytree(built[0].home, copy.home)
    monkeypatch.setenv(HOME_VARIABLE, str(copy.home))
    yield copy


def one_of_each_kind(pairs: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Dataset, vision task, edit type and usability to the first such pair."""
    kinds: dict[tuple[Any, ...], dict[str, Any]] = {}
    for pair in pairs:
        usable = "usable" if pair["reason"] is None else "rejected"
        made = "retrieved" if pair["donor"] else "own"
        kinds.setdefault((pair["dataset"], pair["vision_task"], pair["edit_type"], usable, made), pair)
    return kinds


def replay(capsys: pytest.CaptureFixture[str], pair_id: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run(main, ["replay", pair_id, "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def differences(found: dict[str, Any]) -> dict[str, set[str]]:
    """Step to what differs there."""
    return {
        step["step"]: {one["what"] for one in step["differences"]} for step in found["steps"] if step["differences"]
    }


def a_pair(pairs: list[dict[str, Any]], edit_type: str, dataset: str = "sample") -> dict[str, Any]:
    kinds = one_of_each_kind(pairs)
    return next(
        pair
        for (of, _, kind, usable, made), pair in kinds.items()
        if (of, kind, usable) == (dataset, edit_type, "usable") and (made == "retrieved") == bool(pair["donor"])
    )


def test_pairs_of_every_kind_come_out_byte_for_byte(
    built: Any, home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = one_of_each_kind(built[1])
    assert {kind[1:] for kind in kinds} >= {
        ("image_editing", "object_removal", "usable", "own"),
        ("image_editing", "object_addition", "usable", "own"),
        ("image_editing", "object_replacement", "usable", "retrieved"),
        ("image_editing", "object_replacement", "usable", "own"),  # ready-made
        ("image_enhancement", "denoising", "usable", "own"),
        ("segmentation", "segmentation", "usable", "own"),
        ("keypoint_detection", "keypoint_detection", "usable", "own"),
    }
    assert any(kind[3] == "rejected" for kind in kinds)
    before = {path: path.stat().st_mtime_ns for path in home.home.rglob("*")}
    for kind, pair in kinds.items():
        status, found = replay(capsys, pair["pair_id"])
        assert (status, found["is_identical"], differences(found)) == (0, True, {}), kind
        steps = {step["step"] for step in found["steps"]}
        if pair["edit_type"] == "object_removal" and pair["dataset"] == "sample" and pair["reason"] is None:
            assert steps == {"ingest", "remove_object", "word_edits", "score"}
        if pair["donor"]:
            assert steps == {"ingest", "embed_patches", "replace_object", "word_edits"} | (
                {"score"} if pair["reason"] is None else set()
            )
            regions = {step["row"] for step in found["steps"] if step["step"] == "ingest"}
            assert regions == {pair["region_id"], pair["donor"]["region_id"]}
        if pair["target_image"] and pair["target_image"]["root"] == "store":
            assert sum(step["num_images"] for step in found["steps"]) > 0
    assert {path: path.stat().st_mtime_ns for path in home.home.rglob("*")} == before  # nothing is written


def test_another_backend_is_named_with_its_pixels(
    built: Any, home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = a_pair(built[1], "object_removal")
    status, found = replay(capsys, pair["pair_id"], "--set", "backends.inpainter=exemplar")
    assert status == 1 and differences(found) == {"remove_object": {"backend inpainter", "target_image"}}
    (step,) = [step for step in found["steps"] if step["differences"]]
    backend, image = step["differences"]
    assert backend["recorded"].startswith("inpainter=opencv@") and backend["now"].startswith("inpainter=exemplar@")
    assert "pixels differ" in image["note"] and image["recorded"] == pair["target_image"]["sha256"]


def test_another_revision_is_named_though_all_bytes_are_the_same(
    built: Any, home: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.backends.registry import load_backend

    def newer(role: str, name: str, **options: Any) -> Any:
        backend = load_backend(role, name, **options)
        backend.revision += "+newer" if role == "instructor" else ""
        return backend

    monkeypatch.setattr("tasks.step_calls.load_backend", newer)
    from tasks.step_calls import _load

    _load.cache_clear()
    pair = a_pair(built[1], "object_addition")
    status, found = replay(capsys, pair["pair_id"])
    _load.cache_clear()
    assert status == 1 and differences(found) == {"word_edits": {"backend instructor"}}


def test_a_parameter_is_named(built: Any, home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    pair = next(pair for pair in built[1] if pair["donor"] and pair["reason"] is None)
    status, found = replay(capsys, pair["pair_id"], "--set", "replace_object.feather=2.5")
    assert status == 1 and differences(found).keys() == {"replace_object"}
    assert {"parameter feather", "target_image", "edit_mask"} <= differences(found)["replace_object"]


def test_a_folder_that_has_moved_is_given_anew(
    built: Any, home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = Roots.read(home.roots_path).folder("sample")
    record_root(home, "sample", tmp_path / "gone")
    pair = a_pair(built[1], "object_removal")
    status, found = replay(capsys, pair["pair_id"])
    assert status == 1 and {"ingest", "remove_object"} <= differences(found).keys()
    assert "missing_file" in json.dumps(found) or "must be in" in json.dumps(found)
    new = tmp_path / "new place"
    shutil.copytree(photos, new)
    assert replay(capsys, pair["pair_id"], "--root", f"sample={new}")[0] == 0
    record_root(home, "sample", new)
    assert replay(capsys, pair["pair_id"])[0] == 0


def test_a_changed_photo_is_named_where_it_is_read(
    built: Any, home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "photos"
    shutil.copytree(Roots.read(home.roots_path).folder("sample"), new)
    pair = a_pair(built[1], "object_removal")
    photo = new / pair["source_image"]["path"]
    other = next(one for one in sorted(new.rglob("*.*")) if one != photo and one.suffix == photo.suffix)
    photo.write_bytes(other.read_bytes())
    status, found = replay(capsys, pair["pair_id"], "--root", f"sample={new}")
    assert status == 1 and "changed_file" in json.dumps(found)
    assert differences(found)["ingest"] & {"source_image", "reason", "group_id"}


def test_a_damaged_image_store_and_a_damaged_shard_are_named(
    built: Any, home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = a_pair(built[1], "object_removal")
    image = pair["target_image"]
    tar = home.data / image["path"]
    whole = tar.read_bytes()
    middle = image["offset"] + image["length"] // 2
    tar.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    status, found = replay(capsys, pair["pair_id"])
    assert status == 1 and "changed_file" in json.dumps(found)
    assert "target_image" in differences(found)["remove_object"]
    tar.write_bytes(whole)
    manifest = read_manifest(home, "build-ieiw")
    (shard,) = [
        shard
        for shard in manifest.tables["regions"]
        if any(row["region_id"] == pair["region_id"] for row in read_rows(shard.file(home)))
    ]
    shard.file(home).unlink()
    assert run(main, ["replay", pair["pair_id"]]) == 2
    assert capsys.readouterr().err.startswith("error: no shard at ")


def test_both_doors_are_the_same_command(built: Any, home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    pair_id = a_pair(built[1], "segmentation")["pair_id"]
    command = [sys.executable, "-m", "catalog", "replay", pair_id[:12]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run(main, ["replay", pair_id]) == done.returncode == 0
    printed = capsys.readouterr().out
    assert done.stdout == printed and "identical: 2 rows" in printed


def test_bad_input_is_one_sentence(built: Any, home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    pair = a_pair(built[1], "segmentation")["pair_id"]
    for arguments, words in (
        (["replay", "nobody"], "no pair is called 'nobody'"),
        (["replay", pair, "--build", "other"], "no build named 'other'"),
        (["replay", pair, "--root", "sample=/nowhere"], "--root must be DATASET=FOLDER"),
        (["replay", pair, "--set", "backends"], "--set must be NAME=VALUE"),
        (["replay", pair, "--set", "backends.painter=x"], "there is no role 'painter'"),
        (["paint"], "must be one of"),
    ):
        assert run(main, arguments) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
    assert run(main, []) == 0 and "replay" in capsys.readouterr().out


def test_a_build_by_hand_has_nothing_to_be_made_with(
    home: Workspace, built: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from catalog.manifests import write_manifest

    manifest = read_manifest(home, "build-ieiw")
    write_manifest(home, Manifest(name="by-hand", parameters={}, tables=manifest.tables))
    assert run(main, ["replay", built[1][0]["pair_id"], "--build", "by-hand"]) == 2
    assert "was not built from a profile" in capsys.readouterr().err


def test_explain_tells_how_pairs_of_every_kind_were_made(
    built: Any, home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(home, "build-ieiw", Policy.read(ROOT / "infra" / "policies" / "embedded.toml"))
    photos = Roots.read(home.roots_path).folder("sample")
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    record_root(home, "sample", tmp_path / "gone")
    for kind, pair in one_of_each_kind(built[1]).items():
        status = run(catalog_main, ["explain", pair["pair_id"], "--root", f"sample={moved}", "--json"])
        found = json.loads(capsys.readouterr().out)
        assert status == 0 and found["pair"]["licence"] == pair["licence"], kind
        if found["source_image"] is not None:
            assert found["source_image"]["exists"], kind  # where it is now
        steps = [step["step"] for step in found["making"]["steps"]]
        if pair["donor"]:
            assert steps[:5] == ["list", "ingest", "embed_patches", "gallery", "replace_object"]
            donor = pair["donor"]
            assert found["donor_region"]["region_id"] == donor["region_id"] and found["donor_image"]["exists"]
            assert found["pair"]["donor"]["licence"] == found["donor_region"]["licence"]
            assert found["making"]["gallery"]["shard"] == donor["gallery"]
            assert found["making"]["gallery"]["index"][0].startswith("index=faiss-auto@")
            assert len(found["making"]["gallery"]["index_sha256"][".faiss"]) == 64
            assert found["making"]["seeds"]["replace_object"] == 0
        elif pair["edit_type"] == "object_removal" and pair["dataset"] == "sample":
            assert steps[:4] == ["list", "ingest", "remove_object", "word_edits"]
            assert found["region"]["region_id"] == pair["region_id"]
        assert found["making"]["seeds"]["split"] == 0
        for step in found["making"]["steps"]:
            assert step["parameters"] and len(step["shard"]) == 32
        verdict = found["verdicts"][0]
        assert [one["threshold"] for one in verdict["conditions"]] == [3.0, 1.0]
        assert run(catalog_main, ["explain", pair["pair_id"], "--root", f"sample={moved}"]) == 0
        words = capsys.readouterr().out
        for text in (pair["dataset"], pair["licence"] or "not given", pair["split"] or "None", "steps", "seeds"):
            assert text in words, (kind, text)
        assert "(missing)" not in words and str(tmp_path / "gone") not in words


def test_explain_says_where_a_moved_photo_is_missing(
    built: Any, home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_root(home, "sample", tmp_path / "gone")
    assert run(catalog_main, ["explain", a_pair(built[1], "object_removal")["pair_id"]]) == 0
    assert f"{tmp_path / 'gone'}" in (words := capsys.readouterr().out) and "(missing)" in words
    assert run(catalog_main, ["explain", "x", "--root", "sample=/nowhere"]) == 2
    assert "--root must be DATASET=FOLDER" in capsys.readouterr().err


def test_near_duplicates_are_found_by_the_builds_embedder(
    built: Any, home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(main, ["near-duplicates", "--minimum", "0.6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    photos, _ = read_photos(home, ["build-ieiw"])
    roots = Roots({**Roots.read(home.roots_path).folders, "store": home.data})
    rows, _ = list_photos(home, ["build-ieiw"])
    pixels = {row["image"]["sha256"]: decode_image(read_image_bytes(roots, row["image"])) for row in rows}
    features = HistogramEmbedder().embed(list(pixels.values())).astype(float)
    digests, cosines = list(pixels), features @ features.T
    expected = {
        tuple(sorted((digests[i], digests[j]))) for i in range(len(digests)) for j in range(i) if cosines[i, j] >= 0.6
    }
    assert found["num_photos"] == len(photos) == len(digests) and expected
    assert {tuple(sorted(one["sha256"])) for one in found["near"]} == expected
    assert run(main, ["near-duplicates"]) == 0 and "near duplicates, cosine at least 0.98" in capsys.readouterr().out
    for arguments, words in (
        (["--minimum", "2"], "--minimum must be a cosine"),
        (["--build", "other"], "no build named 'other'"),
    ):
        assert run(main, ["near-duplicates", *arguments]) == 2
        assert words in capsys.readouterr().err
