"""How many verdicts there are of each sort, counted while they are written: nobody has to read them for that."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from catalog.candidates import KINDS

_WORDS = (*KINDS, "condition")


class _Sort(NamedTuple):
    dataset: str | None
    vision_task: str | None
    edit_type: str | None
    split: str | None
    condition: str | None
    usable: bool
    by_policy: bool


class VerdictTally:
    """Counts of verdicts by kind of pair and by what rejects them."""

    def __init__(self) -> None:
        self._counts: Counter[_Sort] = Counter()

    def watch(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables, counted as they pass; words are dictionaries, as `verdicts.judge` makes them."""
        for table in tables:
            self._count(table)
            yield table

    def _count(self, table: pa.Table) -> None:
        codes, lists = np.zeros(len(table), np.int64), []
        for name in _WORDS:
            column = table.column(name).combine_chunks()
            words = [*column.dictionary.to_pylist(), None]
            lists.append(words)
            codes = codes * len(words) + column.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        for flags in (table.column("usable"), table.column("score").is_valid()):
            lists.append([False, True])
            codes = codes * 2 + flags.to_numpy()
        for code, count in zip(*(found.tolist() for found in np.unique(codes, return_counts=True)), strict=True):
            values = []
            for words in reversed(lists):
                code, place = divmod(code, len(words))
                values.append(words[place])
            self._counts[_Sort(*reversed(values))] += count

    def by_fate(self) -> list[dict[str, Any]]:
        """As `verdict_counts.sql` gives them: a row per condition or reason."""
        counts: Counter[tuple[str | None, bool]] = Counter()
        for sort, count in self._counts.items():
            counts[sort.condition, sort.by_policy] += count
        return count_rows(counts)

    def by_kind(self) -> list[dict[str, Any]]:
        """The usable pairs as `mix_tally.sql` counts them: a row per kind and fate."""
        totals: Counter[tuple[str | None, ...]] = Counter()
        for sort, count in self._counts.items():
            if sort.usable:
                fate = "rejected" if sort.condition is not None else "accepted"
                totals[sort.dataset, sort.vision_task, sort.edit_type, sort.split, fate] += count
        rows = sorted(totals.items(), key=lambda row: [(word is None, word or "") for word in row[0]])
        return [{**dict(zip((*KINDS, "fate"), kind, strict=True)), "num_pairs": count} for kind, count in rows]


def count_rows(counts: Counter[tuple[str | None, bool]]) -> list[dict[str, Any]]:
    """Verdicts by what rejects them and whether it is a condition of the policy, as `verdict_counts.sql` gives them.

    In alphabetical order, the accepted last.
    """
    names = sorted({name for name, _ in counts}, key=lambda name: (name is None, name or ""))
    return [
        {"condition": name, "by_policy": (name, True) in counts, "num_pairs": counts[name, True] + counts[name, False]}
        for name in names
    ]
