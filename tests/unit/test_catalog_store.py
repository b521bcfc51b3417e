"""The shard store: whole or absent, the same bytes again, readable by tar, safe among several writers."""

import errno
import hashlib
import multiprocessing
import os
import resource
import tarfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.durable import claim, publish, sweep, temporary_path, write_all, write_file
from catalog.errors import RowRejected, ShardError
from catalog.manifests import Manifest, read_manifest, write_manifest
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes, record_root
from catalog.store import (
    ShardWriter,
    read_metadata,
    read_rows,
    read_shard,
    shard_key,
    sweep_store,
    write_shard,
)
from catalog.workspace import Workspace


def files(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` by its digest."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_rows(writer: ShardWriter):
    for number in range(3):
        image = writer.add_image(f"{number}.target.png", bytes([number]) * (500 + 40 * number), 4, 5)
        yield {"edit_id": f"e{number}", "edit_type": "object_removal", "target_image": image}
    yield {"edit_id": "e3", "reason": "empty_mask", "detail": "no pixel"}


def make(workspace: Workspace, key: str = "k"):
    return write_shard(workspace, "edits", key, make_rows, {"step": "test"})


def test_same_rows_give_the_same_bytes_in_any_folder(tmp_path):
    one, other = Workspace(tmp_path / "one"), Workspace(tmp_path / "elsewhere" / "two")
    assert make(one) == make(other)
    assert files(one.home) == files(other.home)
    assert len(files(one.home)) == 2


def test_a_committed_shard_is_not_made_again(tmp_path):
    workspace = Workspace(tmp_path)
    first = make(workspace)

    def refuse(writer):
        raise AssertionError("made again")

    assert write_shard(workspace, "edits", "k", refuse, {}) == first
    assert (first.num_rows, first.num_usable) == (4, 3)
    assert read_metadata(first.file(workspace))["reasons"] == {"empty_mask": 1}


def test_tar_and_pread_agree(tmp_path):
    workspace = Workspace(tmp_path)
    shard = make(workspace)
    with tarfile.open(workspace.tar_path("edits", "k")) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
        assert all(member.mtime == 0 and member.uid == 0 for member in tar.getmembers())
    record_root(workspace, "store", workspace.data)
    roots = Roots.read(workspace.roots_path)
    rows = list(read_rows(shard.file(workspace)))
    for number, row in enumerate(rows[:3]):
        assert read_image_bytes(roots, row["target_image"]) == members[f"{number}.target.png"]
    assert rows[3]["target_image"] is None


def test_a_failure_while_making_leaves_nothing(tmp_path):
    workspace = Workspace(tmp_path)

    def fail(writer):
        writer.add_image("a.png", b"abc", 1, 1)
        yield {"edit_id": "e"}
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_shard(workspace, "edits", "k", fail, {})
    assert files(workspace.home) == {}


def test_a_full_disk_leaves_nothing_and_loses_nothing(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path)
    before = make(workspace, "first")
    kept = files(workspace.home)
    written, real = 0, os.write

    def filling(descriptor, data):
        nonlocal written
        room = 1200 - written
        if room <= 0:
            raise OSError(28, "No space left on device")
        done = real(descriptor, bytes(data)[:room])  # a short write first, then the error, as a full disk does
        written += done
        return done

    monkeypatch.setattr(os, "write", filling)
    with pytest.raises(OSError, match="No space left"):
        make(workspace, "second")
    assert files(workspace.home) == kept
    monkeypatch.undo()
    assert make(workspace, "first") == before
    make(workspace, "second")


@pytest.mark.parametrize(
    "change",
    [
        {"step": "other"},
        {"parameters": {"dilation": 9}},
        {"backends": ["inpainter=opencv@2"]},
        {"inputs": ["b" * 64]},
        {"inputs": ["a" * 64, "a" * 64]},
    ],
)
def test_the_key_depends_on_everything(change):
    base = {"step": "s", "parameters": {"dilation": 8}, "backends": ["inpainter=opencv@1"], "inputs": ["a" * 64]}
    assert shard_key(**base) == shard_key(**base)
    assert shard_key(**base) != shard_key(**{**base, **change})


def _write_many(home: Path, barrier) -> None:
    barrier.wait()
    for key in ("a", "b", "c"):
        make(Workspace(home), key)


def test_writers_of_the_same_shard_wait_for_each_other(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    writers = [context.Process(target=_write_many, args=(tmp_path / "many", barrier)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    for key in ("a", "b", "c"):
        make(Workspace(tmp_path / "one"), key)
    assert files(tmp_path / "many") == files(tmp_path / "one")


def _hold(path: Path, claimed) -> None:
    with claim(path) as descriptor:
        write_all(descriptor, b"half")
        claimed.set()
        time.sleep(60)


def test_sweep_removes_what_the_dead_left_and_nothing_of_the_living(tmp_path):
    context = multiprocessing.get_context("spawn")
    events = [context.Event(), context.Event()]
    paths = [tmp_path / "living", tmp_path / "dead"]
    holders = [context.Process(target=_hold, args=args) for args in zip(paths, events, strict=True)]
    for holder, event in zip(holders, events, strict=True):
        holder.start()
        assert event.wait(30)
    holders[1].kill()
    holders[1].join()
    assert temporary_path(paths[1]).exists()
    assert sweep(tmp_path) == [temporary_path(paths[1])]
    assert temporary_path(paths[0]).exists()
    holders[0].kill()
    holders[0].join()


def test_a_tar_without_its_rows_is_swept(tmp_path):
    workspace = Workspace(tmp_path)
    make(workspace, "whole")
    make(workspace, "orphan")
    workspace.table_path("edits", "orphan").unlink()
    kept = files(workspace.home)
    assert sweep_store(workspace) == [workspace.tar_path("edits", "orphan")]
    assert files(workspace.home).keys() == kept.keys() - {"data/edits/orphan.tar"}


def test_publishing_replaces_whole(tmp_path):
    path = tmp_path / "file"
    write_file(path, [b"old"])
    with claim(path) as descriptor:
        write_all(descriptor, b"new")
        assert path.read_bytes() == b"old"
        publish(descriptor, path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


DAMAGES = {
    "missing": "no shard",
    "torn": "torn",
    "foreign": "not written by this project",
    "narrow": "lacks columns of its table .edit_type.|other columns",
    "typed": "other columns",
}


@pytest.mark.parametrize("dictionary", [(), ("edit_type",)])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_named(tmp_path, damage, dictionary):
    workspace = Workspace(tmp_path)
    path = make(workspace).file(workspace)
    table = pq.read_table(path)
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "foreign":
        replace_rows(path, table.replace_schema_metadata({}))
    elif damage == "narrow":
        replace_rows(path, table.drop_columns(["edit_type"]))
    else:
        place = table.column_names.index("edit_id")
        replace_rows(path, table.set_column(place, "edit_id", table.column("edit_id").cast(pa.large_string())))
    with pytest.raises(ShardError, match=f"{path}.*({DAMAGES[damage]})|({DAMAGES[damage]}).*{path}"):
        read_shard(path, dictionary=dictionary)


def replace_rows(path: Path, rows: pa.Table) -> None:
    path.unlink()
    pq.write_table(rows, path)


def test_what_the_system_refuses_is_no_damage(tmp_path):
    workspace = Workspace(tmp_path)
    path = make(workspace).file(workspace)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as caught:
            read_shard(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.errno == errno.EMFILE


def test_the_remedy_is_what_makes_the_file(tmp_path):
    workspace = Workspace(tmp_path)
    places = {
        workspace.table_path("pairs", "k"): "run the build again",
        workspace.table_path("verdicts", "k"): "run `python -m catalog decide` again",
        tmp_path / "runs" / "one" / "training_log.parquet": "run again what wrote it",
    }
    for path, remedy in places.items():
        with pytest.raises(ShardError, match=f"no shard at {path}: {remedy}"):
            read_shard(path)


def test_words_as_dictionaries_are_the_same_words(tmp_path):
    workspace = Workspace(tmp_path)
    path = make(workspace).file(workspace)
    read = read_shard(path, ["edit_type", "edit_id"], ["edit_type"])
    assert pa.types.is_dictionary(read.column("edit_type").type)
    assert read.to_pylist() == read_shard(path, ["edit_type", "edit_id"]).to_pylist()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "../../etc/passwd"}, Reason.PATH_ESCAPE),
        ({"path": "/etc/passwd"}, Reason.PATH_ESCAPE),
        ({"path": "edits/none.tar"}, Reason.MISSING_FILE),
        ({"path": "edits"}, Reason.UNREADABLE_FILE),
        ({"length": 10**6}, Reason.CHANGED_FILE),
        ({"offset": 0}, Reason.CHANGED_FILE),
        ({"sha256": "0" * 64}, Reason.CHANGED_FILE),
    ],
)
def test_an_image_that_is_not_as_recorded_has_a_reason(tmp_path, change, reason):
    workspace = Workspace(tmp_path)
    row = next(read_rows(make(workspace).file(workspace)))
    record_root(workspace, "store", workspace.data)
    with pytest.raises(RowRejected) as caught:
        read_image_bytes(Roots.read(workspace.roots_path), row["target_image"] | change)
    assert caught.value.reason == reason


def test_an_unknown_root_is_named(tmp_path):
    workspace = Workspace(tmp_path)
    row = next(read_rows(make(workspace).file(workspace)))
    record_root(workspace, "coco", tmp_path)
    with pytest.raises(ShardError, match="no folder for 'gone'"):
        read_image_bytes(Roots.read(workspace.roots_path), row["target_image"] | {"root": "gone"})


def test_roots_keep_each_other_and_are_relative_for_the_store(tmp_path):
    workspace = Workspace(tmp_path)
    record_root(workspace, "coco", tmp_path / "coco")
    record_root(workspace, "sample", tmp_path / "sample")
    folders = Roots.read(workspace.roots_path).folders
    assert folders["coco"] == tmp_path / "coco"
    assert folders["store"].resolve() == workspace.data.resolve()
    assert str(tmp_path) not in workspace.roots_path.read_text().split('"store"')[1]


def test_manifests_round_trip_and_refuse_nonsense(tmp_path):
    workspace = Workspace(tmp_path)
    manifest = Manifest(name="b", parameters={"seed": 0}, tables={"edits": [make(workspace)]})
    path = write_manifest(workspace, manifest)
    assert read_manifest(workspace, "b") == manifest
    with pytest.raises(ShardError, match="builds there: b"):
        read_manifest(workspace, "c")
    with pytest.raises(ShardError, match="lower-case"):
        read_manifest(workspace, "../b")
    path.write_text("{")
    with pytest.raises(ShardError, match="not a manifest"):
        read_manifest(workspace, "b")
