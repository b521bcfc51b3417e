"""`python -m tasks sources` and `check-source`: every reader listed, folders checked, progress told, memory bounded."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from listed_pairs import cell, ingest_source, png, write_table, write_tar

from catalog.command_line import run
from tasks.commands import main
from tasks.listing import open_source
from tasks.profiles import Source
from tasks.readers import json_records
from tasks.readers.coco import CocoReader
from tasks.readers.descriptions import DESCRIPTIONS
from tasks.readers.json_records import JsonRecords
from tasks.readers.progress import listening
from tasks.readers.registry import READERS
from tasks.source_check import _Files

ROOTLESS = {"sample", "synthetic"}
NEEDED = {"coco": ["--option", "annotations=a.json"]}


def check(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run(main, ["check-source", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_every_reader_is_listed(capsys: Any) -> None:
    assert list(DESCRIPTIONS) == sorted(READERS)
    assert run(main, ["sources"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:-2]] == sorted(READERS)
    assert lines[-1].startswith(f"{len(READERS)} readers")


@pytest.mark.parametrize("name", READERS)
def test_each_reader_says_its_layout_and_every_option(name: str, capsys: Any) -> None:
    assert run(main, ["sources", name]) == 0
    text = capsys.readouterr().out
    assert "Option" in text
    options = READERS[name](root=None, options={}).options if name not in ROOTLESS else {}
    described = text if "as `EditPairsReader`" not in text else text + inspect.getdoc(READERS["edit_pairs"])
    hidden = {"files", "columns", "images", "wordings"} if name == "magicbrush" else set()
    for option in set(options) - hidden:
        assert f"``{option}``" in described, option


@pytest.mark.parametrize("name", sorted(set(READERS) - ROOTLESS))
def test_a_wrong_folder_is_one_sentence(name: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "holiday").mkdir()
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert run(main, ["check-source", name, str(folder), *NEEDED.get(name, [])]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and str(folder) in error, error


def test_bad_arguments(tmp_path: Path, capsys: Any) -> None:
    for arguments, words in (
        (["nothing", "x"], "A reader is one of"),
        (["gopro", str(tmp_path), "--option", "split"], "--option must be NAME=VALUE, such as --option split=test"),
        (["gopro", str(tmp_path), "--option", "part=train"], "Reader gopro has the options"),
        (["gopro", str(tmp_path), "--read", "some"], "--read must be a whole number"),
    ):
        assert run(main, ["check-source", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert run(main, ["sources", "nothing"]) == 2
    assert "Got 'nothing'" in capsys.readouterr().err


def write_people(root: Path, num_images: int = 6) -> None:
    """A COCO file of ten kinds of trouble; image 2 is missing, image 3 is listed twice, image 4 is torn."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 36} for n in range(num_images)]
    images.append({"id": 3, "file_name": "3.png", "width": 40, "height": 36})
    box = {"bbox": [1, 2, 9, 9], "category_id": 1, "segmentation": [[1, 2, 10, 2, 10, 11]]}
    annotations = [{"id": n, "image_id": n, "iscrowd": 0} | box for n in range(num_images - 1)]
    annotations[0] |= {"segmentation": [[1, 2, 900, 2, 10, 11]]}
    annotations.append({"id": 90, "image_id": 1, "iscrowd": 1} | box)
    root.mkdir()
    value = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (root / "a.json").write_text(json.dumps(value))
    for number in {0, 1, 3, 4, 5}:
        (root / f"{number}.png").write_bytes(png(number) if number != 4 else png(4)[:200])


