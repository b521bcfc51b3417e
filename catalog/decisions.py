"""Decide: a policy over the scores of a build gives one verdict per pair, and nothing is made again."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from catalog.digests import value_digest
from catalog.errors import PolicyError, ShardError
from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.parquet_streams import write_stream
from catalog.policies import Condition, Policy
from catalog.queries import fetch_rows, load_sql, open_database, open_table, run_statement, stream_batches
from catalog.reasons import Reason
from catalog.revocation import revoked_pairs
from catalog.schema import PAIRS, SCORE_NAMES, SCORES, VERDICTS
from catalog.store import read_entry, read_metadata, shard_key
from catalog.workspace import Workspace

_ROW_GROUP = 65536
_NEED_REFERENCES = {"source_quality", "target_quality"}
"""Scores that are null without photos in the table ``references``."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One line of the survival waterfall."""

    name: str
    kind: str
    """``pairs`` (the first line), ``reason`` (unusable on its own account), ``condition`` (of the policy)."""
    removed: int
    remaining: int


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a policy made of a build."""

    build: str
    policy: Policy
    manifest: Manifest
    """Lists the one shard of verdicts; its name is `decision_name`."""
    thresholds: dict[str, float | None]
    """By condition, quantiles worked out; None where no candidate has the score."""
    waterfall: tuple[Stage, ...]
    """From all pairs down to the accepted ones, in the order in which pairs are removed."""
    made: bool
    """False: the verdicts were there already."""

    @property
    def num_pairs(self) -> int:
        """Rows of pairs, usable or not."""
        return self.waterfall[0].remaining

    @property
    def num_accepted(self) -> int:
        """What remains in the end."""
        return self.waterfall[-1].remaining


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a second policy changes, pair by pair."""

    gained: tuple[str, ...]
    """pair_ids that only the second accepts, sorted."""
    lost: tuple[str, ...]
    """pair_ids that only the first accepts, sorted."""
    lost_to: dict[str, int]
    """Condition of the second policy to number of pairs."""
    gained_from: dict[str, int]
    """Condition of the first policy to number of pairs."""


def decision_name(build: str, policy: str) -> str:
    """Name of the manifest that lists a policy's verdicts."""
    return f"{build}.{policy}"


def decide(
    workspace: Workspace,
    build: str,
    policy: Policy,
    threads: int | None = None,
    memory_limit: str | None = None,
    on_record: bool = True,
) -> Decision:
    """Give every pair of a build its verdict, unless that is done, and point the decision's manifest at it.

    Pairs that a tombstone on record withdraws are rejected as ``revoked``, whatever their scores. With ``on_record``
    false the manifest stays as it is: the verdicts are only looked at.

    Raises:
        ShardError: no such build, a torn shard, or a pair_id that occurs twice.
        PolicyError: the build has pairs that the policy looks at, and no scores, no photo that their quality could be
            measured against, or scores of other helper models than the policy's thresholds are about.
    """
    source = read_manifest(workspace, build)
    if "pairs" not in source.tables:
        raise ShardError(f"{build!r} has no table of pairs: name a build, not a decision")
    policy.check_scorers(_scorers(workspace, source), build)
    inputs = {table: [shard.sha256 for shard in source.tables.get(table, [])] for table in ("pairs", "scores")}
    revoked = _revoked_here(workspace, source)
    withdrawn = {"revoked": value_digest(revoked)} if revoked else {}
    parameters = {"policy": policy.as_dict(), "inputs": inputs, **withdrawn}
    key = shard_key("decide", parameters, [], [])
    path = workspace.table_path("verdicts", key)
    made = not path.exists()
    with open_database(threads, memory_limit) as connection:
        if made:
            _write_verdicts(connection, workspace, source, policy, path, parameters, revoked)
        open_table(connection, "verdicts", [path], VERDICTS)
        waterfall = _waterfall(fetch_rows(connection, load_sql("verdict_counts")), policy)
    thresholds = read_metadata(path)["thresholds"]
    manifest = Manifest(
        name=decision_name(build, policy.name),
        parameters={**parameters, "build": build, "thresholds": thresholds},
        tables={"verdicts": [read_entry(workspace, "verdicts", key)]},
    )
    if on_record:
        write_manifest(workspace, manifest)
    return Decision(
        build=build, policy=policy, manifest=manifest, thresholds=thresholds, waterfall=waterfall, made=made
    )


def _scorers(workspace: Workspace, source: Manifest) -> set[str]:
    """``role=name@revision`` of the helper models that scored a build."""
    paths = source.paths(workspace, "scores")
    return {backend for path in paths for backend in read_metadata(path).get("backends", [])}


def list_decisions(workspace: Workspace, build: str) -> list[Manifest]:
    """Manifests of all decisions about a build, by policy name."""
    manifests = (read_manifest(workspace, name) for name in list_manifests(workspace))
    return [one for one in manifests if "verdicts" in one.tables and one.parameters.get("build") == build]


