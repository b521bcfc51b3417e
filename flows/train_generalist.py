"""Flow ``train``: start the trainer on a mix, as a process.

::

    prefect deployment run train
    prefect deployment run train -p recipe=demo -p output=runs/demo -p num_processes=2

The trainer is ``torchrun trainer/main.py``; this flow imports neither it nor torch. Its checkpoints make it go on
where it stopped, so a run that was killed is simply run again.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State
from pydantic import Field

from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.child_process import ChildFailed, run_child
from flows.run_artifacts import publish_training
from flows.timing import timed

REPOSITORY = Path(__file__).resolve().parents[1]


@flow(name="train", flow_run_name="train {recipe}")
def train_generalist(
    mix: Annotated[str, Field(description="The sampling plan to train on.")] = "catalog/mix.parquet",
    recipe: Annotated[str, Field(description="A recipe of the trainer.")] = "demo",
    output: Annotated[
        str, Field(description="Folder of checkpoints and logs; the same folder again goes on from there.")
    ] = "runs/demo",
    num_processes: Annotated[
        int, Field(ge=1, le=1024, description="Ranks on this machine: one per GPU, or 1 or 2 on a CPU.")
    ] = 1,
    options: Annotated[
        list[str] | None, Field(description="Further options of trainer/main.py, as on its command line.")
    ] = None,
) -> State[Any]:
    """Train the generalist on a mix; the flow run shows the trainer's own output."""
    workspace = Workspace.default()
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc_per_node={num_processes}", str(REPOSITORY / "trainer" / "main.py")),
        *("--catalog", str(workspace.home / mix), "--recipe", recipe),
        *("--output", str(workspace.home / output), *(options or [])),
    ]
    try:
        with timed(workspace, "train"):
            run_child(command, log=get_run_logger().info, cwd=REPOSITORY)
        publish_training(workspace.home / output)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    return Completed(message=f"trained; everything is in {output}")
