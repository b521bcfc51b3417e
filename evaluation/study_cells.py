"""One run of an ablation study: its values, if they are of what the study asks for now.

A run counts where what it was trained with (recipe and settings, mix) and what its metric rows were measured with (mix,
checkpoint, options) are the study's present ones. Anything else is missing, with the reason: values of two mixes or of
two scales are never set beside each other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from catalog.digests import value_digest
from catalog.errors import ShardError
from catalog.parquet_streams import mix_digest
from catalog.render_styles import RenderStyle
from catalog.store import read_metadata
from catalog.workspace import Workspace
from evaluation.benchmarks import benchmark_mix
from evaluation.checkpoints import SamplingOptions, checkpoint_digest
from evaluation.metric_names import to_paper_scale
from evaluation.reports import is_control
from evaluation.run import EvaluationOptions
from evaluation.studies import Arm, Study
from trainer.config import changed_fields
from trainer.overrides import flat_values, override
from trainer.recipes import make_config

_OF_COMMAND = {"steps": "num_steps"}
"""Options of `python -m evaluation run` that are called otherwise in what rows say."""

_NEVER_STARTED = "never started"

Config = Mapping[str, Any]
"""Resolved configuration, flat: ``training.render.wording`` to its value."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm's run with one seed."""

    arm: str
    seed: int
    missing: str | None
    """What is not there, or not of this study: a sentence's end; None: it is whole."""
    values: Mapping[tuple[str, str], float]
    """(benchmark, metric) to value, on the paper's scale; empty where something is missing."""
    config: Config | None
    """None where it is not known, or not of this study."""


def read_cell(workspace: Workspace, study: Study, arm: Arm, seed: int, failure: str | None = None) -> Cell:
    """What a run left behind.

    Args:
        workspace: where mixes and runs are.
        study: what is asked for.
        arm: of the run.
        seed: of the run.
        failure: why its last start failed: what is there is then of an earlier one, and does not count.

    Raises:
        ShardError: a file of the run is damaged.
        CheckpointError: its pipeline has no index.
    """
    cell = _read(workspace, study, arm, seed)
    if failure is None:
        return cell
    reason = "" if cell.missing in (None, _NEVER_STARTED) else f"{cell.missing}; "
    return replace(cell, values={}, missing=f"{reason}its last start failed: {failure}")


def _read(workspace: Workspace, study: Study, arm: Arm, seed: int) -> Cell:
    folder = workspace.runs / study.run_name(arm, seed)
    cell = Cell(arm=arm.name, seed=seed, missing=None, values={}, config=None)
    if not (folder / "finished.json").is_file():
        return replace(cell, missing="not trained to its end" if folder.is_dir() else _NEVER_STARTED)
    finished = _read_finished(folder / "finished.json")
    mix = workspace.catalog / study.mix_name(arm.vision_tasks)
    if (reason := _why_trained_otherwise(finished, study, arm, seed, mix)) is not None:
        return replace(cell, missing=reason)
    parts = {"training": finished["config"], "mix": _mix_facts(mix)}
    cell = replace(cell, config=flat_values(parts))
    checkpoint = value_digest(finished["pipeline"])
    if not (folder / "pipeline").is_dir() or checkpoint_digest(folder / "pipeline") != checkpoint:
        return replace(cell, missing="its pipeline is not the one that training wrote")
    path = folder / "evaluation" / "metrics.parquet"
    rows = _read_rows(path, study) if path.is_file() else []
    if (reason := _why_measured_otherwise(rows, workspace, study, arm, seed, checkpoint)) is not None:
        return replace(cell, missing=reason)
    parts["evaluation"] = {row["benchmark"]: json.loads(row["config"]) for row in rows}
    values = {
        (row["benchmark"], row["metric"]): to_paper_scale(row["metric"], row["value"])
        for row in rows
        if row["value"] is not None and row["vision_task"] in study.measured
    }
    return replace(cell, config=flat_values(parts), values=values)


def _why_trained_otherwise(finished: Mapping[str, Any], study: Study, arm: Arm, seed: int, mix: Path) -> str | None:
    """In what a finished run is not the study's."""
    if not mix.is_file():
        return f"its mix {mix.name} is gone"
    now = mix_digest(mix)
    if finished["mix_sha256"] != now:
        return f"trained on mix {finished['mix_sha256']:.12}, and {mix.name} is now {now[:12]}"
    settings = {**study.scale.settings, **arm.settings, "seed": seed}
    asked = make_config(study.scale.recipe).with_overrides(f"{name}={value}" for name, value in settings.items())
    changes = changed_fields(finished["config"], asked.to_json())
    steps = finished["config"].get("num_steps")
    if steps != asked.num_steps:  # an extended run may change it, so it is not among those
        changes.append(f"num_steps: {steps} -> {asked.num_steps}")
    return f"trained otherwise than the study asks now ({'; '.join(changes):.200})" if changes else None


