"""The forecast: intervals cover simulated builds as often as promised; a pilot is a fair draw; builds are compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_build import build

from catalog.command_line import run
from catalog.ledger import LedgerEntry, append_entry, read_entries
from catalog.manifests import read_manifest
from catalog.policies import Policy
from catalog.store import read_rows
from catalog.workspace import HOME_VARIABLE, Workspace
from tasks.commands import main
from tasks.forecast import Cluster, compare_with_build, count_accepted, forecast_path, make_forecast, ratio, total
from tasks.pilot import LEAST_RECORDS, Pilot
from tasks.profiles import Profile, read_profile

ROOT = Path(__file__).parents[2]
POLICY = Policy.read(ROOT / "infra" / "policies" / "embedded.toml")


def clusters_of(
    stratum: str, accepted: np.ndarray, seconds: np.ndarray, chosen: np.ndarray, size: int
) -> list[Cluster]:
    parts = np.array_split(chosen, max(2, len(chosen) // size))
    return [
        Cluster(
            stratum=stratum,
            num_records=len(part),
            num_accepted=int(accepted[part].sum()),
            seconds=float(seconds[part].sum()),
        )
        for part in parts
    ]


@pytest.mark.parametrize(("num_records", "size"), [(2_000, 1), (20_000, 10)])
def test_intervals_of_a_one_percent_pilot_cover_the_truth_as_often_as_they_say(num_records: int, size: int) -> None:
    """200 builds of two unlike strata: photos with up to four pairs and uneven times, and cheap ready-made pairs."""
    covered = np.zeros(3)
    for seed in range(200):
        random = np.random.default_rng(seed)
        accepted, seconds, pilot = [], [], []
        for stratum, chance, scale in (("photo", 0.5, 0.1), ("pair", 0.8, 0.01)):
            pairs = (random.random(num_records) < chance) * random.integers(
                1, 5 if stratum == "photo" else 2, num_records
            )
            times = scale * (random.lognormal(0, 0.6, num_records) + pairs)
            chosen = random.permutation(num_records)[: num_records // 100]
            pilot += clusters_of(stratum, pairs, times, chosen, size)
            accepted.append(pairs.sum())
            seconds.append(times.sum())
        forecast = make_forecast("x", POLICY, pilot, {"photo": num_records, "pair": num_records})
        assert forecast.seconds_per_accepted is not None
        covered += [
            forecast.accepted.covers(sum(accepted)),
            forecast.seconds.covers(sum(seconds)),
            forecast.seconds_per_accepted.covers(sum(seconds) / sum(accepted)),
        ]
    assert (covered >= 0.92 * 200).all(), covered
    assert covered.sum() < 600, covered  # intervals that always hold would promise nothing


def test_estimates_equal_a_calculation_by_hand() -> None:
    values = [(2, 3, 4.0), (2, 1, 2.0), (1, 2, 3.0)]
    clusters = [Cluster(stratum="a", num_records=n, num_accepted=a, seconds=s) for n, a, s in values]
    found = total(clusters, {"a": 50}, lambda one: one.num_accepted, extra=7.0)
    assert found.value == pytest.approx(50 * 6 / 5 + 7)
    without = np.log([50 * (6 - a) / (5 - n) + 7 for n, a, _ in values])
    error = np.sqrt((1 - 5 / 50) * 2 / 3 * ((without - without.mean()) ** 2).sum())
    width = 6.964556734 * error  # Student's t of two degrees of freedom at 99 %
    assert (found.low, found.high) == pytest.approx((found.value * np.exp(-width), found.value * np.exp(width)))
    per = ratio(clusters, {"a": 50}, lambda one: one.seconds, lambda one: one.num_accepted)
    assert per is not None and per.value == pytest.approx(9 / 6)


def test_a_pilot_taken_whole_knows_and_one_of_nothing_says_so() -> None:
    clusters = [Cluster(stratum="a", num_records=2, num_accepted=n, seconds=1.0) for n in (1, 3)]
    whole = make_forecast("x", POLICY, clusters, {"a": 4}, hourly_price=36.0)
    assert (whole.accepted.low, whole.accepted.value, whole.accepted.high) == (4, 4, 4)
    assert whole.cost.value == pytest.approx(0.02) and whole.cost_per_accepted is not None
    none = [Cluster(stratum="a", num_records=2, num_accepted=0, seconds=1.0)] * 3
    nothing = make_forecast("x", POLICY, none, {"a": 600})
    assert nothing.seconds_per_accepted is None and nothing.accepted.low == 0 and nothing.accepted.high == 300
    (single,) = [total([none[0]], {"a": 9}, lambda one: one.seconds)]
    assert single.high is None and single.covers(1e9)  # one cluster says nothing about spread


def profile() -> Profile:
    overrides: dict[str, Any] = {
        "images_per_shard": 8,
        "backends.inpainter": "opencv",
        "replace_object.enabled": False,
        "annotate.enabled": False,
        "source": [{"dataset": "synthetic", "reader": "synthetic", "options": {"count": 12, "seed": 1, "size": 64}}],
    }
    return read_profile(ROOT / "infra" / "profiles" / "embedded.toml", overrides)


@pytest.fixture(scope="module")
def piloted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Any]:
    workspace = Workspace(tmp_path_factory.mktemp("pilot"))
    return workspace, Pilot(workspace, profile(), "build-ieiw", POLICY, share=0.01, hourly_price=2.0).run()


def test_a_pilot_draws_at_least_ten_of_each_kind_and_forecasts_all(piloted: Any) -> None:
    workspace, forecast = piloted
    pilot = read_manifest(workspace, "build-ieiw-pilot")
    kinds = [row["kind"] for path in pilot.paths(workspace, "listings") for row in read_rows(path)]
    assert kinds.count("image") == LEAST_RECORDS and kinds.count("pair") == LEAST_RECORDS
    assert (forecast.num_piloted, forecast.num_records) == (20, 84)
    assert forecast.accepted.value > 0 and forecast.seconds.value > 0
    assert forecast.cost.value == pytest.approx(forecast.seconds.value * 2 / 3600)
    # The same again from what is there: no step runs, the ledger knows the times.
    num_entries = len(list(read_entries(workspace)))
    again = Pilot(workspace, profile(), "build-ieiw", POLICY, share=0.01).run()
    assert again.accepted == forecast.accepted and len(list(read_entries(workspace))) == num_entries
    other = Pilot(workspace, profile(), "build-ieiw", POLICY, share=0.01, seed=1)
    drawn = {row["source_id"] for path in pilot.paths(workspace, "listings") for row in read_rows(path)}
    other.run()
    pilot = read_manifest(workspace, "build-ieiw-pilot")
    assert drawn != {row["source_id"] for path in pilot.paths(workspace, "listings") for row in read_rows(path)}


def test_the_build_afterwards_says_how_good_the_forecast_was(
    piloted: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, forecast = piloted
    from tasks.forecast import write_forecast

    write_forecast(workspace, forecast)
    manifest = build(workspace, profile())
    accepted = sum(count_accepted(workspace, manifest, POLICY).values())
    (only,) = compare_with_build(workspace, forecast, manifest)  # plain builds keep no ledger
    assert (only.quantity, only.truth) == ("accepted", accepted) and only.is_covered
    keys = [shard.key for table, shards in manifest.tables.items() if table != "listings" for shard in shards]
    for key in keys:
        entry = {"step": "x", "key": key, "rows": 1, "usable": 1, "made": True, "flow_run": ""}
        append_entry(workspace, LedgerEntry(**entry, seconds=2.0, started_at="2026-01-01T00:00:00Z"))
    outcomes = {one.quantity: one for one in compare_with_build(workspace, forecast, manifest)}
    assert outcomes["seconds"].truth == 2.0 * len(keys)
    assert outcomes["cost"].truth == pytest.approx(2.0 * len(keys) * 2.0 / 3600)
    assert outcomes["seconds_per_accepted"].truth == pytest.approx(2.0 * len(keys) / accepted)
    monkeypatch.setenv(HOME_VARIABLE, str(workspace.home))
    assert run(main, ["forecast", "--check", "build-ieiw"]) == 0
    out = capsys.readouterr().out
    assert "came out" in out and "accepted" in out and "yes" in out
    assert run(main, ["forecast", "--check", "build-ieiw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["truth"] == accepted
    forecast_path(workspace, "build-ieiw").write_text("{}")
    assert run(main, ["forecast", "--check", "build-ieiw"]) == 2
    assert "is not a forecast" in capsys.readouterr().err


def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    for arguments, words in (
        (["--share", "0"], "share must be above 0"),
        (["--share", "nan"], "share must be above 0"),
        (["--workers", "0"], "--workers must be from 1"),
        (["--hourly-price", "-1"], "price of an hour must be"),
        (["--policy", "absent.toml"], "no file absent.toml"),
        (["--profile", "nobody"], "a profile is a TOML file or one of"),
        (["--check", "build-ieiw"], "no build named 'build-ieiw'"),
        (["--build", "Bad Name"], "lower-case"),
    ):
        assert run(main, ["forecast", *arguments]) == 2, arguments
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
