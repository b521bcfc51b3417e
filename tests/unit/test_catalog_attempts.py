"""A shard with rows that failed for a passing reason is tried again under a key of its own."""

import pytest

from catalog.attempts import PASSING, attempt_key, latest_attempt, next_attempt
from catalog.reasons import Reason
from catalog.store import write_shard
from catalog.workspace import Workspace

KEY = "0" * 32


def write(workspace: Workspace, key: str, reason: Reason | None) -> None:
    row = {"region_id": "a/1/1", "reason": None if reason is None else reason.value}
    write_shard(workspace, "regions", key, lambda writer: [row], {})


@pytest.mark.parametrize("reason", PASSING)
def test_passing_reason_makes_the_next_attempt(tmp_path, reason):
    workspace = Workspace(tmp_path)
    assert attempt_key(workspace, "regions", KEY, retry=True) == KEY  # nothing there yet: the first attempt
    write(workspace, KEY, reason)
    assert attempt_key(workspace, "regions", KEY, retry=False) == KEY
    assert attempt_key(workspace, "regions", KEY, retry=True) == next_attempt(KEY)


@pytest.mark.parametrize("reason", [None, Reason.EMPTY_MASK])
def test_lasting_outcome_is_not_tried_again(tmp_path, reason):
    workspace = Workspace(tmp_path)
    write(workspace, KEY, reason)
    assert attempt_key(workspace, "regions", KEY, retry=True) == KEY


def test_last_attempt_that_exists_is_in_use_without_asking(tmp_path):
    workspace = Workspace(tmp_path)
    second, third = next_attempt(KEY), next_attempt(next_attempt(KEY))
    write(workspace, KEY, Reason.BACKEND_FAILED)
    write(workspace, second, Reason.BACKEND_FAILED)
    assert latest_attempt(workspace, "regions", KEY) == second
    assert attempt_key(workspace, "regions", KEY, retry=True) == third
    write(workspace, third, None)
    assert attempt_key(workspace, "regions", KEY, retry=True) == third
    assert attempt_key(workspace, "regions", KEY, retry=False) == third
    assert len({KEY, second, third}) == 3
