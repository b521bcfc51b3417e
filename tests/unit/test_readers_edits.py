"""Ready-made edits in tables: Parquet, WebDataset tars, JSON lists; the published sets; where each picture is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listed_pairs import cell, check_pixels, ingest_source, pixels, png, reasons, show, write_table, write_tar
from PIL import Image

from catalog.errors import RowRejected, SourceError
from catalog.images import decode_image
from catalog.masks import decode_mask
from tasks.readers.edit_columns import find_columns, name_edit_type
from tasks.readers.edit_pairs import EditPairsReader, choose_wordings
from tasks.readers.editing_sets import HqEditReader, OmniEditReader, UltraEditReader
from tasks.readers.locations import Location, cell_name, locate_packed, member_name, stretch_name
from tasks.readers.parquet_tables import ParquetPictures

# Where a picture is


@settings(max_examples=200, deadline=None)
@given(
    st.text("ab./#0+", min_size=1, max_size=8),
    st.integers(0, 10**15),
    st.integers(1, 10**12),
    st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=20),
)
def test_names_lead_back_to_their_places(path: str, offset: int, length: int, member: str) -> None:
    path = f"x{path}".replace("#", "") + ".tar"
    assert locate_packed(stretch_name(path, offset, length, member)) == Location(path, offset, length)
    assert locate_packed(cell_name(path, offset, "source_img")) == Location(path, is_plain=False)
    assert locate_packed(member_name(path, "a/b.jpg")) == Location(path, is_plain=False)
    assert locate_packed(path) == Location(path)


# Columns


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        # InstructPix2Pix's copy, UltraEdit, HQ-Edit, OmniEdit, AnyEdit, ImgEdit, MagicBrush, and lists of official code
        (
            "original_prompt original_image edit_prompt edited_prompt edited_image",
            "original_image edited_image edit_prompt",
        ),
        ("source_image edited_image mask_image edit_prompt source_caption", "source_image edited_image edit_prompt"),
        ("input input_image edit inverse_edit output output_image", "input_image output_image edit"),
        ("omni_edit_id task src_img edited_img edited_prompt_list width", "src_img edited_img edited_prompt_list"),
        ("image_file edited_file visual_input edit_instruction edit_type", "image_file edited_file edit_instruction"),
        ("input_images output_images prompt", "input_images output_images prompt"),
        ("img_id turn_index source_img mask_img instruction target_img", "source_img target_img instruction"),
        ("input edited instruction", "input edited instruction"),
        ("input output prompts", "input output prompts"),
        ("source_image_path target_image_path instruction", "source_image_path target_image_path instruction"),
        ("origin edit edit_type instruction", "origin edit instruction"),
        ("image instruction edited", "image edited instruction"),
    ],
)
def test_published_columns_are_known(names: str, roles: str) -> None:
    found = find_columns(names.split(), {}, "a file")
    assert [found[role] for role in ("source", "target", "instruction")] == roles.split()
    assert len(set(found.values())) == len(found)


def test_hq_edit_captions_are_not_pictures() -> None:
    found = find_columns("input input_image edit inverse_edit output output_image".split(), {}, "a file")
    assert (found["source_caption"], found["target_caption"], found["inverse_instruction"]) == (
        "input",
        "output",
        "inverse_edit",
    )


def test_unknown_columns_are_named() -> None:
    with pytest.raises(
        SourceError, match=r"none is known as target; it has photo, words, input; .*\"target\": \"NAME\""
    ):
        find_columns(["photo", "words", "input"], {"instruction": "words"}, "a file")
    with pytest.raises(SourceError, match="'nothing' \\(of source\\) is not in a file"):
        find_columns(["a"], {"source": "nothing"}, "a file")
    with pytest.raises(SourceError, match="table of column names by role"):
        EditPairsReader(root=None, options={"columns": ["source"]})
    with pytest.raises(SourceError, match=r"has the roles source, .*; got 'goal'"):
        EditPairsReader(root=None, options={"columns": {"goal": "x"}})


def test_edit_types() -> None:
    words = {"Remove": "object_removal", "obj_swap": "object_replacement", "addition": "object_addition"}
    words |= {"Color Alter": "color_alter", "": "free_form"}
    assert {word: name_edit_type(word) for word in words} == words
    assert name_edit_type(None) == name_edit_type(3) == "free_form"


# Parquet


@pytest.mark.parametrize("group", [2, 3, 1000])
def test_parquet_cells_are_copied_whole(tmp_path: Path, group: int) -> None:
    number = 20
    columns = {
        "source_img": [cell(i) for i in range(number)],
        "instruction": [f"make it {i}" for i in range(number)],
        "target_img": [cell(100 + i) for i in range(number)],
    }
    write_table(
        tmp_path / "root/data/train-00000-of-00002.parquet", columns, ("source_img", "target_img"), row_group_size=group
    )
    write_table(tmp_path / "root/data/dev-00000.parquet", columns, ("source_img", "target_img"), row_group_size=group)
    rows = ingest_source(tmp_path / "home", "edit_pairs", tmp_path / "root")
    check_pixels(tmp_path / "home", rows, [*range(number)] * 2, [100 + i for i in range(number)] * 2)
    assert [row["split"] for row in rows] == ["val"] * number + ["train"] * number
    assert [row["instruction"] for row in rows[:2]] == ["make it 0", "make it 1"]
    for row in rows:  # a cell has no bytes of its own in the file: the step's tar has them, as they were
        assert row["source_image"]["root"] == "store" and row["source_image"]["path"].endswith(".tar")
    assert show(tmp_path / "home", rows[0]["source_image"]).tobytes() == decode_image(png(0)).tobytes()


def test_parquet_of_binary_paths_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "root/pictures").mkdir(parents=True)
    for i in range(3):
        (tmp_path / f"root/pictures/{i}.png").write_bytes(png(i))
    paths = [{"bytes": None, "path": f"pictures/{i}.png"} for i in range(3)]
    columns = {
        "image": paths,
        "edited": [{"bytes": png(9), "path": "x"}, cell(None), {"bytes": None, "path": "pictures/1.png"}],
    }
    write_table(tmp_path / "root/a.parquet", columns | {"instruction": ["go", "go", "go"]}, ("image", "edited"))
    table = {"image": pa.array([png(4)]), "edited": ["pictures/2.png"], "instruction": ["go"]}
    pq.write_table(pa.table(table), tmp_path / "root/b.parquet")
    rows = ingest_source(tmp_path / "home", "edit_pairs", tmp_path / "root")
    assert reasons(rows) == [None, "missing_file", None, None]
    check_pixels(tmp_path / "home", [rows[0], *rows[2:]], [0, 2, 4], [9, 1, 2])
    # all bytes null: the paths name files, which are referenced where they are
    assert rows[0]["source_image"]["path"] == "pictures/0.png" and rows[3]["target_image"]["path"] == "pictures/2.png"


@pytest.mark.parametrize("order", [range(12), range(11, -1, -1), (5, 5, 0, 11, 6, 7, 8, 1, 10, 9)])
def test_cells_in_any_order(tmp_path: Path, order: Any) -> None:
    write_table(tmp_path / "a.parquet", {"p": [cell(i) for i in range(12)]}, ("p",), row_group_size=5)
    pictures = ParquetPictures()
    for row in order:
        assert np.array_equal(decode_image(pictures.fetch(tmp_path, "a.parquet", row, "p")), pixels(row))


@pytest.mark.parametrize(
    ("path", "row", "column", "reason"),
    [
        ("a.parquet", 3, "p", "changed_file"),
        ("a.parquet", 0, "q", "unreadable_file"),
        ("a.parquet", 2, "p", "missing_file"),
        ("gone.parquet", 0, "p", "unreadable_file"),
        ("../a.parquet", 0, "p", "path_escape"),
        ("link.parquet", 0, "p", "path_escape"),
        ("text.parquet", 0, "p", "unreadable_file"),
    ],
)
def test_cell_that_cannot_be_read_says_why(tmp_path: Path, path: str, row: int, column: str, reason: str) -> None:
    root = tmp_path / "root"
    write_table(root / "a.parquet", {"p": [cell(0), cell(1), cell(None)]}, ("p",))
    write_table(tmp_path / "a.parquet", {"p": [cell(0)]}, ("p",))
    (root / "link.parquet").symlink_to(tmp_path / "a.parquet")
    (root / "text.parquet").write_text("not parquet")
    with pytest.raises(RowRejected) as caught:
        ParquetPictures().fetch(root, path, row, column)
    assert caught.value.reason == reason and "\n" not in caught.value.detail


PEAK = """
import resource, sys
from pathlib import Path
from tasks.readers.edit_pairs import EditPairsReader
reader = EditPairsReader(root=Path(sys.argv[1]))
next(reader.read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pairs = list(reader.read())
for pair in pairs[:64]:
    reader.fetch(pair.file)
print(len(pairs), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    """Listing 400 MB of pictures and fetching some takes a few rows' memory: no column is read whole."""
    data = [np.random.default_rng(i).bytes(1 << 20) for i in range(8)]
    schema = pa.schema([("image", pa.binary()), ("edited", pa.binary()), ("instruction", pa.string())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, compression="none", use_dictionary=False) as writer:
        for _ in range(2):
            rows = [{"image": data[i % 8], "edited": data[i % 8], "instruction": "go"} for i in range(100)]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    result = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], check=True, capture_output=True, text=True)
    pairs, kibibytes = map(int, result.stdout.split())
    assert pairs == 200
    assert kibibytes < 120 << 10


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"text", lambda data: data[:4] + data[40:]])
def test_torn_table_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    write_table(
        tmp_path / "a.parquet", {"image": [cell(0)], "edited": [cell(1)], "instruction": ["go"]}, ("image", "edited")
    )
    (tmp_path / "a.parquet").write_bytes(damage((tmp_path / "a.parquet").read_bytes()))
    with pytest.raises(SourceError, match=r"a\.parquet") as caught:
        list(EditPairsReader(root=tmp_path).read())
    assert "\n" not in str(caught.value)


