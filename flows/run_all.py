"""Flow ``run-all``: build, mix, train and evaluate in order, each as its own deployment.

::

    prefect deployment run run-all
"""

import time
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

_STAGES = ("build-ieiw", "build-mix", "train", "evaluate")


@flow(name="run-all")
def run_all(
    parameters: Annotated[
        dict[str, dict[str, Any]] | None,
        Field(description='Parameters by flow: {"build-ieiw": {"workers": 4}, "train": {"recipe": "demo"}}.'),
    ] = None,
    deployment: Annotated[str, Field(description="Which deployment of each flow to run.")] = "local",
) -> State[Any]:
    """Run the stages one after another; the first that fails ends it, and finished work is kept."""
    unknown = sorted(set(parameters or {}) - set(_STAGES))
    if unknown:
        return Failed(message=f"parameters are by flow ({', '.join(_STAGES)}); got {', '.join(unknown)}")
    seconds = {}
    for stage in _STAGES:
        start = time.monotonic()
        run = run_deployment(f"{stage}/{deployment}", parameters=(parameters or {}).get(stage), poll_interval=1)
        assert isinstance(run, FlowRun)  # a coroutine only inside an async flow
        seconds[stage] = round(time.monotonic() - start, 1)
        if run.state is None or not run.state.is_completed():
            return Failed(message=f"{stage} ended {run.state}; look at its own run, {run.name!r}")
        get_run_logger().info("%s: %s (%.1f s)", stage, run.state.message, seconds[stage])
    return Completed(message=", ".join(f"{stage} {took} s" for stage, took in seconds.items()))
