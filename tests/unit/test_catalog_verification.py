"""Verify finds each kind of damage and names it; a whole workspace has no problem and no note."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from catalog.digests import bytes_digest, file_digest
from catalog.errors import ShardError
from catalog.manifests import Manifest, read_manifest, write_manifest
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.reports import verification
from catalog.roots import record_root
from catalog.store import Shard, ShardWriter, shard_key, write_shard
from catalog.verification import Verification, verify
from catalog.workspace import Workspace

EVERYTHING = Policy(name="everything", version=1, description="", conditions=())
PLAN = MixPlan.parse({"name": "test", "source": [{"name": "all", "weight": 1.0}]}, "test.toml")


@pytest.fixture
def build(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, make_pair: Any) -> Shard:
    """A build of two pairs whose images are in a tar and in a source folder, with a mix."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "photo.png").write_bytes(b"a photo of its own")

    def produce(writer: ShardWriter) -> list[dict[str, Any]]:
        photo = {"root": "photos", "path": "photo.png", "offset": 0, "length": 18, "width": 8, "height": 8}
        photo["sha256"] = bytes_digest(b"a photo of its own")
        rows = []
        for name in ("a", "b"):
            target = writer.add_image(f"{name}.png", f"target of {name}".encode(), 8, 8)
            rows.append(make_pair(name, source_image=photo, target_image=target))
        return [*rows, make_pair("c", source_image=photo, target_image=None, reason="no_change")]

    shard = write_shard(workspace, "pairs", shard_key("by hand", {}, [], []), produce, {})
    write_manifest(workspace, Manifest(name="build-ieiw", tables={"pairs": [shard]}))
    record_root(workspace, "photos", folder)
    build_mix(workspace, ["build-ieiw"], EVERYTHING, PLAN, workspace.catalog / "mix.parquet")
    return shard


def test_a_whole_workspace_has_nothing_to_say(workspace: Workspace, build: Shard) -> None:
    for deep in (False, True):
        found = verify(workspace, deep=deep)
        assert found.problems == found.notes == []
        assert (found.num_manifests, found.num_shards, found.num_images, found.num_mixes) == (2, 2, 3, 1)
        assert found.num_rows == 3 + 3


def photos(workspace: Workspace) -> Path:
    return Path(json.loads(workspace.roots_path.read_text())["photos"])


def tar(workspace: Workspace) -> Path:
    (path,) = workspace.data.glob("*/*.tar")
    return path


def change_byte(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def rewrite_pairs(workspace: Workspace, shard: Shard, **images: Any) -> None:
    """Pairs as a foreign tool might have written them: whole, listed, but pointing elsewhere."""
    path = shard.file(workspace)
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["target_image"] |= images
    changed = table.from_pylist(rows, schema=table.schema)
    pq.write_table(changed, path)
    again = {**shard.as_dict(), "sha256": file_digest(path)}
    write_manifest(workspace, Manifest(name="build-ieiw", tables={"pairs": [Shard(**again)]}))
    (workspace.catalog / "mix.parquet").unlink()


Damage = Callable[[Workspace, Shard], object]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda w, s: s.file(w).unlink(), "is missing"),
        (lambda w, s: change_byte(s.file(w), 10), "has changed"),
        (lambda w, s: s.file(w).write_bytes(b""), "has changed"),
        (lambda w, s: tar(w).unlink(), "image file store/pairs/"),
        (lambda w, s: os.truncate(tar(w), 600), "outside its 600 bytes"),
        (lambda w, s: (photos(w) / "photo.png").unlink(), "image file photos/photo.png is missing"),
        (lambda w, s: (photos(w) / "photo.png").write_bytes(b"short"), "outside its 5 bytes"),
        (lambda w, s: w.roots_path.write_text('{"store": "../data"}'), "no folder for 'photos'"),
        (lambda w, s: w.roots_path.unlink(), "no folder for"),
        (lambda w, s: w.manifest_path("build-ieiw").write_text("{"), "is not a manifest"),
        (lambda w, s: rewrite_pairs(w, s, offset=-5), "bytes -5 to"),
        (lambda w, s: rewrite_pairs(w, s, length=0), "outside its"),
        (lambda w, s: rewrite_pairs(w, s, path="../x.tar"), "leaves its root"),
        (lambda w, s: os.truncate(w.catalog / "mix.parquet", 900), "mix.parquet cannot be read"),
        (lambda w, s: shutil.copy(s.file(w), w.catalog / "mix.parquet"), "other columns than a mix"),
    ],
)
def test_each_damage_is_named(workspace: Workspace, build: Shard, damage: Damage, words: str) -> None:
    damage(workspace, build)
    found = verify(workspace)
    assert any(words in problem for problem in found.problems), found


