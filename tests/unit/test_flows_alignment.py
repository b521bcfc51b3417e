"""Alignment plans and the report, without a server."""

import json
import re
from pathlib import Path

import pytest
from alignment_cases import make_alignment_set

from catalog.agreement import measure_agreement
from catalog.choices import record
from catalog.chosen_pairs import choices_of, choose
from catalog.errors import ConfigError
from evaluation.guidance_grids import GuidanceGrid
from flows.alignment_plans import AlignmentPlan, option_arguments
from flows.alignment_report import write_alignment_report
from trainer.recipes import make_config

INFRA = Path(__file__).resolve().parents[2] / "infra"
DEMO, PAPER = (INFRA / "alignment" / f"{name}.toml" for name in ("demo", "paper"))


@pytest.mark.parametrize("path", [DEMO, PAPER], ids=lambda path: path.stem)
def test_shipped_plans_train_an_epoch_between_checkpoints(path):
    plan = AlignmentPlan.read(path)
    settings = plan.training(Path("runs/start"), num_pairs=1000)
    config = make_config(plan.recipe).with_overrides(f"{name}={value}" for name, value in settings.items())
    assert config.stage == "human_alignment" and config.ema_decay == 0.99  # paper section 4.1
    assert config.num_steps == plan.epochs * config.checkpoint_every == 10 * round(1000 / plan.batch_size)
    assert config.keep_last >= plan.epochs
    assert len(GuidanceGrid.read(INFRA.parent / plan.grid)) == 20
    assert (INFRA.parent / plan.mix_plan).is_file()


def test_fewer_pairs_than_a_batch_still_make_an_epoch():
    settings = AlignmentPlan.read(DEMO).training(Path("x"), num_pairs=2)
    assert (settings["num_steps"], settings["checkpoint_every"]) == (10, 1)


def test_the_paper_has_a_thousand_items_and_about_ten_epochs():
    plan = AlignmentPlan.read(PAPER)
    assert (plan.items, plan.epochs, plan.starts_from) == (1000, 10, "task_training")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("items = 8", "items = 0", "'items' to be 1 or more"),
        ("epochs = 10", "epoch = 10", "lacks 'epochs'"),
        ('name = "demo"', 'name = "De mo"', "needs a name"),
        ("seed = 0", "seed = -1", "'seed' to be 0 or more"),
        ("limit = 6", "limit = [6]", "texts and numbers"),
        ("min_votes = 1", "min_votes = 1\nvotes = 2", "unknown keys: votes"),
    ],
)
def test_malformed_plan_is_one_sentence(tmp_path, old, new, message):
    text = DEMO.read_text()
    assert old in text
    path = tmp_path / "plan.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=re.escape(message)):
        AlignmentPlan.read(path)


def test_options_reach_the_command_line_whatever_their_sign():
    assert option_arguments({"least_likeness": -1.0, "split": "val"}) == ["--least-likeness=-1.0", "--split=val"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('guidance = "ip2p"', 'guidance = "none"', "one of ip2p, official"),
        ('sampler = "ddim"', 'sampler = "plms"', "one of euler_ancestral"),
        ("num_steps = 4", "num_steps = 0", "from 1 to 1000"),
        ("[3.0, 5.0,", "[3.0, 3.0,", "different scales"),
        ("[1.0, 1.25, 1.5, 2.0]", "[-1.0]", "different scales"),
        ("[1.0, 1.25, 1.5, 2.0]", '["a"]', "list of numbers"),
        ("[1.0, 1.25, 1.5, 2.0]", "[]", "list of numbers"),
    ],
)
def test_malformed_grid_is_one_sentence(tmp_path, old, new, message):
    text = (INFRA / "guidance" / "demo.toml").read_text()
    assert old in text
    path = tmp_path / "grid.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        GuidanceGrid.read(path)


def test_a_grid_needs_something_to_choose_among(tmp_path):
    text = (INFRA / "guidance" / "demo.toml").read_text()
    path = tmp_path / "grid.toml"
    path.write_text(re.sub(r"guidance = \[.*\]", "guidance = [1.0]", text))
    with pytest.raises(ConfigError, match="2 to 100 settings"):
        GuidanceGrid.read(path)


def test_report_says_who_chose_and_how_far_alike(tmp_path):
    alignment = make_alignment_set(tmp_path, num_items=2)
    for person in ("Ana", "Bo"):
        record(alignment, person, "item-0", [1])
        record(alignment, person, "item-1", [])
    chosen = choose(alignment.workspace, "small", "chosen")
    folder = tmp_path / "runs" / "stage3"
    (folder / "curve").mkdir(parents=True)
    (folder / "curve" / "curve.md").write_text("# Title\n\n| epoch |\n")
    (folder / "curve" / "curve.json").write_text('{"points": [{"epoch": 0.0}, {"epoch": 9.411765}]}')
    agreement = measure_agreement(alignment, choices_of(alignment, "people"))
    assert write_alignment_report(folder, AlignmentPlan.read(DEMO), alignment, chosen, agreement) == 9.411765
    text = (folder / "alignment.md").read_text()
    assert "| who chose | 2 people | people |" in text and "| chosen pairs | 1 | 1,000 |" in text
    assert "| epochs | 9.41 | about 10 |" in text  # that trained, not the plan's
    assert "| agreement on variants (alpha) | 1.000 | - |" in text
    assert "| items that nothing was chosen of | 1 | - |" in text and text.endswith("| epoch |\n")
    facts = json.loads((folder / "alignment.json").read_text())
    assert facts["num_pairs"] == 1 and facts["agreement"]["people"] == ["Ana", "Bo"]
