"""What the Data page knows of one decision: its tables as views, and the questions that several of its views ask."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.decisions import Stage, list_decisions, stages_of
from catalog.manifests import Manifest
from catalog.policies import Condition, Policy
from catalog.queries import load_sql
from catalog.schema import PAIRS, SCORES, TABLES, VERDICTS
from catalog.text_keys import text_keys
from catalog.workspace import Workspace
from infra.dashboard.questions import Question, View, load_question, parquet_view

NUM_BINS = 60
"""Of a histogram."""


@dataclass(frozen=True)
class Decided:
    """A build and one decision about it."""

    root: Workspace
    build: Manifest
    decision: Manifest

    @property
    def policy(self) -> Policy:
        """As the decision keeps it."""
        return Policy.from_dict(self.decision.parameters["policy"])

    @property
    def thresholds(self) -> dict[str, float | None]:
        """By condition, quantiles worked out."""
        found: dict[str, float | None] = self.decision.parameters["thresholds"]
        return found

    @property
    def is_current(self) -> bool:
        """Whether the decision is about the pairs that the build has now: only then do places of verdicts fit them."""
        found: list[str] = self.decision.parameters["inputs"]["pairs"]
        return found == [shard.sha256 for shard in self.build.tables["pairs"]]

    @property
    def num_pairs(self) -> int:
        """Of the build, usable or not."""
        return self._starts()[-1]

    def verdicts(self) -> View:
        """The decision's verdicts."""
        return parquet_view("verdicts", self.decision.paths(self.root, "verdicts"), VERDICTS, with_rows=True)

    def pairs(self) -> View:
        """The build's pairs."""
        return parquet_view("pairs", self.build.paths(self.root, "pairs"), PAIRS)

    def placed_pairs(self) -> View:
        """The build's pairs with a column ``place``, the row of their verdict: far quicker to match than ids."""
        return replace(self.pairs(), starts=self._starts()[:-1])

    def scores(self) -> View:
        """The build's scores."""
        return parquet_view("scores", self.build.paths(self.root, "scores"), SCORES)

    def survival(self) -> Question:
        """How many pairs each reason and condition removes: `catalog/sql/verdict_counts.sql`."""
        return Question(load_sql("verdict_counts"), (self.verdicts(),))

    def kinds(self) -> Question:
        """Pairs by kind and what rejects them."""
        return Question(load_question("kinds"), (self.verdicts(),))

    def stages(self, rows: list[dict[str, Any]]) -> tuple[Stage, ...]:
        """The waterfall of the answer to `survival`, as `catalog.decisions` puts it."""
        return stages_of(rows, self.policy)

    def histogram(self, condition: Condition) -> Question:
        """How often each value of what a condition looks at occurs among the pairs that were scored."""
        names = condition.scores
        value = f"s.{names[0]}" if len(names) == 1 else f"abs(s.{names[0]} - s.{names[1]})"
        join, views = "", [self.scores()]
        if condition.edit_types is not None:
            join = "\n    JOIN pairs AS p ON p.pair_id = s.pair_id AND list_contains($edit_types, p.edit_type)"
            views.append(self.pairs())
        sql = f"""WITH found AS (
    SELECT {value} AS value
    FROM scores AS s{join}
    WHERE s.reason IS NULL AND isfinite({value})
),

span AS (SELECT min(value) AS low, max(value) AS high FROM found)

SELECT
    least($bins - 1, floor($bins * (value - low) / nullif(high - low, 0)))::INTEGER AS bin,
    any_value(low) AS low,
    any_value(high) AS high,
    count(*) AS num_pairs
FROM found, span
GROUP BY bin
ORDER BY bin"""
        values: list[tuple[str, Any]] = [("bins", NUM_BINS)]
        if condition.edit_types is not None:
            values.append(("edit_types", condition.edit_types))
        return Question(sql, tuple(views), tuple(values))

    def verdict(self, pair_id: str) -> Question:
        """The verdict on one pair, found by its key."""
        sql = f"{_VERDICT}\nFROM verdicts\nWHERE pair_key = $key AND pair_id = $id"
        key = int(text_keys(pa.array([pair_id]))[0])
        return Question(sql, (self.verdicts(),), (("key", key), ("id", pair_id)))

    def verdicts_at(self, places: Sequence[int]) -> Question:
        """The verdicts in some rows of their file: far quicker than by id."""
        listed = ", ".join(str(int(place)) for place in places)
        return Question(f"{_VERDICT}\nFROM verdicts\nWHERE file_row_number IN ({listed})", (self.verdicts(),))

    def pairs_at(self, places: Sequence[int]) -> Question:
        """The pairs whose verdicts are in some rows: `decisions.decide` keeps the order of the build's pairs."""
        shards, starts = self.build.tables["pairs"], self._starts()
        by_shard: dict[int, list[int]] = {}
        for place in places:
            number = bisect_right(starts, place) - 1
            by_shard.setdefault(number, []).append(place - starts[number])
        parts, views = list[str](), list[View]()
        for number, rows in sorted(by_shard.items()):
            listed = ", ".join(str(int(row)) for row in sorted(rows))
            parts.append(f"    SELECT * FROM pairs_{number} WHERE file_row_number IN ({listed})")
            path = shards[number].file(self.root)
            views.append(parquet_view(f"pairs_{number}", [path], PAIRS, with_rows=True))
        union = "\n    UNION ALL\n".join(parts)
        return Question(f"{load_question('pair_columns')}FROM (\n{union}\n)", tuple(views))

    def _starts(self) -> tuple[int, ...]:
        """Rows before each shard of pairs, and all of them."""
        return tuple(accumulate((shard.num_rows for shard in self.build.tables["pairs"]), initial=0))


_VERDICT = "SELECT file_row_number, pair_id, condition, score, value, threshold"


def decisions_about(root: Workspace, build: Manifest) -> list[Manifest]:
    """Decisions on record about a build."""
    return list_decisions(root, build.name)


def reason_questions(root: Workspace, build: Manifest) -> dict[str, Question]:
    """For each table with rows that are not usable: why they are not, `catalog/sql/reason_counts.sql`."""
    found = {}
    for table, shards in build.tables.items():
        usable = sum(one.num_usable for one in shards) == sum(one.num_rows for one in shards)
        if not usable and "reason" in TABLES[table].names:
            paths: list[Path] = build.paths(root, table)
            found[table] = Question(load_sql("reason_counts"), (parquet_view("unusable", paths, TABLES[table]),))
    return found
