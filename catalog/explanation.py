"""Explain: everything that the tables know about one pair, as data and in words."""

import math
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from catalog.decisions import list_decisions
from catalog.errors import ShardError, UserError
from catalog.manifests import Manifest, list_manifests, read_manifest
from catalog.masks import decode_mask
from catalog.policies import Condition, Policy
from catalog.provenance import trace_making
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.revocation import read_tombstones, revoked_pairs
from catalog.roots import Roots
from catalog.schema import MIX, PAIRS, REGIONS, REQUESTS, SCORES, VERDICTS
from catalog.store import STORE_ROOT, read_metadata
from catalog.workspace import Workspace

_TABLES = {"pairs": PAIRS, "scores": SCORES, "regions": REGIONS}
_BLOCK = 512  # tar's unit: the header right before a member's bytes
_NUM_NAMED = 5


def explain(
    workspace: Workspace, pair_id: str, build: str | None = None, folders: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Everything known about a pair, as JSON values.

    Args:
        workspace: where the builds are.
        pair_id: the id, or a beginning of it that no other pair has.
        build: where to look; None: in every build.
        folders: of roots that have moved, by name.

    Returns:
        Keys ``builds``, ``pair``, ``source_image``, ``target_image``, ``donor_image`` (place, file, tar member),
        ``edit_area`` (pixels and share), ``region``, ``request`` (a photo request's row), ``scores``, ``verdicts``
        (per policy, each condition with value and threshold), ``mixes`` (per mix file, its draws), ``group`` (other
        pairs of the same photo), ``withdrawals`` (tombstones that reach it) and ``making`` (`provenance.trace_making`).

    Raises:
        UserError: no pair, or several pairs begin so.
    """
    builds = _builds(workspace, build)
    found = _find(workspace, builds, pair_id)
    manifest, row = found[0]
    with open_database() as connection:
        for table, schema in _TABLES.items():
            open_table(connection, table, manifest.paths(workspace, table), schema)
        scores = _first(connection, "SELECT * FROM scores WHERE pair_id = $key", row["pair_id"])
        of_region = "SELECT * FROM regions WHERE region_id = $key"
        region = _first(connection, of_region, row["region_id"])
        donor_region = _first(connection, of_region, row["donor"] and row["donor"]["region_id"])
        sql = (
            "SELECT pair_id, vision_task, edit_type, reason FROM pairs "
            "WHERE group_id = $group AND pair_id <> $key ORDER BY pair_id"
        )
        group = fetch_rows(connection, sql, group=row["group_id"], key=row["pair_id"])
    known = Roots.read(workspace.roots_path).folders if workspace.roots_path.exists() else {}
    places = {**known, STORE_ROOT: workspace.data, **(folders or {})}
    explanation = {
        "builds": [one.name for one, _ in found],
        "pair": row,
        "source_image": _locate(places, row["source_image"]),
        "target_image": _locate(places, row["target_image"]),
        "edit_area": _area(row["edit_mask"]),
        "donor_image": _locate(places, row["donor"] and row["donor"]["source_image"]),
        "region": region,
        "donor_region": donor_region,
        "request": _find_request(workspace, manifest, row),
        "scores": scores,
        "verdicts": _verdicts(workspace, manifest.name, row, scores),
        "mixes": _draws(workspace, row["pair_id"]),
        "group": group,
        "withdrawals": _withdrawals(workspace, row["pair_id"]),
        "making": trace_making(workspace, manifest, row),
    }
    return _plain(explanation)  # type: ignore[no-any-return]


def find_pair(workspace: Workspace, pair_id: str, build: str | None = None) -> tuple[Manifest, str]:
    """The first build that has a pair, and the pair's whole id. Raises as `explain`."""
    manifest, row = _find(workspace, _builds(workspace, build), pair_id)[0]
    return manifest, row["pair_id"]


def _builds(workspace: Workspace, build: str | None) -> list[Manifest]:
    names = list_manifests(workspace) if build is None else [build]
    manifests = [one for one in (read_manifest(workspace, name) for name in names) if "pairs" in one.tables]
    if not manifests:
        raise ShardError(f"no build with pairs in {workspace.catalog}: run one first")
    return manifests


def _find(workspace: Workspace, builds: list[Manifest], prefix: str) -> list[tuple[Manifest, dict[str, Any]]]:
    """The builds that have the pair, each with its row."""
    found: list[tuple[Manifest, dict[str, Any]]] = []
    for manifest in builds:
        with open_database() as connection:
            open_table(connection, "pairs", manifest.paths(workspace, "pairs"), PAIRS)
            sql = load_sql("pairs_by_prefix")
            rows = fetch_rows(connection, sql, prefix=prefix, limit=_NUM_NAMED + 1)
        found += [(manifest, row) for row in rows]
    ids = list(dict.fromkeys(row["pair_id"] for _, row in found))
    if prefix in ids:
        ids = [prefix]
    if len(ids) == 1:
        return [item for item in found if item[1]["pair_id"] == ids[0]]
    where = ", ".join(manifest.name for manifest in builds)
    if not ids:
        raise UserError(f"no pair is called {prefix!r} or begins so in {where}: see `python -m catalog stats`")
    more = ", ..." if len(ids) > _NUM_NAMED else ""
    raise UserError(
        f"several pairs begin with {prefix!r}: give more of the id. They are {', '.join(ids[:_NUM_NAMED])}{more}"
    )


def _first(connection: duckdb.DuckDBPyConnection, sql: str, key: str | None) -> dict[str, Any] | None:
    rows = fetch_rows(connection, sql, key=key)
    return rows[0] if rows else None


def _find_request(workspace: Workspace, manifest: Manifest, pair: dict[str, Any]) -> dict[str, Any] | None:
    """A photo request's row: in the build, or in a crawl of the same workspace that its source reads."""
    if pair["edit_type"] != "photo_request" or pair["target_image"] is None:
        return None
    others = (read_manifest(workspace, name) for name in list_manifests(workspace))
    paths = manifest.paths(workspace, "requests") or [
        path for one in others for path in one.paths(workspace, "requests")
    ]
    sql = "SELECT * FROM requests WHERE result_id = $key AND target_image.sha256 = $target"
    with open_database() as connection:
        open_table(connection, "requests", list(dict.fromkeys(paths)), REQUESTS)
        key, target = pair["region_id"].removeprefix(f"{pair['dataset']}/"), pair["target_image"]["sha256"]
        return next(iter(fetch_rows(connection, sql, key=key, target=target)), None)


def _locate(places: Mapping[str, Path], image: dict[str, Any] | None) -> dict[str, Any] | None:
    """Where the bytes are on this machine, and the member to look at where they are in a tar."""
    if image is None:
        return None
    folder = places.get(image["root"])
    if folder is None:
        return {**image, "file": None, "exists": False, "tar_member": None}
    file = (folder / image["path"]).resolve()
    member = _tar_member(file, image["offset"]) if file.suffix == ".tar" and file.is_file() else None
    return {**image, "file": str(file), "exists": file.is_file(), "tar_member": member}


def _tar_member(file: Path, offset: int) -> str | None:
    with file.open("rb") as stream:
        stream.seek(max(0, offset - _BLOCK))
        header = stream.read(_BLOCK)
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "replace").name
    except tarfile.HeaderError:
        return None


def _area(mask: dict[str, Any] | None) -> dict[str, Any] | None:
    if mask is None:
        return None
    pixels = int(decode_mask(mask).sum())
    return {"pixels": pixels, "share": pixels / (mask["height"] * mask["width"])}


def _verdicts(
    workspace: Workspace, build: str, pair: dict[str, Any], scores: dict[str, Any] | None
) -> list[dict[str, Any]]:
    verdicts = []
    for decision in list_decisions(workspace, build):
        with open_database() as connection:
            open_table(connection, "verdicts", decision.paths(workspace, "verdicts"), VERDICTS)
            verdict = _first(connection, "SELECT * FROM verdicts WHERE pair_id = $key", pair["pair_id"])
        policy, thresholds = decision.parameters["policy"], decision.parameters["thresholds"]
        conditions = [
            _judge(condition, thresholds[condition.name], pair, scores or {})
            for condition in Policy.from_dict(policy).conditions
        ]
        about = {"policy": policy["name"], "version": policy["version"]}
        verdicts.append({**about, **(verdict or {"accepted": None}), "conditions": conditions})
    return verdicts


def _judge(
    condition: Condition, threshold: float | None, pair: dict[str, Any], scores: dict[str, Any]
) -> dict[str, Any]:
    value = condition.value(scores)
    applies = condition.is_about(pair["vision_task"], pair["edit_type"])
    return {
        "name": condition.name,
        "looks_at": condition.looks_at,
        "value": value,
        "relation": "at least" if condition.wants_large else "at most",
        "threshold": threshold,
        "applies": applies,
        "holds": condition.holds(value, threshold) if applies else None,
    }


def _draws(workspace: Workspace, pair_id: str) -> list[dict[str, Any]]:
    mixes: list[dict[str, Any]] = []
    for path in sorted(workspace.catalog.glob("*.parquet")):
        try:
            if read_metadata(path).get("table") != "mix":
                continue
        except ShardError as error:
            mixes.append({"file": path.name, "draws": [], "problem": str(error)})
            continue
        with open_database() as connection:
            open_table(connection, "mix", [path], MIX)
            sql = "SELECT position, split, mix_source, repeat FROM mix WHERE pair_id = $key ORDER BY position, repeat"
            mixes.append({"file": path.name, "draws": fetch_rows(connection, sql, key=pair_id)})
    return mixes


def _withdrawals(workspace: Workspace, pair_id: str) -> list[dict[str, Any]]:
    """The tombstones on record that reach the pair, by themselves or through other pairs."""
    if pair_id not in revoked_pairs(workspace):
        return []
    return [asdict(one) for one in read_tombstones(workspace) if pair_id in revoked_pairs(workspace, [one])]


def _plain(value: Any) -> Any:
    """The value with NaN and infinity, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
