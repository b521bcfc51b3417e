"""Duplicates: the hash by what must not change it, the search against all pairs, photos of a build, barred images."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from catalog.command_line import run
from catalog.commands import main
from catalog.digests import bytes_digest
from catalog.duplicates import (
    NEAR_BITS,
    barred_photos,
    exact_duplicates,
    list_barred,
    near_by_features,
    near_duplicates,
    read_barred,
    read_photos,
)
from catalog.errors import ConfigError, MixError
from catalog.images import encode_png
from catalog.manifests import Manifest, write_manifest
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.perceptual_hash import difference_hash, distance, near_hashes
from catalog.policies import Policy
from catalog.roots import record_root
from catalog.schema import REQUESTS
from catalog.store import write_shard
from catalog.workspace import HOME_VARIABLE, Workspace

GONE = encode_png(data.rocket())
GONE_SHA = bytes_digest(GONE)
PHOTOS = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")}


def _altered(photo: np.ndarray) -> list[np.ndarray]:
    """The same picture again: recompressed, resized, brighter, blurred."""
    jpeg = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return [
        cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1].copy(),
        cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA),
        np.clip(photo.astype(int) + 12, 0, 255).astype(np.uint8),
        cv2.GaussianBlur(photo, (0, 0), 1.5),
    ]


def test_a_hash_survives_what_leaves_the_picture_the_same_and_nothing_else() -> None:
    hashes = {name: difference_hash(photo) for name, photo in PHOTOS.items()}
    for name, photo in PHOTOS.items():
        for other in _altered(photo):
            assert (hashes[name] ^ difference_hash(other)).bit_count() <= NEAR_BITS
        assert (hashes[name] ^ difference_hash(np.ascontiguousarray(photo[:, ::-1]))).bit_count() > 3 * NEAR_BITS
    values = list(hashes.values())
    assert all((one ^ two).bit_count() > 3 * NEAR_BITS for i, one in enumerate(values) for two in values[:i])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), radius=st.integers(0, 20))
def test_near_hashes_are_all_pairs_within_the_radius(data: Any, radius: int) -> None:
    base = data.draw(st.lists(st.integers(0, 2**64 - 1), max_size=6))
    flips = st.lists(st.integers(0, 63), max_size=24).map(lambda bits: sum({1 << bit for bit in bits}))
    others = [value ^ data.draw(flips) for value in base] + base[:2]
    found = near_hashes(np.array(base, np.uint64), np.array(others, np.uint64), radius)
    expected = [[i, j] for i, x in enumerate(base) for j, y in enumerate(others) if (x ^ y).bit_count() <= radius]
    assert found.tolist() == expected


def test_many_comparisons_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.perceptual_hash._CHUNK", 7)
    hashes = np.random.default_rng(0).integers(0, 8, 40, dtype=np.uint64)
    found = near_hashes(hashes, hashes, 1)
    assert found.tolist() == np.argwhere(distance(hashes[:, None], hashes[None]) <= 1).tolist()
    with pytest.raises(ValueError, match="radius must be from 0 to 63"):
        near_hashes(hashes, hashes, 64)


@pytest.fixture
def build(workspace: Workspace, make_build: Any, make_pair: Any, tmp_path: Path) -> Workspace:
    """Two sources: the same file in both, a smaller copy, another photo, and one whose file is gone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    files = {
        "a/astronaut.png": PHOTOS["astronaut"],
        "b/again.png": PHOTOS["astronaut"],
        "b/small.png": _altered(PHOTOS["astronaut"])[1],
        "b/coffee.png": PHOTOS["coffee"],
    }
    pairs = []
    for number, (name, photo) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        encoded = encode_png(photo)
        path.write_bytes(encoded)
        height, width = photo.shape[:2]
        image = {"root": "photos", "path": name, "offset": 0, "length": len(encoded), "sha256": bytes_digest(encoded)}
        image |= {"width": width, "height": height}
        pairs.append(make_pair(f"p{number}", dataset=name[0], group_id=image["sha256"], source_image=image))
    gone = pairs[0]["source_image"] | {"path": "a/gone.png", "sha256": GONE_SHA, "length": len(GONE)}
    pairs.append(make_pair("gone", source_image=gone, group_id=GONE_SHA))
    make_build(workspace, pairs)
    record_root(workspace, "photos", folder)
    return workspace


