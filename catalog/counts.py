"""Counts: what a build holds, and which rows of a mix a training run saw."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from catalog.decisions import list_decisions
from catalog.errors import ConfigError, MixError
from catalog.manifests import read_manifest
from catalog.parquet_streams import reading_mix, require_mix_file
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.schema import MIX, PAIRS, TABLES
from catalog.store import METADATA_KEY
from catalog.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class BuildCounts:
    """Numbers of a build. Each list has one dictionary per line."""

    tables: list[dict[str, Any]]
    """table, num_shards, num_rows, num_usable."""
    reasons: list[dict[str, Any]]
    """table, reason, num_rows, example."""
    pairs: list[dict[str, Any]]
    """dataset, vision_task, edit_type, num_pairs, num_usable, num_train, num_val, num_test."""
    decisions: list[dict[str, Any]]
    """policy, version, num_pairs, num_accepted."""


MAX_PLAN_ROWS = 10_000_000
"""Samples that one question about a run may list: they are held in memory."""


def count_build(workspace: Workspace, build: str) -> BuildCounts:
    """Count a build's rows by table, reason and kind, and what its policies accept.

    Raises:
        ShardError: no such build, or a torn shard.
    """
    manifest = read_manifest(workspace, build)
    tables, reasons, decisions = [], [], []
    for name in (table for table in TABLES if table in manifest.tables):
        shards = manifest.tables[name]
        rows, usable = sum(one.num_rows for one in shards), sum(one.num_usable for one in shards)
        tables.append({"table": name, "num_shards": len(shards), "num_rows": rows, "num_usable": usable})
        if usable < rows and "reason" in TABLES[name].names:
            with open_database() as connection:
                open_table(connection, "unusable", manifest.paths(workspace, name), TABLES[name])
                found = fetch_rows(connection, load_sql("reason_counts"))
                reasons += [{"table": name, **row} for row in found]
    with open_database() as connection:
        open_table(connection, "pairs", manifest.paths(workspace, "pairs"), PAIRS)
        pairs = fetch_rows(connection, load_sql("pair_counts"))
    for decision in list_decisions(workspace, build):
        decisions.append(_count_decision(workspace, decision.paths(workspace, "verdicts"), decision.parameters))
    return BuildCounts(tables=tables, reasons=reasons, pairs=pairs, decisions=decisions)


def _count_decision(workspace: Workspace, paths: list[Path], parameters: dict[str, Any]) -> dict[str, Any]:
    with open_database() as connection:
        open_table(connection, "verdicts", paths, TABLES["verdicts"])
        rows = fetch_rows(connection, load_sql("verdict_counts"))
    policy = parameters["policy"]
    return {
        "policy": policy["name"],
        "version": policy["version"],
        "num_pairs": sum(row["num_pairs"] for row in rows),
        "num_accepted": sum(row["num_pairs"] for row in rows if row["condition"] is None),
    }


def rows_of_steps(mix: Path, first: int, last: int, batch: int) -> list[dict[str, Any]]:
    """The rows that steps ``first`` to ``last`` - 1 saw, in the order of training.

    Args:
        mix: a mix file.
        first: step, counted from 0.
        last: the step after the last one.
        batch: samples per optimizer update, over all ranks and accumulated micro-batches.

    Raises:
        ConfigError: steps out of order, or no batch.
        MixError: not a mix.
    """
    if not 0 <= first < last:
        raise ConfigError(f"steps must be A:B with 0 <= A < B, B excluded. Got {first}:{last}")
    if batch < 1:
        raise ConfigError(f"a batch must have at least 1 sample. Got {batch}")
    if (last - first) * batch > MAX_PLAN_ROWS:
        raise ConfigError(
            f"at most {MAX_PLAN_ROWS:,} samples at once. Got {(last - first) * batch:,}: ask for fewer steps"
        )
    num_train = mix_metadata(mix)["num_train"]
    with open_database() as connection:
        open_table(connection, "mix", [mix], MIX)
        sql = load_sql("rows_of_steps")
        return fetch_rows(connection, sql, first=first, last=last, batch=batch, num_train=num_train)


def mix_metadata(mix: Path) -> dict[str, Any]:
    """What a mix file says of itself.

    Raises:
        MixError: missing, torn or no mix.
    """
    require_mix_file(mix)
    with reading_mix(mix):
        footer = pq.read_schema(mix).metadata or {}
    if METADATA_KEY not in footer:
        raise MixError(f"{mix} is no mix of this project: make one with `python -m catalog mix`")
    metadata: dict[str, Any] = json.loads(footer[METADATA_KEY])
    if metadata.get("table") != "mix":
        raise MixError(f"{mix} is a table of {metadata.get('table')}, not a mix: name a mix file")
    return metadata