def _why_measured_otherwise(
    rows: Sequence[Mapping[str, Any]], workspace: Workspace, study: Study, arm: Arm, seed: int, checkpoint: str
) -> str | None:
    """In what metric rows are not the study's; without any the run is not evaluated."""
    found = {row["benchmark"].partition("/")[0] for row in rows}
    lacking = [key for key in _benchmarks(study) if key not in found]
    if not rows or lacking:
        return "not evaluated" if not rows else f"not evaluated on {', '.join(lacking)}"
    asked = _evaluation(study, arm, seed)
    for row in rows:
        name = row["benchmark"]
        if row["checkpoint_sha256"] != checkpoint:
            return (
                f"{name} was measured of checkpoint {row['checkpoint_sha256']!s:.12}, and it is now {checkpoint[:12]}"
            )
        key = name.partition("/")[0]
        of_study = workspace.catalog / study.mix_name(study.vision_tasks)
        mix = benchmark_mix(workspace.catalog, key) if study.scale.benchmarks else of_study
        if not mix.is_file():
            return f"the mix of {name}, {mix.name}, is gone"
        if row["mix_sha256"] != (now := mix_digest(mix)):
            return f"{name} was measured on mix {row['mix_sha256']!s:.12}, and {mix.name} is now {now[:12]}"
        config = json.loads(row["config"])
        flat = flat_values({**config, **config.get("predictor", {})})
        if changes := [f"{key}: {flat.get(key)} -> {value}" for key, value in asked.items() if flat.get(key) != value]:
            return f"{name} was measured otherwise than the study asks now ({'; '.join(changes):.200})"
    return None


def _evaluation(study: Study, arm: Arm, seed: int) -> dict[str, Any]:
    """What the options of metric rows must be, flat; those that name files are not among them."""
    given = {_OF_COMMAND.get(name, name): value for name, value in study.scale.evaluation.items()}
    render = [f"{k}={v}" for k, v in {**study.scale.settings, **arm.settings}.items() if k.startswith("render.")]
    own, of_sampling = ({one.name for one in fields(kind)} for kind in (EvaluationOptions, SamplingOptions))
    options = EvaluationOptions(
        **{"seed": seed, **{name: value for name, value in given.items() if name in own}},
        render=override(RenderStyle(), render, prefix="render."),
    )
    sampling = SamplingOptions(**{name: value for name, value in given.items() if name in of_sampling})
    asked = flat_values(json.loads(json.dumps({**asdict(options), **asdict(sampling)})))
    # The checkpoint decides the size where none is given.
    return {name: value for name, value in asked.items() if name != "size" or "size" in given}


def _benchmarks(study: Study) -> list[str]:
    """The paper's benchmarks that a study measures; none where it measures the held-out rows of its mix."""
    return list(dict.fromkeys(one.benchmark for one in study.paper)) if study.scale.benchmarks else []


def _read_rows(path: Path, study: Study) -> list[dict[str, Any]]:
    """Rows of the run itself, of what the study measures."""
    wanted = _benchmarks(study)
    rows = [row for row in pq.read_table(path).to_pylist() if not is_control(row["benchmark"])]
    return [row for row in rows if not wanted or row["benchmark"].partition("/")[0] in wanted]


def _mix_facts(path: Path) -> dict[str, Any]:
    """What a mix was made of, from its footer; its name says the tasks, so it is not compared."""
    footer = read_metadata(path)
    plan = {"quotas": [], **{key: value for key, value in footer["plan"].items() if key != "name"}}
    return {"plan": plan, "builds": footer["builds"], "policy": footer["policy"]}


def _read_finished(path: Path) -> dict[str, Any]:
    """What training said last of a run. Its `config.json` says the same: a start removes the former first."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in (("config", dict), ("mix_sha256", str), ("pipeline", dict)):
            if not isinstance(value.get(name), kind):
                raise ValueError(f"it has no {name}")
    except (OSError, ValueError, AttributeError) as error:
        raise ShardError(f"{path} must say what the run is ({error}): remove its folder and train it again") from error
    return value
