"""Where a mix comes from, as far as this workspace still knows: helper models, and what its policy removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.decisions import decision_name
from catalog.errors import ShardError
from catalog.lineage import Lineage
from catalog.manifests import read_manifest
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.schema import VERDICTS
from catalog.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class BuildOrigin:
    """What is known of one build of the mix."""

    name: str
    waterfall: list[tuple[str, int, int]] | None
    """Pairs that each reason and condition removed, and that then remained; None: its verdicts are not here."""
    backends: list[str] | None
    """``role=name@revision`` of the helper models that its pairs were made and scored with, sorted; None: its shards
    are not here.
    """


def trace_origin(workspace: Workspace, footer: Mapping[str, Any]) -> list[BuildOrigin]:
    """The builds that a mix's footer names, each as it was when the mix was made."""
    return [_trace(workspace, build, footer["policy"]) for build in footer.get("builds", [])]


def _trace(workspace: Workspace, build: Mapping[str, Any], policy: Mapping[str, Any]) -> BuildOrigin:
    return BuildOrigin(
        name=build["name"],
        waterfall=_trace_verdicts(workspace, build, policy),
        backends=_trace_models(workspace, build),
    )


def _trace_verdicts(
    workspace: Workspace, build: Mapping[str, Any], policy: Mapping[str, Any]
) -> list[tuple[str, int, int]] | None:
    try:
        decision = read_manifest(workspace, decision_name(build["name"], policy["name"]))
    except ShardError:  # the mix may have travelled alone
        return None
    verdicts = decision.tables.get("verdicts", [])
    if [shard.sha256 for shard in verdicts] != build["verdicts"]:
        return None
    if not all(shard.file(workspace).is_file() for shard in verdicts):
        return None
    with open_database() as connection:
        open_table(connection, "verdicts", decision.paths(workspace, "verdicts"), VERDICTS)
        return _order(fetch_rows(connection, load_sql("verdict_counts")), policy)


def _trace_models(workspace: Workspace, build: Mapping[str, Any]) -> list[str] | None:
    """Of the mix's pairs, their scores, and everything that either was made from, whole galleries included."""
    wanted = set(build["pairs"])
    try:
        manifest = read_manifest(workspace, build["name"])
        pairs = [shard for shard in manifest.tables.get("pairs", []) if shard.sha256 in wanted]
        if {shard.sha256 for shard in pairs} != wanted:  # built anew since: what it says now is of other pairs
            return None
        lineage = Lineage(workspace, manifest)
        scores = manifest.tables.get("scores", [])
        waiting = pairs + [one for one in scores if not wanted.isdisjoint(lineage.footer(one).get("inputs", []))]
        waiting += manifest.tables.get("requests", [])  # matched by a crawl, which no later step names as its input
        seen, found = {shard.sha256 for shard in waiting}, set()
        while waiting:
            shard = waiting.pop()
            found.update(lineage.footer(shard).get("backends", []))
            inputs = [one for one in lineage.inputs(shard) if one.sha256 not in seen]
            seen.update(one.sha256 for one in inputs)
            waiting += inputs
    except ShardError:
        return None
    return sorted(found)


def _order(rows: list[dict[str, Any]], policy: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Reasons first, then conditions in the order in which the policy applies them."""
    removed = {row["condition"]: row["num_pairs"] for row in rows if row["condition"] is not None}
    conditions = [one["name"] for one in policy["conditions"]]
    remaining = sum(row["num_pairs"] for row in rows)
    stages = [("pairs", 0, remaining)]
    for name in [*(name for name in removed if name not in conditions), *conditions]:
        remaining -= removed.get(name, 0)
        stages.append((name, removed.get(name, 0), remaining))
    return stages
