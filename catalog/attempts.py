"""Further attempts at a shard that holds rows which failed for a passing reason.

A committed shard never changes, so a new attempt is a new shard: its key is the digest of the key before it. The
attempts of a shard form a chain on disk, and the last one that exists is the one in use; nothing else keeps count.
"""

from collections.abc import Mapping
from typing import Any

from catalog.digests import value_digest
from catalog.reasons import Reason
from catalog.store import read_metadata
from catalog.workspace import Workspace

PASSING = (Reason.BACKEND_FAILED, Reason.CHANGED_FILE, Reason.UNREADABLE_FILE)
"""Reasons that may be gone tomorrow with the same inputs: a server was down, a disk was away."""


def next_attempt(key: str) -> str:
    """The key of the attempt after ``key``."""
    return value_digest(["attempt", key])[:32]


def latest_attempt(workspace: Workspace, table: str, key: str) -> str:
    """The key of the last attempt that exists; ``key`` itself where there is no other."""
    while workspace.table_path(table, following := next_attempt(key)).exists():
        key = following
    return key


def attempt_key(workspace: Workspace, table: str, key: str, *, retry: bool) -> str:
    """The key under which a shard is looked for and, where absent, made.

    Args:
        workspace: where shards live.
        table: the step's output table.
        key: the content key of the first attempt.
        retry: whether rows that failed for one of `PASSING` are to be tried again, which makes their whole shard
            anew (the other rows come out as before).
    """
    key = latest_attempt(workspace, table, key)
    path = workspace.table_path(table, key)
    if retry and path.exists() and num_passing(read_metadata(path)):
        return next_attempt(key)
    return key


def num_passing(metadata: Mapping[str, Any]) -> int:
    """Rows of a shard, by its footer, that failed for a passing reason."""
    return sum(int(metadata["reasons"].get(reason.value, 0)) for reason in PASSING)
