"""What the runs of an ablation study left behind: values by arm and seed, what differs, and what is missing.

It can be read at any time: of an unfinished study it says which run or evaluation is missing, and of which seeds each
number is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from catalog.errors import ConfigError, ShardError
from catalog.store import read_metadata
from catalog.workspace import Workspace
from evaluation.metric_names import to_paper_scale
from evaluation.paired_differences import Difference, paired_difference
from evaluation.reports import is_control
from evaluation.studies import LEAST_SEEDS, Arm, Study

_MEASURED = {
    "keypoint_detection": ("ap",),
    "segmentation": ("ciou", "miou"),
    "image_enhancement": ("psnr",),
    "image_editing": ("text_similarity", "aesthetic"),
}
"""Metrics of held-out rows that a study compares, where the paper names none."""

Config = Mapping[str, Any]
"""Resolved configuration, flat: ``training.render.wording`` to its value."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm's run with one seed."""

    arm: str
    seed: int
    missing: str | None
    """What is not there yet: a sentence's end; None: it is whole."""
    values: Mapping[tuple[str, str], float]
    """(benchmark, metric) to value, on the paper's scale."""
    config: Config | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the baseline on one benchmark and metric, on the paper's scale."""

    benchmark: str
    metric: str
    arm: str
    values: Mapping[int, float]
    """By seed."""
    baseline_values: Mapping[int, float]
    difference: Difference
    paper: float | None
    paper_baseline: float | None


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """What a study came to so far."""

    study: Study
    comparisons: tuple[Comparison, ...]
    differing: Mapping[str, Mapping[str, Any]]
    """Field to value by arm, of every field in which resolved configurations differ."""
    missing: tuple[str, ...]
    """One sentence each."""


def read_study(workspace: Workspace, study: Study) -> StudyReport:
    """What the runs of a study left behind.

    Raises:
        ConfigError: arms differ in a field that the study does not name, or do not differ at all.
        ShardError: a file of a run is damaged.
    """
    cells = [_read_cell(workspace, study, arm, seed) for seed in study.seeds for arm in study.arms]
    differing = _differing(study, cells)
    missing = [f"{cell.arm}, seed {cell.seed}: {cell.missing}" for cell in cells if cell.missing is not None]
    if len(study.seeds) < LEAST_SEEDS:
        missing.append(f"{LEAST_SEEDS} seeds for an interval: the study has {len(study.seeds)}")
    return StudyReport(
        study=study,
        comparisons=tuple(_compare(study, cells)),
        differing=differing,
        missing=tuple(missing),
    )


def flat_config(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted names; lists are values."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= flat_config(inner, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = inner
    return flat


def _read_cell(workspace: Workspace, study: Study, arm: Arm, seed: int) -> Cell:
    folder = workspace.runs / study.run_name(arm, seed)
    facts: dict[str, Any] = {"arm": arm.name, "seed": seed, "values": {}, "config": None}
    if not (folder / "finished.json").is_file():
        return Cell(**facts, missing="not trained to its end")
    training = _read_json(folder / "config.json")
    mix = workspace.catalog / study.mix_name(arm.vision_tasks)
    parts = {"training": training["config"], "mix": _mix_facts(mix)}
    path = folder / "evaluation" / "metrics.parquet"
    if not path.is_file():
        return Cell(**{**facts, "config": flat_config(parts)}, missing="not evaluated")
    rows = pq.read_table(path).to_pylist()
    parts["evaluation"] = {
        row["benchmark"]: json.loads(row["config"]) for row in rows if not is_control(row["benchmark"])
    }
    values = {
        (row["benchmark"], row["metric"]): to_paper_scale(row["metric"], row["value"])
        for row in rows
        if not is_control(row["benchmark"]) and row["value"] is not None and row["vision_task"] in study.measured
    }
    return Cell(**{**facts, "config": flat_config(parts), "values": values}, missing=None)


def _mix_facts(path: Path) -> dict[str, Any]:
    """What a mix was made of, from its footer; its name says the tasks, so it is not compared."""
    footer = read_metadata(path)
    plan = {"quotas": [], **{key: value for key, value in footer["plan"].items() if key != "name"}}
    return {"plan": plan, "builds": footer["builds"], "policy": footer["policy"]}


def _differing(study: Study, cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """Fields in which arms of one seed differ. Raises ConfigError for one that the study does not name."""
    found: dict[str, dict[str, Any]] = {}
    for seed in study.seeds:
        configs = {cell.arm: cell.config for cell in cells if cell.seed == seed and cell.config is not None}
        whole = {cell.arm for cell in cells if cell.seed == seed and cell.missing is None}
        names = {name for config in configs.values() for name in config}
        if whole != configs.keys():  # some are not evaluated yet: compare what all have
            names = {name for name in names if not name.startswith("evaluation.")}
        for name in sorted(names):
            values = {arm: config.get(name) for arm, config in configs.items()}
            if len({json.dumps(value, sort_keys=True) for value in values.values()}) > 1:
                found.setdefault(name, values)
    other = [name for name in found if not any(_is_named(name, field) for field in study.differs)]
    if other:
        listed = "; ".join(f"{name}: {found[name]}" for name in other[:3])
        raise ConfigError(
            f"arms of study {study.name!r} must differ in {', '.join(study.differs)} alone, but {len(other)} more "
            f"fields do ({listed:.300}): remove their runs and train them again by flow ablate"
        )
    if not found and any(
        len({cell.arm for cell in cells if cell.seed == seed and cell.config}) > 1 for seed in study.seeds
    ):
        raise ConfigError(f"arms of study {study.name!r} resolve to one configuration: there is nothing to compare")
    return found


def _is_named(name: str, field: str) -> bool:
    """Whether a resolved field is one that ``differs`` names: rendering is part of training and of evaluation."""
    return (
        name == field or name == f"training.{field}" or (name.startswith("evaluation.") and name.endswith(f".{field}"))
    )


def _compare(study: Study, cells: Sequence[Cell]) -> Iterator[Comparison]:
    printed = {(one.benchmark, one.metric): one.values for one in study.paper}
    for benchmark, metric in _measured(study, cells):
        by_arm = {
            arm.name: {
                cell.seed: cell.values[benchmark, metric]
                for cell in cells
                if cell.arm == arm.name and (benchmark, metric) in cell.values
            }
            for arm in study.arms
        }
        paper = printed.get((benchmark.partition("/")[0], metric), {})
        for arm in study.arms:
            if arm.name != study.baseline:
                yield Comparison(
                    benchmark=benchmark,
                    metric=metric,
                    arm=arm.name,
                    values=by_arm[arm.name],
                    baseline_values=by_arm[study.baseline],
                    difference=paired_difference(by_arm[arm.name], by_arm[study.baseline]),
                    paper=paper.get(arm.name),
                    paper_baseline=paper.get(study.baseline),
                )


def _measured(study: Study, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """(benchmark, metric) to compare: the paper's where it is measured, else those of the held-out rows."""
    found = dict.fromkeys(key for cell in cells for key in cell.values)
    if study.scale.benchmarks:
        wanted = {(one.benchmark, one.metric) for one in study.paper}
        return [key for key in found if (key[0].partition("/")[0], key[1]) in wanted]
    return [key for key in found if key[1] in _MEASURED.get(key[0].partition("/")[0], ())]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value.get("config"), dict):
            raise ValueError("it has no configuration")
    except (OSError, ValueError, AttributeError) as error:
        raise ShardError(f"{path} must say what the run is ({error}): remove its folder and train it again") from error
    return value
