"""Decide: a policy over the scores of a build gives one verdict per pair, and nothing is made again."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.candidates import KINDS, OutOfOrder, list_stretches
from catalog.digests import value_digest
from catalog.errors import PolicyError, ShardError
from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.parquet_streams import Layout, read_ending, write_stream
from catalog.policies import Policy
from catalog.queries import count_threads, fetch_rows, load_sql, open_database, open_table
from catalog.revocation import revoked_pairs
from catalog.schema import PAIRS, VERDICTS
from catalog.score_checks import require_references, require_scores
from catalog.store import read_entry, read_metadata, read_shard, shard_key
from catalog.text_keys import text_keys
from catalog.verdict_tallies import VerdictTally
from catalog.verdicts import find_thresholds, in_order, judge
from catalog.workspace import Workspace

_ROW_GROUP = 65536
_VERSION = 2
"""Of what verdicts and their footers hold: other ones are decided anew. 2: pairs are counted by kind."""
_WORDS = (*KINDS, "condition", "score", "threshold")
_LAYOUT = Layout(statistics=(), dictionary=_WORDS, plain=("pair_id",))  # ids hardly get smaller, and are read often


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
    on_record: bool = True,
) -> Decision:
    """Give every pair of a build its verdict, unless that is done, and point the decision's manifest at it.

    Pairs that a tombstone on record withdraws are rejected as ``revoked``, whatever their scores. With ``on_record``
    false the manifest stays as it is: the verdicts are only looked at.

    Raises:
        ShardError: no such build, a torn shard, or a pair_id that occurs twice.
        ConfigError: threads that no machine has.
        PolicyError: the build has pairs that the policy looks at, and no scores, no photo that their quality could be
            measured against, or scores of other helper models than the policy's thresholds are about.
    """
    threads = count_threads(threads)
    source = read_manifest(workspace, build)
    if "pairs" not in source.tables:
        raise ShardError(f"{build!r} has no table of pairs: name a build, not a decision")
    policy.check_scorers(_scorers(workspace, source), build)
    inputs = {table: [shard.sha256 for shard in source.tables.get(table, [])] for table in ("pairs", "scores")}
    revoked = revoked_here(workspace, source)
    withdrawn = {"revoked": value_digest(revoked)} if revoked else {}
    parameters = {"policy": policy.as_dict(), "inputs": inputs, **withdrawn}
    key = shard_key("decide", {**parameters, "version": _VERSION}, [], [])
    path = workspace.table_path("verdicts", key)
    made, digest = not path.exists(), _known_digest(workspace, decision_name(build, policy.name), key)
    if made:
        digest = _write_verdicts(workspace, source, policy, path, parameters, revoked, threads)
    counts = read_ending(path)["counts"]
    thresholds = read_metadata(path)["thresholds"]
    manifest = Manifest(
        name=decision_name(build, policy.name),
        parameters={**parameters, "build": build, "thresholds": thresholds},
        tables={"verdicts": [read_entry(workspace, "verdicts", key, digest)]},
    )
    if on_record:
        write_manifest(workspace, manifest)
    return Decision(
        build=build,
        policy=policy,
        manifest=manifest,
        thresholds=thresholds,
        waterfall=stages_of(counts, policy),
        made=made,
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
    workspace: Workspace,
    source: Manifest,
    policy: Policy,
    path: Path,
    parameters: dict[str, Any],
    revoked: list[str],
    threads: int,
) -> str:
    """Write the verdicts to ``path``; returns the file's digest."""
    require_scores(workspace, source, policy)
    require_references(workspace, source, policy)
    num_rows = sum(shard.num_rows for shard in source.tables["pairs"])
    withdrawn = pa.array(revoked, pa.string())

    def write(ordered: bool) -> str:
        stretches = list_stretches(workspace, source, ordered)
        thresholds = find_thresholds(stretches, policy, withdrawn, threads)
        # A verdict has no reason of its own, so every row is usable.
        footer: dict[str, Any] = {"step": "decide", "num_rows": num_rows, "num_usable": num_rows}
        footer |= {**parameters, "thresholds": thresholds}
        judged = in_order(lambda stretch: judge(stretch, policy, thresholds, withdrawn), stretches, threads)
        tally = VerdictTally()
        tables = tally.watch(_distinct(judged, workspace, source))

        def count() -> dict[str, Any]:
            return {"counts": tally.by_fate(), "kinds": tally.by_kind()}

        return write_stream(path, "verdicts", VERDICTS, tables, footer, _ROW_GROUP, _LAYOUT, count)

    try:
        return write(ordered=True)
    except OutOfOrder:
        return write(ordered=False)


def _known_digest(workspace: Workspace, decision: str, key: str) -> str | None:
    """The digest of verdicts that the decision on record lists; None: it lists others, or there is none."""
    if decision not in list_manifests(workspace):
        return None
    try:
        shards = read_manifest(workspace, decision).tables["verdicts"]
    except ShardError:  # of another version of the schema: the decision is about to be replaced
        return None
    return next((shard.sha256 for shard in shards if shard.key == key), None)


def revoked_here(workspace: Workspace, source: Manifest) -> list[str]:
    """pair_ids of a build, sorted, that the tombstones on record withdraw."""
    revoked = revoked_pairs(workspace)
    if not revoked:
        return []
    with open_database() as connection:
        open_table(connection, "pairs", source.paths(workspace, "pairs"), PAIRS)
        connection.register("revoked", pa.table({"pair_id": pa.array(revoked, pa.string())}))
        sql = "SELECT DISTINCT pair_id FROM pairs SEMI JOIN revoked USING (pair_id) ORDER BY pair_id"
        return [row["pair_id"] for row in fetch_rows(connection, sql)]


def _distinct(
    judged: Iterable[tuple[pa.Table, NDArray[np.uint64]]], workspace: Workspace, source: Manifest
) -> Iterator[pa.Table]:
    """The verdicts, with the promise at their end that no pair_id comes twice, nor a key."""
    parts = []
    for table, keys in judged:
        parts.append(keys)
        yield table
    keys = np.concatenate([np.zeros(0, np.uint64), *parts])
    keys.sort()
    twice = np.unique(keys[1:][keys[1:] == keys[:-1]])
    if not len(twice):
        return
    found: set[str] = set()
    for path in source.paths(workspace, "pairs"):
        ids = read_shard(path, ["pair_id"]).column("pair_id").combine_chunks()
        ids = ids.filter(pa.array(np.isin(text_keys(ids), twice[:1])))
        again = found & set(ids.to_pylist()) or len(set(ids.to_pylist())) < len(ids)
        found.update(ids.to_pylist())
        if again:
            raise ShardError(
                f"a pair_id must be unique in a build. {ids[0].as_py()!r} comes twice in the pairs of "
                f"{source.name!r}: build it again"
            )
    raise ShardError(
        f"two pairs must not share a key, but {' and '.join(sorted(found))} of build {source.name!r} do, by chance: "
        "split its sources over two builds, or rename a dataset"
    )


def stages_of(rows: list[dict[str, Any]], policy: Policy) -> tuple[Stage, ...]:
    """The waterfall of rows of `verdict_counts.sql`: reasons first, then the policy's conditions in order."""
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
