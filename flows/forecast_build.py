"""Flow ``forecast``: a pilot of a small share, and what the whole build will give, take and cost, with intervals.

::

    prefect deployment run forecast
    prefect deployment run forecast -p profile=infra/profiles/paper.toml -p share=0.01 -p hourly_price=2.5

The forecast is kept; when the build ends, its flow and the dashboard put what came of it beside it.
"""

import json
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
from flows.run_artifacts import publish_pilot
from flows.timing import timed
from tasks.forecast import read_forecast
from tasks.profiles import read_profile


@flow(name="forecast", flow_run_name="forecast {profile}")
def forecast_build(
    profile: Annotated[str, Field(description="Profile file of the build.")] = "infra/profiles/embedded.toml",
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
) -> State[Any]:
    """Build the pilot, decide, forecast; what the pilot has made already is taken as it is."""
    workspace = Workspace.default()
    command = [
        *(sys.executable, "-m", "tasks", "forecast", "--profile", profile, "--policy", policy),
        *("--share", str(share), "--seed", str(seed), "--hourly-price", str(hourly_price)),
        *(["--build", name] if name else []),
        *(part for key, value in (overrides or {}).items() for part in ("--set", f"{key}={json.dumps(value)}")),
    ]
    try:
        build = name or read_profile(Path(profile), overrides).name
        with timed(workspace, "forecast"):
            run_child(command, log=get_run_logger().info)
        forecast = read_forecast(workspace, build)
        assert forecast is not None  # the command has just written it
        publish_pilot(forecast)
    except (ChildFailed, UserError) as error:
        return Failed(message=str(error))
    accepted = forecast.accepted
    most = "any number" if accepted.high is None else f"{accepted.high:.0f}"
    share_taken = f"{forecast.num_piloted} of {forecast.num_records} records piloted"
    return Completed(message=f"{share_taken}: {accepted.value:.0f} accepted pairs, from {accepted.low:.0f} to {most}")
