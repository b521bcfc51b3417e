"""Flow ``evaluate``: measure a trained pipeline on the held-out split of a mix, as a process.

::

    prefect deployment run evaluate
    prefect deployment run evaluate -p checkpoint=runs/demo/pipeline -p split=test
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State
from pydantic import Field

from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.child_process import ChildFailed, run_child
from flows.run_artifacts import publish_metrics
from flows.timing import timed

REPOSITORY = Path(__file__).resolve().parents[1]


@flow(name="evaluate", flow_run_name="evaluate {checkpoint}")
def evaluate_generalist(
    checkpoint: Annotated[str, Field(description="Folder of the exported pipeline.")] = "runs/demo/pipeline",
    mix: Annotated[str, Field(description="The mix whose held-out rows are used.")] = "catalog/mix.parquet",
    split: Annotated[Literal["val", "test"], Field(description="Which held-out split.")] = "val",
    output: Annotated[str, Field(description="Folder of the metric rows.")] = "runs/demo/evaluation",
    options: Annotated[
        list[str] | None,
        Field(description="Further options of `python -m evaluation run`, as on its command line."),
    ] = None,
) -> State[Any]:
    """Run every benchmark that the split has rows for and store metric rows."""
    workspace = Workspace.default()
    command = [
        *(sys.executable, "-m", "evaluation", "run"),
        *("--checkpoint", str(workspace.home / checkpoint), "--mix", str(workspace.home / mix)),
        *("--split", split, "--output", str(workspace.home / output), *(options or [])),
    ]
    try:
        with timed(workspace, "evaluate"):
            run_child(command, log=get_run_logger().info, cwd=REPOSITORY)
        publish_metrics(workspace.home / output)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    return Completed(message=f"evaluated; metric rows are in {output}")
