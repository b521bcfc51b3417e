"""What the runs of an ablation study left behind: values by arm and seed, what differs, and what is missing.

It can be read at any time: of an unfinished study it says which run or evaluation is missing, and of which seeds each
number is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from catalog.errors import ConfigError
from catalog.workspace import Workspace
from evaluation.paired_differences import Difference, paired_difference
from evaluation.studies import LEAST_SEEDS, Study

if TYPE_CHECKING:
    from evaluation.study_cells import Cell

Failures = Mapping[tuple[str, int], str]
"""(arm, seed) to why its last start failed."""

_MEASURED = {
    "keypoint_detection": ("ap",),
    "segmentation": ("ciou", "miou"),
    "image_enhancement": ("psnr",),
    "image_editing": ("text_similarity", "aesthetic"),
}
"""Metrics of held-out rows that a study compares, where the paper names none."""


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


def read_study(workspace: Workspace, study: Study, failures: Failures | None = None) -> StudyReport:
    """What the runs of a study left behind. Runs that failed are missing, whatever an earlier start left of them.

    Raises:
        ConfigError: arms differ in a field that the study does not name, or do not differ at all.
        ShardError: a file of a run is damaged.
    """
    from evaluation.study_cells import read_cell  # the trainer's configurations, which no flow loads at its start

    cells = [
        read_cell(workspace, study, arm, seed, (failures or {}).get((arm.name, seed)))
        for seed in study.seeds
        for arm in study.arms
    ]
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


def _differing(study: Study, cells: "Sequence[Cell]") -> dict[str, dict[str, Any]]:
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


def _compare(study: Study, cells: "Sequence[Cell]") -> Iterator[Comparison]:
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


def _measured(study: Study, cells: "Sequence[Cell]") -> list[tuple[str, str]]:
    """(benchmark, metric) to compare: the paper's where it is measured, else those of the held-out rows."""
    found = dict.fromkeys(key for cell in cells for key in cell.values)
    if study.scale.benchmarks:
        wanted = {(one.benchmark, one.metric) for one in study.paper}
        return [key for key in found if (key[0].partition("/")[0], key[1]) in wanted]
    return [key for key in found if key[1] in _MEASURED.get(key[0].partition("/")[0], ())]
