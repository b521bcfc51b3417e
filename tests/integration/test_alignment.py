"""The alignment loop on a tiny checkpoint: variants, simulated judges, chosen pairs, stage 3, the curve by epoch."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from alignment_run import NUM_TRAIN, NUM_VAL, SIDE, make_checkpoint, make_edit_mix
from PIL import Image

from catalog import command_line
from catalog.alignment_sets import AlignmentSet
from catalog.choices import read_choices, record
from catalog.chosen_pairs import choose
from catalog.images import decode_image
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.workspace import Workspace
from evaluation.commands import main
from evaluation.guidance_grids import GuidanceGrid
from trainer.inference import edit
from trainer.main import main as train
from trainer.models import load_models

INFRA = Path(__file__).resolve().parents[2] / "infra"
NUM_ITEMS = 2


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("alignment"))
    make_edit_mix(workspace)
    make_checkpoint(workspace.home)
    grid = (INFRA / "guidance" / "demo.toml").read_text()
    (workspace.home / "grid.toml").write_text(re.sub(r"num_steps = \d+", "num_steps = 2", grid))
    return workspace


@pytest.fixture
def run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    """``python -m evaluation align ...`` in the workspace; returns the exit status."""
    monkeypatch.setenv("IEIW_HOME", str(workspace.home))

    def call(*arguments: object) -> int:
        return command_line.run(main, ["align", *(str(argument) for argument in arguments)])

    return call


def sample(run, workspace: Workspace, *more: object) -> int:
    given = ("--checkpoint", workspace.home / "pipeline", "--size", SIDE, "--limit", NUM_ITEMS)
    return run("sample", "--set", "tiny", "--grid", workspace.home / "grid.toml", *given, *more)


def shards(workspace: Workspace) -> dict[str, bytes]:
    files = [*workspace.table_folder("variants").glob("*"), *(workspace.data / "variants").glob("*")]
    return {file.name: file.read_bytes() for file in files}


def test_twenty_variants_of_each_item_differ_in_guidance_alone(run, workspace) -> None:
    assert sample(run, workspace) == 0
    alignment = AlignmentSet.read(workspace, "tiny")
    grid = GuidanceGrid.read(INFRA / "guidance" / "paper.toml")
    assert len(alignment.items) == NUM_ITEMS and len(grid) == 20
    for item in alignment.items.values():
        settings = [(one.text_guidance, one.image_guidance) for one in item.variants]
        assert settings == [tuple(setting) for setting in grid.settings()] and len(set(settings)) == 20
        assert len({one.seed for one in item.variants}) == 1
        assert item.row["split"] == "train"
    assert len({item.variants[0].seed for item in alignment.items.values()}) == NUM_ITEMS


def test_a_variant_equals_the_edit_alone_with_its_settings(run, workspace) -> None:
    """Batched with 19 others under other scales it is the same picture, up to the rounding of sums."""
    assert sample(run, workspace) == 0
    alignment = AlignmentSet.read(workspace, "tiny")
    item = next(iter(alignment.items.values()))
    source = decode_image(alignment.read_image(item.source_image))
    shown = np.asarray(Image.fromarray(source).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    models = load_models(workspace.home / "pipeline")
    for number in (0, 7, 19):
        one = item.variants[number]
        scales = {"text_guidance": one.text_guidance, "image_guidance": one.image_guidance}
        given = {"num_steps": one.num_steps, "sampler": one.sampler, "seed": one.seed, **scales}
        (alone,) = edit(models, [shown], [item.instruction], **given)
        made = decode_image(alignment.read_image(one.image))
        assert np.abs(made.astype(int) - alone).max() <= 1
    assert len({one.image["sha256"] for one in item.variants}) == 20


def test_sampling_goes_on_and_makes_the_same_bytes(run, workspace) -> None:
    assert sample(run, workspace) == 0
    before = shards(workspace)
    (shard,) = workspace.table_folder("variants").glob("*.parquet")
    shard.unlink()  # as a kill leaves it: no shard, or no whole one
    assert sample(run, workspace) == 0
    assert shards(workspace) == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--seed", 1), "was sampled otherwise (seed differ)"),
        (("--limit", 1), "fewer would drop"),
        (("--split", "test"), "no editing row with an instruction"),
        (("--size", 60), "multiple of 8"),
        (("--limit", 0), "limit must be 1 or more"),
        (("--checkpoint", "/nowhere"), "is not a folder"),
    ],
)
def test_what_cannot_be_sampled_is_one_sentence(run, workspace, capsys, more, sentence) -> None:
    assert sample(run, workspace) == 0
    before = shards(workspace)
    capsys.readouterr()
    assert sample(run, workspace, *more) == 2
    assert sentence in capsys.readouterr().err
    assert shards(workspace) == before


def test_simulated_judges_answer_once_and_are_named(run, workspace, capsys) -> None:
    assert sample(run, workspace) == 0
    people = ("--person", "judge 1", "--person", "judge 2", "--least-likeness", "-1")
    assert run("judge", "--set", "tiny", *people) == 0
    alignment = AlignmentSet.read(workspace, "tiny")
    choices = read_choices(alignment)
    assert len(choices) == 2 * NUM_ITEMS and all(one.judge.startswith("simulated@1+") for one in choices)
    assert {len(one.variants) for one in choices} == {2}
    assert {one.variants for one in choices[:2]} != {one.variants for one in choices[2:]}
    capsys.readouterr()
    assert run("judge", "--set", "tiny", *people) == 0
    assert "items            0 answered now, 2 before" in capsys.readouterr().out
    assert read_choices(alignment) == choices
    assert run("agreement", "--set", "tiny") == 0
    shown = capsys.readouterr().out
    assert "judge 1  2 of 2 items  (simulated@1+" in shown and "simulated  2 items answered by two or more" in shown
    assert run("choose", "--set", "tiny", "--build", "both", "--judges", "simulated", "--min-votes", 2) == 0
    assert "items answered  2 of 2" in capsys.readouterr().out
    assert run("choose", "--set", "tiny", "--build", "none", "--judges", "simulated", "--min-votes", 3) == 2
    assert "build none must have a pair to train on" in capsys.readouterr().err


def test_a_judge_cannot_answer_in_a_persons_name(run, workspace, capsys) -> None:
    assert sample(run, workspace) == 0
    alignment = AlignmentSet.read(workspace, "tiny")
    record(alignment, "Ana", next(iter(alignment.items)), [3])
    capsys.readouterr()
    assert run("judge", "--set", "tiny", "--person", "Ana") == 2
    assert "take another name" in capsys.readouterr().err


def test_stage_three_trains_on_the_chosen_and_the_curve_is_drawn(run, workspace, capsys) -> None:
    assert sample(run, workspace) == 0
    assert run("judge", "--set", "tiny", "--person", "judge 1", "--least-likeness", "-1") == 0
    choose(workspace, "tiny", "tiny-chosen", judges="simulated")
    policy, plan = (Policy.read(INFRA / "policies/everything.toml"), MixPlan.read(INFRA / "mixes/alignment.toml"))
    mix = workspace.catalog / "tiny-chosen.parquet"
    summary = build_mix(workspace, ["tiny-chosen"], policy, plan, mix)
    assert 2 * NUM_ITEMS <= summary.num_train <= 4 * NUM_ITEMS  # two of each item, of each of two judges
    stage = {"model": workspace.home / "pipeline", "image_size": SIDE, "num_steps": 4, "global_batch_size": 2}
    stage |= {"micro_batch_size": 2, "precision": "float32", "num_workers": 0, "checkpoint_every": 2}
    settings = [part for name, value in stage.items() for part in ("--set", f"{name}={value}")]
    folder = workspace.runs / "stage3"
    assert train(["--catalog", str(mix), "--recipe", "human_alignment", "--output", str(folder), *settings]) == 0
    log = pq.read_table(folder / "training_log.parquet")
    assert len(log) == 4 and json.loads((folder / "config.json").read_text())["config"]["stage"] == "human_alignment"
    curve = ("curve", "--run", folder, "--size", SIDE, "--steps", 1)
    assert run(*curve) == 0
    found = json.loads((folder / "curve" / "curve.json").read_text())
    assert [point["step"] for point in found["points"]] == [0, 2, 4]
    assert [point["epoch"] for point in found["points"]] == [
        pytest.approx(step * 2 / summary.num_train, abs=1e-6) for step in (0, 2, 4)
    ]
    assert found["points"][0]["change"] == 0 and found["points"][0]["num_samples"] == NUM_VAL
    later = found["points"][2]
    assert later["change"] == pytest.approx(later["text_similarity"] - found["points"][0]["text_similarity"])
    assert later["change"] != 0 and later["change_interval"][0] <= later["change"] <= later["change_interval"][1]
    text = (folder / "curve" / "curve.md").read_text()
    assert "29.6" in text and "29.9" in text and "histogram" in text
    assert Image.open(folder / "curve" / "curve.png").size == (900, 1040)
    # What is finished is read back, and what trained is not measured.
    points = sorted((folder / "curve" / "points").glob("*"))
    changed = {path: path.stat().st_mtime_ns for path in points}
    assert run(*curve) == 0
    assert {path: path.stat().st_mtime_ns for path in points} == changed and len(points) == 3
    assert not (folder / "curve" / "earlier").exists()
    # A trial with other options takes the curve's place, says so, and what was there is kept.
    before = {path.suffix: path.read_bytes() for path in (folder / "curve").glob("curve.*")}
    capsys.readouterr()
    assert run(*curve, "--limit", 1) == 0
    assert "seed 0" in text and "limit 1" in (folder / "curve" / "curve.md").read_text()
    kept = {path.suffix: path.read_bytes() for path in (folder / "curve" / "earlier").iterdir()}
    assert kept == before and len(kept) == 3
    (shown,) = (folder / "curve" / "earlier").glob("*.md")
    assert f"another curve was there  it is kept in {shown}" in capsys.readouterr().out
    capsys.readouterr()
    rows = pq.read_table(workspace.catalog / "mix.parquet")
    seen = [{**row, "split": "val", "position": None} for row in rows.to_pylist() if row["split"] == "train"]
    trap = workspace.catalog / "trap.parquet"
    pq.write_table(rows.from_pylist(seen, schema=rows.schema), trap)
    assert run(*curve, "--mix", trap) == 2
    assert "photos that are measured must not train" in capsys.readouterr().err
    assert len(seen) == NUM_TRAIN
    for option, value in (("--text-guidance", "nan"), ("--batch-size", 0), ("--seed", -1), ("--limit", 0)):
        assert run(*curve, option, value) == 2
        assert capsys.readouterr().err.startswith("error: ")
    config = json.loads((folder / "config.json").read_text())
    config["config"]["stage"] = "task_training"
    other = workspace.runs / "stage2"
    other.mkdir()
    for text, sentence in (
        (json.dumps(config), "of stage human_alignment, but"),
        ("{", "cannot be read as that: give the folder of a stage-3 run"),
        (None, "has no config.json: give the folder of a stage-3 run"),
    ):
        (other / "config.json").unlink(missing_ok=True)
        if text is not None:
            (other / "config.json").write_text(text)
        assert run("curve", "--run", other) == 2
        assert sentence in capsys.readouterr().err
