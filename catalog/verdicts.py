"""Verdicts: a policy's conditions over candidates, whole columns at a time; `decisions` keeps what comes of it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from math import floor
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.candidates import KINDS, Candidates, Stretch
from catalog.policies import Condition, Policy
from catalog.schema import VERDICTS
from catalog.text_keys import text_keys

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Judgeable(Protocol):
    """N candidates as `Candidates` describes them, read from shards or kept in memory."""

    def __len__(self) -> int: ...

    def is_about(self, condition: Condition) -> NDArray[np.bool_]:
        """See `Candidates.is_about`."""
        ...

    def value(self, condition: Condition) -> NDArray[np.float64]:
        """See `Candidates.value`."""
        ...

    def own_reasons(self, revoked: pa.Array) -> pa.DictionaryArray:
        """See `Candidates.own_reasons`."""
        ...

    def score_reasons(self) -> pa.DictionaryArray:
        """See `Candidates.score_reasons`."""
        ...


def find_thresholds(
    stretches: Sequence[Stretch], policy: Policy, revoked: pa.Array, threads: int
) -> dict[str, float | None]:
    """The threshold of each condition by name; None: a quantile, and no usable candidate has the score.

    A quantile q over n values: floor(q n) of them lie beyond it, ties aside.

    Raises:
        OutOfOrder: as `Candidates.read` does.
        ShardError: likewise.
    """
    found = {item.name: item.fixed_threshold for item in policy.conditions}
    asked = asked_quantiles(policy)
    if not asked:
        return found

    def read(stretch: Stretch) -> list[NDArray[np.float64]]:
        return usable_values(Candidates.read(stretch, asked, ids=len(revoked) > 0), asked, revoked)

    return found | pick_quantiles(asked, list(in_order(read, stretches, threads)))


def asked_quantiles(policy: Policy) -> list[Condition]:
    """The conditions whose threshold the candidates themselves decide."""
    return [item for item in policy.conditions if item.quantile is not None]


def usable_values(
    candidates: Judgeable, conditions: Sequence[Condition], revoked: pa.Array
) -> list[NDArray[np.float64]]:
    """By condition: the values of the usable candidates that it is about."""
    usable = _usable(candidates, revoked)
    values = ((candidates.value(item), candidates.is_about(item)) for item in conditions)
    return [value[usable & about & ~np.isnan(value)] for value, about in values]


def pick_quantiles(
    conditions: Sequence[Condition], parts: Sequence[Sequence[NDArray[np.float64]]]
) -> dict[str, float | None]:
    """Thresholds of conditions with a quantile, from `usable_values` of all parts of a build."""
    found: dict[str, float | None] = {}
    for place, item in enumerate(conditions):
        values = np.concatenate([np.empty(0), *(part[place] for part in parts)])  # a build may have no pair
        found[item.name] = None
        if len(values):
            skip = floor(Fraction(str(item.quantile)) * len(values))
            skip = skip if item.wants_large else len(values) - 1 - skip
            values.partition(skip)
            found[item.name] = float(values[skip])
    return found


def judge(
    stretch: Stretch, policy: Policy, thresholds: Mapping[str, float | None], revoked: pa.Array
) -> tuple[pa.Table, NDArray[np.uint64]]:
    """The verdicts on a stretch of pairs, in their order, and the pairs' keys. Words are dictionaries.

    Raises:
        OutOfOrder: as `Candidates.read` does.
        ShardError: likewise.
    """
    candidates = Candidates.read(stretch, policy.conditions, ids=True)
    keys = _keys(candidates.pairs.column("pair_id"))
    failed, values, conditions = find_fates(candidates, policy, thresholds, revoked)
    passed = failed == 0
    by_policy = pa.array(failed.astype(np.int32) - 1, mask=passed)
    columns = {
        "pair_id": candidates.pairs.column("pair_id"),
        "pair_key": pa.array(keys),
        "group_key": _known_keys(candidates.pairs.column("group_id")),
        "donor_key": _known_keys(pc.struct_field(candidates.pairs.column("donor"), "group_id")),
        **{name: candidates.words(name) for name in KINDS},
        "usable": candidates.words("reason").is_null(),
        "accepted": conditions.is_null(),
        "condition": conditions,
        "score": pa.DictionaryArray.from_arrays(by_policy, _texts(item.looks_at for item in policy.conditions)),
        "value": pa.array(values, mask=passed | np.isnan(values)),
        "threshold": pa.array([thresholds[item.name] for item in policy.conditions], pa.float64()).take(by_policy),
    }
    return pa.table({name: columns[name] for name in VERDICTS.names}), keys


def find_fates(
    candidates: Judgeable, policy: Policy, thresholds: Mapping[str, float | None], revoked: pa.Array
) -> tuple[NDArray[np.int16], NDArray[np.float64], pa.DictionaryArray]:
    """What becomes of N candidates: the one place where a policy is applied.

    Returns:
        Number of the first condition that each fails, from 1, 0 where none decides; what that condition looks at, NaN
        where none; and what rejects the pair, a reason or a condition by name, null where it is accepted. Each (N).
    """
    failed, values = _first_failed(candidates, policy, thresholds)
    own, of_scores = candidates.own_reasons(revoked), candidates.score_reasons()
    covered = np.zeros(len(candidates), np.bool_)
    for item in policy.conditions:
        covered |= candidates.is_about(item)
    scored_out = _mask(pc.and_(own.is_null(), pc.and_(of_scores.is_valid(), pa.array(covered))))
    failed[_mask(own.is_valid()) | scored_out] = 0
    return failed, values, _conditions(failed, policy, own, of_scores, scored_out)


def in_order(function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Iterator[_Result]:
    """``function`` of each item, in the items' order, worked out in threads: never more than one ahead of each."""
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[_Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _usable(candidates: Judgeable, revoked: pa.Array) -> NDArray[np.bool_]:
    return _mask(pc.and_(candidates.own_reasons(revoked).is_null(), candidates.score_reasons().is_null()))


def _first_failed(
    candidates: Judgeable, policy: Policy, thresholds: Mapping[str, float | None]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Number of the first condition that each pair fails, from 1, and what it looks at; 0: none."""
    failed, values = np.zeros(len(candidates), np.int16), np.full(len(candidates), np.nan)
    for number, item in reversed(list(enumerate(policy.conditions, start=1))):
        value, threshold = candidates.value(item), thresholds[item.name]
        limit = np.nan if threshold is None else threshold  # nothing is beyond NaN, nor within it
        fails = candidates.is_about(item) & ~_holds(item, value, limit)
        failed[fails] = number
        np.copyto(values, value, where=fails)
    return failed, values


def _holds(condition: Condition, value: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
    return value >= limit if condition.wants_large else value <= limit


def _conditions(
    failed: NDArray[np.int16],
    policy: Policy,
    own: pa.DictionaryArray,
    of_scores: pa.DictionaryArray,
    scored_out: NDArray[np.bool_],
) -> pa.DictionaryArray:
    """What rejects each pair: its own reason, its score's, or the name of a condition."""
    places = {item.name: place for place, item in enumerate(policy.conditions)}
    codes = failed.astype(np.int32) - 1
    for words, where in ((own, _mask(own.is_valid())), (of_scores, scored_out)):
        table = [places.setdefault(word, len(places)) for word in words.dictionary.to_pylist()]
        if where.any():
            codes[where] = np.array(table, np.int32)[words.indices.fill_null(0).to_numpy()[where]]
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), _texts(places))


def _keys(texts: pa.ChunkedArray) -> NDArray[np.uint64]:
    return np.concatenate([np.zeros(0, np.uint64), *(text_keys(chunk) for chunk in texts.chunks)])


def _known_keys(texts: pa.ChunkedArray) -> pa.Array:
    """Keys of texts or of dictionaries of them, null for nulls."""
    parts = [_keys_of_chunk(chunk) for chunk in texts.chunks]
    return pa.concat_arrays(parts) if parts else pa.nulls(0, pa.uint64())


def _keys_of_chunk(texts: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(texts.type):
        return pa.array(text_keys(texts.dictionary)).take(texts.indices)
    return pa.array(text_keys(texts), mask=_mask(texts.is_null()))


def _texts(texts: Iterable[str]) -> pa.Array:
    return pa.array(list(texts), pa.string())


def _mask(flags: Any) -> NDArray[np.bool_]:
    return np.asarray(flags.to_numpy(zero_copy_only=False), np.bool_)
