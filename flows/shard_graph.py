"""Runs the steps of a build as Prefect tasks: one task run per shard and step, followers as shards appear.

Prefect schedules and shows; the shards are the truth, and `tasks.build_plan` knows the order. A shard that exists is
taken as found without a task run, so a second run, or a run after a kill, does only what is missing. A shard that
fails does not stop the others: what does not depend on it goes on, and the flow ends failed with the list.
"""

import errno
import queue
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from catalog.command_line import explain_system_error
from catalog.errors import UserError
from catalog.ledger import LedgerEntry, append_entry, open_bill, utc_now
from catalog.store import Shard
from catalog.workspace import Workspace
from flows.timing import current_flow_run
from tasks.build_plan import BuildPlan, Job
from tasks.listing import list_source
from tasks.profiles import Profile
from tasks.readers.progress import listening
from tasks.step_calls import Call

_PERMANENT = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT}
_LOG_SECONDS = 10.0  # between two lines about a file that is being read
_CLOCK_SLACK = 0.05  # seconds by which a file's time may lag behind the clock


@dataclass(frozen=True)
class _Listed:
    """One listing shard has appeared while its source is still being listed."""

    source: int
    shard: Shard


@dataclass(frozen=True)
class _ListingEnded:
    """The task that lists one source has ended."""

    source: int
    future: "PrefectFuture[Any]"


@dataclass(frozen=True)
class _Ended:
    """The task of one job has ended."""

    job: Job
    future: "PrefectFuture[Any]"


@dataclass
class BuildOutcome:
    """What a build came to."""

    shards: list[Shard] = field(default_factory=list)
    """Every shard of the build, made now or found."""
    made: Counter[str] = field(default_factory=Counter)
    """Shards made in this run, by step."""
    found: Counter[str] = field(default_factory=Counter)
    """Shards that were there already, by step."""
    failures: dict[str, str] = field(default_factory=dict)
    """Task name to what went wrong, one sentence."""
    waiting: list[str] = field(default_factory=list)
    """Tasks that could not start because of a failure."""

    def sentence(self) -> str:
        """Counts, and each failure with its reason."""
        done = sum(self.made.values()) + sum(self.found.values())
        text = f"{done} shards done ({sum(self.found.values())} were there already)"
        if not self.failures:
            return text
        listed = "\n".join(f"  {name}: {reason}" for name, reason in sorted(self.failures.items()))
        return (
            f"{len(self.failures)} failed, {len(self.waiting)} not started because of them, {text}; finished "
            f"work is kept, so run the same command again after mending:\n{listed}"
        )