def test_duplicates_of_a_build(build: Workspace) -> None:
    photos, unread = read_photos(build, ["build-ieiw"])
    assert len(photos) == 3 and list(unread) == [GONE_SHA] and "missing_file" in unread[GONE_SHA]
    exact = exact_duplicates(photos)
    assert [photo.names for photo in exact] == [("a: a/astronaut.png", "b: b/again.png")]
    (pair,) = near_duplicates(photos)
    names = {name for photo in photos if photo.sha256 in pair for name in photo.names}
    assert names == {"a: a/astronaut.png", "b: b/again.png", "b: b/small.png"}


def test_members_of_a_tar_are_told_apart_and_copies_of_a_build_are_not(
    workspace: Workspace, make_build: Any, make_pair: Any, tmp_path: Path
) -> None:
    """Two members of a source's tar are the same photo twice; what two steps copied into the store is not."""
    data = encode_png(PHOTOS["coffee"])
    (tmp_path / "shard.tar").write_bytes(bytes(512) + data + data)
    image = {"root": "photos", "path": "shard.tar", "offset": 512, "length": len(data), "sha256": bytes_digest(data)}
    image |= {"width": PHOTOS["coffee"].shape[1], "height": PHOTOS["coffee"].shape[0]}
    places = [{}, {"offset": 512 + len(data)}, {"root": "store", "path": "regions/a.tar"}]
    places += [{"root": "store", "path": "pairs/b.tar"}, {"root": "store", "path": "pairs/c.tar"}]
    datasets = ("tars", "tars", "drawn", "drawn", "other")
    pairs = [
        make_pair(f"p{number}", dataset=dataset, group_id=image["sha256"], source_image=image | place)
        for number, (dataset, place) in enumerate(zip(datasets, places, strict=True))
    ]
    make_build(workspace, pairs)
    record_root(workspace, "photos", tmp_path)
    (photo,) = read_photos(workspace, ["build-ieiw"])[0]
    second = f"tars: shard.tar at {512 + len(data)}"
    assert set(photo.names) == {"drawn: copied", "other: copied", "tars: shard.tar at 512", second}


