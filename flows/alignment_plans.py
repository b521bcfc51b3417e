"""Alignment plans: how many items, which grid, how stage 3 trains and what is measured. ``infra/alignment/*.toml``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError
from catalog.strict_toml import Fields, read_toml

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")


@dataclass(frozen=True, kw_only=True)
class AlignmentPlan:
    """One file."""

    name: str
    starts_from: str
    """Recipe of the stage-2 run that is sampled and fine-tuned."""
    grid: str
    """File of guidance settings."""
    items: int
    seed: int
    min_votes: int
    mix_plan: str
    """Mix file over the chosen pairs."""
    recipe: str
    epochs: int
    """Of the chosen pairs."""
    batch_size: int
    """Samples per optimizer step."""
    settings: Mapping[str, Any]
    """Further fields of the recipe."""
    curve: Mapping[str, Any]
    """Options of `python -m evaluation align curve`."""
    sampling: Mapping[str, Any]
    """Options of `python -m evaluation align sample`."""
    judge: Mapping[str, Any]
    """Options of `python -m evaluation align judge`."""

    @classmethod
    def read(cls, path: Path) -> "AlignmentPlan":
        """Read a plan.

        Raises:
            ConfigError: missing or malformed.
        """
        fields = Fields(read_toml(path, ConfigError), str(path), ConfigError)
        texts = {key: fields.text(key) for key in ("name", "starts_from", "grid", "mix_plan", "recipe")}
        counts = {key: fields.integer(key) for key in ("items", "min_votes", "epochs", "batch_size")}
        seed = fields.integer("seed", 0)
        tables = {key: fields.table(key) for key in ("settings", "curve", "sampling", "judge")}
        fields.finish()
        if not _NAME.fullmatch(texts["name"]):
            raise fields.wrong(f"needs a name of lower-case letters, digits, '-' and '_'. Got {texts['name']!r}")
        if small := [key for key, value in counts.items() if value < 1]:
            raise fields.wrong(f"needs {small[0]!r} to be 1 or more. Got {counts[small[0]]}")
        if seed < 0:
            raise fields.wrong(f"needs 'seed' to be 0 or more. Got {seed}")
        for name, table in tables.items():
            if wrong := [key for key, value in table.items() if not isinstance(value, str | int | float)]:
                raise fields.wrong(f"needs [{name}] to hold texts and numbers. Got {wrong[0]} = {table[wrong[0]]!r}")
        return cls(**texts, **counts, **tables, seed=seed)  # type: ignore[arg-type]

    def training(self, start: Path, num_pairs: int) -> dict[str, Any]:
        """Fields of the recipe for so many chosen pairs: a checkpoint after each epoch, all of them kept.

        An epoch is the whole number of steps nearest to once through the pairs, at least one.
        """
        epoch = max(1, round(num_pairs / self.batch_size))
        return {
            "model": str(start),
            "num_steps": self.epochs * epoch,
            "global_batch_size": self.batch_size,
            "checkpoint_every": epoch,
            "keep_last": self.epochs,
            **self.settings,
        }


def option_arguments(options: Mapping[str, Any]) -> list[str]:
    """A table as command-line options: ``least_likeness = -1.0`` as ``--least-likeness=-1.0``."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
