"""Times of work into the ledger, with the flow run that did it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import FlowRunContext

from catalog.ledger import LedgerEntry, append_entry, utc_now
from catalog.workspace import Workspace


@contextmanager
def timed(workspace: Workspace, step: str) -> Iterator[None]:
    """Note how long a piece of work that makes no shard took, if it ends well."""
    started_at, start = utc_now(), time.monotonic()
    yield
    entry = LedgerEntry(
        step=step,
        key="",
        seconds=round(time.monotonic() - start, 3),
        rows=0,
        usable=0,
        made=True,
        started_at=started_at,
        flow_run=current_flow_run(),
    )
    append_entry(workspace, entry)


def current_flow_run() -> str:
    """Prefect's id of the flow run that we are in; empty outside one."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""
