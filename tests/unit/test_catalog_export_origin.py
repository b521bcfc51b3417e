"""Helper models of a card: those that `explain` shows for the pairs of the mix, whatever step they worked in."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from plain_build import build

from catalog.counts import mix_metadata
from catalog.exports.export import export_mix
from catalog.exports.licences import LicenceChoice
from catalog.exports.origin import trace_origin
from catalog.exports.pairs import PairOptions
from catalog.manifests import Manifest, read_manifest, write_manifest
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.provenance import trace_making
from catalog.store import read_rows, shard_key, write_shard
from catalog.workspace import Workspace
from tasks.profiles import read_profile

ROOT = Path(__file__).parents[2]
POLICY = Policy(name="everything", version=1, description="", conditions=())
OVERRIDES = {
    "images_per_shard": 3,
    "source": [{"dataset": "synthetic", "reader": "synthetic", "options": {"count": 6, "seed": 1, "size": 128}}],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("home"))
    profile = read_profile(ROOT / "infra" / "profiles" / "embedded.toml", OVERRIDES)
    manifest = build(made, profile)
    plan = MixPlan.parse({"name": "m", "seed": 1, "source": [{"name": "all", "weight": 1.0}]}, "m.toml")
    build_mix(made, [manifest.name], POLICY, plan, made.catalog / "mix.parquet")
    return made


def explained(workspace: Workspace, manifest: Manifest) -> set[str]:
    """The models of every pair of the mix, one `explain` at a time."""
    wanted = set(pq.read_table(workspace.catalog / "mix.parquet")["pair_id"].to_pylist())
    found: set[str] = set()
    for path in manifest.paths(workspace, "pairs"):
        for pair in (row for row in read_rows(path) if row["pair_id"] in wanted):
            making = trace_making(workspace, manifest, pair)
            found.update(*(step["backends"] for step in making["steps"]), (making["gallery"] or {}).get("index", []))
    return found


def test_the_card_lists_the_helper_models_that_explain_shows(workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.catalog / "mix.parquet"
    (name,) = [build["name"] for build in mix_metadata(path)["builds"]]
    expected = explained(workspace, read_manifest(workspace, name))
    roles = {backend.partition("=")[0] for backend in expected}
    assert roles >= {"inpainter", "replacer", "embedder", "index", "captioner", "instructor", "aesthetic_scorer"}
    export_mix(workspace, path, tmp_path / "out", "croissant", PairOptions(), LicenceChoice())
    card = (tmp_path / "out" / "README.md").read_text()
    listed = {line.split("`")[1] for line in card.splitlines() if line.startswith("  - helper model ")}
    assert listed == expected


def hand_made(workspace: Workspace, table: str, name: str, footer: dict[str, Any]) -> Any:
    return write_shard(workspace, table, shard_key(name, {}, [], []), lambda _: [], footer)


def test_only_shards_behind_the_mix_count_and_a_changed_build_is_not_known(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    edits = hand_made(workspace, "edits", "a", {"backends": ["inpainter=one@1"]})
    other = hand_made(workspace, "edits", "b", {"backends": ["inpainter=two@1"]})
    pairs = hand_made(workspace, "pairs", "c", {"backends": [], "inputs": [edits.sha256]})
    added = hand_made(workspace, "pairs", "d", {"backends": ["captioner=two@1"], "inputs": [other.sha256]})
    scores = hand_made(workspace, "scores", "e", {"backends": ["text_image=one@1"], "inputs": [pairs.sha256]})
    tables = {"edits": [edits, other], "pairs": [pairs, added], "scores": [scores]}
    write_manifest(workspace, Manifest(name="made", parameters={}, tables=tables))
    footer = {"policy": POLICY.as_dict(), "builds": [{"name": "made", "pairs": [pairs.sha256], "verdicts": []}]}
    (origin,) = trace_origin(workspace, footer)
    assert origin.backends == ["inpainter=one@1", "text_image=one@1"] and origin.waterfall is None
    gone = json.loads(json.dumps(footer).replace(pairs.sha256, "0" * 64))
    assert trace_origin(workspace, gone)[0].backends is None
    edits.file(workspace).unlink()
    assert trace_origin(workspace, footer)[0].backends is None
