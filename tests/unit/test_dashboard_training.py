"""Page Training: which runs it shows before somebody chooses."""

import os
from pathlib import Path

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from infra.dashboard.training_page import _COLUMNS

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
