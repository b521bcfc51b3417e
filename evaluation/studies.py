"""Ablation studies: arms that differ in one thing, on the same budget and seeds. ``infra/studies/*.toml``.

A file says what the one thing is (``thing``), in which fields of a resolved configuration it shows (``differs``), the
arms, what the paper prints, and one or more scales: how large all of it is. `evaluation.study_runs` reads what the
runs resolved to and refuses a comparison that differs elsewhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError
from catalog.schema import VISION_TASKS
from catalog.strict_toml import Fields, read_toml

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
LEAST_SEEDS = 3
"""Seeds from which an interval is given."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train."""

    name: str
    settings: Mapping[str, Any]
    """Fields of the recipe; those of rendering hold in its evaluation, too."""
    vision_tasks: tuple[str, ...]
    """That its mix draws from."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What the paper prints for a benchmark and metric."""

    benchmark: str
    metric: str
    values: Mapping[str, float]
    """By arm, on the paper's scale."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a study is. All arms share it."""

    name: str
    builds: tuple[str, ...]
    policy: str
    mix_plan: str
    recipe: str
    settings: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    """Options of `python -m evaluation run`."""
    benchmarks: bool
    """Measure the paper's benchmarks, not the held-out rows of the mix."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A file, at one of its scales."""

    name: str
    title: str
    thing: str
    differs: tuple[str, ...]
    baseline: str
    """Name of the arm that the others are compared with."""
    seeds: tuple[int, ...]
    measured: tuple[str, ...]
    """Vision tasks whose metrics are compared."""
    vision_tasks: tuple[str, ...]
    """That the mix is of which held-out rows are measured."""
    arms: tuple[Arm, ...]
    paper: tuple[Printed, ...]
    scale: Scale

    @classmethod
    def read(cls, path: Path, scale: str) -> "Study":
        """Read a study.

        Raises:
            ConfigError: missing or malformed, no such scale, or an arm that changes what ``differs`` does not name.
        """
        fields = Fields(read_toml(path, ConfigError), str(path), ConfigError)
        texts = {key: fields.text(key) for key in ("name", "title", "thing", "baseline")}
        if not _NAME.fullmatch(texts["name"]):
            raise fields.wrong(f"needs a name of lower-case letters, digits and '_'. Got {texts['name']!r}")
        differs, tasks = fields.texts("differs"), _vision_tasks(fields, "vision_tasks", None)
        measured = _vision_tasks(fields, "measured", tasks)
        seeds = _seeds(fields)
        arms = tuple(
            _arm(Fields(table, f"{path}, arm {number}", ConfigError), tasks, differs)
            for number, table in enumerate(fields.tables("arm"), start=1)
        )
        names = [arm.name for arm in arms]
        if len(arms) < 2 or len(set(names)) < len(arms) or texts["baseline"] not in names:
            raise fields.wrong(f"needs two or more arms of different names, the baseline among them. Got {names}")
        paper = tuple(
            _printed(Fields(table, f"{path}, paper {number}", ConfigError), names)
            for number, table in enumerate(fields.tables("paper"), start=1)
        )
        scales = fields.table("scale")
        fields.finish()
        if scale not in scales:
            raise fields.wrong(f"has the scales {', '.join(scales)}. Got {scale!r}: name one of them")
        large = _scale(Fields(scales[scale], f"{path} [scale.{scale}]", ConfigError), scale)
        if large.benchmarks and not paper:
            raise fields.wrong(f"measures the paper's benchmarks at scale {scale!r}, but names none: add [[paper]]")
        parts = {"differs": differs, "measured": measured, "vision_tasks": tasks, "seeds": seeds}
        return cls(**texts, **parts, arms=arms, paper=paper, scale=large)  # type: ignore[arg-type]

    def run_name(self, arm: Arm, seed: int) -> str:
        """Name of a run's folder below ``runs``."""
        return f"study-{self.name}-{self.scale.name}-{arm.name}-{seed}"

    def mix_name(self, vision_tasks: tuple[str, ...]) -> str:
        """Name of the mix, below ``catalog``, that draws from some vision tasks."""
        return f"study-{self.name}-{self.scale.name}-{'-'.join(vision_tasks)}.parquet"


def _arm(fields: Fields, tasks: tuple[str, ...], differs: tuple[str, ...]) -> Arm:
    name = fields.text("name")
    settings = fields.table("settings")
    own = _vision_tasks(fields, "vision_tasks", tasks)
    fields.finish()
    if not _NAME.fullmatch(name):
        raise fields.wrong(f"needs a name of lower-case letters, digits and '_'. Got {name!r}")
    if other := sorted(set(settings) - set(differs)):
        raise fields.wrong(f"changes {', '.join(other)}, which 'differs' does not name: arms differ in one thing")
    if own != tasks and not any(field.startswith("mix.") for field in differs):
        raise fields.wrong("has vision_tasks of its own, which 'differs' does not name: add mix.plan.sources")
    return Arm(name=name, settings=settings, vision_tasks=own)


def _printed(fields: Fields, arms: list[str]) -> Printed:
    texts = {key: fields.text(key) for key in ("benchmark", "metric")}
    values = fields.table("values")
    fields.finish()
    if not values or not set(values) <= set(arms) or not all(isinstance(one, int | float) for one in values.values()):
        raise fields.wrong(f"needs numbers by arm ({', '.join(arms)}) in 'values'. Got {values}")
    return Printed(**texts, values={arm: float(value) for arm, value in values.items()})


def _scale(fields: Fields, name: str) -> Scale:
    builds = fields.texts("builds")
    texts = {key: fields.text(key) for key in ("policy", "mix_plan", "recipe")}
    tables = {key: fields.table(key) for key in ("settings", "evaluation")}
    benchmarks = fields.flag("benchmarks", False)
    fields.finish()
    return Scale(name=name, builds=builds, **texts, **tables, benchmarks=benchmarks)  # type: ignore[arg-type]


def _seeds(fields: Fields) -> tuple[int, ...]:
    values = fields.numbers("seeds")
    seeds = tuple(int(value) for value in values)
    if seeds != values or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise fields.wrong(f"needs 'seeds' to be different whole numbers from 0 on. Got {list(values)}")
    return seeds


def _vision_tasks(fields: Fields, key: str, default: tuple[str, ...] | None) -> tuple[str, ...]:
    if default is not None and not fields.has(key):
        return default
    given = fields.texts(key)
    if unknown := [task for task in given if task not in VISION_TASKS]:
        raise fields.wrong(f"names the vision task {unknown[0]!r} in {key!r}: it is one of {', '.join(VISION_TASKS)}")
    return tuple(task for task in VISION_TASKS if task in given)
