"""The flows ``crawl-requests`` and ``build-ieiw -p requests=...`` in one process, on a Prefect server of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from catalog.explanation import explain
from catalog.explanation_words import in_words
from catalog.images import decode_image, encode_png
from catalog.manifests import read_manifest
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.readers.sample import find_photos_root

REPOSITORY = Path(__file__).parents[2]
SOURCE = {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 1, "seed": 1}}
FLOWS = """
import json, sys
from prefect.testing.utilities import prefect_test_harness
from flows.build_ieiw import build_ieiw
from flows.crawl_requests import crawl_requests, join_requests
from pathlib import Path
from prefect import flow
from catalog.workspace import Workspace
from tasks.profiles import read_profile

@flow
def join_list(overrides, requests):
    profile = read_profile(Path("infra/profiles/embedded.toml"), overrides)
    joined, shards = join_requests(Workspace.default(), profile, requests, None, 1)
    sources = [f"{source.dataset} {source.options}" for source in joined.sources]
    assert sources[1:] == ["photo_request {'crawl': 'from-list-requests'}"], sources
    assert [shard.num_usable for shard in shards] == [1]

with prefect_test_harness(server_startup_timeout=120):
    for parameters in json.load(sys.stdin):
        run = {"build": build_ieiw, "crawl": crawl_requests, "join": join_list}[parameters.pop("flow")]
        state = run(**parameters, return_state=True)
        print("STATE", json.dumps([state.type.value, state.message]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_photo_requests_are_crawled_and_join_a_build(tmp_path):
    photo = decode_image((find_photos_root() / "skimage" / "data" / "coffee.png").read_bytes())[::2, ::2]
    result = photo.copy()
    result[60:100, 60:120] = (220, 20, 20)
    for name, pixels in (("a", photo), ("b", result)):
        (tmp_path / f"{name}.png").write_bytes(encode_png(np.ascontiguousarray(pixels)))
    row = {"id": "7", "page": "https://f.test/7", "before": "a.png", "after": ["b.png", "a.png"], "text": "Add a box"}
    requests = tmp_path / "list.jsonl"
    requests.write_text(json.dumps(row))
    overrides = {"name": "joined", "images_per_shard": 8, "source": [SOURCE], "replace_object.enabled": False}
    asked = [
        {"flow": "crawl", "requests": str(requests)},
        {"flow": "crawl", "requests": "nowhere.jsonl"},
        {"flow": "build", "overrides": overrides, "requests": "crawl-requests"},
        {"flow": "join", "overrides": {**overrides, "name": "from-list"}, "requests": str(requests)},
        {"flow": "build", "overrides": {**overrides, "name": "crawl-requests"}},
    ]
    environment = {**os.environ, "IEIW_HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-c", FLOWS],
        input=json.dumps(asked),
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    states = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("STATE ")]
    assert [kind for kind, _ in states] == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED", "FAILED"], done.stderr[
        -3000:
    ]
    assert states[0][1].startswith("1 pair of 2 rows; 0 addresses fetched")
    assert states[1][1].startswith("no list of photo requests at nowhere.jsonl")
    assert states[4][1] == "'crawl-requests' is the name of a crawl: give this build another one"
    workspace = Workspace(tmp_path / "home")
    manifest = read_manifest(workspace, "joined")
    assert sum(shard.num_usable for shard in manifest.tables["requests"]) == 1
    pairs = [row for path in manifest.paths(workspace, "pairs") for row in read_rows(path)]
    (pair,) = [row for row in pairs if row["edit_type"] == "photo_request"]
    assert pair["reason"] is None and pair["instruction"] == "Add a box" and pair["dataset"] == "photo_request"
    scores = [row for path in manifest.paths(workspace, "scores") for row in read_rows(path)]
    assert pair["pair_id"] in {row["pair_id"] for row in scores}
    explanation = explain(workspace, pair["pair_id"], "joined")
    assert explanation["request"]["request_text"] == "Add a box"
    assert "page         https://f.test/7\n" in in_words(explanation)
