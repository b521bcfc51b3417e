"""Flow ``ablate``: one of the paper's ablations, every arm with every seed, and the report of their differences.

::

    prefect deployment run ablate                                               # Table 6, demo-sized
    prefect deployment run ablate -p study=infra/studies/joint_training.toml    # Figure 8
    prefect deployment run ablate -p scale=paper -p num_processes=8

Runs go seed by seed, so that what is there is paired. What is finished is recognised; a run that fails does not stop
the others, and the report is written in any case: it says what is missing.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.errors import UserError
from catalog.mix_plans import MixPlan, MixSource
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.schema import VISION_TASKS
from catalog.workspace import Workspace
from evaluation.benchmarks import benchmark_mix
from evaluation.studies import Arm, Study
from evaluation.study_report import write_study_report
from evaluation.study_runs import read_study
from flows.child_process import ChildFailed, run_child
from flows.run_artifacts import publish_picture_report
from flows.timing import timed, timed_mix
from flows.train_generalist import train_generalist


@flow(name="ablate", flow_run_name="ablate {study}")
def ablate(
    study: Annotated[str, Field(description="Arms, seeds, scales, the paper's values.")] = (
        "infra/studies/instructions.toml"
    ),
    scale: Annotated[str, Field(description="One of the study's.")] = "demo",
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]] | None,
        Field(min_length=1, description="Run these alone; the report has the study's, too."),
    ] = None,
    num_processes: Annotated[int, Field(ge=1, le=1024, description="Ranks of each training.")] = 1,
) -> State[Any]:
    """Mix, train and evaluate each arm with each seed, then compare."""
    workspace = Workspace.default()
    try:
        plan = Study.read(Path(study), scale)
        for tasks in {plan.vision_tasks, *(arm.vision_tasks for arm in plan.arms)}:
            _mix(workspace, plan, tasks)
        now = replace(plan, seeds=tuple(seeds or plan.seeds))
        failures = run_arms(workspace, now, _Trainer(num_processes), _evaluate, get_run_logger().error)
        plan = replace(plan, seeds=tuple(sorted({*plan.seeds, *now.seeds})))
        report = read_study(workspace, plan, failures)
        output = workspace.runs / f"study-{plan.name}-{scale}"
        write_study_report(report, output)
        publish_picture_report(output, "study", plan.title)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    if report.missing:
        return Failed(message=f"{len(report.missing)} missing ({report.missing[0]}); report in {output}")
    return Completed(message=f"{len(report.comparisons)} comparisons; report in {output}")


def restrict(plan: MixPlan, vision_tasks: tuple[str, ...]) -> MixPlan:
    """A mix plan that draws from some vision tasks alone; of a source of any task, what belongs to them."""
    if set(vision_tasks) == set(VISION_TASKS):
        return plan
    sources: list[MixSource] = []
    for source in plan.sources:
        if source.vision_task in vision_tasks:
            sources.append(source)
        elif source.vision_task is None:
            named = len(vision_tasks) > 1
            sources += [
                replace(
                    source, vision_task=task, name=f"{source.name}_{task}" if named else source.name, allow_empty=True
                )
                for task in vision_tasks
            ]
    quotas = tuple(quota for quota in plan.quotas if quota[0] in vision_tasks)
    return replace(plan, sources=tuple(sources), quotas=quotas)


def _mix(workspace: Workspace, study: Study, vision_tasks: tuple[str, ...]) -> None:
    scale = study.scale
    plan = restrict(MixPlan.read(Path(scale.mix_plan)), vision_tasks)
    output = workspace.catalog / study.mix_name(vision_tasks)
    with timed_mix(workspace, output):
        build_mix(workspace, scale.builds, Policy.read(Path(scale.policy)), plan, output)


def run_arms(
    workspace: Workspace,
    study: Study,
    train: Callable[[Path, str, Path, dict[str, Any]], None],
    evaluate: Callable[[list[str]], None],
    log: Callable[[str], None],
) -> dict[tuple[str, int], str]:
    """Train and evaluate each arm with each seed, whatever of it is not done.

    Args:
        workspace: where mixes are and runs go.
        study: arms and seeds.
        train: called with mix, recipe, run folder and settings.
        evaluate: called with a command line.
        log: told of what failed.

    Returns:
        (arm, seed) to why it failed: the report names it as missing, with that.

    Raises:
        UserError: what is measured is not there; nothing was trained.
    """
    runs = list(product(study.seeds, study.arms))
    commands = [evaluation_command(workspace, study, arm, seed) for seed, arm in runs]
    failures = {}
    for (seed, arm), command in zip(runs, commands, strict=True):
        folder = workspace.runs / study.run_name(arm, seed)
        settings = {**study.scale.settings, **arm.settings, "seed": seed}
        try:
            train(workspace.catalog / study.mix_name(arm.vision_tasks), study.scale.recipe, folder, settings)
            evaluate(command)
        except ChildFailed as error:
            failures[arm.name, seed] = str(error)
            log(f"{arm.name}, seed {seed}: {error}")
    return failures


class _Trainer:
    """Flow ``train`` as a part of this one."""

    def __init__(self, num_processes: int) -> None:
        self._num_processes = num_processes

    def __call__(self, mix: Path, recipe: str, folder: Path, settings: dict[str, Any]) -> None:
        state = train_generalist(str(mix), recipe, str(folder), self._num_processes, settings, return_state=True)
        if not state.is_completed():
            raise ChildFailed(str(state.message))


def _evaluate(command: list[str]) -> None:
    with timed(Workspace.default(), "evaluate"):
        run_child(command, log=get_run_logger().info)


def evaluation_command(workspace: Workspace, study: Study, arm: Arm, seed: int) -> list[str]:
    """How an arm is measured: on the same rows, asked as it was trained, with the run's seed."""
    folder = workspace.runs / study.run_name(arm, seed)
    if study.scale.benchmarks:
        keys = dict.fromkeys(one.benchmark for one in study.paper)
        for key in keys:
            if not benchmark_mix(workspace.catalog, key).is_file():
                raise UserError(f"benchmark {key} is not built: `prefect deployment run evaluate-benchmarks` builds it")
        measured = [part for key in keys for part in ("--benchmark", key)]
    else:
        measured = ["--mix", str(workspace.catalog / study.mix_name(study.vision_tasks))]
    render = {name: value for name, value in arm.settings.items() if name.startswith("render.")}
    shared = {name: value for name, value in study.scale.settings.items() if name.startswith("render.")}
    return [
        *(sys.executable, "-m", "evaluation", "run", "--checkpoint", str(folder / "pipeline"), *measured),
        *("--output", str(folder / "evaluation"), "--seed", str(seed)),
        *(f"--{name.replace('_', '-')}={value}" for name, value in study.scale.evaluation.items()),
        *(part for name, value in {**shared, **render}.items() for part in ("--set", f"{name}={value}")),
    ]
