"""Flow ``forecast``: a pilot of a small share, and what the whole build will give, take and cost, with intervals.

::

    prefect deployment run forecast
    prefect deployment run forecast -p profile=infra/profiles/paper.toml -p share=0.01 -p hourly_price=2.5

The forecast is kept; when the build ends, its flow and the dashboard put what came of it beside it.
"""

import json
import os
import sys
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.errors import UserError
from catalog.manifests import list_manifests
from catalog.workspace import Workspace
from flows.child_process import ChildFailed, run_child
from flows.run_artifacts import publish_pilot
from flows.timing import current_flow_run
from tasks.forecast import read_forecast
from tasks.pilot import FLOW_RUN_VARIABLE
from tasks.profiles import find_profile, read_profile


@flow(name="forecast", flow_run_name="forecast {profile}")
def forecast_build(
    profile: Annotated[
        str, Field(description="Profile of the build: a file, or its name in infra/profiles.")
    ] = "infra/profiles/embedded.toml",
    overrides: Annotated[
        dict[str, Any] | None, Field(description="Values that win over the profile, by dotted name, as in the build.")
    ] = None,
    name: Annotated[
        str | None, Field(description="Name of the build that is forecast; the profile's own name where absent.")
    ] = None,
    policy: Annotated[
        str, Field(description="Decides which pairs count as accepted.")
    ] = "infra/policies/embedded.toml",
    share: Annotated[float, Field(gt=0, le=1, description="Of the records of each source and kind.")] = 0.01,
    seed: Annotated[int, Field(ge=0, description="Which records.")] = 0,
    hourly_price: Annotated[float, Field(ge=0, description="Of one worker, in the helper models' currency.")] = 0.0,
    again: Annotated[bool, Field(description="Forecast anew although the build is there already.")] = False,
) -> State[Any]:
    """Build the pilot, decide, forecast; what the pilot has made already is taken as it is."""
    workspace = Workspace.default()
    command = [
        *(sys.executable, "-m", "tasks", "forecast", "--policy", policy),
        *("--share", str(share), "--seed", str(seed), "--hourly-price", str(hourly_price)),
        *(["--build", name] if name else []),
        *(part for key, value in (overrides or {}).items() for part in ("--set", f"{key}={json.dumps(value)}")),
    ]
    try:
        path = find_profile(profile)
        build = name or read_profile(path, overrides).name
        forecast = None if again or build not in list_manifests(workspace) else read_forecast(workspace, build)
        if forecast is not None:
            return Completed(message=f"{build} is built: its forecast stays as it was (again=true replaces it)")
        command += ["--profile", str(path)]
        # The pilot's steps are in the ledger one by one, as those of this run.
        run_child(command, log=get_run_logger().info, env={**os.environ, FLOW_RUN_VARIABLE: current_flow_run()})
        forecast = read_forecast(workspace, build)
        assert forecast is not None  # the command has just written it
        publish_pilot(forecast)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    accepted = forecast.accepted
    most = "any number" if accepted.high is None else f"{accepted.high:.0f}"
    share_taken = f"{forecast.num_piloted} of {forecast.num_records} records piloted"
    return Completed(
        message=f"{share_taken}: {accepted.value:.0f} accepted pairs of edits, from {accepted.low:.0f} to {most}"
    )
