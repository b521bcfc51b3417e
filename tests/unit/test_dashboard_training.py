"""Page Training: which runs it shows before somebody chooses, a curve of one point, a damaged log."""

import os
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from infra.dashboard.training_page import _COLUMNS, _curve

SCRIPT = "from infra.dashboard import training_page\ntraining_page.show()\n"


def make_run(home: Path, name: str, started: int, with_config: bool = True) -> None:
    """A run of one step, started so many seconds after the epoch and logged long after all others."""
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    columns = ", ".join(f"{'false' if kind == 'BOOLEAN' else 1}::{kind} AS {column}" for column, kind in _COLUMNS)
    duckdb.sql(f"SELECT {columns}").write_parquet(str(folder / "training_log.parquet"))
    os.utime(folder / "training_log.parquet", (10_000 - started,) * 2 if with_config else (started,) * 2)
    if with_config:
        (folder / "config.json").write_text('{"config": {"num_steps": 1}}')
        os.utime(folder / "config.json", (started,) * 2)


def test_the_runs_that_were_started_last_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    started = {"alpha": 500, "beta": 100, "gamma": 400, "delta": 300, "zeta": 200}
    for name, seconds in started.items():
        make_run(tmp_path, name, seconds, with_config=name != "gamma")
    app = AppTest.from_string(SCRIPT, default_timeout=60).run()
    assert not app.exception
    field = app.multiselect(key="runs")
    assert field.options == sorted(started, key=lambda name: -started[name])
    assert field.value == ["alpha", "gamma", "delta"]
    assert field.set_value(["beta"]).run().multiselect(key="runs").value == ["beta"]


@pytest.mark.parametrize(
    ("name", "values", "scale", "alone"),
    [
        ("loss", {"alpha": [1.085028]}, {"domain": [0.9765252, 1.1935308]}, ["alpha"]),
        ("loss", {"alpha": [-2.0]}, {"domain": [-2.2, -1.8]}, ["alpha"]),
        ("data_wait_share", {"alpha": [0.0]}, {"domain": [0, 1.0]}, ["alpha"]),
        ("samples_per_s", {"alpha": [8.0]}, {"zero": True}, ["alpha"]),
        ("loss", {"alpha": [1.5, 1.0], "beta": [2.0]}, {"zero": False}, ["beta"]),
        ("loss", {"alpha": [1.5, 1.0]}, {"zero": False}, []),
    ],
)
def test_a_curve_of_one_point_is_drawn(
    name: str, values: dict[str, list[float]], scale: dict[str, object], alone: list[str]
) -> None:
    rows = [{"run": run, "step": n, name: one} for run, found in values.items() for n, one in enumerate(found, 1)]
    line, point = _curve(pd.DataFrame(rows), name, list(values)).layer
    assert [(shape.mark.type, [row["run"] for row in shape.data.to_dict("records")]) for shape in (line, point)] == [
        ("line", [row["run"] for row in rows]),
        ("circle", alone),
    ]
    found = line.to_dict()["encoding"]["y"]["scale"]
    assert found == {key: pytest.approx(value) for key, value in scale.items()}
    assert line.to_dict()["encoding"]["x"]["axis"]["tickMinStep"] == 1


@pytest.mark.parametrize(
    ("is_finished", "remedy"), [(False, "delete it and start the run again"), (True, "TensorBoard")]
)
def test_a_half_written_log_is_mended_by_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_finished: bool, remedy: str
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    make_run(tmp_path, "alpha", 100)
    folder = tmp_path / "runs" / "alpha"
    log = folder / "training_log.parquet"
    log.write_bytes(log.read_bytes()[:200])
    if is_finished:
        (folder / "finished.json").write_text("{}")
    app = AppTest.from_string(SCRIPT, default_timeout=60).run()
    assert [one.value for one in app.warning] == ["The log of alpha cannot be read."]
    (text,) = [one.value for one in app.text]
    assert text.startswith(f"{log} cannot be read (") and remedy in text
    assert "build" not in text and "verify" not in text
