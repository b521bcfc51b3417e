"""View Thresholds: what it says while scores are read, once."""

import json
from typing import Any

import pytest
from made_policies import GAP, LOW, make_policy
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from catalog.decisions import decide
from catalog.workspace import Workspace

SCRIPT = "from infra.dashboard import data_page\ndata_page.show()\n"


def test_reading_is_said_step_by_step_and_only_once(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(workspace.home))
    pairs = [make_pair(f"pair-{number:02d}") for number in range(20)]
    scores: list[dict[str, Any]] = [
        {"pair_id": pair["pair_id"], "target_aesthetic": float(n % 9), "source_aesthetic": 5.0}
        for n, pair in enumerate(pairs)
    ]
    build = make_build(workspace, pairs, scores)
    num_accepted = decide(workspace, build.name, make_policy(LOW, GAP)).num_accepted
    said: list[tuple[float, str]] = []
    progress = DeltaGenerator.progress

    def note(self: DeltaGenerator, value: float, text: str) -> Any:
        said.append((round(value, 3), text))
        return progress(self, value, text)

    monkeypatch.setattr(DeltaGenerator, "progress", note)
    app = run()
    tiles = next(json.loads(one.proto.json) for one in app.main if "ieiw_facts" in str(getattr(one, "proto", "")))
    assert [one["value"] for one in tiles["items"]] == [str(num_accepted), str(num_accepted), "+0"]
    start = "Reading 20 scores, once: "
    assert said == [(0, f"{start}low"), (0.333, f"{start}gap"), (0.667, f"{start}what each pair is removed by")]
    said.clear()
    run()
    assert said == []
    make_build(workspace, [*pairs, make_pair("pair-20")], [*scores, {**scores[0], "pair_id": "pair-20"}])
    decide(workspace, build.name, make_policy(LOW, GAP))
    run()
    assert [text for _, text in said][:2] == ["Reading 21 scores, once: low", "Reading 21 scores, once: gap"]


def run() -> AppTest:
    app = AppTest.from_string(SCRIPT, default_timeout=60)
    app.query_params["view"] = "thresholds"
    app.run()
    assert not app.exception and not app.error
    return app
