"""How many samples a step of a training run takes, from what the runs on a mix recorded."""

from pathlib import Path

from catalog.affected_checkpoints import read_runs
from catalog.errors import ConfigError
from catalog.parquet_streams import mix_digest
from catalog.workspace import Workspace


def batch_of_mix(workspace: Workspace, mix: Path, run: str | None = None) -> int:
    """Samples per optimizer update, over all ranks, of the runs that trained on a mix, or of the one called ``run``.

    Raises:
        ConfigError: there is no such run, or there are some that differ.
        MixError: there is no such mix.
        ShardError: the config.json of a run is damaged.
    """
    digest = mix_digest(mix)
    runs = {one.folder.name: one.batch for one in read_runs(workspace) if one.mix_sha256 == digest}
    listed = ", ".join(f"{name} ({batch})" for name, batch in runs.items()) or "none"
    if run is not None and run not in runs:
        raise ConfigError(f"--run must name a run on {mix}, below {workspace.runs}. Got {run!r}; there are: {listed}")
    batches = set(runs.values()) if run is None else {runs[run]}
    if not batches:
        raise ConfigError(f"no run below {workspace.runs} trained on {mix}: say its samples per step with --batch")
    if len(batches) > 1:
        raise ConfigError(f"runs on {mix} have batches of their own ({listed}): choose one with --run, or give --batch")
    return batches.pop()