# The published sets


def test_hq_edit_gives_both_directions(tmp_path: Path) -> None:
    columns = {"input": ["a cat"], "input_image": [cell(0)], "edit": ["make it a dog"]}
    columns |= {"inverse_edit": ["make it a cat"], "output": ["a dog"], "output_image": [cell(1)]}
    write_table(tmp_path / "root/train-0.parquet", columns, ("input_image", "output_image"))
    rows = ingest_source(tmp_path / "home", "hq_edit", tmp_path / "root")
    check_pixels(tmp_path / "home", rows, [0, 1], [1, 0])
    assert [row["instruction"] for row in rows] == ["make it a dog", "make it a cat"]
    assert [row["source_caption"] for row in rows] == ["a cat", "a dog"]
    assert len({row["group_id"] for row in rows}) == 1 and {row["licence"] for row in rows} == {"HQ-Edit: CC BY-NC 4.0"}


def test_omniedit_wordings_and_kinds(tmp_path: Path) -> None:
    wordings = [["Remove it.", "Take the red cup off the table."]] * 12 + [[]]
    tasks = ["removal", "swap", "addition", "style"] * 3 + ["style"]
    columns = {"src_img": [cell(0)] * 13, "edited_img": [cell(1)] * 13, "edited_prompt_list": wordings, "task": tasks}
    write_table(tmp_path / "root/train-0.parquet", columns, ("src_img", "edited_img"))
    drawn = list(OmniEditReader(root=tmp_path / "root").read())
    assert {pair.instruction for pair in drawn} == {*wordings[0], None}  # both are drawn, by hash
    assert drawn == list(OmniEditReader(root=tmp_path / "root").read())
    assert [pair.edit_type for pair in drawn[:4]] == [
        "object_removal",
        "object_replacement",
        "object_addition",
        "style",
    ]
    rows = ingest_source(tmp_path / "home", "omniedit", tmp_path / "root", wordings="all")
    assert len(rows) == 25 and reasons(rows) == [None] * 24 + ["bad_instruction"]
    assert [row["instruction"] for row in rows[:2]] == wordings[0]


