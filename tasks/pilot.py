"""Pilot: a random share of a profile's records, built for real and measured cluster by cluster."""

import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from catalog.digests import bytes_digest
from catalog.errors import ConfigError
from catalog.ledger import LedgerEntry, append_entry, open_bill, read_entries, utc_now
from catalog.policies import Policy
from catalog.reasons import Reason
from catalog.store import Shard, read_rows, read_shard
from catalog.workspace import Workspace
from tasks.build_plan import BuildPlan, Job
from tasks.forecast import Cluster, Forecast, count_accepted, make_forecast
from tasks.listing import list_source, open_source, write_listing
from tasks.profiles import Profile
from tasks.step_calls import Call
from tasks.steps import STEPS, finish_build, prepare

FLOW_RUN_VARIABLE = "IEIW_FLOW_RUN"
"""Environment variable: the flow run that started this process, for the ledger."""
LEAST_RECORDS = 10
"""Of each source and kind, however small the share: fewer say nothing about their spread."""
_NUM_CLUSTERS = 20
"""Of each stratum, as far as its records go."""

_NUM_TRIALS = 5

Progress = Callable[[str], None]


@dataclass
class _Stratum:
    """The records of one source and kind: where each is listed, by its random number."""

    source: int
    name: str
    places: list[tuple[str, Shard, int]] = field(default_factory=list)


@dataclass
class _Taken:
    """What one cluster has taken so far."""

    stratum: str
    num_records: int
    seconds: float = 0.0
    charge: float = 0.0
    pairs: list[str] = field(default_factory=list)
    """Keys of its shards of pairs."""


