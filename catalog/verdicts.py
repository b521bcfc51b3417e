"""Verdicts: a policy's conditions over candidates, whole columns at a time; `decisions` keeps what comes of it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from math import floor
from typing import Any, TypeVar

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
    asked = [item for item in policy.conditions if item.quantile is not None]
    if not asked:
        return found

    def read(stretch: Stretch) -> list[NDArray[np.float64]]:
        candidates = Candidates.read(stretch, asked, ids=len(revoked) > 0)
        usable = _usable(candidates, revoked)
        values = ((candidates.value(item), candidates.is_about(item)) for item in asked)
        return [value[usable & about & ~np.isnan(value)] for value, about in values]

    parts = list(in_order(read, stretches, threads))
    for place, item in enumerate(asked):
        values = np.concatenate([np.empty(0), *(part[place] for part in parts)])  # a build may have no pair
        if len(values):
            skip = floor(Fraction(str(item.quantile)) * len(values))
            skip = skip if item.wants_large else len(values) - 1 - skip
            found[item.name] = float(np.partition(values, skip)[skip])
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
    failed, values = _first_failed(candidates, policy, thresholds)
    own, of_scores = candidates.own_reasons(revoked), candidates.score_reasons()
    covered = np.zeros(len(candidates), np.bool_)
    for item in policy.conditions:
        covered |= candidates.is_about(item)
    scored_out = _mask(pc.and_(own.is_null(), pc.and_(of_scores.is_valid(), pa.array(covered))))
    unusable = _mask(own.is_valid()) | scored_out
    failed[unusable] = 0
    passed = failed == 0
    by_policy = pa.array(failed.astype(np.int32) - 1, mask=passed)
    columns = {
        "pair_id": candidates.pairs.column("pair_id"),
        "pair_key": pa.array(keys),
        "group_key": _known_keys(candidates.pairs.column("group_id")),
        "donor_key": _known_keys(pc.struct_field(candidates.pairs.column("donor"), "group_id")),
        **{name: candidates.words(name) for name in KINDS},
        "usable": candidates.words("reason").is_null(),
        "accepted": pa.array(passed & ~unusable),
        "condition": _conditions(failed, policy, own, of_scores, scored_out),
        "score": pa.DictionaryArray.from_arrays(by_policy, _texts(item.looks_at for item in policy.conditions)),
        "value": pa.array(values, mask=passed | np.isnan(values)),
        "threshold": pa.array([thresholds[item.name] for item in policy.conditions], pa.float64()).take(by_policy),
    }
    return pa.table({name: columns[name] for name in VERDICTS.names}), keys


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


def _usable(candidates: Candidates, revoked: pa.Array) -> NDArray[np.bool_]:
    return _mask(pc.and_(candidates.own_reasons(revoked).is_null(), candidates.score_reasons().is_null()))


def _first_failed(
    candidates: Candidates, policy: Policy, thresholds: Mapping[str, float | None]
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
    """Keys, null for nulls."""
    return pa.array(_keys(texts), mask=_mask(texts.is_null()))


def _texts(texts: Iterable[str]) -> pa.Array:
    return pa.array(list(texts), pa.string())


def _mask(flags: Any) -> NDArray[np.bool_]:
    return np.asarray(flags.to_numpy(zero_copy_only=False), np.bool_)
