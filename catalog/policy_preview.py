"""What another threshold would accept, while it is being chosen: the counts that `decisions.decide` would give.

A preview keeps of each pair what a policy's conditions look at, so that one reading of the scores answers any number
of questions. It writes nothing; `decide` with the policy that pleases gives the verdicts.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.candidates import Candidates, OutOfOrder, Stretch, list_stretches
from catalog.decisions import Stage, revoked_here, stages_of
from catalog.errors import PolicyError
from catalog.manifests import read_manifest
from catalog.policies import Condition, Policy
from catalog.queries import count_threads
from catalog.score_checks import require_references, require_scores
from catalog.verdict_tallies import count_rows
from catalog.verdicts import asked_quantiles, find_fates, in_order, pick_quantiles, usable_values
from catalog.workspace import Workspace

_NONE_REVOKED = pa.array([], pa.string())
"""Withdrawals are in the kept reasons already."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A build's candidates as the conditions of one policy look at them: 36 bytes a pair at four conditions."""

    build: str
    policy: Policy
    parts: "tuple[_Kept, ...]"
    quantiles: dict[Condition, float | None] = field(default_factory=dict, compare=False, repr=False)
    """Thresholds that were worked out already: they depend on nothing but the condition."""

    @classmethod
    def read(cls, workspace: Workspace, build: str, policy: Policy, threads: int | None = None) -> "Preview":
        """Read what ``policy`` looks at, tombstones on record included.

        Raises:
            ShardError: no such build, or a torn shard.
            PolicyError: as `decisions.decide`, but for scores of other helper models.
        """
        source = read_manifest(workspace, build)
        require_scores(workspace, source, policy)
        require_references(workspace, source, policy)
        revoked, threads = pa.array(revoked_here(workspace, source), pa.string()), count_threads(threads)

        def read(ordered: bool) -> "tuple[_Kept, ...]":
            stretches = list_stretches(workspace, source, ordered)
            return tuple(in_order(lambda one: _Kept.read(one, policy, revoked), stretches, threads))

        try:
            parts = read(ordered=True)
        except OutOfOrder:
            parts = read(ordered=False)
        pa.default_memory_pool().release_unused()
        return cls(build=build, policy=policy, parts=parts)

    def count(self, policy: Policy) -> tuple[tuple[Stage, ...], dict[str, float | None]]:
        """The waterfall and the thresholds that `decisions.decide` would give for a policy of the same conditions.

        Only their limits may differ.

        Raises:
            PolicyError: the policy has other conditions.
        """
        if _shape(policy) != _shape(self.policy):
            raise PolicyError(
                f"a preview of {self.policy.name!r} knows its conditions alone, and {policy.name!r} has others: "
                "read one for it"
            )
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for item in asked_quantiles(policy):
                if item not in self.quantiles:  # one after the other: a column of values at a time
                    values = [usable_values(part, [item], _NONE_REVOKED) for part in self.parts]
                    self.quantiles[item] = pick_quantiles([item], values)[item.name]
            thresholds = {item.name: self.quantiles.get(item, item.fixed_threshold) for item in policy.conditions}
            counts: Counter[tuple[str | None, bool]] = Counter()
            for found in pool.map(lambda part: _count(part, policy, thresholds), self.parts):
                counts.update(found)
        return stages_of(count_rows(counts), policy), thresholds


@dataclass(frozen=True)
class _Kept:
    """N candidates: `verdicts.Judgeable`."""

    values: Mapping[str, NDArray[np.float64]]
    """By `Condition.looks_at`."""
    about: Mapping[tuple[str, ...] | None, NDArray[np.bool_]]
    """By `Condition.edit_types`."""
    own: pa.DictionaryArray
    of_scores: pa.DictionaryArray

    @classmethod
    def read(cls, stretch: Stretch, policy: Policy, revoked: pa.Array) -> "_Kept":
        candidates = Candidates.read(stretch, policy.conditions, ids=True)
        return cls(
            {item.looks_at: candidates.value(item).copy() for item in policy.conditions},
            {item.edit_types: candidates.is_about(item) for item in policy.conditions},
            _narrow(candidates.own_reasons(revoked)),
            _narrow(candidates.score_reasons()),
        )

    def __len__(self) -> int:
        return len(self.own)

    def value(self, condition: Condition) -> NDArray[np.float64]:
        return self.values[condition.looks_at]

    def is_about(self, condition: Condition) -> NDArray[np.bool_]:
        return self.about[condition.edit_types]

    def own_reasons(self, revoked: pa.Array) -> pa.DictionaryArray:
        return self.own

    def score_reasons(self) -> pa.DictionaryArray:
        return self.of_scores


def _narrow(words: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same words in a byte each: there are fewer than 128 reasons. Arrow's own keep four."""
    return pa.DictionaryArray.from_arrays(words.indices.cast(pa.int8()), words.dictionary)


def _shape(policy: Policy) -> list[tuple[str, str, tuple[str, ...] | None]]:
    return [(item.name, item.looks_at, item.edit_types) for item in policy.conditions]


def _count(part: _Kept, policy: Policy, thresholds: Mapping[str, float | None]) -> Counter[tuple[str | None, bool]]:
    """What rejects how many pairs of a part, and whether it is a condition of the policy."""
    failed, _, conditions = find_fates(part, policy, thresholds, _NONE_REVOKED)
    return Counter(dict(_tally(conditions, failed > 0)))


def _tally(
    conditions: pa.DictionaryArray, by_policy: NDArray[np.bool_]
) -> Iterator[tuple[tuple[str | None, bool], int]]:
    for flag in (False, True):
        codes = conditions.indices.filter(pa.array(by_policy == flag))
        for row in pc.value_counts(codes).to_pylist():
            place = row["values"]
            yield (None if place is None else conditions.dictionary[place].as_py(), flag), row["counts"]
