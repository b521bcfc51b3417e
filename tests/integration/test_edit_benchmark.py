"""The edit benchmark from a build's held-out edits to Table 5: proposed, confirmed by people, written, evaluated."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from chat_server import ChatServer
from plain_build import build
from seeing_judge import Seeing

from catalog import command_line
from catalog.edit_benchmarks import CLASSES, read_candidates, read_part
from catalog.errors import ConfigError
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.parquet_streams import mix_digest
from catalog.policies import Policy
from catalog.workspace import Workspace
from evaluation.commands import main
from evaluation.edit_proposals import ProposalOptions, Proposers, choose, propose, read_edits
from tasks.backends.registry import load_backend
from tasks.profiles import read_profile

INFRA = Path(__file__).parents[2] / "infra"
SCENES = {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 8, "seed": 0, "size": 128}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small build, all of it held out."""
    workspace = Workspace(tmp_path_factory.mktemp("home"))
    overrides = {"source": [SCENES], "split": {"seed": 0, "val": 0.5, "test": 0.5}, "name": "edit-benchmark-edits"}
    overrides["backends.inpainter"] = "opencv"
    build(workspace, read_profile(INFRA / "profiles" / "embedded.toml", overrides))
    policy, plan = INFRA / "policies" / "everything.toml", INFRA / "mixes" / "benchmarks.toml"
    mix = workspace.catalog / "edit_benchmarks" / "edits" / "source_mix.parquet"
    build_mix(workspace, ["edit-benchmark-edits"], Policy.read(policy), MixPlan.read(plan), mix)
    return workspace.home


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(home))


def source_mix(home: Path) -> Path:
    return home / "catalog" / "edit_benchmarks" / "edits" / "source_mix.parquet"


def edits(*arguments: object) -> int:
    return command_line.run(main, ["edits", *map(str, arguments)])


def test_from_proposals_to_a_table_that_people_confirmed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edits("propose", "--mix", source_mix(home), "--per-class", 4) == 0
    rows = read_candidates(Workspace(home), "edits")
    by_class = {name: [row for row in rows if row["proposed_class"] == name] for name in CLASSES}
    assert all(1 <= len(own) <= 4 for own in by_class.values())
    assert {tuple(row["backends"][0].split("@")[:1]) for row in rows} == {("captioner=labels",)}
    assert all(row["source_caption"] and row["target_caption"] and row["why"] for row in rows)
    capsys.readouterr()
    assert edits("finish", "--total", 3) == 2
    said = capsys.readouterr().err
    assert "must have 3 samples that people confirmed" in said and "object_removal 0 of 1" in said
    for person, given in (("anna", by_class["object_removal"][0]), ("bert", by_class["object_addition"][0])):
        answer = given["proposed_class"]
        assert edits("answer", "--person", person, "--sample", given["pair_id"], "--answer", answer) == 0
    moved = by_class["object_replacement"][0]  # a person may call it otherwise, and word the caption
    words = ["--answer", "object_addition", "--caption", "a red thing"]
    assert edits("answer", "--person", "anna", "--sample", moved["pair_id"], *words) == 0
    assert edits("status", "--json") == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["confirmed"] == 3
    assert edits("finish", "--total", 6, "--allow-fewer") == 0
    assert "confirmed by         2 people" in capsys.readouterr().out
    path = home / "catalog" / "benchmarks" / "edits_1000.parquet"
    written = pq.read_table(path).to_pylist()
    assert {(row["dataset"], row["split"], row["mix_source"]) for row in written} == {
        ("edits_1000", "test", "synthetic")
    }
    captions = {row["pair_id"]: (row["edit_type"], row["target_caption"]) for row in written}
    assert captions[moved["pair_id"]] == ("object_addition", "a red thing") and len(captions) == 3
    run = ["run", "--control", "oracle", "--benchmark", "edits_1000", "--size", "64", "--output", str(home / "out")]
    assert command_line.run(main, run) == 0
    metrics = pq.read_table(home / "out" / "metrics.parquet").to_pylist()
    assert {row["mix_sha256"] for row in metrics} == {mix_digest(path)}
    assert "BY RULE" not in (home / "out" / "metrics.md").read_text()
    own = {(row["benchmark"], row["metric"]): row for row in metrics}
    removal = own["edits_1000/object_removal/test", "text_similarity"]
    assert (removal["paper_value"], removal["paper_place"]) == (28.88, "Table 5, page 9")
    assert own["edits_1000/object_addition/test", "l1"]["value"] == 0
    assert own["edits_1000/object_addition/test/over-edit", "l1"]["value"] > 0.01
    assert own["edits_1000/object_addition/test", "perceptual_distance"]["value"] == 0


