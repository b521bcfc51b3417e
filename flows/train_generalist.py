"""Flow ``train``: start the trainer on a mix, as a process.

::

    prefect deployment run train
    prefect deployment run train -p num_processes=2 -p 'settings={"num_steps": 200}'

The trainer is ``torchrun trainer/main.py``; this flow imports neither it nor torch. Its checkpoints make it go on
where it stopped, so a run that was killed is simply run again.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.child_process import ChildFailed, run_child
from flows.run_artifacts import publish_training
from flows.run_folders import default_run_folder
from flows.run_results import read_finish
from flows.timing import timed

REPOSITORY = Path(__file__).resolve().parents[1]


@flow(name="train", flow_run_name="train {recipe}")
def train_generalist(
    mix: Annotated[str, Field(description="The sampling plan to train on.")] = "catalog/mix.parquet",
    recipe: Annotated[str, Field(description="A recipe of the trainer: demo, task_training, ...")] = "demo",
    output: Annotated[
        str | None,
        Field(description="Run folder; the same folder again goes on from there. Absent: runs/RECIPE-MIX."),
    ] = None,
    num_processes: Annotated[
        int, Field(ge=1, le=1024, description="Ranks on this machine: one per GPU, or 1 or 2 on a CPU.")
    ] = 1,
    settings: Annotated[
        dict[str, Any] | None,
        Field(description='Fields of the recipe to change, as --set does: {"num_steps": 200}.'),
    ] = None,
) -> State[Any]:
    """Train the generalist on a mix; the run's log shows the trainer's own output."""
    workspace = Workspace.default()
    plan = workspace.home / mix
    try:
        folder = workspace.home / output if output else default_run_folder(workspace, plan, recipe)
        with timed(workspace, "train"):
            run_child(_command(plan, recipe, folder, num_processes, settings or {}), log=get_run_logger().info)
        publish_training(folder)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    figures = read_finish(folder)
    if not figures:
        return Failed(message=f"the trainer stopped before its last step; run the same command to go on in {folder}")
    losses = f"loss {figures['loss_first']:.4f} -> {figures['loss_last']:.4f}"
    return Completed(message=f"{figures['steps']} steps, {losses}; everything is in {folder}")


def _command(plan: Path, recipe: str, folder: Path, num_processes: int, settings: dict[str, Any]) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_processes}"),
        *(str(REPOSITORY / "trainer" / "main.py"), "--catalog", str(plan)),
        *("--recipe", recipe, "--output", str(folder), *settings_arguments(settings)),
    ]


def settings_arguments(settings: dict[str, Any]) -> list[str]:
    """Fields of a recipe as the trainer's commands take them: ``--set name=value`` each."""
    return [part for name, value in settings.items() for part in ("--set", f"{name}={_text(value)}")]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
