"""Flow ``build-edit-benchmark``: the 1,000 edits of Table 5, proposed by rule and helper models for people to confirm.

::

    prefect deployment run build-edit-benchmark                       # packaged photos, embedded helper models
    prefect deployment run build-edit-benchmark -p profile=infra/profiles/edit_benchmark.toml
    prefect deployment run build-edit-benchmark -p finish=people     # once enough samples are confirmed

Sources are built and held-out edits mixed as for training; `python -m evaluation edits` proposes samples from them.
People answer on the dashboard or with `python -m evaluation edits answer`. What is made is not made again.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.edit_benchmarks import (
    benchmark_folder,
    count_states,
    read_candidates,
    read_confirmations,
    settle,
)
from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.build_ieiw import build_ieiw
from flows.build_mix import build_mix
from flows.child_process import ChildFailed, add_options, run_child
from flows.run_artifacts import publish_edit_benchmark
from flows.timing import timed


@flow(name="build-edit-benchmark", flow_run_name="edit benchmark {name}")
def build_edit_benchmark(
    profile: Annotated[
        str, Field(description="Profile file: sources of edits, captioner and caption editor.")
    ] = "infra/profiles/embedded.toml",
    overrides: Annotated[
        dict[str, Any] | None, Field(description="Values that win over the profile in the build, by dotted name.")
    ] = None,
    name: Annotated[str, Field(description="Of the benchmark in the making.")] = "edits",
    per_class: Annotated[int, Field(ge=1, description="Samples proposed of each class; people reject some.")] = 500,
    total: Annotated[int, Field(ge=3, description="Samples of the finished benchmark (paper: 1,000).")] = 1000,
    finish: Annotated[
        Literal["no", "people", "rule"],
        Field(description="Write the benchmark: from people's answers, or for a trial from the rule's proposals."),
    ] = "no",
    allow_fewer: Annotated[bool, Field(description="Finish although a class has too few samples.")] = False,
    workers: Annotated[int, Field(ge=1, le=256, description="Shards worked on at a time.")] = 2,
    options: Annotated[
        list[str] | None, Field(description="Further options of `python -m evaluation edits propose`.")
    ] = None,
) -> State[Any]:
    """Build, mix, propose; then, where asked for, write what is confirmed."""
    workspace = Workspace.default()
    try:
        mix = benchmark_folder(workspace, name) / "source_mix.parquet"
        if failure := _build(workspace, profile, overrides, name, mix, workers):
            return Failed(message=failure)
        command = [sys.executable, "-m", "evaluation", "edits"]
        asked = ["--name", name, "--mix", str(mix), "--profile", profile, "--per-class", str(per_class)]
        with timed(workspace, "propose-edits"):
            run_child(add_options([*command, "propose", *asked], options), log=get_run_logger().info)
        candidates = read_candidates(workspace, name)
        counts = count_states(settle(candidates, read_confirmations(workspace, name)))
        publish_edit_benchmark(candidates, counts)
        if finish != "no":
            how = ["--name", name, "--total", str(total), "--confirmed-by", finish]
            how += ["--allow-fewer"] if allow_fewer else []
            run_child([*command, "finish", *how], log=get_run_logger().info)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    written = "" if finish == "no" else f", benchmark edits_1000 written as {finish} confirmed it"
    return Completed(message=f"{len(candidates)} candidates, {counts['confirmed']} confirmed{written}")


def _build(
    workspace: Workspace, profile: str, overrides: dict[str, Any] | None, name: str, mix: Path, workers: int
) -> str | None:
    """The edits' build and the mix of what it holds out; a sentence if one failed."""
    build = f"edit-benchmark-{name}"
    state = build_ieiw(profile, overrides, build, workers, return_state=True)
    if not state.is_completed():
        return str(state.message)
    place = str(mix.relative_to(workspace.home))
    state = build_mix(
        [build], "infra/policies/everything.toml", "infra/mixes/benchmarks.toml", place, return_state=True
    )
    return None if state.is_completed() else str(state.message)
