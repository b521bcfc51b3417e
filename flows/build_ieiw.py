"""Flow ``build-ieiw``: source datasets to scored candidate pairs, as shards.

::

    prefect deployment run build-ieiw
    prefect deployment run build-ieiw -p workers=8 -p 'overrides={"images_per_shard": 64}'
    prefect deployment run build-ieiw -p requests=requests.jsonl

Finished shards are recognised: a second run takes seconds, a run after a kill does what is missing.
"""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from catalog.command_line import explain_system_error
from catalog.errors import UserError
from catalog.manifests import Manifest, check_build_name, check_same_kind
from catalog.store import Shard
from catalog.workspace import Workspace
from flows.crawl_requests import join_requests
from flows.run_artifacts import publish_build, publish_forecast
from flows.shard_graph import ShardGraph
from tasks.contact_sheet import write_contact_sheet
from tasks.forecast import compare_with_build, read_forecast
from tasks.profiles import read_profile
from tasks.steps import finish_build, prepare


@flow(name="build-ieiw", flow_run_name="build {profile}")
def build_ieiw(
    profile: Annotated[
        str, Field(description="Profile file: sources, backends and their parameters.")
    ] = "infra/profiles/embedded.toml",
    overrides: Annotated[
        dict[str, Any] | None,
        Field(description='Values that win over the profile, by dotted name: {"backends.inpainter": "lama"}.'),
    ] = None,
    name: Annotated[
        str | None, Field(description="Name of the build's manifest; the profile's own name where absent.")
    ] = None,
    workers: Annotated[
        int, Field(ge=1, le=256, description="Shards worked on at a time. The result does not depend on it.")
    ] = 2,
    retry: Annotated[
        bool,
        Field(
            description="Try rows again that failed for a reason that may have passed: a server was down, a disk away."
        ),
    ] = False,
    requests: Annotated[
        str | None,
        Field(
            description="Photo requests whose pairs join the build: the name of a finished crawl, or a list, of whose "
            "pictures those count that are local files or were fetched before (the build asks nobody)."
        ),
    ] = None,
    opt_out: Annotated[
        str | None, Field(description="Of a list: file of hosts, URLs, u/NAMES and SHA-256s to leave out, one a line.")
    ] = None,
) -> State[Any]:
    """Read the sources, make the edits, word and score them: regions, edits, pairs and scores as shards."""
    log = get_run_logger()
    workspace = Workspace.default()
    try:
        settings = read_profile(Path(profile), overrides)
        check_same_kind(workspace, check_build_name(name or settings.name), "pairs")  # now, not after hours of work
        for leftover in prepare(workspace):
            log.info("removed %s, which a killed run left", leftover)
        crawled: list[Shard] = []
        if requests is not None:
            settings, crawled = join_requests(workspace, settings, requests, opt_out, workers)
        outcome = ShardGraph(workspace, settings, workers, retry=retry).run()
        if outcome.failures:
            return Failed(message=outcome.sentence())
        manifest = finish_build(workspace, settings, name or settings.name, [*outcome.shards, *crawled])
        publish_build(workspace, manifest, outcome, _draw_sheet(workspace, manifest))
        _tell_forecast(workspace, manifest)
    except UserError as error:
        return Failed(message=str(error))
    except OSError as error:
        return Failed(message=explain_system_error(error))
    log.info("build %r: %s; manifest %s", manifest.name, outcome.sentence(), workspace.manifest_path(manifest.name))
    return Completed(message=outcome.sentence())


def _draw_sheet(workspace: Workspace, manifest: Manifest) -> Path | None:
    """The contact sheet, where there is a pair to show. The build is finished whatever comes of it."""
    path = workspace.catalog / "reports" / f"{manifest.name}-contact-sheet.png"
    try:
        return write_contact_sheet(workspace, manifest, path)
    except UserError as error:
        get_run_logger().warning("no contact sheet: %s", error)
        return None


def _tell_forecast(workspace: Workspace, manifest: Manifest) -> None:
    """How good the forecast of this build was, where there is one. The build is finished whatever comes of it."""
    log = get_run_logger()
    try:
        forecast = read_forecast(workspace, manifest.name)
        if forecast is None:
            return
        outcomes = compare_with_build(workspace, forecast, manifest)
    except UserError as error:
        log.warning("the forecast cannot be compared: %s", error)
        return
    publish_forecast(outcomes, manifest.name)
    for one in outcomes:
        held = "within" if one.is_covered else "outside"
        log.info("%s: forecast %.4g, came out %.4g, %s its interval", one.quantity, one.forecast.value, one.truth, held)