class Pilot:
    """Builds a share of a profile and forecasts the rest. Used once: ``Pilot(...).run()``.

    Args:
        workspace: where; the pilot becomes the build ``<build>-pilot``.
        profile: of the build to be forecast.
        build: its name.
        policy: decides which pairs count.
        share: of the records of each source and kind, above 0 and at most 1.
        seed: which records.
        hourly_price: of one worker.
        clock: seconds; the time of day's clock, unless a test measures the processor's.
        progress: told one line at a time.
    """

    def __init__(
        self,
        workspace: Workspace,
        profile: Profile,
        build: str,
        policy: Policy,
        share: float = 0.01,
        seed: int = 0,
        hourly_price: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        progress: Progress = lambda line: None,
    ) -> None:
        if not 0 < share <= 1:
            raise ConfigError(f"the pilot's share must be above 0 and at most 1. Got {share:g}")
        if seed < 0:
            raise ConfigError(f"the seed must be 0 or more. Got {seed}")
        if not 0 <= hourly_price < math.inf:
            raise ConfigError(f"the price of an hour must be finite and not negative. Got {hourly_price:g}")
        self._workspace, self._profile, self._build, self._policy = workspace, profile, build, policy
        self._share, self._seed, self._hourly_price = share, seed, hourly_price
        self._clock, self._progress = clock, progress
        self._clusters: dict[tuple[int, int], _Taken] = {}
        self._gathered: dict[str, float] = defaultdict(float)
        self._fixed: dict[str, float] = defaultdict(float)

    def run(self) -> Forecast:
        """List the sources, build the pilot, decide, forecast.

        Raises:
            UserError: a source, backend or policy is not right, or nothing is listed.
        """
        prepare(self._workspace)
        strata = [stratum for index in range(len(self._profile.sources)) for stratum in self._list(index)]
        sizes = {stratum.name: len(stratum.places) for stratum in strata}
        if not sizes:
            raise ConfigError(f"the sources of profile {self._profile.name!r} must list records, but list none")
        fixed = {stratum.name: self._measure_fixed(stratum) for stratum in strata}
        plan = BuildPlan(self._workspace, self._profile)
        for index in range(len(self._profile.sources)):
            self._draw(index, [stratum for stratum in strata if stratum.source == index], plan)
            plan.listing_ended()
        while jobs := plan.ready():
            for job in jobs:
                self._progress(job.name)
                plan.done(job, self._work(job))
        manifest = finish_build(self._workspace, self._profile, f"{self._build}-pilot", plan.shards)
        accepted = count_accepted(self._workspace, manifest, self._policy)
        clusters = [
            Cluster(
                stratum=one.stratum,
                num_records=one.num_records,
                num_accepted=sum(accepted[key] for key in one.pairs),
                seconds=max(0.0, one.seconds - fixed[one.stratum]),
                charge=one.charge,
            )
            for one in self._clusters.values()
        ]
        return make_forecast(
            self._build,
            self._policy,
            clusters,
            sizes,
            known_seconds=self._scale_gathering(clusters, sizes) + self._count_fixed(fixed, sizes),
            share=self._share,
            seed=self._seed,
            hourly_price=self._hourly_price,
        )

    def _list(self, index: int) -> Iterator[_Stratum]:
        """Each kind of record of a source, with a random number for each that depends on the record alone."""
        dataset = self._profile.sources[index].dataset
        strata: dict[str, _Stratum] = {}
        for shard in list_source(self._workspace, self._profile, index):
            self._progress(f"list {dataset}")
            rows = read_shard(shard.file(self._workspace), ["kind", "source_id"]).to_pylist()
            for place, row in enumerate(rows):
                name = f"{dataset} {row['kind']}"
                stratum = strata.setdefault(row["kind"], _Stratum(index, name))
                number = bytes_digest(f"pilot:{self._seed}:{name}:{row['source_id']}".encode())[:16]
                stratum.places.append((number, shard, place))
        yield from strata.values()

    def _draw(self, index: int, strata: list[_Stratum], plan: BuildPlan) -> None:
        """Write the chosen records of a source as listing shards of the pilot, one per cluster."""
        source, number = self._profile.sources[index], 0
        reader = open_source(source)
        for stratum in strata:
            wanted = max(math.ceil(self._share * len(stratum.places)), LEAST_RECORDS)
            chosen = sorted(stratum.places, key=lambda place: place[0])[:wanted]
            size = max(1, min(self._profile.images_per_shard, len(chosen) // _NUM_CLUSTERS))
            rows = self._read([(shard, place) for _, shard, place in chosen])
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                number += 1
                self._clusters[index, number] = _Taken(stratum.name, len(part))
                plan.listed(index, write_listing(self._workspace, source, reader, part))

    def _read(self, places: list[tuple[Shard, int]]) -> list[dict[str, object]]:
        """Listing rows in the given order, each shard read once."""
        wanted: dict[Shard, list[int]] = defaultdict(list)
        for shard, place in places:
            wanted[shard].append(place)
        rows = {}
        for shard, numbers in wanted.items():
            chosen = set(numbers)
            for place, row in enumerate(read_rows(shard.file(self._workspace))):
                if place in chosen:
                    rows[shard, place] = {name: value for name, value in row.items() if value is not None}
        return [rows[shard, place] for shard, place in places]

    def _work(self, job: Job) -> Shard:
        """Make or find a job's shard, and note what it took, now or when it was made."""
        call = Call(job.step, self._workspace, self._profile, job.inputs, job.extra)
        shard = call.find()
        if shard is not None:
            seconds, charge = self._remembered(shard)
        else:
            started_at, start = utc_now(), self._clock()
            with open_bill() as bill:
                shard = call.run()
            seconds, charge = self._clock() - start, bill.cost
            append_entry(
                self._workspace,
                LedgerEntry(
                    step=job.step,
                    key=shard.key,
                    seconds=round(seconds, 6),
                    rows=shard.num_rows,
                    usable=shard.num_usable,
                    made=True,
                    started_at=started_at,
                    flow_run=os.environ.get(FLOW_RUN_VARIABLE, ""),
                    cost=round(charge, 6),
                ),
            )
        if STEPS[job.step].gathers:
            self._gathered[job.step] += seconds
            return shard
        taken = self._clusters[job.place]
        taken.seconds += seconds
        taken.charge += charge
        taken.pairs += [shard.key] if shard.table == "pairs" else []
        return shard

    def _remembered(self, shard: Shard) -> tuple[float, float]:
        found = [one for one in read_entries(self._workspace) if one.made and one.key == shard.key]
        if not found:
            raise ConfigError(
                f"what {shard.path} took must be in the ledger, but it was made without: take another --seed"
            )
        return found[-1].seconds, found[-1].cost

    def _scale_gathering(self, clusters: list[Cluster], sizes: dict[str, int]) -> float:
        """Seconds of the gathering steps over everything: by the records, up to the references' own limit."""
        records, all_records = sum(one.num_records for one in clusters), sum(sizes.values())
        limit = self._profile.score.num_references
        growth = {"references": min(limit, all_records) / max(1, min(limit, records))}
        seconds = 0.0
        for step, taken in self._gathered.items():
            fixed = min(taken, self._fixed[step])
            seconds += fixed + (taken - fixed) * growth.get(step, all_records / records)
        return seconds

    def _count_fixed(self, fixed: dict[str, float], sizes: dict[str, int]) -> float:
        """Seconds that the shards of the whole build take beside their records."""
        per_shard = self._profile.images_per_shard
        return sum(math.ceil(size / per_shard) * fixed[name] for name, size in sizes.items())

    def _measure_fixed(self, stratum: _Stratum) -> float:
        """Seconds of the steps on a shard with nothing to do, which the pilot's small shards pay more often.

        Its one record is listed as rejected, so that every step runs and no helper model does.
        """
        source = self._profile.sources[stratum.source]
        row = {"dataset": source.dataset, "kind": stratum.name.rpartition(" ")[2], "source_id": "", "file": ""}
        row |= {"record": "{}", "reason": str(Reason.DUPLICATE_ID), "detail": "to measure a shard without work"}
        times: dict[str, list[float]] = defaultdict(list)
        for _ in range(_NUM_TRIALS):
            with tempfile.TemporaryDirectory(prefix="ieiw-pilot-") as folder:
                workspace = Workspace(Path(folder))
                prepare(workspace)
                plan = BuildPlan(workspace, self._profile)
                plan.listed(stratum.source, write_listing(workspace, source, open_source(source), [row]))
                for _ in self._profile.sources:
                    plan.listing_ended()
                while jobs := plan.ready():
                    for job in jobs:
                        call = Call(job.step, workspace, self._profile, job.inputs, job.extra)
                        start = self._clock()
                        plan.done(job, call.run())
                        times[job.step].append(self._clock() - start)
        typical = {step: median(seconds) for step, seconds in times.items()}
        self._fixed |= {step: seconds for step, seconds in typical.items() if STEPS[step].gathers}
        return sum(seconds for step, seconds in typical.items() if not STEPS[step].gathers)
