"""Flow ``evaluate``: measure a trained pipeline on the held-out split of a mix, as a process.

::

    prefect deployment run evaluate
    prefect deployment run evaluate -p split=test
    prefect deployment run evaluate -p steps=20 -p limit=12
"""

import sys
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.child_process import ChildFailed, add_options, run_child
from flows.run_artifacts import publish_metrics
from flows.run_folders import default_run_folder
from flows.timing import timed


@flow(name="evaluate", flow_run_name="evaluate {recipe}")
def evaluate_generalist(
    mix: Annotated[str, Field(description="The mix whose held-out rows are used.")] = "catalog/mix.parquet",
    split: Annotated[Literal["val", "test"], Field(description="Which held-out split.")] = "val",
    recipe: Annotated[str, Field(description="Recipe of the run; with the mix it names the run's folder.")] = "demo",
    steps: Annotated[int, Field(ge=1, le=1000, description="Sampling steps per image (official code: 100).")] = 100,
    limit: Annotated[
        int | None, Field(ge=1, description="At most this many rows of each benchmark; all where absent.")
    ] = None,
    checkpoint: Annotated[
        str | None, Field(description="Folder of another pipeline. Absent: that of the run of recipe and mix.")
    ] = None,
    output: Annotated[
        str | None, Field(description="Folder of the metric rows. Absent: `evaluation` in the run's folder.")
    ] = None,
    options: Annotated[
        list[str] | None,
        Field(description="Further options of `python -m evaluation run`, as on its command line."),
    ] = None,
) -> State[Any]:
    """Run every benchmark that the split has rows for and store metric rows."""
    workspace = Workspace.default()
    plan = workspace.home / mix
    try:
        run = default_run_folder(workspace, plan, recipe)
        folder = workspace.home / output if output else run / "evaluation"
        pipeline = workspace.home / checkpoint if checkpoint else run / "pipeline"
        command = [
            *(sys.executable, "-m", "evaluation", "run", "--checkpoint", str(pipeline), "--mix", str(plan)),
            *("--split", split, "--output", str(folder), "--steps", str(steps)),
            *(["--limit", str(limit)] if limit else []),
        ]
        with timed(workspace, "evaluate"):
            run_child(add_options(command, options), log=get_run_logger().info)
        publish_metrics(folder)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    return Completed(message=f"metric rows of split {split} are in {folder}")
