"""Where a mix comes from, as far as this workspace still knows: helper models, and what its policy removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.decisions import decision_name
from catalog.errors import ShardError
from catalog.manifests import read_manifest
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.schema import VERDICTS
from catalog.store import read_metadata
from catalog.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class BuildOrigin:
    """What is known of one build of the mix."""

    name: str
    waterfall: list[tuple[str, int, int]] | None
    """Pairs that each reason and condition removed, and that then remained; None: its verdicts are not here."""
    backends: list[str]
    """``role=name@revision`` of the helper models that made its pairs, sorted."""


def trace_origin(workspace: Workspace, footer: Mapping[str, Any]) -> list[BuildOrigin]:
    """The builds that a mix's footer names, each as it was when the mix was made."""
    return [_trace(workspace, build, footer["policy"]) for build in footer.get("builds", [])]


def _trace(workspace: Workspace, build: Mapping[str, Any], policy: Mapping[str, Any]) -> BuildOrigin:
    name = build["name"]
    try:
        decision = read_manifest(workspace, decision_name(name, policy["name"]))
        pairs = read_manifest(workspace, name).tables.get("pairs", [])
        backends = {one for shard in pairs for one in read_metadata(shard.file(workspace)).get("backends", [])}
    except ShardError:  # the mix may have travelled alone
        return BuildOrigin(name=name, waterfall=None, backends=[])
    same = [shard.sha256 for shard in decision.tables["verdicts"]] == build["verdicts"]
    waterfall = None
    if same:
        with open_database() as connection:
            open_table(connection, "verdicts", decision.paths(workspace, "verdicts"), VERDICTS)
            waterfall = _order(fetch_rows(connection, load_sql("verdict_counts")), policy)
    return BuildOrigin(name=name, waterfall=waterfall, backends=sorted(backends))


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