@pytest.mark.parametrize("which", ["tar", "photo"])
def test_changed_image_bytes_are_found_by_a_deep_look_only(workspace: Workspace, build: Shard, which: str) -> None:
    change_byte(tar(workspace) if which == "tar" else photos(workspace) / "photo.png", 515 if which == "tar" else 3)
    assert verify(workspace).problems == []
    (problem,) = verify(workspace, deep=True).problems
    assert "is not as it was" in problem


def test_a_table_of_another_schema_is_named(workspace: Workspace, build: Shard) -> None:
    path = build.file(workspace)
    table = pq.read_table(path).drop_columns(["phrase"])
    pq.write_table(table, path)
    again = {**build.as_dict(), "sha256": file_digest(path)}
    write_manifest(workspace, Manifest(name="build-ieiw", tables={"pairs": [Shard(**again)]}))
    assert any("other columns" in problem for problem in verify(workspace).problems)


def test_a_wrong_row_count_is_named(workspace: Workspace, build: Shard) -> None:
    write_manifest(
        workspace, Manifest(name="build-ieiw", tables={"pairs": [Shard(**build.as_dict() | {"num_rows": 9})]})
    )
    assert any("has 3 rows, the manifest says 9" in problem for problem in verify(workspace).problems)


def test_a_mix_with_a_hole_is_named(workspace: Workspace, build: Shard) -> None:
    path = workspace.catalog / "mix.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    assert any("lacks positions from 0 on" in problem for problem in verify(workspace).problems)
    pq.write_table(table.slice(0, 1), path)
    assert any("not the rows that its footer promises" in problem for problem in verify(workspace).problems)


def test_leftovers_are_notes_and_no_problem(workspace: Workspace, build: Shard) -> None:
    (workspace.table_folder("pairs") / "x.parquet.tmp").write_bytes(b"half")
    shutil.copy(build.file(workspace), workspace.table_path("pairs", "orphan"))
    shutil.copy(tar(workspace), workspace.tar_path("pairs", "lonely"))
    found = verify(workspace)
    assert found.problems == []
    assert found.notes == [
        "tables/pairs/orphan.parquet is in no manifest",
        "pairs/lonely.tar has no table beside it",
        "catalog/tables/pairs/x.parquet.tmp is a temporary file",
    ]


def test_a_mix_older_than_its_build_is_a_note(workspace: Workspace, build: Shard) -> None:
    manifest = read_manifest(workspace, "build-ieiw")
    write_manifest(workspace, Manifest(name="build-ieiw", tables={"pairs": manifest.tables["pairs"] * 2}))
    found = verify(workspace)
    assert found.problems == [] and found.notes == ["mix.parquet was made from another state of build build-ieiw"]


def test_one_build_alone(workspace: Workspace, build: Shard) -> None:
    (workspace.catalog / "mix.parquet").write_bytes(b"")
    assert verify(workspace, "build-ieiw").problems == []
    with pytest.raises(ShardError, match="no build named 'other'"):
        verify(workspace, "other")


def test_one_of_a_kind_is_said_as_one() -> None:
    one = Verification(num_manifests=1, num_shards=1, num_rows=1, num_images=1, num_mixes=1, problems=["torn"])
    assert verification(one, deep=False).splitlines()[-1] == (
        "1 manifest, 1 shard, 1 row, 1 image in place, 1 mix: 1 problem"
    )
    none = Verification(num_manifests=2, num_rows=3)
    assert verification(none, deep=True) == "2 manifests, 0 shards, 3 rows, 0 images read, 0 mixes: no problems"