def test_a_judge_behind_an_endpoint_joins_the_table(home: Path, tmp_path: Path) -> None:
    assert edits("propose", "--name", "judged", "--mix", source_mix(home), "--per-class", 1) == 0
    (home / "catalog" / "benchmarks" / "edits_1000.parquet").unlink(missing_ok=True)  # no trial replaces people's
    assert edits("finish", "--name", "judged", "--confirmed-by", "rule", "--total", 3) == 0
    server = ChatServer(Seeing())
    judge = tmp_path / "judge.toml"
    judge.write_text(f'url = "{server.url}"\nmodel = "seer-2"\n')
    run = ["run", "--control", "no-op", "--benchmark", "edits_1000", "--size", "64", "--judge", str(judge)]
    try:
        assert command_line.run(main, [*run, "--output", str(tmp_path / "out")]) == 0
        asked = len(server.bodies)
        server.reply = Seeing(generous=3)
        assert command_line.run(main, [*run, "--output", str(tmp_path / "two")]) == 2  # drifted: nothing is measured
        assert len(server.bodies) == asked + 8
    finally:
        server.close()
    rows = {
        (row["benchmark"], row["metric"]): row for row in pq.read_table(tmp_path / "out/metrics.parquet").to_pylist()
    }
    own = rows["edits_1000/object_removal/test", "judge_keeping"]
    assert own["value"] == 7 and own["backend"].startswith("judge=openai@1+model-seer-2")
    assert rows["edits_1000/object_removal/test/over-edit", "judge_keeping"]["value"] < 7
    assert rows["edits_1000/object_removal/test", "judge_unanswered"]["value"] == 0
    assert json.loads(own["config"])["confirmed_by"] == "rule"
    assert "EDITS SORTED BY RULE ALONE: nobody has confirmed them." in (tmp_path / "out" / "metrics.md").read_text()


def test_a_trial_by_rule_says_so_and_two_runs_are_the_same_bytes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edits("propose", "--name", "trial", "--mix", source_mix(home), "--per-class", 3) == 0
    path = home / "catalog" / "benchmarks" / "edits_1000.parquet"
    path.unlink(missing_ok=True)
    written = []
    for _ in range(2):
        assert edits("finish", "--name", "trial", "--confirmed-by", "rule", "--total", 9, "--allow-fewer") == 0
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert "the rule alone: nobody has looked at them" in capsys.readouterr().out
    assert b'"confirmed_by":"rule"' in written[0]


class Counting:
    """The labels' captioner, and how many pictures it was asked about."""

    name, revision, device = "labels", "counting", "cpu"

    def __init__(self, fail: bool = False) -> None:
        self.asked, self._fail = 0, fail

    def caption(self, images: Any, labels: Any, captions: Any) -> list[str]:
        self.asked += len(images)
        if self._fail:
            raise RuntimeError("no words")
        return ["a photo of a cup"] * len(images)


def test_what_was_captioned_is_not_captioned_again_and_a_failure_is_its_rows_reason(home: Path) -> None:
    workspace, options = Workspace(home), ProposalOptions(per_class=2)
    first, again = Counting(), Counting()
    proposed = [
        propose(
            workspace, "counted", source_mix(home), Proposers(one, load_backend("caption_editor", "rules")), options
        )
        for one in (first, again)
    ]
    assert proposed[0] == proposed[1] and first.asked > 0 == again.asked
    assert len(list((workspace.catalog / "edit_benchmarks" / "counted" / "parts").glob("*.parquet"))) == 1
    failing = Proposers(Counting(fail=True), load_backend("caption_editor", "rules"))
    failing.captioner.revision = "failing"
    rows = propose(workspace, "failed", source_mix(home), failing, options)
    assert {row["reason"] for row in rows} == {"backend_failed"} and "no words" in rows[0]["detail"]
    assert read_part(workspace.catalog / "edit_benchmarks" / "failed" / "candidates.parquet").num_rows == len(rows)


