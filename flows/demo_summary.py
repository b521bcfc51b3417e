"""What ``make demo`` ends with: the numbers of every stage and where everything is."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from catalog.decisions import Decision, decide
from catalog.policies import Policy
from catalog.workspace import Workspace
from evaluation.metric_names import METRICS_OF
from evaluation.reports import is_control
from flows.local_server import REPOSITORY
from flows.run_folders import default_run_folder
from flows.run_results import count_splits, read_finish, read_metrics
from flows.stage_runs import StageRun

BUILD = "build-ieiw"
POLICY = REPOSITORY / "infra" / "policies" / "embedded.toml"
_NAME_WIDTH = 30
_CONTROLS = ("no-op", "oracle")


def print_summary(console: Console, workspace: Workspace, runs: Sequence[StageRun]) -> None:
    """Print it. Numbers come from the files that the stages left, not from the stages."""
    mix = workspace.catalog / "mix.parquet"
    folder = default_run_folder(workspace, mix, "demo")
    console.rule("make demo", align="left")
    _print_pairs(console, decide(workspace, BUILD, Policy.read(POLICY)))
    _print_mix(console, mix)
    _print_training(console, folder)
    for run in runs:
        _line(console, f"seconds, {run.flow}", f"{run.seconds:.1f}")
    _print_metrics(console, folder / "evaluation")
    _print_places(console, workspace, folder)


def _print_pairs(console: Console, decision: Decision) -> None:
    _line(console, "pairs made", decision.num_pairs, f"build {decision.build}")
    _line(console, "  accepted", decision.num_accepted, f"policy {decision.policy.name}")
    for stage in decision.waterfall[1:]:
        if stage.removed:
            _line(console, f"  rejected: {stage.name}", stage.removed, stage.kind)


def _print_mix(console: Console, mix: Path) -> None:
    splits = count_splits(mix)
    listed = ", ".join(f"{count} {split}" for split, count in splits.items())
    _line(console, "rows in the mix", sum(splits.values()), listed)


def _print_training(console: Console, folder: Path) -> None:
    figures = read_finish(folder)
    if figures:
        _line(console, "training loss, first", f"{figures['loss_first']:.4f}", "mean over a tenth of the steps")
        _line(console, "training loss, last", f"{figures['loss_last']:.4f}", f"{figures['steps']} steps")


def _print_metrics(console: Console, output: Path) -> None:
    """One line per benchmark: the first metric of its task beside copying the source and the exact answer."""
    rows = read_metrics(output)
    values = {(row["benchmark"], row["metric"]): row["value"] for row in rows}
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("benchmark", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for name in ("value", *_CONTROLS, "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        name, metric = row["benchmark"], row["metric"]
        if is_control(name) or metric != METRICS_OF[row["vision_task"]][0]:
            continue
        controls = [_number(values.get((f"{name}/{control}", metric))) for control in _CONTROLS]
        short = name.removesuffix("/val").removeprefix("image_")
        table.add_row(short, metric, _number(row["value"]), *controls, str(row["num_samples"]))
    console.print()
    console.print(table)
    console.print(
        "[yellow]The networks are tiny and start from random weights, and embedded helper models give the scores: "
        "this shows that\nthe chain works, not how good an editor it is.[/] no-op returns the source, oracle the "
        "target.",
        soft_wrap=True,
    )


def _print_places(console: Console, workspace: Workspace, folder: Path) -> None:
    places = {
        "contact sheet": workspace.catalog / "reports" / f"{BUILD}-contact-sheet.png",
        "tables": workspace.catalog / "tables",
        "mix": workspace.catalog / "mix.parquet",
        "checkpoints, pipeline, logs": folder,
        "metrics and predictions": folder / "evaluation",
        "server and worker logs": workspace.home / ".prefect",
    }
    console.print()
    for name, path in places.items():
        console.print(f"{name:{_NAME_WIDTH}}{path}", highlight=False, soft_wrap=True)
    console.print(f"{'all of it in a browser':{_NAME_WIDTH}}make dashboard", highlight=False)


def _line(console: Console, name: str, value: object, note: str = "") -> None:
    console.print(f"{name:{_NAME_WIDTH}}{value!s:>10}  [dim]{note}[/]", highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
