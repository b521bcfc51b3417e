"""Runs the steps of a build as Prefect tasks: one task run per shard and step, followers as shards appear.

Prefect schedules and shows; the shards are the truth. A step whose shard exists returns at once, so a
second run, or a run after a kill, does only what is missing. A shard that fails does not stop the others:
what does not depend on it goes on, and the flow ends failed with the list.
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

from catalog.errors import UserError
from catalog.ledger import LedgerEntry, append_entry, utc_now
from catalog.store import Shard
from catalog.workspace import Workspace
from flows.timing import current_flow_run
from tasks.listing import list_source
from tasks.profiles import Profile
from tasks.steps import STEPS, run_step, step_device, successors

_PERMANENT = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT}
_CLOCK_SLACK = 0.05  # seconds by which a file's time may lag behind the clock


@dataclass(frozen=True)
class _Done:
    """One task run has ended."""

    step: str
    label: str
    order: tuple[int, int]
    future: "PrefectFuture[Any]"


@dataclass(frozen=True)
class _Listed:
    """One listing shard has appeared while its source is still being listed."""

    source: int
    shard: Shard


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
    """Submits steps as their inputs appear. Used once, from one thread: ``ShardGraph(...).run()``."""

    def __init__(self, workspace: Workspace, profile: Profile, workers: int) -> None:
        self._workspace = workspace
        self._profile = profile
        self._runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
        self._events: queue.SimpleQueue[_Done | _Listed] = queue.SimpleQueue()
        self._active: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._num_listed: Counter[int] = Counter()
        self._regions: dict[tuple[int, int], Shard] = {}
        self._unscored: list[tuple[str, tuple[int, int], Shard]] = []
        self._references: Shard | None = None
        self._outcome = BuildOutcome()

    def run(self) -> BuildOutcome:
        """List every source and run every step that follows; returns when nothing more can run."""
        with self._runner:
            for index, source in enumerate(self._profile.sources):
                self._submit(self._list_task(), "list", source.dataset, (index, 0), {"index": index})
            while self._active.total():
                event = self._events.get()
                if isinstance(event, _Listed):
                    self._follow_listing(event)
                else:
                    self._finish(event)
                self._pass_barrier()
        if self._references is None:
            self._outcome.waiting += [f"score {label}" for label, _, _ in self._unscored]
        return self._outcome

    def _follow_listing(self, event: _Listed) -> None:
        if event.shard.key in self._seen:  # a retried listing repeats itself
            return
        self._seen.add(event.shard.key)
        self._num_listed[event.source] += 1
        number = self._num_listed[event.source]
        label = f"{self._profile.sources[event.source].dataset} {number}"
        self._accept(event.shard, label, (event.source, number))

    def _finish(self, event: _Done) -> None:
        self._active[event.step] -= 1
        name = f"{event.step} {event.label}"
        event.future.wait()
        state = event.future.state
        if not state.is_completed():
            self._fail(name, _reason(state))
            return
        if event.step == "list":
            return
        shard, made = event.future.result()
        (self._outcome.made if made else self._outcome.found)[event.step] += 1
        label = f"{event.label} {event.step}" if shard.table == "pairs" else event.label
        self._accept(shard, label, event.order)

    def _accept(self, shard: Shard, label: str, order: tuple[int, int]) -> None:
        """Take a shard into the build and start what follows from it."""
        self._outcome.shards.append(shard)
        if shard.table == "regions" and shard.num_rows:
            self._regions[order] = shard
        if shard.table == "references":
            self._references = shard
        for step in successors(self._workspace, self._profile, shard):
            if step == "score":
                self._unscored.append((label, order, shard))
            else:
                self._submit_step(step, label, order, [shard])

    def _pass_barrier(self) -> None:
        """References need the regions of the whole build; scores need the references."""
        if self._references is not None:
            for label, order, shard in self._unscored:
                self._submit_step("score", label, order, [shard], {"references": self._references})
            self._unscored.clear()
            return
        before = ("list", "ingest", "references")
        if any(self._active[step] for step in before) or not self._unscored:
            return
        if any(name.split()[0] in before for name in self._outcome.failures):
            return  # incomplete references would give scores that the next run throws away
        regions = [self._regions[order] for order in sorted(self._regions)]
        self._submit_step("references", "of all regions", (0, 0), regions)

    def _submit_step(
        self,
        step: str,
        label: str,
        order: tuple[int, int],
        inputs: list[Shard],
        extra: dict[str, Shard] | None = None,
    ) -> None:
        try:
            device = step_device(step, self._profile)
        except (UserError, OSError, ImportError) as error:
            self._fail(f"{step} {label}", str(error))
            return
        made = self._step_task(step, inputs, extra)
        tags = {"gpu"} if device == "cuda" else set()
        self._submit(made.with_options(tags=tags), step, label, order, {})

    def _submit(
        self,
        work: Task[..., Any],
        step: str,
        label: str,
        order: tuple[int, int],
        parameters: dict[str, Any],
    ) -> None:
        self._active[step] += 1
        named = work.with_options(name=step, task_run_name=f"{step} {label}")
        future = self._runner.submit(named, parameters=parameters)
        future.add_done_callback(lambda done: self._events.put(_Done(step, label, order, done)))

    def _fail(self, name: str, reason: str) -> None:
        self._outcome.failures[name] = reason
        get_run_logger().error("%s failed: %s", name, reason)

    def _list_task(self) -> Task[..., Any]:
        def list_shards(index: int) -> int:
            number = 0
            for shard in list_source(self._workspace, self._profile, index):
                self._events.put(_Listed(index, shard))
                number += 1
            return number

        return _as_task(list_shards)

    def _step_task(self, step: str, inputs: list[Shard], extra: dict[str, Shard] | None) -> Task[..., Any]:
        make = partial(run_step, step, self._workspace, self._profile, inputs, extra)
        flow_run = current_flow_run()

        def make_shard() -> tuple[Shard, bool]:
            return _timed(self._workspace, step, make, flow_run)

        assert step in STEPS
        return _as_task(make_shard)


def _as_task(function: Callable[..., Any]) -> Task[..., Any]:
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
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(state)


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Whether trying again can help: a passing fault of disk or network, never a user's mistake."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and error.errno not in _PERMANENT


def _timed(workspace: Workspace, step: str, make: Callable[[], Shard], flow_run: str) -> tuple[Shard, bool]:
    """Make or find a shard, note in the ledger what it took, and say whether it was made now."""
    started_at, clock, start = utc_now(), time.time(), time.monotonic()
    shard = make()
    seconds = time.monotonic() - start
    made = shard.file(workspace).stat().st_mtime >= clock - _CLOCK_SLACK
    entry = LedgerEntry(
        step=step,
        key=shard.key,
        seconds=round(seconds, 3),
        rows=shard.num_rows,
        usable=shard.num_usable,
        made=made,
        started_at=started_at,
        flow_run=flow_run,
    )
    append_entry(workspace, entry)
    return shard, made
