"""Flow ``encode``: make the latent and text cache of a mix, as a process.

::

    prefect deployment run encode -p recipe=task_training
    prefect deployment run train -p recipe=task_training -p 'settings={"latents": "use"}'

The process is ``python -m trainer.encode``; this flow imports neither it nor torch. Shards that exist are kept.
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
from flows.child_process import ChildFailed, run_child
from flows.timing import timed
from flows.train_generalist import settings_arguments


@flow(name="encode", flow_run_name="encode {recipe}")
def encode_latents(
    mix: Annotated[str, Field(description="The sampling plan whose rows are encoded.")] = "catalog/mix.parquet",
    recipe: Annotated[
        str, Field(description="The recipe that will train on them; its model must exist.")
    ] = "task_training",
    settings: Annotated[
        dict[str, Any] | None,
        Field(description='Fields of the recipe to change, as for training: {"model": "runs/pretraining_adaptation"}.'),
    ] = None,
) -> State[Any]:
    """Encode every row that looks the same each time it is drawn; training reads them with ``latents=use``."""
    workspace = Workspace.default()
    command = [
        *(sys.executable, "-m", "trainer.encode", "--catalog", str(workspace.home / mix), "--recipe", recipe),
        *settings_arguments(settings or {}),
    ]
    try:
        with timed(workspace, "encode"):
            run_child(command, log=get_run_logger().info)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    return Completed(message=f"the table latents is in {workspace.table_folder('latents')}; train with latents=use")
