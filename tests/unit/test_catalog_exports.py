"""Exports: each one opened by its own library has the pixels and words of the catalog's own rows."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from exported_mix import CLOSED, OPEN, make_mix
from PIL import Image

from catalog import command_line
from catalog.commands import main
from catalog.digests import bytes_digest, file_digest
from catalog.errors import ConfigError, MixError, RowRejected
from catalog.exports import export
from catalog.exports.export import LICENCE_LEFT_OUT, ExportSummary, Kind, export_mix
from catalog.exports.licences import NONE_STATED, NOT_KNOWN, LicenceChoice, allows_copies
from catalog.exports.pairs import PairOptions
from catalog.images import decode_image
from catalog.masks import decode_mask
from catalog.render_styles import RenderOptions, as_evaluated
from catalog.revocation import Tombstone, write_tombstone
from catalog.roots import Roots, read_image_bytes
from catalog.samples import render_sample
from catalog.workspace import HOME_VARIABLE, Workspace

ROOT = Path(__file__).parents[2]
SIZE, SEED = 64, 5
ALL = LicenceChoice(private=True)
DRAWN = PairOptions(size=SIZE, seed=SEED)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_mix(folder)
    return folder


def run(home: Path, output: Path, kind: Kind, **given: Any) -> ExportSummary:
    values: dict[str, Any] = {"options": DRAWN, "choice": ALL, "shard_bytes": 200_000, **given}
    return export_mix(Workspace(home), home / "catalog" / "mix.parquet", output, kind, **values)


def expected_pairs(home: Path, targets: str = "drawn", repeats: bool = False) -> dict[str, dict[str, Any]]:
    """What an export must hold, made from the mix row by row: facts and decoded pictures by key."""
    roots, found, places = Roots.read(home / "catalog" / "roots.json"), {}, Counter()
    for row in pq.read_table(home / "catalog" / "mix.parquet").to_pylist():
        index = places[row["split"]]
        places[row["split"]] += 1
        if row["repeat"] and not repeats:
            continue
        options = RenderOptions(size=SIZE)
        options = options if row["split"] == "train" else as_evaluated(options)
        one = dict(row)
        for name in ("source_image", "target_image"):
            stored = row[name] and read_image_bytes(roots, row[name])
            one[name], one[f"{name}_bytes"] = (decode_image(stored), stored) if stored else (None, None)
        for name in ("edit_mask", "mask"):
            one[name] = row[name] and decode_mask(row[name])
        if targets == "drawn" and (row["target_image"] is None or row["instruction"] is None):
            try:
                sample = render_sample(row, roots, seed=SEED, index=index, options=options)
            except RowRejected:
                continue
            one["instruction"] = sample.instruction
            if row["target_image"] is None:
                one |= {"source_image": sample.source, "target_image": sample.target, "mask": sample.mask}
        found[row["pair_id"] + (f"_{row['repeat']}" if repeats else "")] = one
    assert len(found) > 50
    return found


def same_pixels(picture: Any, expected: np.ndarray | None) -> bool:
    if expected is None or picture is None:
        return picture is None and expected is None
    image = picture if isinstance(picture, Image.Image) else Image.open(io.BytesIO(picture))
    return np.array_equal(np.asarray(image if expected.dtype == bool else image.convert("RGB")), expected)


FACTS = ("split", "position", "vision_task", "edit_type", "dataset", "licence", "instruction", "source_caption", "bbox")


def same_facts(facts: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(facts[name] == expected[name] for name in FACTS)


@pytest.mark.parametrize(("targets", "repeats"), [("drawn", False), ("annotations", False), ("drawn", True)])
def test_webdataset_reads_the_tars(home: Path, tmp_path: Path, targets: Any, repeats: bool) -> None:
    options = PairOptions(targets=targets, size=SIZE, seed=SEED, repeats=repeats)
    run(home, tmp_path / "out", "webdataset", options=options)
    expected = expected_pairs(home, targets, repeats)
    tars = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    assert len([name for name in tars if "train-" in name]) > 2
    seen = {}
    for split in ("train", "val", "test"):
        mine = [name for name in tars if Path(name).name.startswith(split)]
        for sample in webdataset.WebDataset(mine, shardshuffle=False):
            facts, one = json.loads(sample["json"]), expected[sample["__key__"]]
            seen[sample["__key__"]] = facts
            assert facts["split"] == split and same_facts(facts, one) and facts["keypoints"] == one["keypoints"]
            for name in ("source_image", "target_image", "edit_mask", "mask"):
                data = next((value for key, value in sample.items() if key.startswith(name + ".")), None)
                assert same_pixels(data, one[name]), (name, facts)
                if facts["drawn"] is None or "window" not in facts["drawn"]:  # a stored picture: byte for byte
                    assert name not in ("source_image", "target_image") or data == one[f"{name}_bytes"]
    assert seen.keys() == expected.keys()
    positions = [facts["position"] for facts in seen.values() if facts["split"] == "train"]
    assert positions == sorted(positions)


def test_webdataset_decodes_with_its_own_decoder_and_tar_reads_it(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path / "out", "webdataset")
    shard = tmp_path / "out" / "train-00000.tar"
    decoded = next(iter(webdataset.WebDataset(str(shard), shardshuffle=False).decode("pil")))
    assert isinstance(decoded["json"]["instruction"], str)
    with tarfile.open(shard) as tar:
        assert {(member.mtime, member.uid, member.mode) for member in tar} == {(0, 0, 0o644)}


@pytest.mark.parametrize("targets", ["drawn", "annotations"])
def test_datasets_loads_the_folder(home: Path, tmp_path: Path, targets: Any) -> None:
    options = PairOptions(targets=targets, size=SIZE, seed=SEED)
    run(home, tmp_path / "out", "datasets", options=options)
    expected = expected_pairs(home, targets)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "validation", "test"}
    assert isinstance(loaded["train"].features["source_image"], datasets.Image)
    seen = set()
    for rows in loaded.values():
        for facts in rows:
            one = expected[facts["pair_id"]]
            seen.add(facts["pair_id"])
            assert same_facts(facts, one) and facts["keypoints"] == one["keypoints"]
            for name in ("source_image", "target_image", "edit_mask", "mask"):
                assert same_pixels(facts[name], one[name]), (name, facts["pair_id"])
    assert seen == expected.keys()
    streamed = datasets.load_dataset(str(tmp_path / "out"), split="validation", streaming=True)
    assert [row["pair_id"] for row in streamed] == [row["pair_id"] for row in loaded["validation"]]


def test_mlcroissant_reads_the_pictures_of_a_datasets_export(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path / "out", "datasets")
    expected = expected_pairs(home)
    described = mlcroissant.Dataset(str(tmp_path / "out" / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    seen = set()
    for split in ("train", "val", "test"):
        for record in described.records(split):
            values = {key.partition("/")[2]: plain(value) for key, value in record.items()}
            one = expected[values["pair_id"]]
            seen.add(values["pair_id"])
            assert one["split"] == split
            assert all(values[name] == one[name] for name in FACTS if name != "position")
            for name in ("source_image", "target_image", "edit_mask", "mask"):
                assert same_pixels(values[name], one[name])
    assert seen == expected.keys()


def plain(value: Any) -> Any:
    value = value.decode() if isinstance(value, bytes) else value
    return list(value) if isinstance(value, np.ndarray) else value


def test_mlcroissant_reads_a_croissant_export_which_holds_no_picture(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path / "out", "croissant", choice=LicenceChoice())
    rows = pq.read_table(home / "catalog" / "mix.parquet").to_pylist()
    expected = {row["pair_id"]: row for row in rows if not row["repeat"]}
    described = mlcroissant.Dataset(str(tmp_path / "out" / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    seen = set()
    for split in ("train", "val", "test"):
        for record in described.records(split):
            values = {key.partition("/")[2]: plain(value) for key, value in record.items()}
            one = expected[values["pair_id"]]
            seen.add(values["pair_id"])
            for name in ("instruction", "phrase", "licence", "bbox"):
                assert values[name] == one[name]
            for name in ("source_image", "target_image"):
                assert values[f"{name}_sha256"] == (one[name] and one[name]["sha256"])
                assert values[f"{name}_path"] == (one[name] and one[name]["path"])
            code = json.loads(values["mask"]) if values["mask"] else None
            assert code == (one["mask"] and {"size": [72, 96], "counts": one["mask"]["counts"]})
    assert seen == expected.keys()
    sizes = [path.stat().st_size for path in (tmp_path / "out" / "data").iterdir()]
    assert sum(sizes) < 100_000


def test_what_is_drawn_says_where_it_comes_from(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path / "out", "datasets")
    table = pq.read_table(
        tmp_path / "out" / "data", columns=["pair_id", "vision_task", "edit_type", "drawn", "position"]
    )
    kinds = Counter()
    for row in table.to_pylist():
        drawn = None if row["drawn"] is None else json.loads(row["drawn"])
        kinds[row["vision_task"], drawn is not None, drawn is not None and "window" in drawn] += 1
        if drawn and row["position"] is not None:
            assert drawn["index"] == row["position"] and drawn["seed"] == SEED
        if row["vision_task"] == "keypoint_detection":
            assert set(drawn["joints"]) == set(drawn["colors"]) <= {"nose", "left shoulder"}
    assert set(kinds) == {
        ("image_editing", False, False),
        ("segmentation", True, True),
        ("keypoint_detection", True, True),
        ("image_enhancement", True, False),
    }


@pytest.mark.parametrize("kind", ["webdataset", "datasets", "croissant"])
def test_the_card_and_the_sums_hold(home: Path, tmp_path: Path, kind: Kind) -> None:
    summary = run(home, tmp_path / "out", kind)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| {OPEN} |  | yes |" in card and f"| {OPEN} | {CLOSED} | not by its words | 1 |" in card
    assert "everything v1: all \\| of it" in card and "| pairs | 0 | 60 |" in card and "inpainter=opencv@1" in card
    assert ("use (`--private`)" in card) == (kind != "croissant") == ("No picture is here" not in card)
    sums = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True, text=True)
    assert sums.returncode == 0, sums.stdout
    listed = {line.partition("  ")[2] for line in (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()}
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert listed == files - {"SHA256SUMS"}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["num_pairs"] == summary.num_pairs == sum(shard["num_pairs"] for shard in manifest["shards"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_licences_that_nobody_vouches_for_are_refused_or_left_out(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"but 1 have 'Flickr terms': choose with --licence"):
        run(home, tmp_path / "out", "webdataset", choice=LicenceChoice())
    assert not list(tmp_path.iterdir())
    summary = run(home, tmp_path / "out", "webdataset", choice=LicenceChoice(("CC*",)))
    assert summary.left_out == {LICENCE_LEFT_OUT: 1}
    (line,) = (tmp_path / "out" / "left_out.jsonl").read_text().splitlines()
    assert (
        json.loads(line)["pair_id"] == f"{3:028x}{1:04x}" and json.loads(line)["detail"] == f"{OPEN}; donor: {CLOSED}"
    )
    with pytest.raises(ConfigError, match="no pair of the mix has a licence"):
        run(home, tmp_path / "two", "webdataset", choice=LicenceChoice(("MIT",)))
    with pytest.raises(ConfigError, match="leave out --licence, or --private"):
        run(home, tmp_path / "two", "webdataset", choice=LicenceChoice(("MIT",), private=True))


def test_donors_whose_build_is_gone_are_not_known(home: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (moved / "catalog").mkdir(parents=True)
    shutil.copy(home / "catalog" / "mix.parquet", moved / "catalog")
    roots = {"store": str(home / "data")}
    (moved / "catalog" / "roots.json").write_text(json.dumps(roots))
    with pytest.raises(ConfigError, match=f"12 have {NOT_KNOWN!r}"):
        run(moved, tmp_path / "out", "datasets", choice=LicenceChoice())
    run(moved, tmp_path / "out", "datasets")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "its verdicts were not at hand" in card and "helper models not known" in card


@pytest.mark.parametrize(
    ("licence", "open_"),
    [
        ("CC0", True),
        ("CC-BY-NC-SA-4.0", True),
        ("https://creativecommons.org/licenses/by/2.0/", True),
        ("Attribution-NonCommercial-ShareAlike License", True),
        ("OmniEdit: MIT", True),
        ("ImgEdit: Apache-2.0", True),
        ("NASA, public domain", True),
        ("generated", True),
        ("Attribution-NoDerivs License", False),
        ("CC BY-ND 4.0", False),
        ("CC BY-NC-ND 4.0", False),
        ("https://creativecommons.org/licenses/by-nc-nd/2.0/", False),
        ("MagicBrush: CC BY 4.0 (the test set: not to be redistributed or trained on)", False),
        ("HumanArt: non-commercial, no redistribution", False),
        ("AP-10K: non-commercial by its strictest statement (its README says CC BY 4.0)", False),
        ("InstructPix2Pix: none stated (code: MIT)", False),
        ("annotations: CC BY 4.0; images: COCO (Flickr terms)", False),
        ("MPII Human Pose: research only (annotations: Simplified BSD)", False),
        ("SUMMIT", False),
        (NONE_STATED, False),
    ],
)
def test_licences_are_judged_by_their_words(licence: str, open_: bool) -> None:
    assert allows_copies(licence) == open_


def test_nothing_is_overwritten(home: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "two.partial").mkdir()
    (tmp_path / "two.partial" / "mine").write_text("mine")
    for name, message in (("out", "never overwrites"), ("two", "something else")):
        with pytest.raises(ConfigError, match=message):
            run(home, tmp_path / name, "datasets")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "mine", "out", "two.partial"]
    summary = run(home, tmp_path / "three", "webdataset")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "three").iterdir()}
    assert run(home, tmp_path / "three", "webdataset") == summary  # there, whole, as wanted
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "three").iterdir()} == stamps
    with pytest.raises(ConfigError, match="never overwrites"):
        run(home, tmp_path / "three", "webdataset", shard_bytes=300_000)


def test_pairs_that_cannot_be_used_are_named(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    rows = {row["pair_id"]: row for row in pq.read_table(copy / "catalog" / "mix.parquet").to_pylist()}
    changed, revoked = sorted(rows)[0], sorted(rows)[5]
    image = rows[changed]["target_image"]
    with (copy / "data" / image["path"]).open("r+b") as file:
        file.seek(image["offset"] + 60)
        file.write(b"\xff\x00\xff")
    write_tombstone(Workspace(copy), Tombstone(kind="image", value=rows[revoked]["group_id"]))
    summary = run(copy, tmp_path / "out", "webdataset")
    assert summary.left_out["changed_file"] == 3  # removal, replacement and enhancement share the target
    assert summary.left_out["revoked"] == 5
    lines = map(json.loads, (tmp_path / "out" / "left_out.jsonl").read_text().splitlines())
    assert {(line["pair_id"], line["reason"]) for line in lines} >= {(changed, "changed_file"), (revoked, "revoked")}
    for path in (copy / "data").rglob("*.tar"):
        path.write_bytes(b"")
    with pytest.raises(MixError, match=r"no pair of .* can be exported"):
        run(copy, tmp_path / "two", "webdataset")


def digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["webdataset", "datasets"])
def test_killed_at_any_pair_it_goes_on_to_the_same_bytes(home: Path, tmp_path: Path, kind: Kind) -> None:
    run(home, tmp_path / "calm", kind)
    expected = digests(tmp_path / "calm")
    resumed = 0
    for deadly in range(1, 60, 17):
        output = tmp_path / str(deadly) / "calm"
        pid = os.fork()
        if pid == 0:
            calls, real = [0], export._export_row

            def deadly_row(one: Any, job: Any, calls: Any = calls, real: Any = real, last: int = deadly) -> Any:
                calls[0] += 1
                if calls[0] > last:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(one, job)

            export._export_row = deadly_row
            run(home, output, kind)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
        assert not output.exists()
        resumed += len(list((tmp_path / str(deadly) / "calm.partial" / "notes").glob("*[0-9].json"))) > 0
        run(home, output, kind)
        assert digests(output) == expected
        assert sorted(path.name for path in output.parent.iterdir()) == ["calm"]
    assert resumed > 1  # most of them had finished shards to keep


def test_finished_shards_are_kept_and_other_settings_begin_anew(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(home, tmp_path / "out", "webdataset", progress=stop)
    first = tmp_path / "out.partial" / "folder" / "train-00000.tar"
    stamp = first.stat().st_mtime_ns
    told: list[int] = []
    run(home, tmp_path / "out", "webdataset", progress=lambda done, total: told.append(done))
    assert (tmp_path / "out" / "train-00000.tar").stat().st_mtime_ns == stamp and told[0] > 1
    with pytest.raises(KeyboardInterrupt):
        run(home, tmp_path / "two", "webdataset", progress=stop)
    told.clear()
    run(home, tmp_path / "two", "webdataset", shard_bytes=100_000, progress=lambda done, total: told.append(done))
    assert told[0] == 1


def test_odd_pair_ids_make_safe_names(home: Path) -> None:
    from catalog.exports.pairs import pair_key

    assert pair_key({"pair_id": "../x.y", "repeat": 2}, repeats=True) == bytes_digest(b"../x.y")[:32] + "_2"
    assert pair_key({"pair_id": "0a-b_c", "repeat": 0}, repeats=False) == "0a-b_c"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"--shard-size": "5 MB"}, "--shard-size must be a whole number and KB, MB or GB: 500MB. Got '5 MB'"),
        ({"--size": "8"}, "--size must be from 32 to 4096 pixels. Got 8"),
        ({"--seed": "-1"}, "--seed must be 0 or more. Got -1"),
        ({"--mix": "nowhere.parquet"}, "there is no mix at nowhere.parquet"),
        ({"--licence": "GPL*"}, "no pair of the mix has a licence that --licence chooses"),
        ({}, "choose with --licence"),
    ],
)
def test_bad_input_is_one_sentence(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    sentence: str,
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    options = {"--format": "webdataset", "--output": str(tmp_path / "out"), **changes}
    status = command_line.run(main, ["export", *(word for option in options.items() for word in option)])
    lines = capsys.readouterr().err.splitlines()
    assert status == 2 and len(lines) == 1 and lines[0].startswith("error: ") and sentence in lines[0]
    assert not list(tmp_path.iterdir())


def one_sentence(home: Path, output: Path, before: tuple[str, ...] = ()) -> str:
    """What the command says of an output, in a process of its own."""
    words = [*before, sys.executable, "-m", "catalog", "export", "--format", "croissant", "--output", str(output)]
    done = subprocess.run(words, env={**os.environ, HOME_VARIABLE: str(home)}, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("place", ["catalog/tables/pairs/out", "catalog/manifests/out", "data", "data/pairs/out", "."])
def test_an_output_in_the_store_is_refused(home: Path, tmp_path: Path, place: str) -> None:
    before = sorted(home.rglob("*"))
    (tmp_path / "link").symlink_to(home)
    for output in (home / place, tmp_path / "link" / place):
        with pytest.raises(ConfigError, match=r"an export lies outside the shard store, but .*: name another folder"):
            run(home, output, "croissant")
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/out", "/file is a file, not a folder"),
        ("file/deep/out", "/file is a file, not a folder"),
        ("x" * 300, "file name too long"),
        ("x" * 248, "file name too long"),  # fits, but not what is made beside it
        ("taken", "taken.tmp, a name that an export writes under, is a folder"),
    ],
)
def test_an_output_that_cannot_be_made_is_named(home: Path, tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "taken.tmp").mkdir()
    with pytest.raises(ConfigError) as caught:
        run(home, tmp_path / name, "croissant")
    message = str(caught.value)
    assert f"can make and write, but {tmp_path / name} cannot be made (" in message and reason in message
    assert "name another folder with --output" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.tmp"]


def test_an_output_that_is_there_or_half_there_as_a_file_is_named(home: Path, tmp_path: Path) -> None:
    for name, message in (("out", "out exists: name another folder"), ("out.partial", "which is something else")):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ConfigError, match=message):
            run(home, tmp_path / "out", "croissant")
        (tmp_path / name).unlink()


def test_an_output_in_a_folder_of_somebody_else_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    before = ("setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
    for output in (tmp_path / "locked" / "out", tmp_path / "locked" / "deep" / "out"):
        message = one_sentence(home, output, before)
        assert f"a folder that can be written, but {tmp_path / 'locked'} cannot: choose another" in message


def test_the_command_says_what_it_did(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    words = ["export", "--format", "croissant", "--output", str(tmp_path / "out")]
    assert command_line.run(main, words) == 0
    out = capsys.readouterr().out
    assert "60 pairs" in out and str(tmp_path / "out") in out and OPEN in out
    assert command_line.run(main, [*words, "--json"]) == 0  # there already, as wanted
    assert json.loads(capsys.readouterr().out)["num_pairs"] == 60
