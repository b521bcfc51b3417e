"""Which checkpoints saw some rows of a mix: in their own steps, or in those of the run that they started from."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ShardError
from catalog.workspace import Workspace

Steps = tuple[tuple[int, int], ...]
"""Ranges of optimizer steps, counted from 0, the last one excluded, as ``plan --steps`` takes them."""
PIPELINE = "pipeline"
"""The folder that a finished run exports: what it holds has seen all of the run's steps."""
_CHECKPOINT = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Where a mix draws some rows for training."""

    positions: NDArray[np.int64]
    num_train: int
    """Training samples of the mix."""


@dataclass(frozen=True, kw_only=True)
class AffectedCheckpoint:
    """A checkpoint, or the exported pipeline of a run, that saw them."""

    run: str
    checkpoint: str
    """``step-...`` or `PIPELINE`."""
    steps: Steps
    """Of its own run; empty where only an earlier run saw them."""
    started_from: str | None = None
    """The run or checkpoint before it that saw them."""


@dataclass(frozen=True)
class Run:
    """What a run's config.json says."""

    folder: Path
    mix_sha256: str
    batch: int
    num_steps: int
    model: str
    """What it started from."""


def read_runs(workspace: Workspace) -> list[Run]:
    """All runs below ``runs``, by name. Raises ShardError where a config.json is damaged."""
    return [_read_run(config) for config in sorted(workspace.runs.glob("*/config.json"))]


def find_affected(workspace: Workspace, runs: Sequence[Run], draws: Mapping[str, Draws]) -> list[AffectedCheckpoint]:
    """The affected checkpoints and pipelines of some runs, by run and step.

    Args:
        workspace: where the runs are.
        runs: `read_runs`. One that started from a copy elsewhere is not known to have done so.
        draws: by digest of the mix.
    """
    found = []
    for run in runs:
        names = [path.name for path in sorted((run.folder / "checkpoints").glob("step-*"))]
        names += [PIPELINE] if (run.folder / PIPELINE).is_dir() else []
        origin = _affected_start(workspace, runs, run, draws, set())
        for name in names:
            steps = _own_steps(run, name, draws)
            if steps or origin is not None:
                found.append(AffectedCheckpoint(run=run.folder.name, checkpoint=name, steps=steps, started_from=origin))
    return found


def affected_steps(positions: NDArray[np.int64], num_train: int, batch: int, num_steps: int) -> Steps:
    """Steps below ``num_steps`` that saw one of some positions of a mix, as ranges with the end excluded.

    Step k sees the samples k * batch to (k + 1) * batch - 1, and sample i is the row at position i mod num_train.
    """
    seen = np.zeros(num_steps, bool)
    for start in range(0, num_steps * batch, num_train):
        steps = (positions + start) // batch
        seen[steps[steps < num_steps]] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    return tuple((int(first), int(last)) for first, last in edges.reshape(-1, 2))


def _read_run(config: Path) -> Run:
    try:
        value = json.loads(config.read_text(encoding="utf-8"))
        fields = value["config"]
        batch, num_steps = int(fields["global_batch_size"]), int(fields["num_steps"])
        return Run(config.parent.resolve(), str(value["mix_sha256"]), batch, num_steps, str(fields["model"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{config} is not what a training run writes ({error}): move it elsewhere") from error


def _own_steps(run: Run, checkpoint: str, draws: Mapping[str, Draws]) -> Steps:
    """Steps of a run up to one of its checkpoints; anything else than a checkpoint's name means all of them."""
    drawn, match = draws.get(run.mix_sha256), _CHECKPOINT.fullmatch(checkpoint)
    if drawn is None:
        return ()
    return affected_steps(drawn.positions, drawn.num_train, run.batch, int(match[1]) if match else run.num_steps)


def _affected_start(
    workspace: Workspace, runs: Sequence[Run], run: Run, draws: Mapping[str, Draws], seen: set[Path]
) -> str | None:
    """The nearest run or checkpoint, of those that a run builds on, that is affected by its own steps."""
    seen.add(run.folder)
    for place in (Path(run.model).expanduser(), workspace.home / run.model):  # as the trainer looks for it
        for other in runs:
            if other.folder in seen or not place.resolve().is_relative_to(other.folder):
                continue
            parts = place.resolve().relative_to(other.folder).parts
            checkpoint = next((part for part in parts if _CHECKPOINT.fullmatch(part)), "")
            if _own_steps(other, checkpoint, draws):
                return f"{other.folder.name}/{checkpoint}" if checkpoint else other.folder.name
            return _affected_start(workspace, runs, other, draws, seen)
    return None
