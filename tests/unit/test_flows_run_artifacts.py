"""What flows show of a decision and of a forecast: the numbers, and a picture that is the waterfall's own."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from catalog.decisions import decide
from catalog.policies import Policy
from catalog.waterfall import write_waterfall
from catalog.workspace import Workspace
from flows import build_ieiw, run_artifacts
from tasks.forecast import Estimate, Outcome, make_forecast, write_forecast

POLICY = Policy.parse(
    {"name": "low", "version": 2, "condition": [{"name": "low", "score": "target_aesthetic", "minimum": 4.0}]}, "test"
)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Artifacts by key, instead of in a server."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(run_artifacts, name, lambda **given: found.setdefault(given.pop("key"), given))
    return found


def test_a_decision_is_shown_as_table_and_picture(
    workspace: Workspace, make_build: Any, make_pair: Any, shown: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    pairs = [make_pair(f"p{i}") for i in range(5)] + [make_pair("bad", reason="no_change")]
    make_build(workspace, pairs, [{"pair_id": f"p{i}", "target_aesthetic": 3.0 + i} for i in range(5)])
    decision = decide(workspace, "build-ieiw", POLICY)
    run_artifacts.publish_decision(decision)
    rows = {row["what"]: (row["removed"], row["remaining"]) for row in shown["survival-waterfall"]["table"]}
    assert rows == {"pairs": (0, 6), "no_change": (1, 5), "low": (1, 4)}
    encoded = re.search(r"base64,([^)]+)\)", shown["survival-waterfall-picture"]["markdown"])
    assert encoded is not None
    assert base64.b64decode(encoded[1]) == write_waterfall(decision, tmp_path / "same.png").read_bytes()


def test_a_build_tells_how_good_its_forecast_was(
    workspace: Workspace,
    make_build: Any,
    make_pair: Any,
    shown: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    log = type("Log", (), {"info": lambda self, *words: said.append(words[0] % words[1:]), "warning": print})()
    monkeypatch.setattr(build_ieiw, "get_run_logger", lambda: log)
    scores = [{"pair_id": f"p{i}", "target_aesthetic": 3.0 + i} for i in range(5)]
    manifest = make_build(workspace, [make_pair(f"p{i}") for i in range(5)], scores)
    build_ieiw._tell_forecast(workspace, manifest)
    assert not shown and not said  # there is none
    forecast = make_forecast("build-ieiw", POLICY, [], {})
    write_forecast(workspace, forecast)
    build_ieiw._tell_forecast(workspace, manifest)
    (row,) = shown["forecast"]["table"]
    assert (row["quantity"], row["came out"], row["within"]) == ("accepted", 4, False)
    assert said == ["accepted: forecast 0, came out 4, outside its interval"]


def test_an_estimate_covers_what_is_inside() -> None:
    held = [Estimate(value=2, low=1, high=high).covers(3) for high in (2.9, 3.0, None)]
    assert held == [False, True, True]
    assert Outcome(quantity="x", forecast=Estimate(value=2, low=1, high=4), truth=0.5).is_covered is False
