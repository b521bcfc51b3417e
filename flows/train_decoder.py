"""Flow ``train-decoder``: train the U-Net that reads masks and joints from output images, as a process.

::

    prefect deployment run train-decoder
    prefect deployment run train-decoder -p steps=1000 -p 'options=["--strength", "0.5"]'
    prefect deployment run train-decoder -p checkpoint=runs/task_training/pipeline
"""

import sys
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.child_process import ChildFailed, add_options, run_child
from flows.timing import timed


@flow(name="train-decoder")
def train_decoder(
    mix: Annotated[str, Field(description="The mix whose training rows are drawn.")] = "catalog/mix.parquet",
    output: Annotated[str, Field(description="Checkpoint, below the workspace.")] = "runs/decoder.safetensors",
    steps: Annotated[int, Field(ge=1, description="Optimizer steps.")] = 4000,
    checkpoint: Annotated[
        str | None, Field(description="Pipeline below the workspace whose outputs are learned from as well.")
    ] = None,
    options: Annotated[
        list[str] | None,
        Field(description="Further options of `python -m evaluation train-decoder`, as on its command line."),
    ] = None,
) -> State[Any]:
    """Draw, spoil, learn to read; the checkpoint goes to `evaluate` as its option --decoder."""
    workspace = Workspace.default()
    path = workspace.home / output
    command = [
        *(sys.executable, "-m", "evaluation", "train-decoder", "--mix", str(workspace.home / mix)),
        *("--output", str(path), "--steps", str(steps)),
        *(["--checkpoint", str(workspace.home / checkpoint)] if checkpoint else []),
    ]
    try:
        with timed(workspace, "train-decoder"):
            run_child(add_options(command, options), log=get_run_logger().info)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    return Completed(message=f"post-processor in {path}")