def test_pictures_of_one_photo_are_no_duplicates_and_a_cut_photo_is_barred_whole(
    workspace: Workspace, make_build: Any, make_pair: Any, tmp_path: Path
) -> None:
    """A photo request: source and target alike, the source cut out of a photo that a benchmark has in another size."""
    whole = PHOTOS["coffee"]
    cut = np.ascontiguousarray(whole[: whole.shape[0] // 2])
    edited = cut.copy()
    edited[:10, :10] = 255
    images = {}
    for name, pixels in (("whole", whole), ("cut", cut), ("edited", edited)):
        data = encode_png(pixels)
        (workspace.data / "x").mkdir(parents=True, exist_ok=True)
        (workspace.data / "x" / name).write_bytes(data)
        size = {"width": pixels.shape[1], "height": pixels.shape[0]}
        images[name] = {"root": "store", "path": f"x/{name}", "offset": 0, "length": len(data)}
        images[name] |= {"sha256": bytes_digest(data), **size}
    record_root(workspace, "photo_request", workspace.data)
    shown = {
        side: images[name] | {"root": "photo_request"}
        for side, name in (("source_image", "cut"), ("target_image", "edited"))
    }
    group = images["whole"]["sha256"]
    pair = make_pair("p", dataset="photo_request", edit_type="photo_request", group_id=group, **shown)
    manifest = make_build(workspace, [pair])
    row = dict.fromkeys(REQUESTS.names) | {"result_id": "r-1", "photo_image": images["whole"]}
    shard = write_shard(workspace, "requests", "0" * 32, lambda writer: [row], {"step": "by hand"})
    write_manifest(workspace, Manifest("build-ieiw", {}, {**manifest.tables, "requests": [shard]}))
    photos, unread = read_photos(workspace, ["build-ieiw"])
    assert {photo.sha256 for photo in photos} == {image["sha256"] for image in images.values()} and not unread
    assert near_duplicates(photos) == []
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "a.png").write_bytes(encode_png(_altered(whole)[1]))
    (tmp_path / "barred.txt").write_text("\n".join(list_barred(tmp_path / "benchmark")))
    assert group in barred_photos(photos, read_barred(tmp_path / "barred.txt"))


def test_barred_images_are_known_again_by_digest_and_by_look(build: Workspace, tmp_path: Path) -> None:
    benchmark = tmp_path / "benchmark"
    benchmark.mkdir()
    (benchmark / "the photo.png").write_bytes(encode_png(_altered(PHOTOS["astronaut"])[3]))
    (benchmark / "coffee.png").write_bytes(encode_png(PHOTOS["coffee"]))
    lines = list_barred(benchmark)
    path = tmp_path / "barred.txt"
    path.write_text("# benchmark\n" + "\n".join(lines) + "\n" + "0" * 64 + "  by digest alone\n")
    barred = read_barred(path)
    assert len(barred) == 3 and barred["0" * 64] is None
    photos, _ = read_photos(build, ["build-ieiw"])
    found = barred_photos(photos, barred)
    assert found.keys() == {photo.sha256 for photo in photos}
    by_name = {name: found[photo.sha256] for photo in photos for name in photo.names}
    assert by_name["b: b/coffee.png"] == lines[0][:64] and by_name["b: b/small.png"] == lines[1][:64]
    assert barred_photos(photos, {"0" * 64: None}) == {}


def test_a_mix_bars_a_benchmark_image_by_digest_and_by_look(build: Workspace, tmp_path: Path) -> None:
    benchmark = tmp_path / "benchmark"
    benchmark.mkdir()
    (benchmark / "photo.png").write_bytes(encode_png(_altered(PHOTOS["astronaut"])[3]))
    hashed, by_digest = list_barred(benchmark)[0], f"{bytes_digest(encode_png(PHOTOS['coffee']))}  coffee"
    policy = Policy(name="all", version=1, description="", conditions=())
    drawn = {}
    for name, lines in {"none": [], "look": [hashed], "digest": [by_digest], "digest alone": [hashed[:64]]}.items():
        (tmp_path / "barred.txt").write_text("\n".join(lines))
        (tmp_path / "mix.toml").write_text('name = "m"\nbarred = "barred.txt"\n[[source]]\nname = "a"\nweight = 1.0\n')
        plan, output = MixPlan.read(tmp_path / "mix.toml"), build.catalog / "mix.parquet"
        if name == "look":
            with pytest.raises(MixError, match=r"1 are not \(missing_file.*bar by SHA-256 alone"):
                build_mix(build, ["build-ieiw"], policy, plan, output)
            (tmp_path / "photos" / "a" / "gone.png").write_bytes(GONE)
        drawn[name] = (
            build_mix(build, ["build-ieiw"], policy, plan, output).num_train,
            set(pq.read_table(output)["pair_id"].to_pylist()),
        )
    assert drawn["none"][1] == drawn["digest alone"][1] == {"p0", "p1", "p2", "p3", "gone"}
    assert drawn["look"][1] == {"p3", "gone"}  # the photo twice and its smaller copy are out
    assert drawn["digest"][1] == {"p0", "p1", "p2", "gone"}


def test_lists_that_are_not_right_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be in a folder"):
        list_barred(tmp_path / "absent")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("no image")
    with pytest.raises(ConfigError, match=r"notes.txt must be an image \(not_an_image"):
        list_barred(tmp_path / "images")
    (tmp_path / "barred.txt").write_text("abc\n")
    with pytest.raises(MixError, match="line 1: a SHA-256 has 64"):
        read_barred(tmp_path / "barred.txt")
    with pytest.raises(MixError, match=r"no list of barred images at .*absent.txt: name another, or leave it out$"):
        read_barred(tmp_path / "absent.txt")
    with pytest.raises(MixError, match=r"images cannot be read \(Is a directory\): mend it or name another$"):
        read_barred(tmp_path / "images")


def test_near_features_are_all_pairs_above_the_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.duplicates._BLOCK", 4)
    random = np.random.default_rng(0)
    features = random.normal(size=(13, 4)).astype(np.float32)
    features[7] = features[2] + 0.01
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    digests = [f"{number:02d}" for number in random.permutation(13)]
    expected = sorted(
        tuple(sorted((digests[i], digests[j]))) for i in range(13) for j in range(i) if features[i] @ features[j] >= 0.9
    )
    assert near_by_features(digests, features, 0.9) == expected
    assert tuple(sorted((digests[2], digests[7]))) in near_by_features(digests, features)


def test_the_command_names_duplicates_and_barred_photos(
    build: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(build.home))
    assert run(main, ["duplicates", "--list-images", str(tmp_path / "photos" / "b")]) == 0
    (tmp_path / "barred.txt").write_text(capsys.readouterr().out)
    assert run(main, ["duplicates", "--barred", str(tmp_path / "barred.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 photos, 1 could not be read" and "barred: 3" in lines
    assert "exact duplicates: 1" in lines and "  a: a/astronaut.png = b: b/again.png" in lines
    assert run(main, ["duplicates", "--radius", "40"]) == 2
    assert "--radius must be from 0 to 16" in capsys.readouterr().err
