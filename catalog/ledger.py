"""The ledger: what each piece of work took, one JSON line per shard, beside the shards and never inside them.

Shards must be the same bytes on every run, so times and costs live here: ``catalog/ledger/<date>.jsonl``.
A line is one ``write`` to a file opened for appending, so any number of workers may write at once. Nothing
depends on the ledger; deleting it loses only history.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from catalog.digests import canonical_json
from catalog.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One piece of work that ended well, or that was paid for and failed (without key and rows)."""

    step: str
    key: str
    """The shard's content key; empty for work that makes no shard (training)."""
    seconds: float
    """Wall time."""
    rows: int
    usable: int
    made: bool
    """False: the shard was there already."""
    started_at: str
    """ISO 8601, UTC."""
    flow_run: str
    """Prefect's id of the flow run; empty outside one."""
    cost: float = 0.0
    """What helper models charged for it, in the currency of the prices that the profile gives."""


@dataclass
class Bill:
    """What a piece of work has spent so far."""

    cost: float = 0.0


_BILL: ContextVar[Bill | None] = ContextVar("bill", default=None)


@contextmanager
def open_bill() -> Iterator[Bill]:
    """Collect what `charge` is told by this thread until the end of the block."""
    bill = Bill()
    token = _BILL.set(bill)
    try:
        yield bill
    finally:
        _BILL.reset(token)


def charge(cost: float) -> None:
    """Put a cost on the bill of the work that this thread does; without one it is not counted."""
    if bill := _BILL.get():
        bill.cost += cost


def append_entry(workspace: Workspace, entry: LedgerEntry) -> None:
    """Add one line. Lines are far below a page, so one ``write`` is not torn by another's."""
    workspace.ledger.mkdir(parents=True, exist_ok=True)
    path = workspace.ledger / f"{entry.started_at[:10]}.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, canonical_json(asdict(entry)).encode() + b"\n")
    finally:
        os.close(descriptor)


def read_entries(workspace: Workspace) -> Iterator[LedgerEntry]:
    """All entries, oldest file first. A line torn by a power cut is left out."""
    for path in sorted(workspace.ledger.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield LedgerEntry(**json.loads(line))
            except (ValueError, TypeError):
                continue


def utc_now() -> str:
    """The time now as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
