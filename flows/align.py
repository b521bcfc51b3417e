"""Flow ``align``: the alignment loop (paper sections 3.3 and 4.8), from a trained checkpoint to the curve by epoch.

::

    prefect deployment run align                                    # the demo's checkpoint, simulated judges
    prefect deployment run align -p plan=infra/alignment/paper.toml -p judges=people

1. variants of each item under 20 guidance settings; 2. choices: people's (page Choose of `make dashboard`) or those of
simulated judges; 3. what was chosen becomes a build and a mix; 4. stage 3 trains on it; 5. CLIP-Sim after each epoch.
With people the first run ends after 1. and says what it waits for; the same command goes on once they have chosen.
What is finished is recognised.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.agreement import measure_agreement
from catalog.alignment_sets import AlignmentSet
from catalog.chosen_pairs import ChosenPairs, choices_of
from catalog.chosen_pairs import choose as choose_pairs
from catalog.errors import CheckpointError, UserError
from catalog.reports import counted
from catalog.workspace import Workspace
from evaluation.benchmarks import benchmark_mix, find_benchmark
from evaluation.cases import HeldOutRow
from evaluation.measured_edits import measured_edits, refuse_trained
from flows.alignment_plans import AlignmentPlan, option_arguments
from flows.alignment_report import publish_alignment, write_alignment_report
from flows.build_mix import build_mix
from flows.child_process import ChildFailed, run_child
from flows.run_folders import default_run_folder
from flows.timing import timed
from flows.train_generalist import train_generalist

_POLICY = "infra/policies/everything.toml"


@task(task_run_name="choose {build}", persist_result=False, cache_policy=NO_CACHE)
def choose(
    alignment_set: str, build: str, judges: Literal["people", "simulated"], min_votes: int, people: list[str] | None
) -> ChosenPairs:
    """What was chosen as the pairs of a build."""
    workspace = Workspace.default()
    with timed(workspace, "choose"):
        return choose_pairs(workspace, alignment_set, build, judges=judges, min_votes=min_votes, people=people)


@flow(name="align", flow_run_name="align {plan}")
def align(
    plan: Annotated[str, Field(description="Items, grid, training and curve.")] = "infra/alignment/demo.toml",
    judges: Annotated[
        Literal["people", "simulated"], Field(description="Whose choices train; they are never mixed.")
    ] = "simulated",
    simulated_judges: Annotated[int, Field(ge=1, le=20, description="How many, where they are simulated.")] = 3,
    alignment_set: Annotated[
        str | None, Field(description="Name of the set. Absent: the plan's and the mix's, as `demo-1a2b3c4d`.")
    ] = None,
    mix: Annotated[
        str, Field(description="Its training edits are the items, its held-out ones are measured.")
    ] = "catalog/mix.parquet",
    start: Annotated[
        str | None, Field(description="Run folder to start from. Absent: that of the plan's recipe and the mix.")
    ] = None,
    profile: Annotated[
        str | None, Field(description="Profile that names pair_similarity. Absent: the embedded one, not CLIP.")
    ] = None,
    num_processes: Annotated[int, Field(ge=1, le=1024, description="Ranks of the training.")] = 1,
    allow_unanswered: Annotated[
        bool, Field(description="Train although nobody has answered some of the items yet.")
    ] = False,
) -> State[Any]:
    """Sample, choose, mix, train and measure; each step does only what is missing."""
    workspace = Workspace.default()
    source = workspace.home / mix
    try:
        steps = AlignmentPlan.read(Path(plan))
        first = workspace.home / start if start else default_run_folder(workspace, source, steps.starts_from)
        if not (first / "pipeline").is_dir():
            raise CheckpointError(f"start must be the folder of a run that has ended, with its pipeline. Got {first}")
        name = alignment_set or f"{steps.name}-{first.name.rpartition('-')[2]}"
        helper = ["--profile", profile] if profile else []
        _sample(workspace, steps, name, source, first)
        people = None if judges == "people" else _judge(workspace, steps, name, simulated_judges, helper)
        alignment = AlignmentSet.read(workspace, name)
        choices = choices_of(alignment, judges, people)
        missing = set(alignment.items) - {one.item_id for one in choices}
        if not choices or (missing and not allow_unanswered):
            waiting = f"{len(missing)} of {len(alignment.items)} items of {name} have no choice yet"
            return Completed(
                name="Waiting", message=f"{waiting}: open the page Choose (`make dashboard`), then run this again"
            )
        # What people and what programs chose stay apart.
        chosen = choose(name, f"{name}-{judges}", judges, steps.min_votes, people)
        folder = _train(workspace, steps, chosen, source, first, num_processes)
        given = [] if "benchmark" in steps.curve else ["--mix", str(source)]
        _run(workspace, "curve", ["--run", str(folder), *given, *helper, *option_arguments(steps.curve)])
        epochs = write_alignment_report(folder, steps, alignment, chosen, measure_agreement(alignment, choices))
        publish_alignment(folder)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    pairs = counted(chosen.num_pairs, "chosen pair")
    return Completed(message=f"{pairs} trained {epochs:.3g} epochs; report in {folder}")


def _sample(workspace: Workspace, steps: AlignmentPlan, name: str, mix: Path, first: Path) -> None:
    arguments = ["--set", name, "--checkpoint", str(first / "pipeline"), "--mix", str(mix), "--grid", steps.grid]
    arguments += ["--limit", str(steps.items), "--seed", str(steps.seed)]
    _run(workspace, "sample", [*arguments, *option_arguments(steps.sampling)])


def _judge(
    workspace: Workspace, steps: AlignmentPlan, alignment_set: str, num_judges: int, helper: list[str]
) -> list[str]:
    """Simulated judges answer; their names. Who answered earlier, when there were more judges, is not among them."""
    people = [f"simulated judge {number + 1}" for number in range(num_judges)]
    names = [part for person in people for part in ("--person", person)]
    _run(workspace, "judge", ["--set", alignment_set, *names, *helper, *option_arguments(steps.judge)])
    return people


def _train(
    workspace: Workspace, steps: AlignmentPlan, chosen: ChosenPairs, source: Path, first: Path, num_processes: int
) -> Path:
    """Mix what was chosen and train on it; the run's folder. Further choices make another mix and so another run.

    Raises:
        ChildFailed: mix or training ended in another state than completed.
        UserError: what will be measured was chosen from.
    """
    output = f"catalog/{chosen.build}.parquet"
    state = build_mix([chosen.build], _POLICY, steps.mix_plan, output, return_state=True)
    if not state.is_completed():
        raise ChildFailed(f"mix: {state.message}")
    refuse_trained(workspace.home / output, _measured(workspace, source, steps))
    folder = default_run_folder(workspace, workspace.home / output, f"{steps.recipe}-{chosen.build}")
    settings = steps.training(first, chosen.num_pairs)
    state = train_generalist(output, steps.recipe, str(folder), num_processes, settings, return_state=True)
    if not state.is_completed():
        raise ChildFailed(f"train: {state.message}")
    return folder


def _measured(workspace: Workspace, mix: Path, steps: AlignmentPlan) -> list[HeldOutRow]:
    """The rows that the curve will be measured on."""
    split, limit, key = (steps.curve.get(name) for name in ("split", "limit", "benchmark"))
    if key is None:
        return measured_edits(mix, split or "val", limit, None)
    return measured_edits(benchmark_mix(workspace.catalog, str(key)), "", limit, find_benchmark(str(key)))


def _run(workspace: Workspace, step: str, arguments: list[str]) -> None:
    """A command of `python -m evaluation align` as a process; its output goes to the run's log."""
    with timed(workspace, f"align {step}"):
        run_child([sys.executable, "-m", "evaluation", "align", step, *arguments], log=get_run_logger().info)
