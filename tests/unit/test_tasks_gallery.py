"""Patches, the gallery over them and the donors that it finds, against comparing everything by hand."""

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from catalog.digests import bytes_digest
from catalog.errors import BackendError, RowRejected, ShardError
from catalog.images import decode_image
from catalog.manifests import Manifest, write_manifest
from catalog.masks import decode_mask
from catalog.reasons import Reason
from catalog.store import Shard, ShardWriter, read_entry, read_metadata, read_shard, shard_key, sweep_store, write_shard
from catalog.verification import verify
from catalog.workspace import Workspace
from tasks.backends.vector_index import FaissAutoIndex
from tasks.gallery import INDEX_SUFFIX, build_gallery, open_gallery
from tasks.parameters import GalleryIndexParameters, GalleryParameters, ReplacementParameters
from tasks.patches import _box, _check, _name, _with_margin, cut, difference_hash
from tasks.replacement import _choose, _close, _give_donors, _Hole, _may_replace

IMAGE = {"root": "r", "path": "p", "offset": 0, "length": 1, "sha256": "s", "width": 200, "height": 100}


def vectors(count: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    """Clustered vectors of length 1."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(20, dimension))
    made = centres[random.integers(0, 20, count)] + 0.5 * random.normal(size=(count, dimension))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def patch(number: int, embedding: Any = None, **given: Any) -> dict[str, Any]:
    return {
        "region_id": f"d/{number}/0",
        "group_id": f"photo {number}",
        "dataset": "d",
        "split": "train",
        "licence": None,
        "source_image": IMAGE,
        "phrase": None,
        "label": "cup",
        "name": "red cup",
        "bbox": [10.0, 10.0, 40.0, 40.0],
        "area": 1600,
        "num_instances": 1,
        "crop": [8, 8, 44, 44],
        "aspect": 1.0,
        "crop_hash": bytes_digest(str(number).encode())[:16],
        "embedding": embedding,
        "backends": ["embedder=e@1"],
        "reason": None,
    } | given


def patch_shards(workspace: Workspace, embeddings: np.ndarray, size: int = 90) -> list[Shard]:
    shards = []
    for start in range(0, len(embeddings), size):
        rows = [patch(start + place, vector) for place, vector in enumerate(embeddings[start : start + size])]
        rows.insert(1, patch(-1 - start, None, reason=str(Reason.REGION_TOO_SMALL)))
        key = shard_key("by hand", {}, [], [str(start), str(len(embeddings))])
        shards.append(write_shard(workspace, "patches", key, lambda writer, rows=rows: rows, {}))
    return shards


def gallery_shard(
    workspace: Workspace, shards: list[Shard], index: FaissAutoIndex, key: str = "k", max_patches: int = 10_000
) -> Shard:
    context: Any = SimpleNamespace(
        inputs=tuple(shard.file(workspace) for shard in shards),
        backends={"index": index},
        profile=SimpleNamespace(gallery_index=GalleryIndexParameters(max_patches=max_patches)),
    )
    return write_shard(workspace, "gallery", key, lambda writer: build_gallery(context, writer), {})


KINDS = {
    "flat": {},
    "hnsw": {"hnsw_from": 100},
    "ivfpq": {"hnsw_from": 10, "ivfpq_from": 100},
}


def make_index(kind: str) -> FaissAutoIndex:
    return FaissAutoIndex(**KINDS[kind], device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_a_gallery_holds_the_usable_patches_and_finds_them_again(workspace, kind):
    embeddings, index = vectors(700), make_index(kind)
    assert index.kind(700) == kind
    shard = gallery_shard(workspace, patch_shards(workspace, embeddings), index)
    assert shard.num_rows == 700
    gallery = open_gallery(workspace, shard.file(workspace), index)
    exact = np.argsort(-(embeddings[:50].astype(np.float64) @ embeddings.T), axis=1)[:, :10]
    found = gallery.nearest(embeddings[:50], 10)
    recall = np.mean(
        [
            len({f"d/{number}/0" for number in wanted} & {row["region_id"] for row in rows}) / 10
            for wanted, rows in zip(exact, found, strict=True)
        ]
    )
    assert recall >= {"flat": 1.0, "hnsw": 0.95, "ivfpq": 0.3}[kind]
    if kind != "ivfpq":  # whose similarities are estimates
        assert [rows[0]["region_id"] for rows in found] == [f"d/{number}/0" for number in range(50)]
        assert found[0][0]["similarity"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_one_and_four_threads_give_the_same_bytes(tmp_path, kind):
    import faiss

    embeddings, digests = vectors(700), []
    before = faiss.omp_get_max_threads()
    try:
        for threads in (1, 4):
            faiss.omp_set_num_threads(threads)
            workspace = Workspace(tmp_path / str(threads))
            shard = gallery_shard(workspace, patch_shards(workspace, embeddings), make_index(kind))
            digests.append((shard.sha256, read_metadata(shard.file(workspace))["files"]))
    finally:
        faiss.omp_set_num_threads(before)
    assert digests[0] == digests[1]


def test_of_more_patches_than_fit_some_are_taken_whatever_else_there_is(workspace):
    embeddings, index = vectors(700), make_index("flat")
    shards = patch_shards(workspace, embeddings)
    assert gallery_shard(workspace, shards, index, "all", max_patches=700).num_rows == 700
    some = gallery_shard(workspace, shards, index, "some", max_patches=200)
    fewer = gallery_shard(workspace, shards, index, "fewer", max_patches=100)
    taken = [set(read_shard(shard.file(workspace))["region_id"].to_pylist()) for shard in (some, fewer)]
    assert 160 < len(taken[0]) < 240 and taken[1] < taken[0]
    gallery = open_gallery(workspace, some.file(workspace), index)
    for number in (int(name.split("/")[1]) for name in list(taken[0])[:20]):  # row i is still vector i
        ((found,),) = gallery.nearest(embeddings[number : number + 1], 1)
        assert found["region_id"] == f"d/{number}/0"


@pytest.mark.parametrize("kind", ["flat", "ivfpq"])
def test_filling_by_shards_is_building_an_index_per_shard_and_merging_them(kind):
    import faiss

    embeddings, index = vectors(700), make_index(kind)
    index.expect(700, embeddings[: index.num_training(700)])
    whole = faiss.clone_index(index._index)
    for start in range(0, 700, 90):
        index.add(embeddings[start : start + 90])
        part = faiss.clone_index(whole)
        part.reset()
        part.add(embeddings[start : start + 90])
        whole.merge_from(part, start if kind == "ivfpq" else 0)
    assert faiss.serialize_index(index._index).tobytes() == faiss.serialize_index(whole).tobytes()


def test_an_empty_gallery_finds_nothing(workspace):
    shard = gallery_shard(workspace, patch_shards(workspace, vectors(0)), make_index("flat"))
    assert shard.num_rows == 0
    gallery = open_gallery(workspace, shard.file(workspace), make_index("flat"))
    assert gallery.nearest(vectors(2), 3) == [[], []]


def test_the_index_file_is_part_of_the_shard(workspace):
    shard = gallery_shard(workspace, patch_shards(workspace, vectors(120)), make_index("flat"))
    file = workspace.tar_path("gallery", shard.key).with_suffix(INDEX_SUFFIX)
    whole = file.read_bytes()

    def problems(deep: bool) -> list[str]:
        found = verify(workspace, build="m", deep=deep)
        assert found.num_files == 1
        return [problem for problem in found.problems if "roots.json" not in problem]

    write_manifest(workspace, Manifest(name="m", tables={"gallery": [shard]}))
    assert problems(deep=True) == []
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert problems(deep=False) == []
    (sentence,) = problems(deep=True)
    assert "has changed: its digest is not the one in the footer" in sentence
    file.write_bytes(whole[:-1])
    with pytest.raises(ShardError, match=r"must have the .* bytes"):
        read_entry(workspace, "gallery", shard.key)
    file.write_bytes(b"no index")
    with pytest.raises(ShardError, match="is no index"):
        make_index("flat").read(file)
    shard.file(workspace).unlink()
    assert file in sweep_store(workspace) and not file.exists()


@pytest.mark.parametrize("options", [{"hnsw_from": 0}, {"hnsw_from": 9, "ivfpq_from": 8}, {"device": "tpu"}], ids=repr)
def test_wrong_options_are_refused(options):
    with pytest.raises(BackendError, match="faiss-auto"):
        FaissAutoIndex(**options)


ORIGINAL = patch(1)


@pytest.mark.parametrize(
    ("other", "settings"),
    [
        ({"group_id": "photo 1"}, {}),
        ({"split": "val"}, {}),
        ({"similarity": 0.98}, {}),
        ({"crop_hash": ORIGINAL["crop_hash"]}, {}),
        ({"crop_hash": f"{int(ORIGINAL['crop_hash'], 16) ^ 0b1000100000010001:016x}"}, {}),
        ({"aspect": 1.6}, {}),
        ({"aspect": 1 / 1.6}, {}),
        ({"label": "dog"}, {"donor_label": "same"}),
        ({}, {"donor_label": "different"}),
        ({"dataset": "e"}, {"same_dataset": True}),
    ],
    ids=repr,
)
def test_each_rule_of_a_donor(other, settings):
    parameters = ReplacementParameters(**settings)
    candidate = patch(2, similarity=0.9) | other
    assert not _may_replace(candidate, ORIGINAL, parameters)
    assert _may_replace(patch(2, similarity=0.9), ORIGINAL, ReplacementParameters())


def test_donors_are_among_the_nearest_eligible_and_follow_the_seed():
    parameters = ReplacementParameters(num_neighbours=3)
    found = [
        patch(number, similarity=0.9 - 0.01 * number, split="val" if number == 3 else "train") for number in range(2, 9)
    ]
    gallery: Any = SimpleNamespace(key="g", nearest=lambda embeddings, k: [found for _ in embeddings])

    def donors(seed: int) -> list[tuple[str, int]]:
        chosen = ReplacementParameters(num_neighbours=3, seed=seed)
        rows: list[dict[str, Any]] = [{"reason": None} for _ in range(40)]
        queries = [patch(1, [1.0], region_id=f"q/{number}") for number in range(40)]
        _give_donors(rows, queries, gallery, chosen)
        return [(row["donor"]["region_id"], row["donor"]["rank"]) for row in rows]

    assert set(donors(0)) == {("d/2/0", 0), ("d/4/0", 1), ("d/5/0", 2)}
    assert donors(0) == donors(0) != donors(1)
    row: dict[str, Any] = {"reason": None}
    nothing: Any = SimpleNamespace(key="g", nearest=lambda embeddings, k: [[]])
    _give_donors([row], [patch(1, [1.0])], nothing, parameters)
    assert row["reason"] == Reason.NO_DONOR and "donor" not in row


def test_so_many_regions_of_a_photo_and_only_eligible_ones():
    regions = [patch(1, region_id=f"r{number}", area=area) for number, area in enumerate([1600, 10, 1500, 1600, 1400])]
    regions[3] |= {"crop": [0, 0, 190, 95]}  # thin, and its box nearly everything
    regions.append(patch(1, region_id="r5", area=1600, num_instances=2))  # what stands between them would go, too
    for per_photo in (1, 2, 5):
        chosen = list(_choose(regions, ReplacementParameters(per_photo=per_photo)))
        assert len(chosen) == min(per_photo, 3)
        assert {region["region_id"] for region in chosen} <= {"r0", "r2", "r4"}
    outlined = list(_choose(regions, ReplacementParameters(per_photo=9, hole="region")))
    assert [region["region_id"] for region in outlined] == ["r0", "r2", "r3", "r4", "r5"]


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0, 0, 31, 60], Reason.REGION_TOO_SMALL),
        ([0, 0, 130, 40], Reason.REGION_TOO_NARROW),
        ([0, 0, 150, 90], Reason.REGION_TOO_LARGE),
    ],
)
def test_each_limit_of_a_patch_has_its_reason(box, reason):
    with pytest.raises(RowRejected) as caught:
        _check(box, IMAGE, GalleryParameters())
    assert caught.value.reason is reason
    with pytest.raises(RowRejected) as caught:
        _box({"mask": None, "bbox": None, "source_image": IMAGE})
    assert caught.value.reason is Reason.NO_REGION


def test_crops_stay_within_the_image_and_hashes_tell_pictures_apart():
    assert _with_margin([0.0, 10.0, 100.0, 50.0], IMAGE, 0.1) == [0, 0, 110, 70]
    assert _with_margin([150.0, 60.0, 50.0, 40.0], IMAGE, 0.1) == [145, 55, 55, 45]
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    assert cut(image, [145, 55, 55, 45]).shape == (45, 55, 3)
    assert difference_hash(image) == difference_hash(image.copy()) != difference_hash(255 - image)
    assert len(difference_hash(image)) == 16


def test_names_hold_in_any_place():
    row = {"label": "cup", "attributes": ["left", "large", "white shirt", "red", "round"]}
    assert _name(row) == "red cup"
    assert _name({"label": "cup", "attributes": None}) == "cup"
    assert _name({"label": None, "attributes": ["red"]}) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (np.zeros((40, 60, 3), np.uint8), Reason.BLACK_OUTPUT),
        (np.full((40, 60, 3), 121, np.uint8), Reason.NO_CHANGE),
        (RowRejected(Reason.BACKEND_FAILED, "it failed"), Reason.BACKEND_FAILED),
    ],
    ids=["black", "same", "failed"],
)
def test_each_output_that_is_no_replacement_has_its_reason(workspace, answer, reason):
    source = np.full((40, 60, 3), 120, np.uint8)
    alpha = np.zeros((40, 60), np.float32)
    alpha[10:20, 10:30] = 1
    hole = _Hole({"edit_id": "e", "reason": None}, source, alpha, np.full((8, 8, 3), 90, np.uint8))
    _close(hole, answer, ReplacementParameters(), ShardWriter(workspace, "edits", "k"))
    assert hole.row["reason"] == reason and hole.row["detail"] and "target_image" not in hole.row


def test_a_replacement_changes_nothing_outside_its_mask(workspace):
    source = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    alpha = np.zeros((40, 60), np.float32)
    alpha[10:20, 10:30] = 0.5
    hole = _Hole({"edit_id": "e", "reason": None}, source, alpha, np.full((8, 8, 3), 90, np.uint8))
    with closing(ShardWriter(workspace, "edits", "k")) as writer:
        _close(hole, np.full((40, 60, 3), 200, np.uint8), ReplacementParameters(), writer)
        writer.finish()
    image, mask = hole.row["target_image"], decode_mask(hole.row["edit_mask"])
    data = workspace.tar_path("edits", "k").read_bytes()[image["offset"] :][: image["length"]]
    target = decode_image(data)
    assert mask.sum() == 200 and np.array_equal(target[~mask], source[~mask])
    assert np.abs(target[mask].astype(int) - (source[mask].astype(int) + 200) / 2).max() <= 1
