"""What ``make demo`` ends with: the numbers of every stage and where everything is."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from catalog.decisions import Decision, decide
from catalog.policies import Policy
from catalog.workspace import Workspace
from flows.local_server import REPOSITORY
from flows.run_folders import default_run_folder
from flows.run_results import count_splits, read_finish, read_metrics
from flows.stage_runs import StageRun

BUILD = "build-ieiw"
POLICY = REPOSITORY / "infra" / "policies" / "embedded.toml"


def print_summary(console: Console, workspace: Workspace, runs: Sequence[StageRun]) -> None:
    """Print the table. Numbers come from the files that the stages left, not from the stages."""
    table = Table(title="make demo", show_header=False, title_justify="left", box=None, padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right")
    table.add_column(style="dim")
    _add_pairs(table, decide(workspace, BUILD, Policy.read(POLICY)))
    mix = workspace.catalog / "mix.parquet"
    folder = default_run_folder(workspace, mix, "demo")
    _add_mix(table, mix)
    _add_training(table, folder)
    _add_metrics(table, folder / "evaluation")
    for run in runs:
        table.add_row(f"seconds, {run.flow}", f"{run.seconds:.1f}", "")
    console.print(table)
    _print_places(console, workspace, folder)


def _add_pairs(table: Table, decision: Decision) -> None:
    table.add_row("pairs made", str(decision.num_pairs), f"build {decision.build!r}")
    table.add_row("  accepted", str(decision.num_accepted), f"policy {decision.policy.name!r}")
    for stage in decision.waterfall[1:]:
        if stage.removed:
            table.add_row("  rejected", str(stage.removed), f"{stage.name} ({stage.kind})")


def _add_mix(table: Table, mix: Path) -> None:
    splits = count_splits(mix)
    listed = ", ".join(f"{split} {count}" for split, count in splits.items())
    table.add_row("rows in the mix", str(sum(splits.values())), listed)


def _add_training(table: Table, output: Path) -> None:
    figures = read_finish(output)
    if figures:
        table.add_row("training loss, first", f"{figures['loss_first']:.4f}", "mean over the first tenth of the steps")
        table.add_row("training loss, last", f"{figures['loss_last']:.4f}", f"{figures['steps']} steps")


def _add_metrics(table: Table, output: Path) -> None:
    for row in read_metrics(output):
        by = f", by {row['backend']}" if row["backend"] else ""
        value = "none" if row["value"] is None else f"{row['value']:.4f}"
        table.add_row(f"{row['benchmark']} {row['metric']}", value, f"{row['unit']}, {row['num_samples']} samples{by}")


def _print_places(console: Console, workspace: Workspace, folder: Path) -> None:
    console.print(
        "[yellow]The metrics are of tiny, randomly initialised networks, scored with embedded helper models: they "
        "show that the chain works, not how good an editor it is.[/]"
    )
    places = {
        "contact sheet": workspace.catalog / "reports" / f"{BUILD}-contact-sheet.png",
        "tables": workspace.catalog / "tables",
        "mix": workspace.catalog / "mix.parquet",
        "checkpoints, pipeline, logs": folder,
        "metric rows": folder / "evaluation",
        "server and worker logs": workspace.home / ".prefect",
    }
    for name, path in places.items():
        console.print(f"{name:>28}  {path}", highlight=False, soft_wrap=True)
