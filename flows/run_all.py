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
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed
from pydantic import Field

from flows.prefect_api import FINAL_STATES, PrefectApi

_POLL_SECONDS = 1.0
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
        state, message = _run(f"{stage}/{deployment}", (parameters or {}).get(stage))
        seconds[stage] = round(time.monotonic() - start, 1)
        if state != "COMPLETED":
            return Failed(message=f"{stage} ended {state}: {message}")
        get_run_logger().info("%s: %s (%.1f s)", stage, message, seconds[stage])
    return Completed(message=", ".join(f"{stage} {took} s" for stage, took in seconds.items()))


def _run(name: str, parameters: dict[str, Any] | None) -> tuple[str, str]:
    """Run a deployment to its end; whatever ends this flow before that also ends the run."""
    api = PrefectApi(get_current_settings().api.url or "")
    run = run_deployment(name, parameters=parameters, timeout=0)
    assert isinstance(run, FlowRun)  # a coroutine only inside an async flow
    try:
        while True:
            kind, _, message = api.read_state(str(run.id))
            if kind in FINAL_STATES:
                return kind, message
            time.sleep(_POLL_SECONDS)
    except BaseException:
        api.cancel(str(run.id), "run-all was stopped")
        raise
