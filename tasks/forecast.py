"""Forecast: from a pilot of a small share, what a whole build will give and take, with an interval.

The records of each source and kind (photos, ready-made pairs) are a stratum, of which the pilot takes a random part in
clusters. Totals are ratio estimates by stratum, their errors those of the stratified jackknife (Lohr, "Sampling: Design
and Analysis", section 9.3.2) on the logarithm, the intervals Student's with Satterthwaite's degrees of freedom. They
cover the luck of the draw and nothing else: not another machine, a busier one, or a server that has become slower.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from catalog.decisions import decide
from catalog.durable import write_file
from catalog.errors import ShardError
from catalog.ledger import read_entries
from catalog.manifests import Manifest
from catalog.policies import Policy
from catalog.store import read_shard
from catalog.workspace import Workspace

LEVEL = 0.95
"""Of the intervals, as simulated builds bear out."""
_NOMINAL = 0.98
"""What Student's t is asked for: with ten or twenty skewed clusters, intervals of 95 % hold in 87 to 92 % of builds."""
_LIKELY_NONE = 3.0  # events that may be expected where none was seen, at 95 % (the "rule of three")
_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Some records of one stratum that were worked on together."""

    stratum: str
    num_records: int
    num_accepted: int
    seconds: float
    """Of one worker, without what a shard takes whatever is in it."""
    charge: float = 0.0
    """What helper models charged."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval; ``high`` is null where nothing bounds it."""

    value: float
    low: float
    high: float | None

    def covers(self, truth: float) -> bool:
        """Whether the truth is inside."""
        return self.low <= truth and (self.high is None or truth <= self.high)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a whole build is expected to come to."""

    build: str
    policy: dict[str, Any]
    share: float
    seed: int
    num_records: int
    num_piloted: int
    hourly_price: float
    """Of one worker, in the currency of the helper models' prices."""
    accepted: Estimate
    """Pairs of image editing that the policy accepts."""
    seconds: Estimate
    """Of one worker; divide by the number of workers for the time of the build."""
    cost: Estimate
    """Charges of helper models, and the workers' hours at their price."""
    seconds_per_accepted: Estimate | None
    """None where the pilot has no accepted pair."""
    cost_per_accepted: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Forecast":
        """The forecast that `as_dict` describes."""
        names = ("accepted", "seconds", "cost", "seconds_per_accepted", "cost_per_accepted")
        return cls(**{**value, **{name: value[name] and Estimate(**value[name]) for name in names}})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One quantity of a forecast beside what came of it."""

    quantity: str
    forecast: Estimate
    truth: float

    @property
    def is_covered(self) -> bool:
        """Whether the interval held."""
        return self.forecast.covers(self.truth)


_Measure = Callable[[Cluster], float]
_Strata = dict[str, list[Cluster]]


def total(clusters: Sequence[Cluster], sizes: dict[str, int], measure: _Measure, extra: float = 0.0) -> Estimate:
    """The sum of a measure over all records of all strata.

    Args:
        clusters: of the pilot; at least two per stratum, unless it was taken whole.
        sizes: records of each stratum.
        measure: what is summed, not negative.
        extra: a part of the sum that is known without sampling.
    """
    strata = _by_stratum(clusters)
    value = _total(strata, sizes, measure) + extra
    if value == 0:
        return Estimate(value=0.0, low=0.0, high=_LIKELY_NONE * sum(sizes.values()) / max(1, _num_records(clusters)))
    return _interval(value, strata, sizes, lambda part: _total(part, sizes, measure) + extra)


def ratio(
    clusters: Sequence[Cluster], sizes: dict[str, int], measure: _Measure, per: _Measure, extra: float = 0.0
) -> Estimate | None:
    """The sum of one measure over that of another; None where the pilot has nothing of the other."""

    def estimate(part: _Strata) -> float:
        below = _total(part, sizes, per)
        return (_total(part, sizes, measure) + extra) / below if below else math.inf

    strata = _by_stratum(clusters)
    value = estimate(strata)
    if value == 0:
        return Estimate(value=0.0, low=0.0, high=0.0)
    return None if math.isinf(value) else _interval(value, strata, sizes, estimate)


def _by_stratum(clusters: Sequence[Cluster]) -> _Strata:
    found: _Strata = {}
    for cluster in clusters:
        found.setdefault(cluster.stratum, []).append(cluster)
    return found


def _num_records(clusters: Sequence[Cluster]) -> int:
    return sum(cluster.num_records for cluster in clusters)


def _total(strata: _Strata, sizes: dict[str, int], measure: _Measure) -> float:
    return sum(sizes[name] * sum(map(measure, part)) / _num_records(part) for name, part in strata.items())


def _interval(value: float, strata: _Strata, sizes: dict[str, int], estimate: Callable[[_Strata], float]) -> Estimate:
    """Student's interval on the logarithm, from the estimates without each one cluster."""
    variances, freedoms = [], []
    for name, part in strata.items():
        count, rest = len(part), 1 - _num_records(part) / sizes[name]
        if rest <= 0:  # taken whole: nothing is left to chance
            continue
        if count == 1:
            return Estimate(value=value, low=0.0, high=None)
        without = [estimate({**strata, name: part[:place] + part[place + 1 :]}) for place in range(count)]
        if not all(0 < one < math.inf for one in without):
            return Estimate(value=value, low=0.0, high=None)
        spread = ((np.log(without) - np.log(without).mean()) ** 2).sum()
        variances.append(rest * (count - 1) / count * float(spread))
        freedoms.append(count - 1)
    variance = sum(variances)
    if variance == 0:
        return Estimate(value=value, low=value, high=value)
    freedom = variance**2 / sum(one**2 / of for one, of in zip(variances, freedoms, strict=True))
    width = float(stats.t.ppf((1 + _NOMINAL) / 2, freedom)) * math.sqrt(variance)
    return Estimate(value=value, low=value * math.exp(-width), high=value * math.exp(width))