def test_what_is_found(tmp_path: Path, capsys: Any) -> None:
    write_people(tmp_path / "root")
    status, found = check(
        capsys, "coco", str(tmp_path / "root"), "--option", "annotations=a.json", "--option", "images=."
    )
    assert status == 1 and found["is_sound"] is False
    assert found["counts"] == {"images": 7, "regions": 6, "phrases": 4, "labels": 6, "masks": 6}
    assert (found["num_files"], found["num_missing"], found["missing"]) == (6, 1, ["2.png"])
    assert found["oddities"] == {"duplicate_id": 1, "crowd region": 1, "image without a region": 2}
    # of what is there: a polygon outside, the crowd, the torn picture, the id that occurs twice, no region
    assert found["num_read"] == 6
    wanted = {"out_of_range": 1, "crowd_region": 1, "truncated_image": 1, "duplicate_id": 1, "no_region": 1}
    assert found["reasons"] == wanted
    assert found["examples"]["truncated_image"].startswith("coco/4/4: ")
    assert run(main, ["check-source", "coco", str(tmp_path / "root"), "--option", "annotations=a.json"]) == 1
    text = capsys.readouterr().out
    assert "missing: 2.png" in text and "out_of_range" in text and "crowd region" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]  # nothing is written


def test_what_is_read_agrees_with_a_build(tmp_path: Path, capsys: Any) -> None:
    columns = {"image": [cell(0), cell(None), cell(b"torn"), cell(3)], "edited": [cell(1), cell(1), cell(1), cell(3)]}
    write_table(tmp_path / "root/train-0.parquet", columns | {"instruction": ["a", "b", "c", "d"]}, ("image", "edited"))
    status, found = check(capsys, "edit_pairs", str(tmp_path / "root"), "--read", "all")
    rows = ingest_source(tmp_path / "home", "edit_pairs", tmp_path / "root")
    refused = [row["reason"] for row in rows if row["reason"]]
    assert found["reasons"] == {reason: 1 for reason in refused}
    assert status == 0 and found["num_rows"] == 4 and found["splits"] == {"train": 4}
    assert refused == ["missing_file", "not_an_image", "no_change"]


def test_a_source_of_which_no_record_can_be_used_is_not_sound(tmp_path: Path, capsys: Any) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "0.png").write_bytes(png(0))
    box = {"bbox": [1, 2, 9, 9], "category_id": 1, "segmentation": [[1, 2, 10, 2, 10, 11]]}
    value = {
        "images": [{"id": 0, "file_name": "../0.png", "width": 40, "height": 36}],
        "annotations": [{"id": 0, "image_id": 0, "iscrowd": 0} | box],
        "categories": [{"id": 1, "name": "person"}],
    }
    (root / "a.json").write_text(json.dumps(value))
    arguments = ["check-source", "coco", str(root), "--option", "annotations=a.json", "--option", "images=."]
    for read in ("64", "all"):
        assert run(main, [*arguments, "--read", read]) == 1
        printed = capsys.readouterr()
        assert "1 records read with their images: 1 rows, 1 refused" in printed.out
        wanted = f"error: no record below {root} that was read can be used (path_escape 1): mend what is named here\n"
        assert printed.err == wanted
    status, found = check(capsys, *arguments[1:])
    assert status == 1 and not found["is_sound"]
    assert run(main, [*arguments, "--read", "0"]) == 0, "of what was not read nothing is known"


def test_a_draw_is_by_id_and_no_more_than_asked_for(tmp_path: Path, capsys: Any) -> None:
    write_people(tmp_path / "root", 40)
    for number in range(40):
        (tmp_path / f"root/{number}.png").write_bytes(png(number))
    arguments = [
        "coco",
        str(tmp_path / "root"),
        "--option",
        "annotations=a.json",
        "--option",
        "images=.",
        "--read",
        "8",
    ]
    first, second = (check(capsys, *arguments)[1] for _ in range(2))
    assert first == second and first["num_read"] == 8
    assert check(capsys, *arguments[:-1], "0")[1]["num_read"] == 0


