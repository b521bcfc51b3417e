"""What pages say of files that no build makes, where these are damaged, and of a decision that is out of date."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from made_policies import LOW, make_policy
from streamlit.testing.v1 import AppTest

from catalog.decisions import decide
from catalog.workspace import Workspace

SCRIPT = "from infra.dashboard import {page}_page\n{page}_page.show()\n"


def show(page: str, **parameters: str) -> AppTest:
    app = AppTest.from_string(SCRIPT.format(page=page), default_timeout=60)
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def texts(app: AppTest) -> list[str]:
    return [one.value for one in app.text]


@pytest.mark.parametrize(
    ("page", "path", "remedy", "titles"),
    [
        ("mix", "catalog/mix.parquet", "`prefect deployment run build-mix`", ["No mix here can be read."]),
        ("mix", "catalog/benchmarks/edits.parquet", "make the benchmark's mix again", ["No mix here can be read."]),
        (
            "evaluation",
            "runs/tiny/metrics.parquet",
            "`python -m evaluation run`",
            ["No evaluation here can be read."],
        ),
    ],
)
def test_a_torn_file_names_what_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, path: str, remedy: str, titles: list[str]
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"PAR1 half")
    app = show(page)
    assert [one.value for one in app.info] == titles
    assert len(app.warning) == 1
    text = texts(app)[0]
    assert text.startswith(f"{file} cannot be read (") and remedy in text
    assert "run the build" not in text
    file.unlink()
    assert [one.value for one in show(page).info] != titles


def test_a_file_of_somebody_elses_is_not_to_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    (tmp_path / "catalog").mkdir()
    duckdb.sql("SELECT 1 AS a").write_parquet(str(tmp_path / "catalog" / "mine.parquet"))
    text = texts(show("mix"))[0]
    assert "was not written by this project" in text and "delete" not in text


def test_a_decision_about_an_earlier_build_names_no_file_that_may_not_be_there(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(workspace.home))
    pairs = [make_pair(f"pair-{number}") for number in range(3)]
    scores: list[dict[str, Any]] = [{"pair_id": pair["pair_id"], "target_aesthetic": 5.0} for pair in pairs]
    build = make_build(workspace, pairs[:2], scores[:2])
    policy = make_policy(LOW)
    decide(workspace, build.name, policy)
    make_build(workspace, pairs, scores)
    app = show("data")
    assert [one.value for one in app.warning] == ["This decision is about an earlier state of the build."]
    assert [one.value for one in app.code] == [f"python -m catalog decide --build {build.name} --policy FILE"]
    assert f"FILE is that of policy {policy.name} v{policy.version}" in texts(app)[0]


def test_words_that_are_too_many_say_so(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(workspace.home))
    pairs = [make_pair("pair-0", instruction="a" * 240), make_pair("pair-1", instruction="a" * 199)]
    scores = [{"pair_id": pair["pair_id"], "target_aesthetic": 5.0} for pair in pairs]
    decide(workspace, make_build(workspace, pairs, scores).name, make_policy(LOW))
    for length, number, is_said in ((199, "2", False), (200, "1", False), (230, "1", True), (300, "1", True)):
        app = show("data", view="browse", words="a" * length)
        noun = "pairs" if number == "2" else "pair"
        assert [one.value for one in app.markdown if "page 1" in one.value] == [f"**{number}** {noun}, page 1 of 1"]
        said = [one.value for one in app.caption if "shorten" in one.value]
        assert said == ([f"Looked for are the first 200 letters, of {length}: shorten it."] if is_said else [])
