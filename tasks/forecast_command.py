"""Build a small random share first, and forecast accepted pairs, time and cost of the whole, with an interval.

    python -m tasks forecast --profile embedded
    python -m tasks forecast --profile paper --share 0.01 --policy infra/policies/paper.toml --hourly-price 2.5
    python -m tasks forecast --check build-ieiw

The forecast is kept, and when the build ends its flow says how good it was; so does --check at any time. A record is a
listed photo or ready-made pair; at least ten of each source and kind are taken. Seconds are those of one worker.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError
from catalog.manifests import check_build_name, read_manifest
from catalog.policies import Policy
from catalog.reports import text_table
from catalog.workspace import Workspace
from tasks.forecast import LEVEL, Estimate, Forecast, Outcome, compare_with_build, read_forecast, scaled, write_forecast
from tasks.pilot import Pilot
from tasks.profiles import find_profile, read_profile
from tasks.replay_command import parse_settings

_POLICY = Path(__file__).parents[1] / "infra" / "policies" / "embedded.toml"


def main(arguments: Sequence[str]) -> int:
    """Forecast a build, or compare one with its forecast."""
    options = _parse(arguments)
    workspace = Workspace.default()
    if options.check is not None:
        return _check(workspace, options.check, options.json)
    if not 1 <= options.workers <= 256:
        raise ConfigError(f"--workers must be from 1 to 256. Got {options.workers}")
    profile = read_profile(find_profile(options.profile), parse_settings(options.set))
    pilot = Pilot(
        workspace,
        profile,
        check_build_name(options.build or profile.name),
        Policy.read(options.policy),
        share=options.share,
        seed=options.seed,
        hourly_price=options.hourly_price,
        progress=_show if sys.stderr.isatty() else lambda line: None,
    )
    forecast = pilot.run()
    path = write_forecast(workspace, forecast)
    _say(json.dumps(forecast.as_dict(), indent=2) if options.json else in_words(forecast, options.workers))
    if not options.json:
        _say(f"\nkept in {path}")
    return 0


def _check(workspace: Workspace, build: str, as_json: bool) -> int:
    manifest = read_manifest(workspace, build)
    forecast = read_forecast(workspace, build)
    if forecast is None:
        raise ConfigError(f"{build!r} has no forecast: run `python -m tasks forecast` before the build")
    outcomes = compare_with_build(workspace, forecast, manifest)
    if as_json:
        values = [{**_estimate(one.forecast), **_facts(one)} for one in outcomes]
        _say(json.dumps(values, indent=2))
    else:
        _say(outcome_table(outcomes))
        if len(outcomes) == 1:
            _say("\nseconds and cost: the ledger does not have all shards of the build")
    return 0


def in_words(forecast: Forecast, workers: int) -> str:
    """The forecast as a table."""
    rows = [
        ["accepted pairs of edits", *_cells(forecast.accepted)],
        ["seconds of one worker", *_cells(forecast.seconds)],
    ]
    rows.append([f"hours with {workers} workers", *_cells(scaled(forecast, workers), 3600)])
    if forecast.seconds_per_accepted is not None:
        rows.append(["seconds per accepted edit", *_cells(forecast.seconds_per_accepted)])
    if forecast.cost.value:
        rows.append(["cost", *_cells(forecast.cost)])
    if forecast.cost.value and forecast.cost_per_accepted is not None:
        rows.append(["cost per accepted edit", *_cells(forecast.cost_per_accepted)])
    policy = f"{forecast.policy['name']} v{forecast.policy['version']}"
    none = "" if forecast.seconds_per_accepted else "\nno pair of the pilot was accepted: take a larger --share"
    return (
        f"{forecast.build}, policy {policy}: {forecast.num_piloted} of {forecast.num_records} records piloted\n\n"
        + text_table(["", "forecast", f"{LEVEL:.0%} from", "to"], rows)
        + none
    )


def outcome_table(outcomes: Sequence[Outcome]) -> str:
    """Each quantity: forecast, interval, what came of it, and whether the interval held."""
    rows = []
    for one in outcomes:
        value = one.forecast.value
        off = f"{(one.truth - value) / value:+.1%}" if value else None
        rows.append([one.quantity, *_cells(one.forecast), one.truth, off, "yes" if one.is_covered else "no"])
    return text_table(["", "forecast", f"{LEVEL:.0%} from", "to", "came out", "off by", "within"], rows)


def _cells(one: Estimate, unit: float = 1.0) -> list[float | None]:
    return [one.value / unit, one.low / unit, None if one.high is None else one.high / unit]


def _estimate(one: Estimate) -> dict[str, Any]:
    return {"forecast": one.value, "low": one.low, "high": one.high}


def _facts(one: Outcome) -> dict[str, Any]:
    return {"quantity": one.quantity, "truth": one.truth, "is_covered": one.is_covered}


def _show(line: str) -> None:
    sys.stderr.write(f"\r\x1b[2K{line}")
    sys.stderr.flush()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tasks forecast", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--profile", default="embedded", help="a profile file, or its name in infra/profiles (default: %(default)s)"
    )
    parser.add_argument("--build", help="name of the build to be forecast (default: the profile's)")
    parser.add_argument("--share", type=float, default=0.01, help="of the records, 0 to 1 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which records (default: %(default)s)")
    parser.add_argument("--policy", type=Path, default=_POLICY, help="policy file (default: embedded)")
    parser.add_argument("--workers", type=int, default=2, help="of the whole build (default: %(default)s)")
    parser.add_argument(
        "--hourly-price", type=float, default=0.0, help="of a worker, in the currency of the helper models (default: 0)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the profile by dotted name"
    )
    parser.add_argument("--check", metavar="BUILD", help="only say how good the forecast of a finished build was")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(arguments)
