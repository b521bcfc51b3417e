"""Flow ``crawl-requests``: photo requests of a list fetched, matched and kept, whatever became of them.

::

    prefect deployment run crawl-requests -p requests=requests.jsonl -p opt_out=opt-out.txt
    prefect deployment run crawl-requests -p requests=PhotoshopRequest_submissions.zst -p again=failed

One chunk after the other is fetched, at the pace that its hosts allow; chunks that are there are matched meanwhile.
What was fetched is not asked for again, so a run after a kill goes on where it was. `build-ieiw` takes the pairs in
with ``-p requests=...``.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from catalog.command_line import explain_system_error
from catalog.errors import ConfigError, UserError
from catalog.manifests import Manifest, list_manifests, read_manifest
from catalog.reports import counted
from catalog.store import Shard
from catalog.workspace import Workspace
from flows.run_artifacts import publish_crawl
from flows.shard_graph import as_task
from flows.timing import timed
from tasks.photo_requests.collection import Collection, CrawlRequest, Row
from tasks.photo_requests.crawl_command import DEFAULT_NAME, count_outcomes
from tasks.photo_requests.crawl_settings import read_settings
from tasks.photo_requests.records import TABLE
from tasks.profiles import Profile, Source

DATASET = "photo_request"
"""Of the pairs of a crawl, as infra/mixes/paper.toml names them."""


@flow(name="crawl-requests", flow_run_name="crawl {requests}")
def crawl_requests(
    requests: Annotated[str, Field(description="List of requests: .jsonl, .parquet, or .zst (a dump's submissions).")],
    comments: Annotated[
        str | None, Field(description="Comments of a dump; where absent, the file beside it by its name.")
    ] = None,
    opt_out: Annotated[
        str | None, Field(description="File of hosts, URLs, u/NAMES and SHA-256s to leave out, one a line.")
    ] = None,
    name: Annotated[str, Field(description="Name of the crawl's manifest.")] = DEFAULT_NAME,
    settings: Annotated[
        dict[str, Any] | None,
        Field(description='Limits by dotted name: {"fetch.host_rate": 0.5, "fetch.contact": "mailto:me@example.com"}.'),
    ] = None,
    again: Annotated[
        str, Field(description="What is asked for again of what is known: never, failed or all.")
    ] = "never",
    workers: Annotated[
        int, Field(ge=1, le=64, description="Chunks matched at a time. The result does not depend on it.")
    ] = 2,
) -> State[Any]:
    """Fetch what is not yet known, match photos and results, and write the table `requests`."""
    workspace = Workspace.default()
    try:
        crawl = CrawlRequest(
            name=name,
            list_file=Path(requests),
            comments=Path(comments) if comments else None,
            opt_out=Path(opt_out) if opt_out else None,
            settings=read_settings(settings),
            again=again,
        )
        manifest, sentence = run_crawl(workspace, crawl, workers)
    except UserError as error:
        return Failed(message=str(error))
    except OSError as error:
        return Failed(message=explain_system_error(error))
    return Completed(message=f"{sentence}; manifest {workspace.manifest_path(manifest.name)}")


def run_crawl(workspace: Workspace, crawl: CrawlRequest, workers: int) -> tuple[Manifest, str]:
    """Fetch chunk by chunk and match in tasks; returns the crawl's manifest and what came of it in one sentence.

    Raises:
        UserError: list, settings or opt-outs are not right.
    """
    log = get_run_logger()
    collection = Collection(workspace, crawl)
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
    with timed(workspace, "crawl_requests"), runner:
        futures: list[PrefectFuture[Any]] = []
        for number, rows in enumerate(collection.chunks(), start=1):
            usable = sum(row["reason"] is None for row in rows)
            log.info("chunk %d: %d of %d rows have both pictures", number, usable, len(rows))
            futures.append(_submit(runner, collection, rows, number))
        shards: list[Shard] = [future.result() for future in futures]
    manifest = collection.finish(shards)
    outcomes = count_outcomes(workspace, manifest)
    publish_crawl(manifest, outcomes)
    counts = collection.counts
    total = sum(outcomes.values())
    asked = f"{counts['fetched']} addresses fetched, {counts['archived']} known before, {counts['local']} local files"
    return manifest, f"{counted(outcomes.get('pair', 0), 'pair')} of {counted(total, 'row')}; {asked}"


def join_requests(
    workspace: Workspace, profile: Profile, requests: str, opt_out: str | None, workers: int
) -> tuple[Profile, list[Shard]]:
    """A profile with photo requests as one more source, and the shards of ``requests`` behind it.

    Args:
        workspace: where the build is made.
        profile: of the build.
        requests: name of a finished crawl, or a list, which is matched now; its pictures are not fetched.
        opt_out: of a list.
        workers: chunks matched at a time.

    Raises:
        UserError: no such crawl or list, or the profile has a source of that name.
    """
    if requests in list_manifests(workspace) and not Path(requests).exists():
        manifest = read_manifest(workspace, requests)
        if TABLE not in manifest.tables:
            raise ConfigError(f"{requests!r} is no crawl, but a build or decision: name a crawl, or give a list")
    else:
        crawl = CrawlRequest(
            name=f"{profile.name}-requests",
            list_file=Path(requests),
            opt_out=Path(opt_out) if opt_out else None,
            settings=read_settings(None),
            offline=True,
        )
        manifest, sentence = run_crawl(workspace, crawl, workers)
        get_run_logger().info("photo requests of %s: %s", requests, sentence)
    if any(source.dataset == DATASET for source in profile.sources):
        raise ConfigError(f"the profile has a source {DATASET!r} of its own: leave out one of the two")
    options = {"crawl": manifest.name}
    source = Source(dataset=DATASET, reader="photo_requests", root=str(workspace.home), options=options)
    return replace(profile, sources=(*profile.sources, source)), manifest.tables.get(TABLE, [])


def _submit(
    runner: "ThreadPoolTaskRunner[Any]", collection: Collection, rows: list[Row], number: int
) -> "PrefectFuture[Any]":
    def match() -> Shard:
        return collection.match(rows)

    named = as_task(match).with_options(name="match_requests", task_run_name=f"match_requests {number}")
    return runner.submit(named, parameters={})
