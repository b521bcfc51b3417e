"""What a mix draws from: the verdicts of its builds, and the few pairs that verdicts alone do not settle.

Keys of photos are compared first, their digests only where keys are equal and splits are not: a chance likeness of two
keys costs time, never a pair.
"""

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from catalog.candidates import KINDS
from catalog.decisions import Decision
from catalog.duplicates import photos_that_look_barred
from catalog.errors import MixError
from catalog.manifests import read_manifest
from catalog.mix_plans import MixPlan
from catalog.parquet_streams import read_ending
from catalog.queries import fetch_rows, load_sql, open_table, run_query, run_statement
from catalog.schema import PAIRS, VERDICTS
from catalog.text_keys import text_keys
from catalog.workspace import Workspace

_NUM_NAMED = 5
_TALLY = pa.schema([*((name, pa.string()) for name in (*KINDS, "fate")), ("num_pairs", pa.int64())])


def open_inputs(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, decisions: Sequence[Decision], plan: MixPlan
) -> None:
    """Make views ``mix_candidates``, ``usable_pairs`` and ``verdicts`` and tables ``mix_tally`` and ``mix_sources``.

    Raises:
        MixError: one pair_id for two different pairs, one key for two pair_ids, or a photo that cannot be compared with
            barred ones.
        ShardError: a torn shard.
    """
    manifests = [read_manifest(workspace, decision.build) for decision in decisions]
    # Builds may share shards; a shard is content, so it counts once.
    pairs = dict.fromkeys(path for manifest in manifests for path in manifest.paths(workspace, "pairs"))
    verdicts = dict.fromkeys(path for one in decisions for path in one.manifest.paths(workspace, "verdicts"))
    open_table(connection, "pairs", list(pairs), PAIRS)
    open_table(connection, "verdicts", list(verdicts), VERDICTS)
    if len(verdicts) == 1:  # `decide` has seen to it that ids and keys are unique
        run_query(connection, "judged_pairs")
        run_query(connection, "usable_pairs")
    else:
        run_query(connection, "repeated_keys")
        run_query(connection, "repeated_pairs")
        _refuse_shared_keys(connection)
        _refuse_conflicts(connection)
        run_query(connection, "judged_pairs_of_builds")
        run_query(connection, "usable_pairs_of_builds")
    _find_moved(connection)
    _find_barred(connection, workspace, [decision.build for decision in decisions], plan)
    changes = connection.sql(load_sql("mix_changes")).to_arrow_table()
    if len(changes):
        keys = pa.chunked_array([text_keys(chunk) for chunk in changes.column("pair_id").chunks])
        connection.register("mix_changes", changes.append_column("pair_key", keys))
        run_query(connection, "mix_candidates")
    else:
        run_query(connection, "unchanged_candidates")
    if len(verdicts) == 1 and not len(changes):  # `decide` has counted them
        kinds = read_ending(next(iter(verdicts)))["kinds"]
        connection.register("mix_tally", pa.Table.from_pylist(kinds, schema=_TALLY))
    else:
        run_query(connection, "mix_tally")
    columns = ("name", "dataset", "vision_task", "edit_type")
    table = {key: pa.array([getattr(one, key) for one in plan.sources], pa.string()) for key in columns}
    ordinals = pa.array(range(len(plan.sources)), pa.int32())
    connection.register("mix_sources", pa.table({"ordinal": ordinals, **table}))


def _find_moved(connection: duckdb.DuckDBPyConnection) -> None:
    run_query(connection, "held_out_keys")
    run_query(connection, "suspect_keys")
    if _count(connection, "suspect_keys"):
        run_query(connection, "suspect_pairs")
        run_query(connection, "held_out_groups")
        run_query(connection, "moved_pairs")
    else:
        run_statement(connection, "CREATE TEMP TABLE moved_pairs (pair_id VARCHAR, split VARCHAR, barred BOOLEAN)")


def _find_barred(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, builds: Sequence[str], plan: MixPlan
) -> None:
    if plan.barred:
        barred = sorted({*plan.barred, *photos_that_look_barred(workspace, builds, plan.barred_looks)})
        connection.register("barred_digests", pa.table({"sha256": barred}))
        run_query(connection, "barred_pairs")
    else:
        run_statement(connection, "CREATE TEMP TABLE barred_pairs (pair_id VARCHAR)")


def _refuse_shared_keys(connection: duckdb.DuckDBPyConnection) -> None:
    shared: list[dict[str, Any]] = fetch_rows(connection, load_sql("shared_keys"))
    if shared:
        raise MixError(
            f"two pairs must not share a key, but {' and '.join(shared[0]['pair_ids'])} do, by chance: "
            "mix the builds one at a time, or rename a dataset"
        )


def _refuse_conflicts(connection: duckdb.DuckDBPyConnection) -> None:
    ids = [row["pair_id"] for row in fetch_rows(connection, load_sql("conflicting_pairs"))]
    if ids:
        raise MixError(
            f"a pair_id must stand for one pair in all builds of a mix. Different pairs are called {name_some(ids)}: "
            "mix the builds one at a time, or rename a dataset"
        )


def name_some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + more


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found: int = fetch_rows(connection, f"SELECT count(*) AS num_rows FROM {table}")[0]["num_rows"]
    return found
