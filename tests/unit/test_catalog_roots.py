"""One read fetches an image: from files that are kept open, and yet always from what lies at the place now."""

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from catalog import roots as module
from catalog.digests import bytes_digest
from catalog.errors import RowRejected, ShardError
from catalog.roots import Roots, read_image_bytes, record_root
from catalog.workspace import Workspace


def place(folder: Path, name: str, offset: int, data: bytes) -> dict[str, Any]:
    """Put ``data`` into a file at ``offset``; its `columns.IMAGE` value."""
    file = folder / name
    file.touch()
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)
    return {"root": "r", "path": name, "offset": offset, "length": len(data), "sha256": bytes_digest(data)}


def num_open(folder: Path) -> int:
    """Descriptors of files below a folder: other tests' files may close at any time."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the listing itself
            found += descriptor.readlink().is_relative_to(folder)
    return found


def test_few_files_stay_open_and_none_for_single_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_OPEN", 3)
    roots = Roots({"r": tmp_path})
    alone = [place(tmp_path, f"alone{i}", 0, b"alone%d" % i) for i in range(5)]
    packed = [place(tmp_path, f"packed{i}", 7, b"packed%d" % i) for i in range(5)]
    for _ in range(2):
        assert [read_image_bytes(roots, image) for image in alone] == [b"alone%d" % i for i in range(5)]
    assert num_open(tmp_path) == 0
    for _ in range(2):
        assert [read_image_bytes(roots, image) for image in packed] == [b"packed%d" % i for i in range(5)]
    assert num_open(tmp_path) == 3
    del roots
    gc.collect()
    assert num_open(tmp_path) == 0


def test_a_container_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    roots = Roots({"r": tmp_path})
    old = place(tmp_path, "packed", 7, b"old")
    assert read_image_bytes(roots, old) == b"old"
    new = place(tmp_path, "other", 7, b"new") | {"path": "packed"}
    (tmp_path / "other").replace(tmp_path / "packed")
    assert read_image_bytes(roots, new) == b"new"
    with pytest.raises(RowRejected, match="changed_file"):
        read_image_bytes(roots, old)
    place(tmp_path, "packed", 7, b"bad")
    with pytest.raises(RowRejected, match="changed_file"):
        read_image_bytes(roots, new)
    (tmp_path / "packed").unlink()
    with pytest.raises(RowRejected, match="missing_file"):
        read_image_bytes(Roots({"r": tmp_path}), new)


def test_threads_do_not_close_each_others_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_OPEN", 1)
    roots = Roots({"r": tmp_path})
    images = [place(tmp_path, f"packed{i}", 7, b"packed%d" % i) for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: read_image_bytes(roots, images[i % 4]), range(4000)))
    assert found == [b"packed%d" % (i % 4) for i in range(4000)]


def test_open_files_do_not_travel(tmp_path: Path) -> None:
    roots = Roots({"r": tmp_path})
    image = place(tmp_path, "packed", 7, b"old")
    read_image_bytes(roots, image)
    again = pickle.loads(pickle.dumps(roots))
    assert again == roots and read_image_bytes(again, image) == b"old"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"store": 5}', r"the folder of 'store' must be text. Got 5\): mend or delete it$"),
        ('["store"]', r"\(it is \['store'\]\): mend or delete it$"),
        ("{", r"\): mend or delete it$"),
    ],
)
def test_a_file_of_roots_that_is_not_one_is_named(tmp_path: Path, content: str, words: str) -> None:
    workspace = Workspace(tmp_path)
    workspace.catalog.mkdir()
    workspace.roots_path.write_text(content)
    with pytest.raises(ShardError, match=f"{workspace.roots_path} must be a JSON object of folders by name .*{words}"):
        Roots.read(workspace.roots_path)
    with pytest.raises(ShardError, match=words):
        record_root(workspace, "store", tmp_path)
    assert workspace.roots_path.read_text() == content
