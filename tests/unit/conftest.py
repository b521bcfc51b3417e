"""Builds made by hand: pairs and scores written through the real shard store."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from catalog.manifests import Manifest, write_manifest
from catalog.schema import PAIRS, SCORES
from catalog.store import Shard, shard_key, write_shard
from catalog.workspace import Workspace

Rows = Sequence[Mapping[str, Any]]
MakeBuild = Callable[..., Manifest]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_pair(pair_id: str, **given: Any) -> dict[str, Any]:
    """A usable removal pair; ``given`` replaces columns."""
    image = {
        "root": "store",
        "path": "edits/x.tar",
        "offset": 512,
        "length": 10,
        "sha256": sha(pair_id),
        "width": 8,
        "height": 8,
    }
    row: dict[str, Any] = {name: None for name in PAIRS.names}
    row |= {
        "pair_id": pair_id,
        "vision_task": "image_editing",
        "edit_type": "object_removal",
        "region_id": f"region of {pair_id}",
        "group_id": sha("photo of " + pair_id),
        "dataset": "sample",
        "split": "train",
        "source_image": image,
        "target_image": image | {"sha256": sha("target of " + pair_id)},
        "edit_mask": {"height": 8, "width": 8, "counts": "0P2"},
        "phrase": "the bird",
        "label": "bird",
        "bbox": [0.0, 1.0, 2.0, 3.0],
        "keypoints": [{"name": "nose", "x": 1.0, "y": 2.0, "visibility": 2}],
        "instruction": "remove the bird",
        "backends": ["inpainter=opencv@1"],
        "parameters": "{}",
    }
    return row | given


def write_rows(workspace: Workspace, table: str, rows: Rows, shard_size: int, name: str) -> list[Shard]:
    shards = []
    for start in range(0, len(rows), shard_size):
        part = list(rows[start : start + shard_size])
        key = shard_key("by hand", {"name": name, "size": shard_size}, [], [repr(part)])
        shards.append(write_shard(workspace, table, key, lambda writer, part=part: part, {"step": "by hand"}))
    return shards


def make_build(
    workspace: Workspace,
    pairs: Rows,
    scores: Rows | None = None,
    name: str = "build-ieiw",
    shard_size: int = 7,
) -> Manifest:
    """A build whose manifest lists the given pairs and scores, in shards of ``shard_size`` rows."""
    tables = {"pairs": write_rows(workspace, "pairs", pairs, shard_size, name)}
    if scores is not None:
        full = [{column: row.get(column) for column in SCORES.names} for row in scores]
        tables["scores"] = write_rows(workspace, "scores", full, shard_size, name)
    manifest = Manifest(name=name, parameters={}, tables=tables)
    write_manifest(workspace, manifest)
    return manifest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(name="make_pair")
def _make_pair() -> Callable[..., dict[str, Any]]:
    return make_pair


@pytest.fixture(name="make_build")
def _make_build() -> MakeBuild:
    return make_build