def test_ultraedit_masks(tmp_path: Path) -> None:
    source = pixels(0)
    edited, mask = source.copy(), np.zeros((36, 40, 3), np.uint8)
    edited[4:10, 6:20] = 255 - edited[4:10, 6:20]
    mask[2:12, 4:22] = 255
    columns = {
        "source_image": [cell(0)] * 3,
        "edited_image": [cell(png(edited))] * 3,
        "edit_prompt": ["change it"] * 3,
        "mask_image": [cell(png(mask)), cell(None), cell(b"torn")],
        "source_caption": ["a", "b", "c"],
    }
    write_table(tmp_path / "root/FreeForm_0-0.parquet", columns, ("source_image", "edited_image", "mask_image"))
    rows = ingest_source(tmp_path / "home", "ultraedit", tmp_path / "root")
    assert reasons(rows) == [None, None, "bad_mask"]
    assert np.array_equal(decode_mask(rows[0]["edit_mask"]), mask[..., 0] > 0)
    assert rows[1]["mask"] is None and rows[0]["bbox"] == [4, 2, 18, 10]
    assert reasons(ingest_source(tmp_path / "plain", "ultraedit", tmp_path / "root", masks=False)) == [None] * 3


def test_named_sets_refuse_each_other(tmp_path: Path) -> None:
    columns = {"input_image": [cell(0)], "edit": ["x"], "output_image": [cell(1)], "inverse_edit": ["y"]}
    write_table(tmp_path / "a.parquet", columns, ("input_image", "output_image"))
    assert len(list(HqEditReader(root=tmp_path).read())) == 2
    for reader in (UltraEditReader, OmniEditReader):
        with pytest.raises(SourceError, match=r"is not in a\.parquet; it has input_image, edit"):
            list(reader(root=tmp_path).read())