def make_forecast(
    build: str,
    policy: Policy,
    clusters: Sequence[Cluster],
    sizes: dict[str, int],
    known_seconds: float = 0.0,
    share: float = 0.01,
    seed: int = 0,
    hourly_price: float = 0.0,
) -> Forecast:
    """A forecast from a pilot's clusters; ``known_seconds`` come on top of what grows with the records."""
    price = hourly_price / _HOUR
    measures: dict[str, tuple[_Measure, float]] = {
        "seconds": (lambda one: one.seconds, known_seconds),
        "cost": (lambda one: one.charge + price * one.seconds, price * known_seconds),
    }

    def accepted(one: Cluster) -> float:
        return float(one.num_accepted)

    totals = {name: total(clusters, sizes, measure, extra) for name, (measure, extra) in measures.items()}
    if not any(one.charge for one in clusters) and not price:
        totals["cost"] = Estimate(value=0.0, low=0.0, high=0.0)
    ratios = {name: ratio(clusters, sizes, measure, accepted, extra) for name, (measure, extra) in measures.items()}
    return Forecast(
        build=build,
        policy=policy.as_dict(),
        share=share,
        seed=seed,
        num_records=sum(sizes.values()),
        num_piloted=_num_records(clusters),
        hourly_price=hourly_price,
        accepted=total(clusters, sizes, accepted),
        seconds=totals["seconds"],
        cost=totals["cost"],
        seconds_per_accepted=ratios["seconds"],
        cost_per_accepted=ratios["cost"],
    )


def forecast_path(workspace: Workspace, build: str) -> Path:
    """Where the forecast of a build is kept: beside the ledger, outside the shards."""
    return workspace.catalog / "forecasts" / f"{build}.json"


def write_forecast(workspace: Workspace, forecast: Forecast) -> Path:
    """Keep a forecast, in place of an earlier one of the build."""
    path = forecast_path(workspace, forecast.build)
    write_file(path, [json.dumps(forecast.as_dict(), indent=2).encode() + b"\n"])
    return path


def read_forecast(workspace: Workspace, build: str) -> Forecast | None:
    """The forecast on record; None where there is none. Raises ShardError for a damaged file."""
    path = forecast_path(workspace, build)
    if not path.exists():
        return None
    try:
        return Forecast.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is not a forecast ({error}): delete it and make it again") from error


def count_accepted(workspace: Workspace, manifest: Manifest, policy: Policy) -> dict[str, int]:
    """Accepted pairs of image editing, by key of the shard of pairs that they are in."""
    decision = decide(workspace, manifest.name, policy, on_record=False)
    accepted: set[str] = set()
    for path in decision.manifest.paths(workspace, "verdicts"):
        rows = read_shard(path, ["pair_id", "accepted"])
        accepted.update(rows.filter(rows["accepted"])["pair_id"].to_pylist())
    counts = {}
    for shard in manifest.tables["pairs"]:
        rows = read_shard(shard.file(workspace), ["pair_id", "vision_task"]).to_pylist()
        edits = (row["pair_id"] for row in rows if row["vision_task"] == "image_editing")
        counts[shard.key] = sum(pair_id in accepted for pair_id in edits)
    return counts


def compare_with_build(workspace: Workspace, forecast: Forecast, manifest: Manifest) -> list[Outcome]:
    """What a finished build came to, beside its forecast. Seconds and costs where the ledger has them all."""
    accepted = sum(count_accepted(workspace, manifest, Policy.from_dict(forecast.policy)).values())
    outcomes = [Outcome(quantity="accepted", forecast=forecast.accepted, truth=accepted)]
    entries = {one.key: one for one in read_entries(workspace) if one.made}
    keys = {shard.key for table, shards in manifest.tables.items() if table != "listings" for shard in shards}
    if not keys <= entries.keys():
        return outcomes
    seconds = sum(entries[key].seconds for key in keys)
    cost = sum(entries[key].cost for key in keys) + seconds / _HOUR * forecast.hourly_price
    outcomes.append(Outcome(quantity="seconds", forecast=forecast.seconds, truth=seconds))
    if cost:
        outcomes.append(Outcome(quantity="cost", forecast=forecast.cost, truth=cost))
    for name, truth in (("seconds", seconds), ("cost", cost)):
        estimate = getattr(forecast, f"{name}_per_accepted")
        if estimate is not None and accepted and truth:
            outcomes.append(Outcome(quantity=f"{name}_per_accepted", forecast=estimate, truth=truth / accepted))
    return outcomes


def scaled(forecast: Forecast, workers: int) -> Estimate:
    """Seconds of the whole build with some workers, were they never idle and never in each other's way."""
    one = forecast.seconds
    high = None if one.high is None else one.high / workers
    return replace(one, value=one.value / workers, low=one.low / workers, high=high)
