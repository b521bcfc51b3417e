"""``python -m catalog``: every command runs, prints what it should, and turns mistakes into one sentence and 2."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from catalog.command_line import run
from catalog.commands import main
from catalog.counts import rows_of_steps
from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.masks import encode_mask
from catalog.parquet_streams import mix_digest
from catalog.reports import counted, text_table
from catalog.revocation import Tombstone, write_tombstone
from catalog.roots import record_root
from catalog.store import ShardWriter, shard_key, write_shard
from catalog.workspace import HOME_VARIABLE, Workspace

POLICY = """
name = "test"
version = 3
[[condition]]
name = "low"
score = "target_aesthetic"
minimum = 4.0
[[condition]]
name = "gap"
difference = ["source_aesthetic", "target_aesthetic"]
maximum = 0.5
"""
MIX = """
name = "small"
seed = 1
[[source]]
name = "editing"
vision_task = "image_editing"
weight = 2.0
[[source]]
name = "segmentation"
vision_task = "segmentation"
weight = 1.0
"""


@pytest.fixture
def home(workspace: Workspace, make_pair: Any, make_build: Any, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A build of five pairs, images in a tar, scores, a region; a policy and a mix file."""
    monkeypatch.setenv(HOME_VARIABLE, str(workspace.home))
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True

    def produce(writer: ShardWriter) -> list[dict[str, Any]]:
        image = writer.add_image("astronaut/source.png", b"source bytes", 8, 8)
        shared = {
            "source_image": image,
            "group_id": "g",
            "edit_mask": encode_mask(mask),
            "region_id": "sample/astronaut/1",
        }
        return [
            make_pair("sample/1/removal", licence="CC0", **shared),
            make_pair("sample/1/addition", edit_type="object_addition", **shared),
            make_pair("sample/2/removal"),
            make_pair("sample/2/segmentation", vision_task="segmentation", edit_type=None, instruction=None),
            make_pair("sample/3/removal", reason="no_change", detail="0 pixels differ"),
        ]

    shard = write_shard(workspace, "pairs", shard_key("by hand", {}, [], []), produce, {})
    scores = [
        {"pair_id": "sample/1/removal", "source_aesthetic": 5.0, "target_aesthetic": 5.25, "backends": ["a=b@1"]},
        {"pair_id": "sample/1/addition", "source_aesthetic": 5.25, "target_aesthetic": 3.5, "backends": ["a=b@1"]},
        {"pair_id": "sample/2/removal", "source_aesthetic": 6.0, "target_aesthetic": float("nan")},
    ]
    made = make_build(workspace, [], scores, name="elsewhere")
    region = {"region_id": "sample/astronaut/1", "phrase": "the flag", "area": 16, "group_id": "g"}
    regions = write_shard(workspace, "regions", shard_key("by hand", {}, [], ["r"]), lambda _: [region], {})
    workspace.manifest_path("elsewhere").unlink()
    tables = {"regions": [regions], "pairs": [shard], "scores": made.tables["scores"]}
    write_manifest(workspace, Manifest(name="build-ieiw", tables=tables))
    record_root(workspace, "store", workspace.data)
    (workspace.home / "policy.toml").write_text(POLICY)
    (workspace.home / "mix.toml").write_text(MIX)
    return workspace


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = run(main, [str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def make_mix(home: Workspace, capsys: pytest.CaptureFixture[str]) -> str:
    files = ("--policy", home.home / "policy.toml", "--weights", home.home / "mix.toml")
    status, out, err = call(capsys, "mix", *files)
    assert (status, err) == (0, "")
    return out


def test_mix_prints_a_table_and_writes_the_plan(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    out = make_mix(home, capsys)
    lines = [line.split() for line in out.splitlines()]
    assert ["editing", "3", "1", "0", "1", "2", "2", "0", "0"] in lines
    assert ["segmentation", "1", "1", "0", "1", "1", "1", "0", "0"] in lines
    assert "3 training samples, 0 val and 0 test rows in" in out
    rows = pq.read_table(home.catalog / "mix.parquet").to_pylist()
    assert sorted(row["pair_id"] for row in rows) == ["sample/1/removal"] * 2 + ["sample/2/segmentation"]


def test_mix_as_json_and_to_another_place(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    output = home.home / "plans" / "other.parquet"
    files = ("--policy", home.home / "policy.toml", "--weights", home.home / "mix.toml", "--output", output)
    status, out, _ = call(capsys, "mix", "--build", "build-ieiw", *files, "--threads", 1, "--json")
    assert status == 0 and output.exists() and not (home.catalog / "mix.parquet").exists()
    assert json.loads(out)["num_train"] == 3


def test_mix_names_the_runs_whose_mix_it_replaces(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    config = {"global_batch_size": 4, "num_steps": 2, "model": "tiny"}
    for run_name, sha256 in (("demo", mix_digest(home.catalog / "mix.parquet")), ("other", "0" * 64)):
        (home.runs / run_name).mkdir(parents=True)
        saved = json.dumps({"config": config, "mix_sha256": sha256})
        (home.runs / run_name / "config.json").write_text(saved)
    assert "replaced" not in make_mix(home, capsys)  # the same mix again
    (home.home / "mix.toml").write_text(MIX.replace("seed = ", "seed = 1"))
    assert "replaced the mix that demo trained on: " in make_mix(home, capsys)


def test_decide_prints_the_waterfall_and_what_changes(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "decide", "--policy", home.home / "policy.toml")
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["pairs", "pairs", "-", "0", "5", "█" * 30] in lines
    assert ["no_change", "reason", "-", "1", "4", "█" * 24] in lines
    assert ["low", "condition", "4", "2", "2", "█" * 12] in lines
    assert ["gap", "condition", "0.5", "0", "2", "█" * 12] in lines
    assert ["accepted", "-", "-", "2", "40.0%"] in lines
    (home.home / "policy.toml").write_text(POLICY.replace("4.0", "3.0").replace("version = 3", "version = 4"))
    status, out, _ = call(capsys, "decide", "--policy", home.home / "policy.toml", "--against", "test")
    assert status == 0
    assert "accepted by test v4 only: 0" in out and "accepted by test v3 only: 0" in out
    (home.home / "policy.toml").write_text(POLICY.replace("maximum = 0.5", "maximum = 0.1"))
    _, out, _ = call(capsys, "decide", "--policy", home.home / "policy.toml", "--against", "test")
    assert "accepted by test v4 only: 1 (gap 1)\n  sample/1/removal" in out
    _, out, _ = call(capsys, "decide", "--policy", home.home / "policy.toml", "--json")
    assert json.loads(out)["thresholds"] == {"low": 4.0, "gap": 0.1}


def test_decide_compares_with_a_policy_file_and_puts_only_its_own_on_record(
    home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.home / "second.toml").write_text(POLICY.replace('"test"', '"second"').replace("0.5", "0.1"))
    files = ("--policy", home.home / "policy.toml", "--against", home.home / "second.toml")
    status, out, _ = call(capsys, "decide", *files)
    assert status == 0 and "accepted by test v3 only: 1 (gap 1)\n  sample/1/removal" in out
    assert [name for name in list_manifests(home) if "." in name] == ["build-ieiw.test"]


def test_decide_and_mix_say_what_they_replace(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    def said(text: str, command: str = "decide") -> str:
        (home.home / "policy.toml").write_text(text)
        weights = ("--weights", home.home / "mix.toml") if command == "mix" else ()
        _, out, _ = call(capsys, command, "--policy", home.home / "policy.toml", *weights)
        return out.partition("replaced ")[2].partition(":")[0]

    assert said(POLICY) == said(POLICY) == said(POLICY.replace("version = 3", "version = 4")) == ""
    assert said(POLICY.replace('"test"', '"second"').replace("0.5", "0.1")) == ""  # another name keeps both
    old = "the decision of policy test v4 on build-ieiw, made with other "
    assert said(POLICY.replace("0.5", "0.1")) == f"{old}conditions"
    scorers = POLICY.replace("0.5", "0.1") + '[scorers]\naesthetic_scorer = ["embedded"]\n'
    assert said(scorers) == old.replace("v4", "v3") + "scorers"
    assert said(POLICY, "mix") == old.replace("v4", "v3") + "conditions"
    (home.home / "policy.toml").write_text(POLICY.replace("4.0", "3.0"))
    _, out, _ = call(capsys, "decide", "--policy", home.home / "policy.toml", "--json")
    assert json.loads(out)["replaced_policy"]["conditions"][0]["minimum"] == 4.0
    _, out, _ = call(capsys, "decide", "--policy", home.home / "policy.toml", "--json")
    assert json.loads(out)["replaced_policy"] is None


def test_explain_tells_everything_in_words(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    status, out, _ = call(capsys, "explain", "sample/1/removal")
    assert status == 0
    (tar,) = home.data.glob("pairs/*.tar")
    for words in (
        "image_editing, object_removal",
        "licence CC0",
        "g, split train",
        "sample/astronaut/1: the bird",
        "16 pixels, 25.00% of the image",
        f"{tar}, member astronaut/source.png, 8x8, 12 bytes from 512",
        "inpainter=opencv@1",
        "same photo   sample/1/addition",
        "Scores, by a=b@1",
        "target_aesthetic         5.2500",
        "Policy test v3: accepted",
        "low                      holds: target_aesthetic 5.25, at least 4",
        "gap                      holds: |source_aesthetic - target_aesthetic| 0.25, at most 0.5",
        "Mix mix.parquet: source editing, split train, at positions",
    ):
        assert words in out, words


def test_explain_says_why_a_pair_is_out(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    _, out, _ = call(capsys, "explain", "sample/1/add")
    assert "Policy test v3: rejected: low" in out and "fails: target_aesthetic 3.5, at least 4" in out
    assert "Mix mix.parquet: not drawn" in out
    _, out, _ = call(capsys, "explain", "sample/2/removal")
    assert "fails: target_aesthetic none, at least 4" in out
    _, out, _ = call(capsys, "explain", "sample/3")
    assert "no: no_change (0 pixels differ)" in out and "Not scored." in out
    _, out, _ = call(capsys, "explain", "sample/2/seg")
    assert "worded at load time" in out and "is not about this pair" in out


def test_explain_as_json_holds_the_whole_rows(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    _, out, _ = call(capsys, "explain", "sample/2/removal", "--json")
    found = json.loads(out)
    assert found["pair"]["instruction"] == "remove the bird"
    assert found["scores"]["target_aesthetic"] is None  # NaN is not JSON
    assert found["verdicts"][0]["condition"] == "low"
    assert found["verdicts"][0]["conditions"][1]["holds"] is False
    assert found["source_image"]["exists"] is False
    assert found["mixes"] == [{"file": "mix.parquet", "draws": []}]


def test_explain_works_before_any_decision_and_without_roots(
    home: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    home.roots_path.unlink()
    (home.catalog / "torn.parquet").write_bytes(b"PAR1")
    status, out, _ = call(capsys, "explain", "sample/1/removal")
    assert status == 0 and "No policy has decided yet." in out and "Mix torn.parquet: " in out


def test_explain_names_prompts_seeds_options_and_withdrawals(
    workspace: Workspace, make_pair: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(workspace.home))
    backends = [
        "instructor=openai@1+model-x+prompt-4f1f33440db8+asked-1",
        "replacer=paint-by-example@1+steps-50+seed-7",
    ]
    footer = {"step": "word_edits", "parameters": {"version": 1}, "backends": backends, "inputs": []}
    pair = make_pair("p0", parameters='{"step":"replace_object","seed":3}', licence="CC0")
    shard = write_shard(workspace, "pairs", "0" * 32, lambda _: [pair], footer)
    options = {"instructor": {"model": "x", "temperature": 0.0}, "captioner": {"weights": "unused"}}
    parameters = {"backend_options": options, "split": {"seed": 5}}
    write_manifest(workspace, Manifest(name="build-ieiw", parameters=parameters, tables={"pairs": [shard]}))
    write_tombstone(workspace, Tombstone(kind="licence", value="CC0", note="asked"))
    _, out, _ = call(capsys, "explain", "p0", "--json")
    found = json.loads(out)
    assert found["making"]["prompts"] == {"instructor": "4f1f33440db8"}
    assert found["making"]["seeds"] == {"replace_object": 3, "split": 5, "replacer": "7"}
    assert found["making"]["options"] == {"instructor": options["instructor"]}
    assert [one["value"] for one in found["withdrawals"]] == ["CC0"]
    _, out, _ = call(capsys, "explain", "p0")
    for words in (
        "prompts      instructor 4f1f33440db8",
        "replacer 7",
        '"model": "x"',
        "withdrawn    licence CC0 (asked)",
    ):
        assert words in out, words


@pytest.mark.parametrize(
    ("pair_id", "words"),
    [
        ("sample/1", "several pairs begin with 'sample/1'"),
        ("nobody", "no pair is called 'nobody'"),
        ("", "several pairs begin"),
        ("sample/1/remova_", "no pair is called"),
        ("%", "no pair is called"),
    ],
)
def test_explain_wants_one_pair(home: Workspace, capsys: pytest.CaptureFixture[str], pair_id: str, words: str) -> None:
    status, out, err = call(capsys, "explain", pair_id)
    assert (status, out) == (2, "") and err.startswith("error: ") and words in err and err.count("\n") == 1


def test_stats_counts_tables_reasons_and_kinds(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    _, out, _ = call(capsys, "stats")
    lines = [line.split() for line in out.splitlines()]
    assert ["pairs", "1", "5", "4"] in lines
    assert ["pairs", "no_change", "1", "0", "pixels", "differ"] in lines
    assert ["sample", "image_editing", "object_removal", "3", "2", "2", "0", "0"] in lines
    assert ["test", "3", "5", "2"] in lines
    _, out, _ = call(capsys, "stats", "--json")
    assert json.loads(out)["tables"][1] == {"table": "pairs", "num_shards": 1, "num_rows": 5, "num_usable": 4}


def test_verify_ends_with_1_when_something_is_wrong(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "verify")
    assert status == 1 and "problem: " in out  # three pairs made up by the fixture point to no file
    status, out, _ = call(capsys, "verify", "--json")
    assert status == 1 and json.loads(out)["num_images"] > 0
    for name in ("build-ieiw",):
        home.manifest_path(name).unlink()
    status, _, err = call(capsys, "verify", "--deep")
    assert status == 2 and "nothing to verify" in err


def test_plan_lists_the_rows_of_each_step(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    _, out, _ = call(capsys, "plan", "--steps", "1:4", "--batch", 2, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    order = pq.read_table(home.catalog / "mix.parquet")["pair_id"].to_pylist()
    assert [row["sample_index"] for row in rows] == [2, 3, 4, 5, 6, 7]
    assert [row["step"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert [row["pair_id"] for row in rows] == [order[i % 3] for i in range(2, 8)]
    assert rows == rows_of_steps(home.catalog / "mix.parquet", 1, 4, 2)
    _, out, _ = call(capsys, "plan", "--steps", "0:9", "--batch", 1, "--limit", 4)
    assert len(out.splitlines()) == 2 + 4 + 1 and "and 5 more" in out


def test_plan_takes_the_batch_of_the_runs(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    steps = ("plan", "--steps", "1:3", "--json")
    status, _, err = call(capsys, *steps)
    assert status == 2 and "no run below" in err and "--batch" in err

    def record(name: str, batch: int, digest: str) -> None:
        (home.runs / name).mkdir(parents=True)
        config = {"global_batch_size": batch, "num_steps": 5, "model": "tiny"}
        value = {"mix_sha256": digest, "config": config}
        (home.runs / name / "config.json").write_text(json.dumps(value))

    digest = mix_digest(home.catalog / "mix.parquet")
    record("one", 2, digest)
    record("foreign", 7, "0" * 64)
    asked = call(capsys, *steps, "--batch", 2)[1]
    assert call(capsys, *steps)[1] == asked and len(asked.splitlines()) == 4
    record("two", 3, digest)
    status, _, err = call(capsys, *steps)
    assert status == 2 and "one (2), two (3)" in err and "--run" in err
    assert call(capsys, *steps, "--run", "one")[1] == asked
    assert len(call(capsys, *steps, "--run", "two")[1].splitlines()) == 6
    status, _, err = call(capsys, *steps, "--run", "foreign")
    assert status == 2 and "Got 'foreign'; there are: one (2), two (3)" in err
    (home.runs / "two" / "config.json").write_text("[]")
    status, _, err = call(capsys, *steps)
    assert status == 2 and "not what a training run writes" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--steps", "5:5", "--batch", "1"], "0 <= A < B"),
        (["plan", "--steps", "five", "--batch", "1"], "A:B"),
        (["plan", "--steps", "0:1", "--batch", "0"], "at least 1 sample"),
        (["plan", "--steps", "0:1", "--batch", "1", "--mix", "absent.parquet"], "no mix at absent.parquet"),
        (["plan", "--steps", "0:1", "--batch", "1", "--mix", "."], "a mix must be a file, but . is a folder"),
        (["mix", "--weights", "absent.toml"], "no file absent.toml"),
        (["mix", "--build", "other"], "no build named 'other'"),
        (["mix", "--threads", "0"], "threads must be 1 to 1024"),
        (["decide", "--policy", "absent.toml"], "no file absent.toml"),
        (["plan", "--steps", "0:1", "--mix", "."], "a mix must be a file, but . is a folder: name"),
        (["decide", "--against", "nobody"], "'nobody' must be a policy file or the name of a policy decided on"),
        (["decide", "--against", "policies/no"], "'policies/no' must be a policy file or the name of a policy"),
        (["decide", "--against", "absent.toml"], "no file absent.toml: give the path of a TOML file"),
        (["revoke"], "revoke needs one of --image, --patch, --licence, --backend: say what to withdraw"),
        (["revoke", "--note", "asked"], "revoke needs one of"),
        (["stats", "--build", "Other"], "lower-case"),
        (["verify", "--build", "other"], "no build named 'other'"),
        (["explain", "x", "--build", "other"], "no build named 'other'"),
    ],
)
def test_mistakes_are_one_sentence(
    home: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(home.home)
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "") and err.startswith("error: ") and words in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["", "decide", "explain", "mix", "plan", "stats", "verify"])
def test_help_says_defaults(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "python -m catalog" in out and (command in ("", "explain") or "default" in out)


def test_the_module_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "catalog", "stats"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: no build named 'build-ieiw'")


def test_tables_align_numbers_right_and_words_left() -> None:
    table = text_table(["name", "count"], [["a", 1], ["longer", 200], ["none", None]])
    assert table.splitlines() == [
        "name    count",
        "------  -----",
        "a           1",
        "longer    200",
        "none        -",
    ]
    assert text_table(["name"], []).splitlines() == ["name", "----"]


def test_one_thing_is_no_plural() -> None:
    assert [counted(number, "pair") for number in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
    assert [counted(number, "mix") for number in (0, 1, 2)] == ["0 mixes", "1 mix", "2 mixes"]


def test_the_decision_can_be_read_back(home: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_mix(home, capsys)
    assert read_manifest(home, "build-ieiw.test").parameters["policy"]["version"] == 3


def test_a_home_that_is_a_file_is_one_sentence(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    file = tmp_path / "home"
    file.write_text("")
    monkeypatch.setenv(HOME_VARIABLE, str(file))
    assert run(main, ["stats"]) == 2
    assert capsys.readouterr().err == (
        f"error: IEIW_HOME must name a folder, but {file} is a file: name another or unset it\n"
    )


def test_clean_removes_what_was_made_and_no_dataset(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    made = [
        "catalog/tables/pairs/k.parquet",
        "catalog/mix.parquet",
        "catalog/roots.json",
        "data/edits/k.tar",
        "runs/r/c",
    ]
    kept = ["data/VGPhraseCut_v0/images/1.jpg", "data/answers/a.json", "data/edits.txt", "catalog/notes.txt"]
    for name in (*made, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    (tmp_path / "data" / "pairs").symlink_to(tmp_path / "elsewhere")
    assert main(["clean", "--dry-run"]) == 0
    assert all((tmp_path / name).exists() for name in (*made, *kept))
    assert main(["clean"]) == 0
    assert not any((tmp_path / name).exists() for name in made) and not (tmp_path / "data" / "pairs").is_symlink()
    assert all((tmp_path / name).exists() for name in (*kept, "elsewhere/precious"))
    assert "catalog/mix.parquet" in capsys.readouterr().out