@pytest.mark.parametrize("packed", [True, False])
def test_imgedit_joins_paths_to_tars(tmp_path: Path, packed: bool) -> None:
    members = {
        f"part5/{key}/{name}.png": png(number)
        for number, (key, name) in enumerate([("k", "original"), ("k", "result"), ("k", "third")])
    }
    if packed:
        write_tar(tmp_path / "root/results_part5.tar", members)
    else:
        for name, data in members.items():
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_bytes(data)
    single = {
        "input_images": [["part5/k/original.png"], ["part5/k/gone.png"]],
        "output_images": [["part5/k/result.png"]] * 2,
    }
    pq.write_table(pa.table(single | {"prompt": ["change", "change"]}), tmp_path / "root/single.parquet")
    turns = [
        [
            {"input_images": [f"part5/k/{a}.png"], "output_images": [f"part5/k/{b}.png"], "prompt": "go"}
            for a, b in (("original", "result"), ("result", "third"))
        ]
    ]
    pq.write_table(pa.table({"data": turns}), tmp_path / "root/turns.parquet")
    rows = ingest_source(tmp_path / "home", "imgedit", tmp_path / "root")
    assert reasons(rows) == [None, "missing_file", None, None]
    check_pixels(tmp_path / "home", [rows[0], *rows[2:]], [0, 0, 1], [1, 1, 2])
    assert len({row["group_id"] for row in rows if row["reason"] is None}) == 1  # turns of one photo, one split
    assert {row["source_image"]["path"] for row in rows if row["reason"] is None} == (
        {"results_part5.tar"} if packed else {"part5/k/original.png", "part5/k/result.png"}
    )


# WebDataset, JSON


def test_tar_members_are_referenced_in_place(tmp_path: Path) -> None:
    members = {
        "00/a.source.png": png(0),
        "00/a.target.png": png(1),
        "00/a.txt": b"make it red",
        "00/b.json": json.dumps({"instruction": "make it blue", "edit_type": "Add"}).encode(),
        "00/b.source.jpg": png(2, "PNG"),
        "00/b.target.png": png(3),
        "01/a.target.png": png(5),
        "01/a.instruction.txt": "größer".encode(),
        "01/a.source.png": png(4),
        "01/c.txt": b"alone",
    }
    write_tar(tmp_path / "root/train/x.tar", {name: members[name] for name in list(members)[:3]})
    write_tar(tmp_path / "root/y.tar", {name: members[name] for name in list(members)[3:6]})
    write_tar(tmp_path / "root/z.tar", {name: members[name] for name in list(members)[6:]})
    rows = ingest_source(tmp_path / "home", "edit_pairs", tmp_path / "root")
    check_pixels(tmp_path / "home", rows[:3], [0, 2, 4], [1, 3, 5])
    assert [row["instruction"] for row in rows[:3]] == ["make it red", "make it blue", "größer"]
    assert [row["edit_type"] for row in rows[:3]] == ["free_form", "object_addition", "free_form"]
    assert [row["region_id"] for row in rows] == [
        f"edit_pairs/{name}" for name in ("train/x/00/a", "y/00/b", "z/01/a", "z/01/c")
    ]
    assert reasons(rows)[3] == "malformed_record"
    assert rows[0]["split"] == "train"
    image = rows[1]["source_image"]
    assert (image["root"], image["path"]) == ("edit_pairs", "y.tar")
    data = (tmp_path / "root/y.tar").read_bytes()
    assert data[image["offset"] : image["offset"] + image["length"]] == members["00/b.source.jpg"]


