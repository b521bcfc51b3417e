"""Candidates: pairs beside their scores, column by column, as a policy looks at them.

A build's scores lie in the order of its pairs, a shard of scores for a shard of pairs: so a stretch of shards is put
side by side without a join. Scores in any other order are found by pair_id, in memory.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.errors import ShardError
from catalog.manifests import Manifest
from catalog.policies import Condition
from catalog.reasons import Reason
from catalog.schema import PAIRS, SCORES
from catalog.store import read_metadata, read_shard
from catalog.workspace import Workspace

KINDS = ("dataset", "vision_task", "edit_type", "split")
"""Columns that say which source of a mix a pair belongs to, and what for."""
_STRETCH = 1 << 17
"""Pairs that are looked at together, at least."""


class OutOfOrder(Exception):
    """The scores of a build do not lie in the order of its pairs: they must be found by pair_id."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive shards of pairs of a build, and the shards of scores that belong to them."""

    pairs: list[Path]
    scores: list[Path]
    ordered: bool
    """Whether the scores are to lie in the order of the pairs."""


def list_stretches(workspace: Workspace, build: Manifest, ordered: bool = True) -> list[Stretch]:
    """All pairs of a build in the manifest's order, in parts; one part unless ``ordered`` and scores name their pairs.

    Raises:
        ShardError: a shard is missing or torn.
    """
    pairs, scores = build.tables["pairs"], build.tables.get("scores", [])
    partners: dict[str, list[Path]] = {shard.sha256: [] for shard in pairs}
    for shard in scores if ordered else []:
        inputs = [one for one in read_metadata(shard.file(workspace)).get("inputs", []) if one in partners]
        if len(inputs) != 1:
            ordered = False
            break
        partners[inputs[0]].append(shard.file(workspace))
    if not ordered:
        return [Stretch(build.paths(workspace, "pairs"), build.paths(workspace, "scores"), ordered=not scores)]
    found: list[Stretch] = []
    num_rows = _STRETCH
    for shard in pairs:
        if num_rows >= _STRETCH:
            found.append(Stretch([], [], ordered=True))
            num_rows = 0
        found[-1].pairs.append(shard.file(workspace))
        found[-1].scores.extend(partners[shard.sha256])
        num_rows += shard.num_rows
    return found


@dataclass(frozen=True)
class Candidates:
    """N pairs with what a policy looks at."""

    pairs: pa.Table
    """Columns of `schema.PAIRS`; words and group_id as dictionaries."""
    scores: pa.Table
    """Columns of `schema.SCORES`, M rows."""
    places: NDArray[np.int64] | None
    """Row of ``scores`` of each pair, -1: none. None: row i of pair i."""

    @classmethod
    def read(cls, stretch: Stretch, conditions: Iterable[Condition], ids: bool) -> "Candidates":
        """Read a stretch: of the scores those that ``conditions`` look at.

        With ``ids`` false no pair_id is read, so nobody knows whether the scores lie in the pairs' order.

        Raises:
            OutOfOrder: the scores are not those of the pairs, in their order.
            ShardError: a shard is missing or torn, or has two rows for one pair_id.
        """
        names = sorted({name for condition in conditions for name in condition.scores})
        identity = ["pair_id"] if ids or not stretch.ordered else []
        more = [*KINDS, "group_id", "donor.group_id"] if ids else ["vision_task", "edit_type"]
        pairs = _read(stretch.pairs, [*identity, *more, "reason"], PAIRS)
        scores = _read(stretch.scores, [*identity, *names, "reason"], SCORES)
        places = _in_order(pairs, scores) if stretch.ordered else _by_id(pairs, scores)
        return cls(pairs, scores, places)

    def __len__(self) -> int:
        return len(self.pairs)

    def words(self, column: str) -> pa.DictionaryArray:
        """A column of words of the pairs."""
        return _in_one(self.pairs.column(column))

    def is_about(self, condition: Condition) -> NDArray[np.bool_]:
        """Which pairs must fulfil a condition, bool (N)."""
        if condition.edit_types is None:
            return self._picks("vision_task", lambda word: condition.is_about(word, None))
        return self._picks("edit_type", lambda word: condition.is_about(None, word))

    def value(self, condition: Condition) -> NDArray[np.float64]:
        """What a condition looks at, float64 (N); NaN where a score is missing or not finite."""
        first, *second = (self._score(name) for name in condition.scores)
        return np.abs(first - second[0]) if second else first

    def score_reasons(self) -> pa.DictionaryArray:
        """Why a pair could not be scored; null: it was, or there are no scores of it."""
        reasons = _in_one(self.scores.column("reason"))
        return reasons if self.places is None else reasons.take(pa.array(self.places, mask=self.places < 0))

    def own_reasons(self, revoked: pa.Array) -> pa.DictionaryArray:
        """Why a pair is unusable on its own account; of the pair_ids in ``revoked`` at least that they are."""
        reasons = self.words("reason")
        if not len(revoked):
            return reasons
        withdrawn = pc.is_in(self.pairs.column("pair_id"), revoked).combine_chunks()
        gone = pc.and_(reasons.is_null(), withdrawn)
        return pc.if_else(gone, Reason.REVOKED.value, reasons.cast(pa.string())).dictionary_encode()

    def _score(self, name: str) -> NDArray[np.float64]:
        values = self.scores.column(name).to_numpy()  # null is NaN
        if not np.isfinite(values).all():
            values = np.where(np.isfinite(values), values, np.nan)
        return values if self.places is None else np.append(values, np.nan)[self.places]

    def _picks(self, column: str, wanted: Callable[[str | None], bool]) -> NDArray[np.bool_]:
        words = self.words(column)
        answers = np.array([wanted(word) for word in [*words.dictionary.to_pylist(), None]])
        return np.asarray(answers[words.indices.fill_null(len(answers) - 1).to_numpy()])


