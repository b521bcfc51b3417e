"""MagicBrush's protocol, from its own files to metric rows: single-turn, and each turn on the model's own picture."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from plain_build import build
from skimage import data
from torchvision.transforms.functional import to_tensor

from catalog import command_line
from catalog.errors import MixError
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.workspace import Workspace
from evaluation.benchmarks import benchmark_mix, find_benchmark
from evaluation.commands import main
from evaluation.helper_models import load_helpers
from evaluation.metric_names import TURN_METRICS
from evaluation.run import EvaluationOptions, evaluate
from evaluation.sessions import session_places
from evaluation.turns_measure import resize_to
from tasks.profiles import read_profile

INFRA = Path(__file__).parents[2] / "infra"
SIDE = 96
SINGLE, MULTI = "magicbrush_test", "magicbrush_sessions_test"


def photo(name: str) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(getattr(data, name)()[..., :3])).resize((SIDE, SIDE))
    return np.clip(np.asarray(picture), 30, 200)


def patched(picture: np.ndarray, corner: int, color: tuple[int, int, int]) -> np.ndarray:
    changed = picture.copy()
    changed[corner : corner + 20, corner : corner + 20] = color
    return changed


def pictures() -> dict[str, np.ndarray]:
    """A session of three turns and one of a single turn, as the test archive names them."""
    found = {"139-input.png": photo("coffee"), "200-input.png": photo("chelsea")}
    for turn, color in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200)], 1):
        before = "139-input.png" if turn == 1 else f"139-output{turn - 1}.png"
        found[f"139-output{turn}.png"] = patched(found[before], 25 * (turn - 1), color)
    return found | {"200-output1.png": patched(found["200-input.png"], 40, (200, 200, 30))}


TURNS = [("139-input.png", "139-output1.png"), ("139-output1.png", "139-output2.png")]
TURNS += [("139-output2.png", "139-output3.png"), ("200-input.png", "200-output1.png")]
CAPTIONS = {"139-output1.png": "a red box", "139-output2.png": "a green box", "139-output3.png": "a blue box"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = tmp_path_factory.mktemp("home")
    folder = home / "MagicBrush" / "test"
    for name, picture in pictures().items():
        place = folder / "images" / name.partition("-")[0] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place)
    turns = [{"input": a, "mask": "none.png", "output": b, "instruction": f"make {b}"} for a, b in TURNS]
    (folder / "edit_turns.json").write_text(json.dumps(turns))
    local = {"139": CAPTIONS, "200": {"200-output1.png": "a yellow box"}}
    (folder / "local_descriptions.json").write_text(json.dumps(local))
    workspace = Workspace(home)
    for key in (SINGLE, MULTI):
        profile = INFRA / "profiles" / "magicbrush.toml"
        source = next(one for one in read_profile(profile).sources if one.dataset == key)
        values = {"dataset": key, "reader": source.reader, "root": str(home / "MagicBrush"), "options": source.options}
        name = f"benchmark-{key}"
        build(workspace, read_profile(INFRA / "profiles" / "benchmarks.toml", {"source": [values], "name": name}))
        policy, plan = INFRA / "policies" / "everything.toml", INFRA / "mixes" / "benchmarks.toml"
        mix = benchmark_mix(workspace.catalog, key)
        build_mix(workspace, [name], Policy.read(policy), MixPlan.read(plan), mix)
    return workspace


def run(workspace: Workspace, key: str, control: str, size: int = SIDE) -> dict[str, dict]:
    output = workspace.home / "runs" / f"{key}-{control}-{size}"
    arguments = ["run", "--control", control, "--benchmark", key, "--output", str(output), "--size", str(size)]
    mix = benchmark_mix(workspace.catalog, key)
    assert command_line.run(main, [*arguments, "--mix", str(mix)]) == 0
    rows = pq.read_table(output / "metrics.parquet").to_pylist()
    return {row["metric"]: row for row in rows if row["benchmark"] == f"{key}/test"}


def official_distances(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """image_eval.py's eval_distance: the mean over pairs of torch's L1Loss and MSELoss."""
    tensors = [[to_tensor(Image.fromarray(picture)) for picture in pair] for pair in pairs]
    losses = torch.nn.L1Loss(), torch.nn.MSELoss()
    first, second = (float(np.mean([loss(*pair).item() for pair in tensors])) for loss in losses)
    return first, second


@pytest.mark.parametrize(("key", "count"), [(SINGLE, 4), (MULTI, 2)])
def test_a_perfect_oracle_and_a_shuffled_one(workspace: Workspace, key: str, count: int) -> None:
    exact, wrong = run(workspace, key, "oracle"), run(workspace, key, "shuffled-oracle")
    assert tuple(exact) == tuple(wrong) == TURN_METRICS
    assert {row["num_samples"] for row in exact.values()} == {count}
    perfect = {"l1": 0.0, "l2": 0.0, "target_similarity": 1.0, "feature_similarity": 1.0}
    for name, value in perfect.items():
        assert exact[name]["value"] == pytest.approx(value, abs=1e-6)
        assert abs(wrong[name]["value"] - value) > 0.01
    assert exact["text_similarity"]["value"] is not None
    assert exact["text_similarity"]["backend"].startswith("pair_similarity=histogram@")
    assert exact["l1"]["paper_value"] is None


def test_a_no_op_is_at_the_distance_of_the_turn_or_of_the_whole_session(workspace: Workspace) -> None:
    known = pictures()
    turns = official_distances([(known[a], known[b]) for a, b in TURNS])
    sessions = [(known["139-input.png"], known["139-output3.png"]), (known["200-input.png"], known["200-output1.png"])]
    for key, expected in ((SINGLE, turns), (MULTI, official_distances(sessions))):
        found = run(workspace, key, "no-op")
        assert (found["l1"]["value"], found["l2"]["value"]) == pytest.approx(expected, abs=1e-6)


class Brighter:
    """Makes each picture that it is given 10 levels brighter, and notes the instructions."""

    checkpoint_sha256 = "7" * 64
    options = {"made": "brighter"}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def predict(self, samples, seeds):
        self.asked.append([sample.instruction for sample in samples])
        return [sample.source + np.uint8(10) for sample in samples]


def test_each_turn_edits_what_the_turn_before_it_made(workspace: Workspace, tmp_path: Path) -> None:
    model, known = Brighter(), pictures()
    mix, options = benchmark_mix(workspace.catalog, MULTI), EvaluationOptions(size=SIDE, batch_size=8)
    given = {"benchmark": find_benchmark(MULTI)}
    rows = evaluate(model, mix, tmp_path, load_helpers(None), options, **given)
    assert model.asked == [
        ["make 139-output1.png", "make 200-output1.png"],
        ["make 139-output2.png"],
        ["make 139-output3.png"],
    ]
    answers = [
        (known["139-input.png"] + np.uint8(30), known["139-output3.png"]),
        (known["200-input.png"] + np.uint8(10), known["200-output1.png"]),
    ]
    values = {row["metric"]: row["value"] for row in rows if row["benchmark"] == f"{MULTI}/test"}
    assert (values["l1"], values["l2"]) == pytest.approx(official_distances(answers), abs=1e-6)
    again = Brighter()
    assert evaluate(again, mix, tmp_path, load_helpers(None), options, **given) == rows
    assert not again.asked


def test_answers_of_another_size_are_resized_to_the_true_picture(workspace: Workspace) -> None:
    """As image_eval.py does, so the exact answer at 64 pixels is at the distance that resizing leaves."""
    found = run(workspace, SINGLE, "oracle", size=64)
    known = pictures()
    small = [np.asarray(Image.fromarray(known[b]).resize((64, 64), Image.Resampling.LANCZOS)) for _, b in TURNS]
    large = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE))) for one in small]
    for one, big, (_, b) in zip(small, large, TURNS, strict=True):
        assert np.array_equal(resize_to(one, known[b]), big)
    expected = official_distances([(big, known[b]) for big, (_, b) in zip(large, TURNS, strict=True)])
    assert (found["l1"]["value"], found["l2"]["value"]) == pytest.approx(expected, abs=1e-6)


def test_sessions_with_a_gap_are_refused() -> None:
    assert session_places(["d/9-1", "d/139-output2", "d/139-output1"]) == [[2, 1], [0]]
    with pytest.raises(MixError, match=r"'d/139-output' must have its turns from 1 on without a gap\. Got \[1, 3\]"):
        session_places(["d/139-output1", "d/139-output3"])
    with pytest.raises(MixError, match="must end in its number"):
        session_places(["d/139-input"])