def test_real_edits_with_a_perfect_oracle_a_no_op_and_a_shuffled_oracle(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AnyEdit's published examples through the whole of it: one of each class among eighteen kinds of edit."""
    if not (shared_data / "editing_anyedit").is_dir():
        pytest.skip("this sample is not here")
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    workspace = Workspace(tmp_path)
    source = {"dataset": "anyedit", "reader": "edit_pairs", "root": str(shared_data / "editing_anyedit")}
    source["options"] = {"images": "images", "files": "manifest.json", "split": "test"}
    overrides = {"source": [source], "name": "real", "replace_object.enabled": False, "remove_object.enabled": False}
    build(workspace, read_profile(INFRA / "profiles" / "embedded.toml", overrides))
    policy, plan = INFRA / "policies" / "everything.toml", INFRA / "mixes" / "benchmarks.toml"
    build_mix(workspace, ["real"], Policy.read(policy), MixPlan.read(plan), tmp_path / "catalog" / "real.parquet")
    assert edits("propose", "--mix", tmp_path / "catalog" / "real.parquet") == 0
    rows = read_candidates(workspace, "edits")
    ruled = {row["edit_type"]: row["proposed_class"] for row in rows if row["edit_type"] in CLASSES}
    assert len(ruled) == 3 and all(kind == proposed for kind, proposed in ruled.items())
    assert edits("finish", "--confirmed-by", "rule", "--total", 6, "--allow-fewer") == 0
    found = {}
    for control in ("oracle", "no-op", "shuffled-oracle"):
        run = [
            "run",
            "--control",
            control,
            "--benchmark",
            "edits_1000",
            "--size",
            "96",
            "--output",
            str(tmp_path / control),
        ]
        assert command_line.run(main, run) == 0
        for row in pq.read_table(tmp_path / control / "metrics.parquet").to_pylist():
            found[control, row["benchmark"], row["metric"]] = row["value"]
    for kind in CLASSES:
        name = f"edits_1000/{kind}/test"
        exact, unchanged = (
            {metric: found[who, name, metric] for metric in ("l1", "perceptual_distance", "unchanged_share", "psnr")}
            for who in ("oracle", "no-op")
        )
        assert exact == {"l1": 0, "perceptual_distance": 0, "unchanged_share": 0, "psnr": 100}
        assert unchanged["l1"] > 0 and unchanged["perceptual_distance"] > 0 and unchanged["unchanged_share"] == 1
    # Two samples of each of two classes: each has the other's answer.
    pairs = [kind for kind in CLASSES if sum(row["proposed_class"] == kind for row in rows) > 1]
    assert pairs and all(found["shuffled-oracle", f"edits_1000/{kind}/test", "l1"] > 0.1 for kind in pairs)


def test_the_choice_depends_on_the_seed_alone(home: Path) -> None:
    rows = read_edits(source_mix(home), ("val", "test"))
    one, same, other = (
        [row["pair_id"] for row in choose(order, ProposalOptions(per_class=3, seed=seed))]
        for order, seed in ((rows, 0), (rows[::-1], 0), (rows, 1))
    )
    assert one == same != other
    with pytest.raises(ConfigError, match=r"per class must be at least 1\. Got 0"):
        ProposalOptions(per_class=0)
    with pytest.raises(ConfigError, match=r"splits must be some of val and test\. Got train"):
        ProposalOptions(splits=("train",))


def test_bad_input_is_one_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edits("propose", "--mix", home / "none.parquet") == 2
    assert "there is no mix at" in capsys.readouterr().err
    assert edits("status", "--name", "nothing") == 2
    assert "propose samples first" in capsys.readouterr().err
    assert edits("answer", "--name", "trial", "--person", "a", "--sample", "x", "--answer", "left_out") == 2
    assert "--sample must be the pair_id of a candidate" in capsys.readouterr().err
