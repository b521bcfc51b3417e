"""Provenance: the steps, seeds, prompts and options that a pair was made with, from footers and manifest."""

import json
import re
from typing import Any

from catalog.errors import ShardError
from catalog.lineage import Lineage
from catalog.manifests import Manifest
from catalog.store import Shard
from catalog.workspace import Workspace

_SEED = re.compile(r"\+seed-(\w+)")
_PROMPT = re.compile(r"\+prompt-(\w+)")


def trace_making(workspace: Workspace, manifest: Manifest, pair: dict[str, Any]) -> dict[str, Any]:
    """How a pair was made, as JSON values.

    Returns:
        ``steps``: each shard on the way, inputs first, with step, table, key, parameters and backends; ``gallery``: of
        a replacement, rows and digest of the index that its donor was found in; ``seeds``, ``prompts`` (versions) and
        ``options`` by step, role or part of the profile; ``problems``: shards on the way that cannot be read.
    """
    lineage = Lineage(workspace, manifest)
    found = lineage.find("pairs", "pair_id", pair["pair_id"])
    scored = lineage.find("scores", "pair_id", pair["pair_id"])
    problems: list[str] = []
    shards: list[Shard] = []
    if pair["edit_type"] == "photo_request":  # matched by a crawl, which no later step names as its input
        matched = lineage.find("requests", "result_id", pair["region_id"].removeprefix(f"{pair['dataset']}/"))
        shards += [matched.shard] if matched is not None else []
    for place in filter(None, (found, scored)):
        try:
            shards += [shard for shard in lineage.walk(place.shard) if shard not in shards]
        except ShardError as error:
            problems.append(str(error))
    steps = [_describe(lineage, shard) for shard in shards]
    backends = sorted({backend for step in steps for backend in step["backends"]})
    roles = {backend.partition("=")[0] for backend in backends}
    options = manifest.parameters.get("backend_options", {})
    return {
        "steps": steps,
        "problems": problems,
        "gallery": _gallery(lineage, shards, pair),
        "seeds": _seeds(manifest, pair, backends),
        "prompts": _parts(_PROMPT, backends),
        "options": {role: given for role, given in options.items() if role in roles},
    }


def _describe(lineage: Lineage, shard: Shard) -> dict[str, Any]:
    footer = lineage.footer(shard)
    return {
        "step": footer.get("step", "by hand"),
        "table": shard.table,
        "shard": shard.key,
        "parameters": footer.get("parameters", {}),
        "backends": footer.get("backends", []),
    }


def _gallery(lineage: Lineage, shards: list[Shard], pair: dict[str, Any]) -> dict[str, Any] | None:
    if not pair["donor"]:
        return None
    for shard in shards:
        if shard.table == "gallery" and shard.key == pair["donor"]["gallery"]:
            footer = lineage.footer(shard)
            return {
                "shard": shard.key,
                "num_patches": shard.num_rows,
                "index": footer["backends"],
                "index_sha256": {suffix: file["sha256"] for suffix, file in footer.get("files", {}).items()},
            }
    return {"shard": pair["donor"]["gallery"], "num_patches": None, "index": [], "index_sha256": {}}


def _seeds(manifest: Manifest, pair: dict[str, Any], backends: list[str]) -> dict[str, Any]:
    recipe = json.loads(pair["parameters"] or "{}")
    seeds = {recipe["step"]: recipe["seed"]} if "seed" in recipe else {}
    split = manifest.parameters.get("split", {})
    return seeds | ({"split": split["seed"]} if "seed" in split else {}) | _parts(_SEED, backends)


def _parts(pattern: re.Pattern[str], backends: list[str]) -> dict[str, Any]:
    """What a pattern finds in the revisions, by role."""
    found = ((backend.partition("=")[0], pattern.search(backend)) for backend in backends)
    return {role: match[1] for role, match in found if match}
