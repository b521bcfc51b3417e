"""Studies: files, what arms may differ in, paired differences by hand and by scipy, reports of unfinished sets."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy import stats

from catalog.errors import ConfigError, ShardError, UserError
from catalog.mix_plans import MixPlan
from catalog.model_tables import METRICS
from catalog.parquet_streams import mix_digest, write_stream
from catalog.schema import MIX, VISION_TASKS
from catalog.workspace import Workspace
from evaluation.checkpoints import SamplingOptions, checkpoint_digest
from evaluation.paired_differences import paired_difference
from evaluation.run import EvaluationOptions
from evaluation.studies import Study
from evaluation.study_report import write_study_report
from evaluation.study_runs import read_study
from flows.ablate import evaluation_command, restrict, run_arms
from flows.child_process import ChildFailed
from trainer.recipes import make_config
from trainer.run_folder import Finished, RunFolder

INFRA = Path(__file__).resolve().parents[2] / "infra"
INSTRUCTIONS, JOINT = (INFRA / "studies" / f"{name}.toml" for name in ("instructions", "joint_training"))
TASKS = ("keypoint_detection", "segmentation")


# -- the difference of two arms ---------------------------------------------------------------------------------------


def test_paired_difference_by_hand():
    """2, 3, 7: mean 4, s = sqrt(7), t(0.975, 2) = 4.30265."""
    value, interval, seeds = paired_difference({0: 12.0, 1: 13.0, 2: 17.0, 9: 1.0}, {0: 10.0, 1: 10.0, 2: 10.0})
    assert (value, seeds) == (4.0, (0, 1, 2))
    reach = 4.30265 * (7**0.5) / 3**0.5
    assert interval == (pytest.approx(4 - reach, abs=1e-4), pytest.approx(4 + reach, abs=1e-4))


def test_interval_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6))
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    found = paired_difference(dict(enumerate(first)), dict(enumerate(second)))
    assert found.interval == (pytest.approx(interval.low), pytest.approx(interval.high))


@pytest.mark.parametrize(("seeds", "value"), [((), None), ((0,), 1.0), ((0, 1), 1.0)])
def test_fewer_than_three_seeds_have_no_interval(seeds, value):
    found = paired_difference(dict.fromkeys(seeds, 3.0), dict.fromkeys(seeds, 2.0))
    assert (found.value, found.interval) == (value, None)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [INSTRUCTIONS, JOINT], ids=lambda path: path.stem)
@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_shipped_studies_are_whole(path, scale):
    study = Study.read(path, scale)
    assert len(study.seeds) >= 3 and len(study.arms) == 2
    config = make_config(study.scale.recipe)
    for arm in study.arms:
        changes = {**study.scale.settings, **arm.settings}
        config.with_overrides(f"{name}={value}" for name, value in changes.items())
    plan = restrict(MixPlan.read(INFRA.parent / study.scale.mix_plan), study.arms[0].vision_tasks)
    assert {source.vision_task for source in plan.sources} <= set(study.arms[0].vision_tasks)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"render.wording", "render.colors"', '"render.wording"', "differ in one thing"),
        ('baseline = "simple"', 'baseline = "other"', "the baseline among them"),
        ('name = "detailed"', 'name = "simple"', "of different names"),
        ("seeds = [0, 1, 2]", "seeds = [0, 0]", "different whole numbers"),
        ("seeds = [0, 1, 2]", "seeds = [0.5]", "different whole numbers"),
        ('name = "detailed"', 'name = "detailed"\nvision_tasks = ["segmentation"]', "add mix.plan.sources"),
        ('"keypoint_detection", "segmentation"]', '"posing"]', "names the vision task"),
        ("{ simple = 7.0,", "{ plain = 7.0,", "numbers by arm"),
        ('thing = "how', 'thong = "how', "lacks 'thing'"),
    ],
)
def test_malformed_study_is_one_sentence(tmp_path, old, new, message):
    text = INSTRUCTIONS.read_text()
    assert old in text
    path = tmp_path / "study.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=re.escape(message)):
        Study.read(path, "demo")


def test_unknown_scale_is_named():
    with pytest.raises(ConfigError, match="has the scales demo, paper"):
        Study.read(INSTRUCTIONS, "huge")


def test_restricted_plan_keeps_what_belongs_to_the_tasks():
    plan = MixPlan.read(INFRA / "mixes" / "paper.toml")
    assert restrict(plan, VISION_TASKS) is plan
    alone = restrict(replace(plan, quotas=(("segmentation", 5), ("image_editing", 7))), ("segmentation",))
    assert [source.name for source in alone.sources if source.dataset in ("coco_stuff", "grefcoco", "refcoco")] == [
        "coco_stuff",
        "grefcoco",
        "refcoco",
    ]
    assert {source.vision_task for source in alone.sources} == {"segmentation"}
    assert alone.quotas == (("segmentation", 5),)


# -- what runs left behind --------------------------------------------------------------------------------------------


@pytest.fixture
def study() -> Study:
    return Study.read(INSTRUCTIONS, "demo")


def leave_run(
    workspace: Workspace,
    study: Study,
    arm: str,
    seed: int,
    ap: float | None,
    shown: Mapping[str, object] | None = None,
    row: Mapping[str, object] | None = None,
    **config: object,
) -> Path:
    """A run's folder as trainer and evaluation leave it; without ``ap`` it is not evaluated.

    ``shown`` replaces options of the evaluation, ``row`` columns of its rows, ``config`` fields of the training.
    """
    chosen = next(one for one in study.arms if one.name == arm)
    overrides = {**study.scale.settings, **chosen.settings, "seed": seed, **config}
    resolved = make_config("demo").with_overrides(f"{name}={value}" for name, value in overrides.items())
    folder = RunFolder(workspace.runs / study.run_name(chosen, seed))
    folder.pipeline.mkdir(parents=True)
    (folder.pipeline / "model_index.json").write_text(json.dumps([arm, seed]))
    mix = workspace.catalog / study.mix_name(chosen.vision_tasks)
    folder.start(resolved, mix, mix_digest(mix))
    folder.write_finished(Finished(resolved.num_steps, 960, 1.0, 0.5, 9.0), resolved, mix_digest(mix))
    if ap is None:
        return folder.path
    evaluation = folder.path / "evaluation"
    evaluation.mkdir()
    given = dict(study.scale.evaluation)
    sampling = SamplingOptions(num_steps=given.pop("steps"))
    options = asdict(EvaluationOptions(seed=seed, size=64, render=resolved.render, **given))
    first = dict.fromkeys(METRICS.names)
    first |= {"benchmark": "keypoint_detection/val", "metric": "ap", "value": ap / 100, "seed": seed}
    first |= {"config": json.dumps({**options, "predictor": asdict(sampling), **(shown or {})})}
    first |= {"vision_task": "keypoint_detection", "mix_sha256": mix_digest(mix)}
    first |= {"checkpoint_sha256": checkpoint_digest(folder.pipeline), **(row or {})}
    control = {"benchmark": "keypoint_detection/val/oracle", "value": 1.0, "checkpoint_sha256": None}
    rows = [first, {**first, "metric": "ap50"}, {**first, **control}]
    pq.write_table(pa.Table.from_pylist(rows, schema=METRICS), evaluation / "metrics.parquet")
    return folder.path


@pytest.fixture
def workspace(tmp_path, study) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.catalog.mkdir()
    write_mix(workspace.catalog / study.mix_name(TASKS))
    return workspace


def write_mix(path: Path, **facts: object) -> None:
    plan = restrict(MixPlan.read(INFRA / "mixes" / "demo.toml"), TASKS)
    footer = {"plan": plan.as_dict(), "builds": [], "policy": {}, "num_rows": 0, "num_usable": 0, **facts}
    path.unlink(missing_ok=True)
    write_stream(path, "mix", MIX, [], footer, 8)


def test_whole_study_compares_arms_and_shows_their_one_difference(workspace, study):
    for seed, (simple, detailed) in enumerate([(10.0, 12.0), (10.0, 13.0), (10.0, 17.0)]):
        leave_run(workspace, study, "simple", seed, simple)
        leave_run(workspace, study, "detailed", seed, detailed)
    report = read_study(workspace, study)
    assert report.missing == ()
    (one,) = report.comparisons
    assert (one.benchmark, one.metric, one.arm) == ("keypoint_detection/val", "ap", "detailed")
    assert one.difference.value == pytest.approx(4.0) and one.difference.seeds == (0, 1, 2)
    assert one.difference.interval[0] == pytest.approx(4 - 6.5724, abs=1e-3)
    assert set(report.differing) == {
        "training.render.wording",
        "training.render.colors",
        "evaluation.keypoint_detection/val.render.wording",
        "evaluation.keypoint_detection/val.render.colors",
    }
    assert report.differing["training.render.wording"] == {"simple": "simple", "detailed": "expanded"}
    write_study_report(report, workspace.home / "report")
    text = (workspace.home / "report" / "study.md").read_text()
    assert "| 10.00 | 14.00 | +4.00 | -2.57 to +10.57 | 3 |" in text and "Nothing is missing" in text
    assert "training.render.colors | fixed | corrected |" in text
    assert "| ade847\\_val | miou | 1.39 | 19.68 | +18.29 |" in text
    assert Image.open(workspace.home / "report" / "study.png").size[0] > 400
    stored = json.loads((workspace.home / "report" / "study.json").read_text())
    assert stored["comparisons"][0]["values"] == {
        "0": pytest.approx(12),
        "1": pytest.approx(13),
        "2": pytest.approx(17),
    }


def test_unfinished_study_says_what_is_missing(workspace, study):
    leave_run(workspace, study, "simple", 0, 10.0)
    leave_run(workspace, study, "detailed", 0, 12.0)
    leave_run(workspace, study, "simple", 1, None)
    (leave_run(workspace, study, "detailed", 1, None) / "finished.json").unlink()
    report = read_study(workspace, study)
    assert report.missing == (
        "simple, seed 1: not evaluated",
        "detailed, seed 1: not trained to its end",
        "simple, seed 2: never started",
        "detailed, seed 2: never started",
    )
    assert report.comparisons[0].difference == (pytest.approx(2.0), None, (0,))
    write_study_report(report, workspace.home / "report")
    assert "- simple, seed 1: not evaluated" in (workspace.home / "report" / "study.md").read_text()
    short = read_study(workspace, replace(study, seeds=(0,)))
    assert short.missing == ("3 seeds for an interval: the study has 1",)


def test_study_without_any_run_is_a_report_too(workspace, study):
    report = read_study(workspace, study)
    assert len(report.missing) == 6 and report.comparisons == ()
    write_study_report(report, workspace.home / "report")


def test_arms_that_differ_in_more_are_refused(workspace, study):
    leave_run(workspace, study, "simple", 0, 10.0)
    leave_run(workspace, study, "detailed", 0, 12.0, shown={"decoder": "another"})
    with pytest.raises(ConfigError, match=r"must differ in render.wording, render.colors alone.*decoder"):
        read_study(workspace, study)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"learning_rate": 5e-4}, "trained otherwise than the study asks now (learning_rate: 0.0005 -> 0.001)"),
        ({"num_steps": 30}, "trained otherwise than the study asks now (num_steps: 30 -> 60)"),
        ({"shown": {"limit": 5}}, "measured otherwise than the study asks now (limit: 5 -> 6)"),
        ({"shown": {"predictor": {"num_steps": 9}}}, "num_steps: 9 -> 4"),
        ({"row": {"mix_sha256": "0" * 64}}, "keypoint_detection/val was measured on mix 000000000000, and"),
        ({"row": {"checkpoint_sha256": "1" * 64}}, "was measured of checkpoint 111111111111, and it is now"),
    ],
)
def test_run_of_another_configuration_mix_or_checkpoint_is_missing(workspace, study, given, reason):
    leave_run(workspace, study, "simple", 0, 10.0)
    leave_run(workspace, study, "detailed", 0, 12.0, **given)
    report = read_study(workspace, study)
    assert report.missing[0].startswith("detailed, seed 0: ") and reason in report.missing[0]
    assert report.comparisons[0].values == {} and report.comparisons[0].difference.value is None


def test_runs_on_a_mix_that_was_made_anew_are_missing(workspace, study):
    leave_run(workspace, study, "simple", 0, 10.0)
    path = workspace.catalog / study.mix_name(TASKS)
    write_mix(path, policy={"name": "another"})
    leave_run(workspace, study, "detailed", 0, 12.0)
    missing = read_study(workspace, study).missing
    assert re.match(r"simple, seed 0: trained on mix [0-9a-f]{12}, and study-.*parquet is now", missing[0])
    assert not any(one.startswith("detailed, seed 0") for one in missing)
    path.unlink()
    assert "is gone" in read_study(workspace, study).missing[0]


def test_changed_pipeline_is_missing(workspace, study):
    folder = leave_run(workspace, study, "simple", 0, 10.0)
    (folder / "pipeline" / "unet.bin").write_bytes(b"other")
    assert read_study(workspace, study).missing[0].endswith("its pipeline is not the one that training wrote")


def test_failed_start_is_missing_with_its_reason_whatever_an_earlier_one_left(workspace, study):
    for seed in study.seeds:
        for arm in ("simple", "detailed"):
            leave_run(workspace, study, arm, seed, 10.0)
    report = read_study(workspace, study, {("simple", 1): "the disk is full"})
    assert report.missing == ("simple, seed 1: its last start failed: the disk is full",)
    assert report.comparisons[0].difference.seeds == (0, 2)


def test_a_start_that_failed_before_it_made_a_folder_is_no_run_that_never_started(workspace, study):
    (leave_run(workspace, study, "simple", 1, None) / "finished.json").unlink()
    report = read_study(workspace, study, {("simple", 0): "no GPU", ("simple", 1): "the disk is full"})
    assert report.missing[0] == "simple, seed 0: its last start failed: no GPU"
    assert "simple, seed 1: not trained to its end; its last start failed: the disk is full" in report.missing


def test_mark_that_training_did_not_write_is_one_sentence(workspace, study):
    folder = leave_run(workspace, study, "simple", 0, 10.0)
    (folder / "finished.json").write_text("{}")
    with pytest.raises(ShardError, match="must say what the run is"):
        read_study(workspace, study)


def test_arms_that_do_not_differ_are_refused(workspace, study):
    same = replace(study, arms=(study.arms[0], replace(study.arms[1], settings=study.arms[0].settings)))
    for arm in ("simple", "detailed"):
        leave_run(workspace, same, arm, 0, None)
    with pytest.raises(ConfigError, match="nothing to compare"):
        read_study(workspace, same)


# -- the loop ---------------------------------------------------------------------------------------------------------


def test_every_arm_runs_with_every_seed_on_the_same_budget(workspace, study):
    trained, evaluated, said = [], [], []

    def train(mix, recipe, folder, settings):
        trained.append((mix.name, recipe, folder.name, settings))
        if folder.name.endswith("simple-1"):
            raise ChildFailed("the disk is full")

    failures = run_arms(workspace, study, train, evaluated.append, said.append)
    assert failures == {("simple", 1): "the disk is full"}
    assert [name for _, _, name, _ in trained][:3] == [
        "study-instructions-demo-simple-0",
        "study-instructions-demo-detailed-0",
        "study-instructions-demo-simple-1",
    ]
    assert {(mix, recipe, settings["num_steps"]) for mix, recipe, _, settings in trained} == {
        (study.mix_name(TASKS), "demo", 60)
    }
    assert len(trained) == 6 and len(evaluated) == 5 and said == ["simple, seed 1: the disk is full"]
    assert "--seed" in evaluated[0] and "render.colors=fixed" in evaluated[0]
    assert "render.colors=fixed" not in evaluated[1]


def test_benchmark_that_is_not_built_stops_the_study_before_its_first_run(workspace):
    trained = []
    with pytest.raises(UserError, match="benchmark coco_val2017 is not built"):
        run_arms(workspace, Study.read(INSTRUCTIONS, "paper"), lambda *given: trained.append(given), print, print)
    assert trained == []


def test_arms_are_measured_on_the_same_rows(workspace):
    study = Study.read(JOINT, "demo")
    commands = [evaluation_command(workspace, study, arm, 0) for arm in study.arms]
    mixes = [command[command.index("--mix") + 1] for command in commands]
    assert mixes[0] == mixes[1] and mixes[0].endswith(study.mix_name(study.vision_tasks))
    assert study.mix_name(study.arms[0].vision_tasks) != study.mix_name(study.arms[1].vision_tasks)