class ShardGraph:
    """Submits steps as their inputs appear. Used once, from one thread: ``ShardGraph(...).run()``.

    Args:
        workspace: where shards live.
        profile: what is built.
        workers: shards worked on at a time.
        retry: whether shards with rows that failed for a passing reason are made again (`catalog.attempts`).
    """

    def __init__(self, workspace: Workspace, profile: Profile, workers: int, *, retry: bool = False) -> None:
        self._workspace = workspace
        self._profile = profile
        self._retry = retry
        self._runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
        self._events: queue.SimpleQueue[_Listed | _ListingEnded | _Ended] = queue.SimpleQueue()
        self._num_running = 0
        self._plan = BuildPlan(workspace, profile)
        self._outcome = BuildOutcome()

    def run(self) -> BuildOutcome:
        """List every source and run every step that follows; returns when nothing more can run."""
        with self._runner:
            for index, source in enumerate(self._profile.sources):
                self._submit(
                    as_task(self._list), "list", source.dataset, {"index": index}, partial(_ListingEnded, index)
                )
            while self._num_running:
                self._take(self._events.get())
                while jobs := self._plan.ready():
                    for job in jobs:
                        self._start(job)
        if found := self._outcome.found.total():
            get_run_logger().info("%d shards were there already: no task was started for them", found)
        self._outcome.shards, self._outcome.waiting = self._plan.shards, self._plan.waiting
        return self._outcome

    def _list(self, index: int) -> None:
        with listening(_LoggedProgress()):
            for shard in list_source(self._workspace, self._profile, index):
                self._events.put(_Listed(index, shard))

    def _take(self, event: _Listed | _ListingEnded | _Ended) -> None:
        if isinstance(event, _Listed):
            self._plan.listed(event.source, event.shard)
            return
        self._num_running -= 1
        event.future.wait()
        state = event.future.state
        if isinstance(event, _ListingEnded):
            if not state.is_completed():
                self._fail(f"list {self._profile.sources[event.source].dataset}", _reason(state))
            self._plan.listing_ended(failed=not state.is_completed())
        elif state.is_completed():
            shard, made = event.future.result()
            self._finish(event.job, shard, made)
        else:
            self._fail(event.job.name, _reason(state))
            self._plan.fail(event.job)

    def _start(self, job: Job) -> None:
        """Take a job's shard where it is there; else make it in a task."""
        try:
            call = Call(job.step, self._workspace, self._profile, job.inputs, job.extra, retry=self._retry)
            shard = call.find()
        except (UserError, OSError, ImportError) as error:
            self._fail(job.name, explain_system_error(error) if isinstance(error, OSError) else str(error))
            self._plan.fail(job)
            return
        if shard is not None:
            self._finish(job, shard, made=False)
            return
        flow_run = current_flow_run()

        def make_shard() -> tuple[Shard, bool]:
            return _timed(self._workspace, job.step, call.run, flow_run)

        tags = {"gpu"} if call.device == "cuda" else set()
        self._submit(as_task(make_shard).with_options(tags=tags), job.step, job.label, {}, partial(_Ended, job))

    def _submit(
        self,
        work: Task[..., Any],
        step: str,
        label: str,
        parameters: dict[str, Any],
        ended: Callable[["PrefectFuture[Any]"], _ListingEnded | _Ended],
    ) -> None:
        self._num_running += 1
        named = work.with_options(name=step, task_run_name=f"{step} {label}")
        future = self._runner.submit(named, parameters=parameters)
        future.add_done_callback(lambda done: self._events.put(ended(done)))

    def _finish(self, job: Job, shard: Shard, made: bool) -> None:
        (self._outcome.made if made else self._outcome.found)[job.step] += 1
        self._plan.done(job, shard)

    def _fail(self, name: str, reason: str) -> None:
        self._outcome.failures[name] = reason
        get_run_logger().error("%s failed: %s", name, reason)


class _LoggedProgress:
    """Logs how far a large annotation file is read, now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, name: str, done: int, total: int) -> None:
        if time.monotonic() - self._last >= _LOG_SECONDS:
            self._last = time.monotonic()
            get_run_logger().info("%s: %d of %d MiB read", name, done >> 20, total >> 20)


def as_task(function: Callable[..., Any]) -> Task[..., Any]:
    """A task that Prefect neither caches nor stores: the shard store does both."""
    made: Task[..., Any] = task(
        retries=2,
        retry_delay_seconds=[1.0, 5.0],
        retry_condition_fn=_may_pass,
        persist_result=False,
        cache_policy=NO_CACHE,
    )(function)
    return made


def _reason(state: State[Any]) -> str:
    """What went wrong, in one sentence where it is the user's to mend."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return explain_system_error(error)
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(state)


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Whether trying again can help: a passing fault of disk or network, never a user's mistake."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and error.errno not in _PERMANENT


def _timed(workspace: Workspace, step: str, make: Callable[[], Shard], flow_run: str) -> tuple[Shard, bool]:
    """Make or find a shard, note in the ledger what it took and cost, and say whether it was made now."""
    started_at, clock, start = utc_now(), time.time(), time.monotonic()
    shard: Shard | None = None
    made = False
    with open_bill() as bill:
        try:
            shard = make()
            made = shard.file(workspace).stat().st_mtime >= clock - _CLOCK_SLACK
            return shard, made
        finally:
            if shard is not None or bill.cost:  # what was paid for counts, whatever came of it
                entry = LedgerEntry(
                    step=step,
                    key=shard.key if shard else "",
                    seconds=round(time.monotonic() - start, 3),
                    rows=shard.num_rows if shard else 0,
                    usable=shard.num_usable if shard else 0,
                    made=made,
                    started_at=started_at,
                    flow_run=flow_run,
                    cost=round(bill.cost, 6),
                )
                append_entry(workspace, entry)
