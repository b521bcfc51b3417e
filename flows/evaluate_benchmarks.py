"""Flow ``evaluate-benchmarks``: the paper's Tables 2 to 5, from the datasets on disk to a table beside the paper's.

::

    prefect deployment run evaluate-benchmarks -p 'benchmarks=["refcoco_val", "voc_val"]' -p checkpoint=runs/x/pipeline
    prefect deployment run evaluate-benchmarks -p 'benchmarks=["gopro_test"]' -p control=oracle \
        -p 'roots={"gopro_test": "/datasets/GOPRO_Large"}'

Each benchmark is a build and a mix of its own (``catalog/benchmarks/NAME.parquet``): what is built is not built again.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.errors import UserError
from catalog.manifests import read_manifest
from catalog.reasons import Reason
from catalog.workspace import Workspace
from evaluation.benchmarks import PAPER_BENCHMARKS, benchmark_mix, find_benchmark
from flows.build_ieiw import build_ieiw
from flows.build_mix import build_mix
from flows.child_process import ChildFailed, add_options, run_child
from flows.run_artifacts import publish_benchmarks
from flows.run_results import count_reasons
from flows.timing import timed
from tasks.profiles import read_profile

_PROFILE = "infra/profiles/benchmarks.toml"
_NOT_ASKED = (Reason.CROWD_REGION, Reason.NO_KEYPOINTS, Reason.NO_REGION, Reason.AMBIGUOUS_LABEL)
"""What a benchmark does not ask for either: crowds, people without joints, photos without any. Any other reason leaves
something out that it counts."""


@flow(name="evaluate-benchmarks")
def evaluate_benchmarks(
    benchmarks: Annotated[list[str], Field(min_length=1, description="Names, as `python -m evaluation benchmarks`.")],
    checkpoint: Annotated[str | None, Field(description="Folder of a pipeline; this or control.")] = None,
    control: Annotated[
        Literal["no-op", "over-edit", "oracle", "shuffled-oracle"] | None,
        Field(description="A control in a checkpoint's place."),
    ] = None,
    roots: Annotated[
        dict[str, str] | None,
        Field(description='Folders of datasets by benchmark: {"voc_val": "/datasets/VOCdevkit"}.'),
    ] = None,
    reader_options: Annotated[
        dict[str, dict[str, Any]] | None, Field(description="Options of readers by benchmark, over the profile's.")
    ] = None,
    profile: Annotated[str, Field(description="Profile whose sources are called like the benchmarks.")] = _PROFILE,
    output: Annotated[str, Field(description="Folder of the metric rows, below the workspace.")] = "runs/benchmarks",
    limit: Annotated[int | None, Field(ge=1, description="At most this many rows of each; all where absent.")] = None,
    allow_incomplete: Annotated[
        bool, Field(description="Evaluate although some of a benchmark's records cannot be used.")
    ] = False,
    workers: Annotated[int, Field(ge=1, le=256, description="Shards worked on at a time.")] = 2,
    options: Annotated[
        list[str] | None, Field(description="Further options of `python -m evaluation run`, as on its command line.")
    ] = None,
) -> State[Any]:
    """Build, mix and measure each benchmark; rows, table and picture of all of them together."""
    workspace = Workspace.default()
    try:
        _check_request(benchmarks, checkpoint, control, roots)
        for key in benchmarks:
            if PAPER_BENCHMARKS[key].protocol == "edits":
                _require_confirmed(workspace, key)
                continue
            source = _source(Path(profile), key, (roots or {}).get(key), (reader_options or {}).get(key))
            if failure := _build(workspace, profile, key, source, workers, allow_incomplete):
                return Failed(message=failure)
        folder = workspace.home / output
        who = ["--control", control] if control else ["--checkpoint", str(workspace.home / str(checkpoint))]
        command = [
            *(sys.executable, "-m", "evaluation", "run", *who, "--output", str(folder)),
            *(part for key in benchmarks for part in ("--benchmark", key)),
            *(["--limit", str(limit)] if limit else []),
        ]
        with timed(workspace, "evaluate"):
            run_child(add_options(command, options), log=get_run_logger().info)
        publish_benchmarks(folder)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    return Completed(message=f"{len(benchmarks)} benchmarks, rows and table in {folder}")


def _check_request(
    benchmarks: list[str], checkpoint: str | None, control: str | None, roots: dict[str, str] | None
) -> None:
    if (checkpoint is None) == (control is None):
        raise UserError("give a checkpoint or a control, one of them: who is to be measured")
    for key in (*benchmarks, *(roots or {})):
        find_benchmark(key)


def _require_confirmed(workspace: Workspace, key: str) -> None:
    """The edit benchmark is not built from a dataset's files: people have confirmed it."""
    if not benchmark_mix(workspace.catalog, key).is_file():
        raise UserError(f"{key} must be made before it is evaluated: run flow build-edit-benchmark with finish=people")


def _source(profile: Path, key: str, root: str | None, options: dict[str, Any] | None) -> dict[str, Any]:
    """The profile's source of a benchmark as a table of overrides."""
    sources = {source.dataset: source for source in read_profile(profile).sources}
    if key not in sources:
        raise UserError(f"{profile} must have a [[source]] with dataset {key!r}: add where that benchmark's data is")
    found = sources[key]
    return {
        "dataset": key,
        "reader": found.reader,
        "root": root or found.root,
        "options": {**found.options, **(options or {})},
    }


def _build(
    workspace: Workspace, profile: str, key: str, source: dict[str, Any], workers: int, allow_incomplete: bool
) -> str | None:
    """One benchmark's build and mix; a sentence if it failed."""
    assert key in PAPER_BENCHMARKS
    name = f"benchmark-{key.lower()}"
    state = build_ieiw(profile, {"source": [source]}, name, workers, return_state=True)
    if not state.is_completed():
        return f"{key}: {state.message}"
    manifest = read_manifest(workspace, name)
    paths = [path for table in manifest.tables for path in manifest.paths(workspace, table)]
    lost = {reason: count for reason, count in count_reasons(paths).items() if reason not in _NOT_ASKED}
    if lost and not allow_incomplete:
        listed = ", ".join(f"{count} {reason}" for reason, count in lost.items())
        return (
            f"{key} must be measured whole, but some of its records cannot be used ({listed}): mend the dataset, "
            "or set allow_incomplete and say so beside the number"
        )
    mix = benchmark_mix(workspace.catalog, key).relative_to(workspace.home)
    state = build_mix(
        [name], "infra/policies/everything.toml", "infra/mixes/benchmarks.toml", str(mix), return_state=True
    )
    return None if state.is_completed() else f"{key}: {state.message}"
