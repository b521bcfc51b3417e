"""The paper's profile as it stands, its weights replaced by tiny ones of the same architecture: the code a user runs.

Random weights make no good picture and no good caption. What is proven is that every helper model of the profile loads
from a folder, gets what it expects and hands on what the next one takes, and that every row ends as a pair or with its
reason.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer, Reply, completion
from checkpoints.blip2 import save_blip2
from checkpoints.laion import save_mlp_head
from checkpoints.lama import save_tiny_lama
from checkpoints.open_clip import WIDTH, save_open_clip
from checkpoints.paint_by_example import save_paint_by_example
from plain_build import build

from catalog.images import decode_image
from catalog.manifests import Manifest
from catalog.masks import decode_mask
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.profiles import read_profile

PROFILE = Path(__file__).parents[2] / "infra" / "profiles" / "paper.toml"
pytestmark = pytest.mark.slow


def _word(body: dict[str, Any]) -> Reply:
    """What a careful person would type for the edit that is asked for."""
    asked = json.loads(body["messages"][-1]["content"])
    one, other = asked["source"].get("object"), asked["target"].get("object")
    text = {
        "object_removal": f"please remove the {one}",
        "object_addition": f"please add a {other}",
        "object_replacement": f"please change the {one} to a {other}",
    }[asked["edit"]]
    return 200, {}, completion(json.dumps({"instruction": text}))


@pytest.fixture(scope="module")
def chat_server() -> Iterator[ChatServer]:
    server = ChatServer(_word)
    yield server
    server.close()


@pytest.fixture(scope="module")
def built(chat_server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Manifest]:
    home, weights = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("weights")
    clip = str(save_open_clip(weights / "clip"))
    tiny: dict[str, dict[str, Any]] = {
        "inpainter": {"weights": str(weights / "big-lama.pt"), "md5": save_tiny_lama(weights / "big-lama.pt")},
        "replacer": {
            "weights": str(save_paint_by_example(weights / "pbe")),
            "size": 64,
            "steps": 2,
            "dtype": "float32",
        },
        "embedder": {"weights": clip},
        "pair_similarity": {"weights": clip},
        "aesthetic_scorer": {"weights": clip, "head": str(save_mlp_head(weights / "head.pth", WIDTH))},
        "captioner": {"weights": str(save_blip2(weights / "blip2")), "max_new_tokens": 6, "dtype": "float32"},
        "instructor": {"url": chat_server.url, "model": "tiny", "cache": str(home / "answers")},
    }
    overrides: dict[str, Any] = {
        "images_per_shard": 4,
        "replace_object.enabled": True,
        "replace_object.max_similarity": 1.0,  # a random embedder finds everything alike
        "replace_object.max_aspect_ratio": 3.0,
        "remove_object.max_remaining": 100.0,  # and every object still there
        "split": {"val": 0.0, "test": 0.0},
        "source": [{"dataset": "sample", "reader": "sample", "options": {"limit": 4}}],
    }
    for role, options in tiny.items():
        overrides |= {f"backends.options.{role}.{name}": value for name, value in options.items()}
        if "device" in read_profile(PROFILE).backend_options[role]:
            overrides[f"backends.options.{role}.device"] = "cpu"
    workspace = Workspace(home)
    return workspace, build(workspace, read_profile(PROFILE, overrides), workers=2)


def _rows(built: tuple[Workspace, Manifest], table: str) -> list[dict[str, Any]]:
    workspace, manifest = built
    return [row for path in manifest.paths(workspace, table) for row in read_rows(path)]


def test_every_kind_of_pair_is_made(built: tuple[Workspace, Manifest]) -> None:
    pairs = [row for row in _rows(built, "pairs") if row["reason"] is None]
    made = Counter(row["edit_type"] for row in pairs if row["vision_task"] == "image_editing")
    assert set(made) == {"object_removal", "object_addition", "object_replacement"}
    assert made["object_removal"] == made["object_addition"] > 3
    for row in pairs:
        if row["edit_type"] == "object_replacement":
            assert row["instruction"].startswith("please change the ") and row["donor"]["region_id"]


def test_every_row_names_the_models_that_made_it(built: tuple[Workspace, Manifest]) -> None:
    made_by = {
        "object_removal": {"embedder=open-clip", "inpainter=lama", "captioner=blip2", "instructor=openai"},
        "object_replacement": {
            *("embedder=open-clip", "index=faiss-auto", "replacer=paint-by-example"),
            *("captioner=blip2", "instructor=openai"),
        },
    }
    for row in _rows(built, "pairs"):
        if row["edit_type"] in made_by:
            assert {backend.partition("@")[0] for backend in row["backends"]} == made_by[row["edit_type"]]


def test_outside_the_mask_nothing_changes(built: tuple[Workspace, Manifest]) -> None:
    roots = Roots.read(built[0].roots_path)
    for row in _rows(built, "edits"):
        if row["reason"] is None:
            images = [decode_image(read_image_bytes(roots, row[f"{side}_image"])) for side in ("source", "target")]
            outside = ~decode_mask(row["edit_mask"])
            assert np.array_equal(images[0][outside], images[1][outside])


def test_what_is_not_made_says_why(built: tuple[Workspace, Manifest]) -> None:
    rejected = Counter(row["reason"] for row in _rows(built, "edits") if row["reason"])
    deserved = {Reason.REGION_TOO_SMALL, Reason.REGION_TOO_LARGE, Reason.NO_DONOR, Reason.CONSTANT_FILL}
    assert set(rejected) <= {str(reason) for reason in deserved}, rejected


def test_every_pair_is_scored_by_the_real_models(built: tuple[Workspace, Manifest]) -> None:
    scores = _rows(built, "scores")
    assert scores and not any(row["reason"] for row in scores)
    for row in scores:
        made_by = {name.partition("@")[0] for name in row["backends"]}
        assert {"embedder=open-clip", "pair_similarity=open-clip", "aesthetic_scorer=laion-mlp"} <= made_by
        assert -1 <= row["direction_similarity"] <= 1 and -1 <= row["image_similarity"] <= 1
