"""``python -m catalog mix`` and ``plan``: write the sampling plan, and list what a training run saw of it."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from catalog import reports
from catalog.affected_checkpoints import read_runs
from catalog.counts import rows_of_steps
from catalog.errors import ConfigError
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.outputs import check_output
from catalog.parquet_streams import mix_digest
from catalog.policies import Policy
from catalog.policy_diff import find_replaced
from catalog.reports import counted
from catalog.run_batches import batch_of_mix
from catalog.workspace import Workspace

_BUILD = "build-ieiw"
_WEIGHTS = Path(__file__).parents[1] / "infra" / "mixes" / "demo.toml"
_OUTPUT_HELP = "the plan (default: catalog/mix.parquet of the workspace); elsewhere it gets a roots.json beside it"


def add_mix(parser: argparse.ArgumentParser) -> None:
    """Options of ``mix``, beside those of every command that applies a policy."""
    parser.add_argument("--build", action="append", help=f"a build; give it again for more (default: {_BUILD})")
    parser.add_argument("--weights", type=Path, default=_WEIGHTS, help="mix file (default: infra/mixes/demo.toml)")
    parser.add_argument("--output", type=Path, help=_OUTPUT_HELP)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Options of ``plan``."""
    parser.add_argument("--steps", required=True, metavar="A:B", help="steps from 0, B excluded: 10000:10100")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--batch", type=int, help="samples per optimizer update (default: as the mix's runs have it)")
    size.add_argument("--run", metavar="NAME", help="of a run below runs/: its batch, where several differ")
    parser.add_argument("--mix", type=Path, help="mix file (default: catalog/mix.parquet of the workspace)")
    parser.add_argument("--limit", type=int, default=50, help="rows to print (default: %(default)s)")


def run_mix(options: argparse.Namespace, workspace: Workspace) -> int:
    """Write the mix and say what is in it."""
    output = check_output(options.output or workspace.catalog / "mix.parquet", ".parquet", workspace)
    policy, plan = Policy.read(options.policy), MixPlan.read(options.weights)
    builds = options.build or [_BUILD]
    before = mix_digest(output) if output.exists() else None
    runs = [run.folder.name for run in read_runs(workspace) if run.mix_sha256 == before] if before else []
    others = [(build, other) for build in builds if (other := find_replaced(workspace, build, policy)) is not None]
    summary = build_mix(workspace, builds, policy, plan, output, options.threads, options.memory_limit)
    replaced = runs if before != mix_digest(output) else []
    if options.json:
        _say(json.dumps(asdict(summary) | {"output": str(output), "replaced_mix_of_runs": replaced}, indent=2))
        return 0
    _say(f"Mix {plan.name} of {', '.join(builds)}, policy {policy.name} v{policy.version}, seed {plan.seed}\n")
    _say(reports.mix_table(summary))
    _say("\n" + reports.table_1(summary))
    train, test = counted(summary.num_train, "training sample"), counted(summary.num_test, "test row")
    _say(f"\n{train}, {summary.num_val} val and {test} in {output}")
    for build, other in others:
        _say(reports.replaced_policy(build, other, policy))
    if replaced:
        _say(
            f"replaced the mix that {', '.join(replaced)} trained on: to resume, make it again from the same build, "
            "policy and weights; --output keeps both"
        )
    return 0


def run_plan(options: argparse.Namespace, workspace: Workspace) -> int:
    """List the rows of some steps."""
    if options.limit < 0:
        raise ConfigError(f"--limit must be 0 or more. Got {options.limit}")
    first, last = _steps(options.steps)
    mix = options.mix or workspace.catalog / "mix.parquet"
    given: int | None = options.batch
    rows = rows_of_steps(mix, first, last, batch_of_mix(workspace, mix, options.run) if given is None else given)
    if options.json:
        for row in rows:
            _say(json.dumps(row))
        return 0
    shown = rows[: options.limit]
    _say(reports.text_table(list(rows[0]), [list(row.values()) for row in shown]))
    if len(shown) < len(rows):
        _say(f"and {len(rows) - len(shown)} more: raise --limit, or --json for all")
    return 0


def _steps(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal()):
        raise ConfigError(f"--steps must be A:B, two whole numbers, B excluded. Got {text!r}")
    return int(first), int(last)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
