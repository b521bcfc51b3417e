"""Which calls of a build are ready, given the shards so far: the order of the steps, for any scheduler.

A plan starts nothing. A scheduler takes what is `ready`, runs it as it likes, and tells what came of it with `done`
and `fail`; listing shards come in by `listed` while their source is still being listed. A gathering step is ready
once nothing that runs or waits can add to its table. It is never ready after a failure on the way there: what it
would make from incomplete input, the next run would throw away.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from catalog.store import Shard, read_metadata
from catalog.workspace import Workspace
from tasks.profiles import Profile
from tasks.steps import STEPS, Step

_LIST = "list"
_WHOLE_BUILD = "of the whole build"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One step to run on given shards."""

    step: str
    label: str
    """Where in the build: "sample 3", the third listing shard of a source, and the steps that led here."""
    place: tuple[int, int]
    """Source and number of the listing shard that it comes from: gathered shards are in this order."""
    inputs: tuple[Shard, ...]
    extra: Mapping[str, Shard] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Step and label, unique in a build."""
        return f"{self.step} {self.label}"


class BuildPlan:
    """The state of one build. Used from one thread."""

    def __init__(self, workspace: Workspace, profile: Profile) -> None:
        self._workspace = workspace
        self._profile = profile
        self._steps = [step for step in STEPS.values() if not step.switch or getattr(profile, step.switch).enabled]
        self._upstream = {
            table: self._before(table)
            for step in self._steps
            if step.gathers
            for table in (step.reads, step.otherwise)
            if table
        }
        self._shards: dict[str, list[tuple[tuple[int, int], Shard]]] = {}
        self._gathered: dict[str, Shard] = {}
        self._begun: set[str] = set()
        self._ready: list[Job] = []
        self._blocked: dict[str, list[Job]] = {step.name: [] for step in self._steps if step.extra}
        self._running: Counter[str] = Counter({_LIST: len(profile.sources)})
        self._failed: set[str] = set()
        self._num_listed: Counter[int] = Counter()
        self._listed: set[str] = set()

    @property
    def shards(self) -> list[Shard]:
        """Every shard of the build so far."""
        return [shard for shards in self._shards.values() for _, shard in shards]

    @property
    def waiting(self) -> list[str]:
        """Names of the jobs that are known and not ready. At the end of a build: because of a failure."""
        return [job.name for jobs in self._blocked.values() for job in jobs]

    def listed(self, source: int, shard: Shard) -> None:
        """A listing shard of a source has appeared; one that a repeated listing brings again is ignored."""
        if shard.key in self._listed:
            return
        self._listed.add(shard.key)
        self._num_listed[source] += 1
        number = self._num_listed[source]
        self._accept(shard, f"{self._profile.sources[source].dataset} {number}", (source, number))

    def listing_ended(self, failed: bool = False) -> None:
        """One source has been listed to its end, or listing it has failed."""
        self._end(_LIST, failed)

    def ready(self) -> list[Job]:
        """The jobs that can run now; they count as running until `done` or `fail`."""
        gathering = [self._gather(step) for step in self._steps if self._can_gather(step)]
        self._begun.update(job.step for job in gathering)
        jobs, self._ready = self._ready + gathering, []
        self._running.update(job.step for job in jobs)
        return jobs

    def done(self, job: Job, shard: Shard) -> None:
        """A job has made or found its shard."""
        self._end(job.step, failed=False)
        if STEPS[job.step].gathers:
            self._gathered[shard.table] = shard
            self._unblock()
        several = sum(step.writes == shard.table for step in self._steps) > 1
        self._accept(shard, f"{job.label} {job.step}" if several else job.label, job.place)

    def fail(self, job: Job) -> None:
        """A job has failed for good."""
        self._end(job.step, failed=True)

    def _end(self, step: str, failed: bool) -> None:
        self._running[step] -= 1
        if failed:
            self._failed.add(step)

    def _unblock(self) -> None:
        for name, jobs in self._blocked.items():
            if jobs and all(table in self._gathered for table in STEPS[name].extra):
                self._blocked[name] = []
                for job in jobs:
                    self._add(job)

    def _add(self, job: Job) -> None:
        """A job that is ready, or blocked until what it needs beside its input has been gathered."""
        needs = STEPS[job.step].extra
        if all(table in self._gathered for table in needs):
            self._ready.append(replace(job, extra={table: self._gathered[table] for table in needs}))
        else:
            self._blocked[job.step].append(job)

    def _accept(self, shard: Shard, label: str, place: tuple[int, int]) -> None:
        """Take a shard into the build, with the jobs that follow on it."""
        self._shards.setdefault(shard.table, []).append((place, shard))
        if shard.num_rows == 0:
            return
        for step in self._steps:
            if step.reads == shard.table and not step.gathers and self._is_for(step, shard):
                self._add(Job(step=step.name, label=label, place=place, inputs=(shard,)))

    def _is_for(self, step: Step, shard: Shard) -> bool:
        return step.kind is None or step.kind in read_metadata(shard.file(self._workspace))["kinds"]

    def _can_gather(self, step: Step) -> bool:
        """Whether somebody waits for what a gathering step makes, and nothing more can come into it."""
        if not step.gathers or step.name in self._begun:
            return False
        before = self._upstream[step.reads]
        if step.otherwise and not self._gathered_from(step.reads):
            before = before | self._upstream[step.otherwise]
        return (
            any(jobs and step.writes in STEPS[name].extra for name, jobs in self._blocked.items())
            and not any(self._running[name] or self._blocked.get(name) for name in before)
            and not any(job.step in before for job in self._ready)
            and not before & self._failed
        )

    def _gather(self, step: Step) -> Job:
        chosen = self._gathered_from(step.reads)
        if step.otherwise and not chosen:
            chosen = self._gathered_from(step.otherwise)
        return Job(step=step.name, label=_WHOLE_BUILD, place=(0, 0), inputs=chosen)

    def _gathered_from(self, table: str) -> tuple[Shard, ...]:
        """The shards of a table that hold rows, in the order of their places."""
        shards = sorted(self._shards.get(table, []), key=lambda item: item[0])
        return tuple(shard for _, shard in shards if shard.num_rows)

    def _before(self, table: str) -> set[str]:
        """The steps that can add to a table, themselves or by what they make."""
        if table == "listings":
            return {_LIST}
        found: set[str] = set()
        for step in (step for step in self._steps if step.writes == table):
            found |= {step.name}.union(*(self._before(name) for name in (step.reads, *step.extra)))
        return found