def compare(workspace: Workspace, first: Manifest, second: Manifest) -> Changes:
    """What changes from the first decision to the second, both about the same build's pairs."""
    if first.parameters["inputs"]["pairs"] != second.parameters["inputs"]["pairs"]:
        raise PolicyError(
            f"{first.name} and {second.name} are about different pairs: decide both again on the same build"
        )
    with open_database() as connection:
        open_table(connection, "before", first.paths(workspace, "verdicts"), VERDICTS)
        open_table(connection, "after", second.paths(workspace, "verdicts"), VERDICTS)
        rows = fetch_rows(connection, load_sql("verdict_changes"))
    gained = [row for row in rows if row["accepted"]]
    lost = [row for row in rows if not row["accepted"]]
    return Changes(
        gained=tuple(row["pair_id"] for row in gained),
        lost=tuple(row["pair_id"] for row in lost),
        lost_to=dict(Counter(row["condition"] for row in lost)),
        gained_from=dict(Counter(row["condition"] for row in gained)),
    )


def _write_verdicts(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    source: Manifest,
    policy: Policy,
    path: Path,
    parameters: dict[str, Any],
    revoked: list[str],
) -> None:
    open_table(connection, "pairs", source.paths(workspace, "pairs"), PAIRS)
    open_table(connection, "scores", source.paths(workspace, "scores"), SCORES)
    connection.register("revoked", pa.table({"pair_id": pa.array(revoked, pa.string())}))
    withdrawn = f"CASE WHEN p.pair_id IN (SELECT pair_id FROM revoked) THEN '{Reason.REVOKED}' END"
    reason = f"coalesce(p.reason, {withdrawn})" if revoked else "p.reason"
    sql = load_sql("candidates").replace("{scores}", _score_columns()).replace("{reason}", reason)
    run_statement(connection, sql)
    _require_scores(connection, source, policy)
    _require_references(connection, source, policy)
    thresholds = {item.name: _threshold(connection, item) for item in policy.conditions}
    num_rows = sum(shard.num_rows for shard in source.tables["pairs"])
    # A verdict has no reason of its own, so every row is usable.
    footer: dict[str, Any] = {"step": "decide", "num_rows": num_rows, "num_usable": num_rows}
    footer |= {**parameters, "thresholds": thresholds}
    batches = _distinct(_verdicts(connection, policy, thresholds), source.name)
    write_stream(path, "verdicts", VERDICTS, batches, footer, _ROW_GROUP)


def _revoked_here(workspace: Workspace, source: Manifest) -> list[str]:
    """pair_ids of a build, sorted, that the tombstones on record withdraw."""
    revoked = revoked_pairs(workspace)
    if not revoked:
        return []
    with open_database() as connection:
        open_table(connection, "pairs", source.paths(workspace, "pairs"), PAIRS)
        connection.register("revoked", pa.table({"pair_id": pa.array(revoked, pa.string())}))
        sql = "SELECT DISTINCT pair_id FROM pairs SEMI JOIN revoked USING (pair_id) ORDER BY pair_id"
        return [row["pair_id"] for row in fetch_rows(connection, sql)]


def _score_columns() -> str:
    return ", ".join(f"CASE WHEN isfinite(s.{name}) THEN s.{name} END AS {name}" for name in SCORE_NAMES)


def _value(condition: Condition) -> str:
    """SQL of what the condition looks at; names were checked against `schema.SCORE_NAMES`."""
    assert set(condition.scores) <= set(SCORE_NAMES), condition.scores
    first, *second = condition.scores
    return f"abs({first} - {second[0]})" if second else first


def _is_about(condition: Condition, parameter: str) -> str:
    if condition.edit_types is None:
        return "vision_task IS NOT DISTINCT FROM 'image_editing'"
    return f"coalesce(list_contains(${parameter}, edit_type), false)"


def _edit_types(policy: Policy) -> dict[str, list[str]]:
    pairs = enumerate(policy.conditions, start=1)
    return {f"edit_types_{i}": list(item.edit_types) for i, item in pairs if item.edit_types is not None}


def _covered(policy: Policy) -> str:
    about = [_is_about(item, f"edit_types_{i}") for i, item in enumerate(policy.conditions, start=1)]
    return " OR ".join(about) or "false"


def _require_scores(connection: duckdb.DuckDBPyConnection, source: Manifest, policy: Policy) -> None:
    if source.tables.get("scores"):
        return
    sql = f"SELECT count(*) AS num_pairs FROM candidates WHERE own_reason IS NULL AND ({_covered(policy)})"
    num_pairs = fetch_rows(connection, sql, **_edit_types(policy))[0]["num_pairs"]
    if num_pairs:
        raise PolicyError(
            f"policy {policy.name!r} looks at scores of {num_pairs} pairs, and build {source.name!r} has none: "
            "run its scoring step first"
        )


