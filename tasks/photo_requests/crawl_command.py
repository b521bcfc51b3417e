"""Fetch photo requests from a list, match photos and results, and say what became of each.

    python -m tasks crawl requests.jsonl --opt-out opt-out.txt --set fetch.contact=mailto:me@example.com
    python -m tasks crawl PhotoshopRequest_submissions.zst --comments PhotoshopRequest_comments.zst
    python -m tasks crawl requests.jsonl --again failed

A list is JSON lines or Parquet with the columns page, before, after and text, or a Reddit dump; before and after are
URLs, or files below the list's folder. Whatever has been fetched is kept below data/photo_requests and not asked for
again. The flow crawl-requests does the same under Prefect. Pictures of strangers' requests show private people and
belong to those who made them: crawl only what you may use, and honour those who ask to be left out.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from catalog.manifests import Manifest
from catalog.reports import text_table
from catalog.store import Shard, read_metadata
from catalog.workspace import Workspace
from tasks.photo_requests.collection import AGAIN, Collection, CrawlRequest
from tasks.photo_requests.crawl_settings import FetchParameters, read_settings
from tasks.replay_command import parse_settings

DEFAULT_NAME = "crawl-requests"


def main(arguments: Sequence[str]) -> int:
    """Crawl one list."""
    options = _parse(arguments)
    workspace = Workspace.default()
    crawl = CrawlRequest(
        name=options.name,
        list_file=options.list,
        comments=options.comments,
        opt_out=options.opt_out,
        settings=read_settings(parse_settings(options.set)),
        again=options.again,
        offline=options.offline,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)  # without a terminal a bar leaves but an empty line
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        line = progress.add_task("chunk 1: fetched", total=None)
        collection = Collection(
            workspace, crawl, lambda done, total: progress.update(line, completed=done, total=total)
        )
        shards: list[Shard] = []
        for rows in collection.chunks():
            progress.update(
                line, description=f"chunk {len(shards) + 1}: matching {len(rows)} rows", completed=0, total=None
            )
            shards.append(collection.match(rows))
            progress.update(line, description=f"chunk {len(shards) + 1}: fetched")
        manifest = collection.finish(shards)
    sys.stdout.write(in_words(workspace, manifest, collection.counts) + "\n")
    return 0


def count_outcomes(workspace: Workspace, manifest: Manifest) -> dict[str, int]:
    """Rows of a crawl by what became of them: "pair", or the reason why not, most frequent first."""
    counts: Counter[str] = Counter()
    for shards in manifest.tables.values():
        for shard in shards:
            counts["pair"] += shard.num_usable
            counts.update(read_metadata(shard.file(workspace))["reasons"])
    return dict(counts.most_common())


def in_words(workspace: Workspace, manifest: Manifest, counts: Counter[str]) -> str:
    """What became of the rows, how much was asked for, and what to do next."""
    outcomes: list[list[Any]] = [[outcome, count] for outcome, count in count_outcomes(workspace, manifest).items()]
    asked = (
        f"{counts['fetched']} addresses fetched now, {counts['archived']} known before, {counts['local']} local files"
    )
    place = workspace.manifest_path(manifest.name)
    return f"{text_table(['outcome', 'rows'], outcomes)}\n\n{asked}; crawl {manifest.name!r} in {place}"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    defaults = FetchParameters()
    parser = argparse.ArgumentParser(
        prog="python -m tasks crawl", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("list", type=Path, help="list of requests: .jsonl, .parquet, or .zst (submissions of a dump)")
    parser.add_argument("--comments", type=Path, help="comments of a dump (default: the file beside it by name)")
    parser.add_argument(
        "--opt-out", type=Path, help="file of hosts, URLs, u/NAMES and SHA-256s to leave out, one a line"
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="name of the crawl (default: %(default)s)")
    parser.add_argument(
        "--again",
        choices=AGAIN,
        default="never",
        help="what is asked for again of what is known (default: %(default)s)",
    )
    parser.add_argument(
        "--offline", action="store_true", help="ask nobody: use what was fetched before and local files"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting, any number of times: fetch.host_rate (requests per second and host, default "
        f"{defaults.host_rate:g}), fetch.host_connections (at a time, {defaults.host_connections}), fetch.timeout "
        f"(seconds for one picture, {defaults.timeout:g}), fetch.max_bytes ({defaults.max_bytes}), fetch.contact (sent "
        "along), subreddits (JSON list), with_adult_posts, match.min_inliers and others "
        "(tasks/photo_requests/crawl_settings.py)",
    )
    return parser.parse_args(arguments)
