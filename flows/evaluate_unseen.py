"""Flow ``evaluate-unseen``: detection, classification and face alignment of a pipeline (Figure 11), as a process.

::

    prefect deployment run evaluate-unseen
    prefect deployment run evaluate-unseen -p control=oracle
    prefect deployment run evaluate-unseen -p checkpoint=runs/task_training/pipeline -p 'tasks=["detection"]' \
        -p mix=catalog/benchmarks/refcoco_val.parquet

The paper prints no number for these tasks; the report puts no-op and exact answer beside ours.
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
from flows.run_artifacts import publish_metrics, publish_picture_report
from flows.run_folders import default_run_folder
from flows.timing import timed

_Task = Literal["detection", "classification", "face_alignment"]


@flow(name="evaluate-unseen")
def evaluate_unseen(
    tasks: Annotated[list[_Task] | None, Field(description="Which of the three; all where absent.")] = None,
    mix: Annotated[str, Field(description="The mix whose held-out rows are asked about.")] = "catalog/mix.parquet",
    split: Annotated[Literal["val", "test"], Field(description="Which held-out split.")] = "val",
    recipe: Annotated[str, Field(description="Recipe of the run; with the mix it names the run's folder.")] = "demo",
    checkpoint: Annotated[
        str | None, Field(description="Folder of another pipeline. Absent: that of the run of recipe and mix.")
    ] = None,
    control: Annotated[
        Literal["no-op", "oracle", "shuffled-oracle"] | None, Field(description="A control in a checkpoint's place.")
    ] = None,
    steps: Annotated[int, Field(ge=1, le=1000, description="Sampling steps per image (official code: 100).")] = 100,
    limit: Annotated[int | None, Field(ge=1, description="At most so many phrases, photos or faces of each.")] = None,
    output: Annotated[
        str | None, Field(description="Folder of the rows. Absent: `unseen` in the run's folder.")
    ] = None,
    options: Annotated[
        list[str] | None, Field(description="Further options of `python -m evaluation unseen`, as on its command line.")
    ] = None,
) -> State[Any]:
    """Ask the three tasks of held-out rows and store metric rows, table and picture."""
    workspace = Workspace.default()
    plan = workspace.home / mix
    try:
        if control is not None:
            who, folder = ["--control", control], workspace.runs / f"unseen-{control}"
        else:
            run = default_run_folder(workspace, plan, recipe)
            pipeline = workspace.home / checkpoint if checkpoint else run / "pipeline"
            who, folder = ["--checkpoint", str(pipeline), "--steps", str(steps)], run / "unseen"
        folder = workspace.home / output if output else folder
        command = [
            *(sys.executable, "-m", "evaluation", "unseen", *who, "--mix", str(plan), "--split", split),
            *("--output", str(folder), *(part for task in tasks or () for part in ("--task", task))),
            *(["--limit", str(limit)] if limit else []),
        ]
        with timed(workspace, "evaluate"):
            run_child(add_options(command, options), log=get_run_logger().info)
        publish_picture_report(folder, "metrics", f"Unseen tasks in {folder.name}")
        publish_metrics(folder)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    return Completed(message=f"metric rows of split {split} are in {folder}")