def test_an_archive_that_was_cut_short_misses_files(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {"a.source.png": png(0), "a.target.png": png(1), "a.txt": b"go"})
    source = Source(dataset="x", reader="edit_pairs", root=str(tmp_path))
    (pair,) = open_source(source).read()
    files = _Files(open_source(source))
    assert files.look_for(pair) and files.num_files == 2
    (tmp_path / "x.tar").write_bytes((tmp_path / "x.tar").read_bytes()[:1000])
    files = _Files(open_source(source))
    assert not files.look_for(pair) and files.missing == sorted([pair.file, pair.target_file])


def test_rendered_scenes_need_no_folder(capsys: Any) -> None:
    status, found = check(capsys, "synthetic", "--option", "count=2", "--option", 'kinds=["edits"]', "--read", "2")
    assert status == 0 and found["counts"]["pairs"] == 6 and found["edit_types"]["object_removal"] == 2
    assert run(main, ["check-source", "synthetic", "/tmp"]) == 2
    assert "takes no root" in capsys.readouterr().err


def write_annotations(path: Path, count: int, name: str) -> int:
    images = ", ".join(
        json.dumps({"id": n, "file_name": f"{n}{name if n == 1 else ''}.jpg"}, ensure_ascii=False)
        for n in range(count // 8)
    )
    annotations = ", ".join(
        json.dumps(
            {
                "id": n,
                "image_id": n % (count // 8),
                "bbox": [1, 2, 3, 4],
                "segmentation": [[float(i) for i in range(80)]],
            }
        )
        for n in range(count)
    )
    path.write_text(f'{{"images": [{images}], "annotations": [{annotations}], "categories": []}}', encoding="utf-8")
    return path.stat().st_size


def test_progress_is_told_while_a_file_is_opened(tmp_path: Path) -> None:
    size = write_annotations(tmp_path / "a.json", 9000, "")
    told: list[tuple[str, int, int]] = []
    with listening(lambda *place: told.append(place)):
        next(CocoReader(root=tmp_path, options={"annotations": "a.json", "images": "."}).read())
    assert len(told) >= 4 and all(name == "a.json" and total == size for name, _, total in told)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told) and told[-1][1] > 0.8 * size
    told.clear()
    next(CocoReader(root=tmp_path, options={"annotations": "a.json", "images": "."}).read())
    assert told == []


PEAK = """
import resource, sys
from pathlib import Path
from tasks.readers import json_records
from tasks.readers.coco import CocoReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = Path(sys.argv[1])
images = CocoReader(root=path.parent, options={"annotations": path.name, "images": "."}).read()
next(images)
print(next(images).file, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("name", ["", " \N{SNOWMAN}\N{GRINNING FACE}"])
def test_memory_of_opening_a_file(tmp_path: Path, name: str) -> None:
    """At most four times the file's bytes (500 MB: 2 GiB), also where one emoji is in it; objects would take ten."""
    size = write_annotations(tmp_path / "a.json", 24_000, name)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "a.json")], check=True, capture_output=True, text=True
    )
    file, peak = done.stdout.rsplit(maxsplit=1)
    assert file == f"1{name}.jpg"
    assert int(peak) < 4 * size


@pytest.mark.parametrize("part", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98"])
@pytest.mark.parametrize("where", [0, 5, 100])
def test_bytes_that_are_no_text_are_named(
    tmp_path: Path, part: bytes, where: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "_CHUNK", 7)
    good = ('["' + "é☃😀x" * 40 + '"]').encode()
    place = len(good[:where].decode(errors="ignore").encode())
    (tmp_path / "a.json").write_bytes(good)
    assert JsonRecords(tmp_path / "a.json", "A file").whole() == ["é☃😀x" * 40]
    bad = good[:place] + part + b" " + good[place:]
    (tmp_path / "a.json").write_bytes(bad)
    try:
        bad.decode()
        raise AssertionError("not bad at all")
    except UnicodeDecodeError as error:
        with pytest.raises(ValueError, match=rf"\(byte {error.start}\)"):
            JsonRecords(tmp_path / "a.json", "A file")
    assert JsonRecords(tmp_path / "a.json", "A file", or_latin_1=True).text == bad.decode("latin-1")
