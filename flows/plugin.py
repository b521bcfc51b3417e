"""Prefect plugin: ``prefect deployment run build-ieiw`` means the flow's only deployment, on the local server.

Prefect itself wants ``FLOW/DEPLOYMENT``. The entry point ``prefect.plugins`` in pyproject.toml names this
module and prefect.toml enables it, so it acts only on ``prefect`` commands run in this folder; it changes
one method of the client, only for ``prefect deployment`` commands, and only for names without a slash. Where
`make server` found port 4200 taken, commands find its other port, unless ``PREFECT_API_URL`` says where to go.
Clear sentences replace the tracebacks that an unknown name or an absent server give.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from prefect.plugins import SetupResult, register_hook

from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.local_server import DEFAULT_PORT, REPOSITORY, running_server

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.plugins import HookContext


@register_hook
def setup_environment(*, ctx: "HookContext") -> SetupResult:
    """Prefect calls this before every command: no tracking, the local server's URL and, where needed, bare names."""
    if "deployment" in sys.argv[1:]:  # other commands keep their start-up time
        resolve_bare_names(any_folder="PREFECT_API_URL" in os.environ)
    return SetupResult(env={"DO_NOT_TRACK": "1", **_local_url(ctx.api_url)}, note="no tracking, local server")


def _local_url(configured: str | None) -> dict[str, str]:
    """``PREFECT_API_URL`` where only prefect.toml says where the server is, and `make server` is elsewhere."""
    if "PREFECT_API_URL" in os.environ or configured != f"http://127.0.0.1:{DEFAULT_PORT}/api":
        return {}
    try:
        url = running_server(Workspace.default())
    except UserError as error:
        _stop(str(error))
    return {"PREFECT_API_URL": url} if url else {}


def resolve_bare_names(any_folder: bool = True) -> None:
    """Let ``PrefectClient.read_deployment_by_name`` take a flow name. Calling it again changes nothing.

    Args:
        any_folder: False refuses what another folder deployed: it would run other code on other data.
    """
    from httpx import ConnectError
    from prefect.client.orchestration import PrefectClient

    stock = PrefectClient.read_deployment_by_name
    if getattr(stock, "resolves_bare_names", False):
        return

    async def read_deployment_by_name(client: "PrefectClient", name: str) -> "DeploymentResponse":
        try:
            found = await stock(client, name) if "/" in name else await _find_only_deployment(client, name)
            if not any_folder and (folder := _other_folder(found)):
                _stop(
                    f"the server at {str(client.api_url).rstrip('/')} runs {name!r} in {folder}, not here: start your "
                    "own with `make server`, or set PREFECT_API_URL to that server"
                )
            return found
        except ConnectError:
            _stop(f"no Prefect server answers at {str(client.api_url).rstrip('/')}: start it with `make server`")

    read_deployment_by_name.resolves_bare_names = True  # type: ignore[attr-defined]
    PrefectClient.read_deployment_by_name = read_deployment_by_name  # type: ignore[method-assign, assignment]


def _other_folder(deployment: "DeploymentResponse") -> str:
    """Where a deployment's runs have their code, if that is another folder of this machine than this one."""
    for step in deployment.pull_steps or []:
        folder = (step.get("prefect.deployments.steps.set_working_directory") or {}).get("directory")
        if folder and Path(folder).resolve() != REPOSITORY:
            return str(folder)
    return ""


async def _find_only_deployment(client: "PrefectClient", flow_name: str) -> "DeploymentResponse":
    """The deployment of the flow ``flow_name``; ends the command where there is none or more than one."""
    deployments = await client.read_deployments()
    names = {flow.id: flow.name for flow in await client.read_flows()}
    found = [entry for entry in deployments if names.get(entry.flow_id) == flow_name]
    if len(found) == 1:
        return found[0]
    if found:
        forms = sorted(f"{flow_name}/{entry.name}" for entry in found)
        _stop(f"flow {flow_name!r} has {len(found)} deployments: say which one ({', '.join(forms)})")
    forms = sorted(f"{names.get(entry.flow_id, '?')}/{entry.name}" for entry in deployments)
    known = f"deployed here: {', '.join(forms)}" if forms else "nothing is deployed here"
    _stop(f"no flow named {flow_name!r} is deployed ({known}); `prefect deploy --all` deploys prefect.yaml")


def _stop(sentence: str) -> NoReturn:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(1)
