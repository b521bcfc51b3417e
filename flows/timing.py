"""Times of work into the ledger, with the flow run that did it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.context import FlowRunContext

from catalog.errors import MixError
from catalog.ledger import LedgerEntry, append_entry, utc_now
from catalog.parquet_streams import mix_digest
from catalog.workspace import Workspace


@dataclass
class Work:
    """What is known of a piece of work under way."""

    made: bool = True
    """False: what it makes was there already."""


@contextmanager
def timed(workspace: Workspace, step: str) -> Iterator[Work]:
    """Note how long a piece of work that makes no shard took, if it ends well."""
    started_at, start = utc_now(), time.monotonic()
    work = Work()
    yield work
    entry = LedgerEntry(
        step=step,
        key="",
        seconds=round(time.monotonic() - start, 3),
        rows=0,
        usable=0,
        made=work.made,
        started_at=started_at,
        flow_run=current_flow_run(),
    )
    append_entry(workspace, entry)


@contextmanager
def timed_mix(workspace: Workspace, output: Path) -> Iterator[None]:
    """Note how long a mix took; one that came out as it was there already is not made."""
    before = _digest(output)
    with timed(workspace, "mix") as work:
        yield
        work.made = _digest(output) != before


def _digest(mix: Path) -> str | None:
    try:
        return mix_digest(mix)
    except MixError:  # not there, or torn: it is made anew
        return None


def current_flow_run() -> str:
    """Prefect's id of the flow run that we are in; empty outside one."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""