@pytest.mark.parametrize("name", ["list.json", "list.jsonl"])
def test_json_lists(tmp_path: Path, name: str) -> None:
    (tmp_path / "root/p").mkdir(parents=True)
    for i in range(3):
        (tmp_path / f"root/p/{i}.png").write_bytes(png(i))
    entries: list[Any] = [
        {"input": "0.png", "edited": "1.png", "instruction": "go"},
        {"input": "../../0.png", "edited": "1.png", "instruction": "go"},
        {"input": "0.png", "edited": "2.png", "instruction": ""},
        {"input": "0.png", "edited": 7, "instruction": "go"},
        {"input": "x.parquet#0/p", "edited": "1.png", "instruction": "go"},
        {"input": "x#/p", "edited": "1.png", "instruction": "go"},
        5,
    ]
    lines = "\n".join(json.dumps(entry) for entry in entries) + "\n{torn\n"
    (tmp_path / "root" / name).write_text(json.dumps(entries) if name.endswith("json") else lines)
    rows = ingest_source(tmp_path / "home", "edit_pairs", tmp_path / "root", images="p")
    wanted = [
        None,
        "path_escape",
        "bad_instruction",
        "malformed_record",
        "unreadable_file",
        "missing_file",
        "malformed_record",
    ]
    assert reasons(rows) == wanted + ["malformed_record"] * name.endswith("jsonl")
    check_pixels(tmp_path / "home", rows[:1], [0], [1])


def test_no_tables(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/x.parquet").write_text("left by a download")
    with pytest.raises(SourceError, match=r"needs tables of edits \(\*\.parquet, \*\.tar, \*\.jsonl, \*\.json\) below"):
        EditPairsReader(root=tmp_path).read()
    (tmp_path / "a.jsonl").write_bytes(b"x" * (2 << 20))
    with pytest.raises(SourceError, match="at most 1048576 bytes"):
        list(EditPairsReader(root=tmp_path).read())
    with pytest.raises(SourceError, match="needs the folder with Parquet"):
        EditPairsReader(root=None).read()
    with pytest.raises(SourceError, match="one, all"):
        EditPairsReader(root=tmp_path, options={"wordings": "some"})


def test_wordings_are_drawn_evenly() -> None:
    drawn = [choose_wordings(["a", "b", "c"], f"row/{i}", "one")[0][1] for i in range(300)]
    assert all(drawn.count(letter) > 70 for letter in "abc")
    assert choose_wordings("a", "x", "all") == [("", "a")] and choose_wordings([], "x", "all") == [("", None)]


def test_real_edits(shared_data: Path, tmp_path: Path) -> None:
    """AnyEdit's published examples: every pair is usable but for those whose two pictures differ in size."""
    folder = shared_data / "editing_anyedit"
    if not folder.is_dir():
        pytest.skip("this sample is not here")
    rows = ingest_source(tmp_path, "edit_pairs", folder, images="images", files="manifest.json")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(rows) == len(manifest)
    for row, entry in zip(rows, manifest, strict=True):
        paths = [folder / "images" / entry[name] for name in ("origin", "edit")]
        if not all(path.is_file() for path in paths):
            assert row["reason"] == "missing_file"
            continue
        sizes = {Image.open(path).size for path in paths}
        assert row["reason"] == (None if len(sizes) == 1 else "size_mismatch")
        if row["reason"] is None:
            assert row["instruction"] == entry["instruction"]
            assert np.array_equal(show(tmp_path, row["target_image"]), decode_image(paths[1].read_bytes()))
    kinds = {row["edit_type"] for row in rows}
    assert {"object_removal", "object_addition", "object_replacement", "color_alter"} <= kinds
    assert reasons(rows).count(None) >= 12