def _read(paths: Sequence[Path], columns: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Columns of some shards; words as dictionaries that all chunks share, group_id as one of each chunk's own."""
    words = [name for name in columns if name in (*KINDS, "reason")]
    dictionary = [*words, *(name for name in columns if name == "group_id")]
    tables = [read_shard(path, columns, dictionary) for path in paths]
    if not tables:
        empty = schema.empty_table().select([name.partition(".")[0] for name in columns])
        for name in dictionary:
            place = empty.column_names.index(name)
            empty = empty.set_column(place, name, empty.column(name).dictionary_encode())
        return empty
    read = pa.concat_tables(tables)
    shared = read.select(words).unify_dictionaries()  # of groups there are too many for that
    for name in words:
        read = read.set_column(read.column_names.index(name), name, shared.column(name))
    return read


def _in_one(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _in_order(pairs: pa.Table, scores: pa.Table) -> NDArray[np.int64] | None:
    """Places where scores lie in the order of all pairs, or of all usable image-editing pairs (step ``score``)."""
    if len(scores) == len(pairs):
        scored = np.ones(len(pairs), np.bool_)
    elif len(scores) == 0:
        scored = np.zeros(len(pairs), np.bool_)
    else:
        tasks = _in_one(pairs.column("vision_task"))
        editing = pc.equal(tasks.indices, pc.index(tasks.dictionary, "image_editing").as_py())
        usable = _in_one(pairs.column("reason")).is_null()
        scored = pc.and_(usable, editing.fill_null(False)).to_numpy(zero_copy_only=False)
    if np.count_nonzero(scored) != len(scores):
        raise OutOfOrder
    if "pair_id" in pairs.column_names:
        ids = pairs.column("pair_id")
        ids = ids if len(scores) == len(pairs) else ids.filter(pa.array(scored))
        if not pc.all(pc.equal(ids, scores.column("pair_id")), min_count=0).as_py():
            raise OutOfOrder
    return None if len(scores) == len(pairs) else np.where(scored, np.cumsum(scored) - 1, -1)


def _by_id(pairs: pa.Table, scores: pa.Table) -> NDArray[np.int64]:
    ids = scores.column("pair_id").combine_chunks()
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        twice = next(item["values"] for item in counts.to_pylist() if item["counts"] > 1)
        raise ShardError(f"a pair_id must be unique in a build. {twice!r} comes twice in its scores: build it again")
    places = pc.index_in(pairs.column("pair_id"), ids)
    return np.asarray(places.fill_null(-1).to_numpy(), np.int64)