def _require_references(connection: duckdb.DuckDBPyConnection, source: Manifest, policy: Policy) -> None:
    """Refuse conditions on quality where none could be measured: they would reject everything for a missing number."""
    references = source.tables.get("references")
    if not references or any(shard.num_rows for shard in references):
        return
    asked = [item for item in policy.conditions if set(item.scores) & _NEED_REFERENCES]
    about = " OR ".join(_is_about(item, f"edit_types_{i}") for i, item in enumerate(asked, start=1))
    types = {f"edit_types_{i}": list(item.edit_types) for i, item in enumerate(asked, start=1) if item.edit_types}
    sql = f"SELECT count(*) AS num_pairs FROM candidates WHERE own_reason IS NULL AND ({about or 'false'})"
    num_pairs = fetch_rows(connection, sql, **types)[0]["num_pairs"]
    if num_pairs:
        raise PolicyError(
            f"policy {policy.name!r} asks for the quality of {num_pairs} pairs "
            f"({', '.join(one.name for one in asked)}), and build {source.name!r} has no photo of its train split to "
            "measure it against: all its pictures were generated, or nobody knows; add a source of photos to the "
            "profile and build again, or decide by a policy without those conditions, such as "
            "infra/policies/aesthetics.toml"
        )


def _threshold(connection: duckdb.DuckDBPyConnection, condition: Condition) -> float | None:
    """The condition's threshold. A quantile q over n values: floor(q n) of them lie beyond it, ties aside."""
    if condition.quantile is None:
        return condition.fixed_threshold
    types = {} if condition.edit_types is None else {"edit_types": list(condition.edit_types)}
    usable = f"own_reason IS NULL AND score_reason IS NULL AND {_is_about(condition, 'edit_types')}"
    values = f"SELECT {_value(condition)} AS value FROM candidates WHERE {usable}"
    counted = fetch_rows(connection, f"SELECT count(value) AS num_values FROM ({values})", **types)
    num_values = counted[0]["num_values"]
    if num_values == 0:
        return None
    skip = floor(Fraction(str(condition.quantile)) * num_values)
    order = "ASC" if condition.wants_large else "DESC"
    sql = f"SELECT value FROM ({values}) WHERE value IS NOT NULL ORDER BY value {order} LIMIT 1 OFFSET $skip"
    threshold: float = fetch_rows(connection, sql, **types, skip=skip)[0]["value"]
    return threshold


def _verdicts(
    connection: duckdb.DuckDBPyConnection, policy: Policy, thresholds: dict[str, float | None]
) -> Iterator[pa.RecordBatch]:
    failed, values = ["WHEN false THEN 0"], ["WHEN 0 THEN NULL::DOUBLE"]
    for i, item in enumerate(policy.conditions, start=1):
        relation = ">=" if item.wants_large else "<="
        holds = f"coalesce({_value(item)} {relation} ($thresholds::DOUBLE[])[{i}], false)"
        failed.append(f"WHEN {_is_about(item, f'edit_types_{i}')} AND NOT {holds} THEN {i}")
        values.append(f"WHEN {i} THEN {_value(item)}")
    sql = load_sql("verdicts").replace("{covered}", _covered(policy))
    sql = sql.replace("{failed}", " ".join(failed)).replace("{values}", " ".join(values))
    return stream_batches(
        connection,
        sql,
        _ROW_GROUP,
        names=[item.name for item in policy.conditions],
        looks_at=[item.looks_at for item in policy.conditions],
        thresholds=[thresholds[item.name] for item in policy.conditions],
        **_edit_types(policy),
    )


def _distinct(batches: Iterable[pa.RecordBatch], build: str) -> Iterator[pa.RecordBatch]:
    """The same batches, sorted by pair_id, with the promise that no pair_id comes twice."""
    last = pa.array([], VERDICTS.field("pair_id").type)
    for batch in batches:
        ids = pa.concat_arrays([last, batch.column("pair_id")])
        twice = ids[1:].filter(pc.equal(ids[1:], ids[:-1]))
        if len(twice):
            raise ShardError(
                f"a pair_id must be unique in a build. {twice[0].as_py()!r} comes twice in the pairs or scores of "
                f"{build!r}: build it again"
            )
        yield batch
        last = ids[-1:]


def _waterfall(rows: list[dict[str, Any]], policy: Policy) -> tuple[Stage, ...]:
    remaining = sum(row["num_pairs"] for row in rows)
    stages = [Stage(name="pairs", kind="pairs", removed=0, remaining=remaining)]
    removed_by = {row["condition"]: row["num_pairs"] for row in rows if row["by_policy"]}
    removals = [
        (row["condition"], "reason", row["num_pairs"])
        for row in rows
        if row["condition"] is not None and not row["by_policy"]
    ]
    removals += [(item.name, "condition", removed_by.get(item.name, 0)) for item in policy.conditions]
    for name, kind, removed in removals:
        remaining -= removed
        stages.append(Stage(name=name, kind=kind, removed=removed, remaining=remaining))
    return tuple(stages)
