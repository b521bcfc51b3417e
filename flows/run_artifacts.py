"""What each flow run shows in Prefect's browser pages: tables of counts, the contact sheet, curves in numbers.

Artifacts are a view. Nothing reads them back; the shards, plans and Parquet logs are the truth.
"""

import base64
import dataclasses
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from catalog.decisions import Decision
from catalog.ledger import read_entries
from catalog.manifests import Manifest
from catalog.mixes import MixSummary
from catalog.waterfall import write_waterfall
from catalog.workspace import Workspace
from flows.run_results import count_reasons, read_losses, read_metrics
from flows.shard_graph import BuildOutcome
from flows.timing import current_flow_run
from tasks.forecast import Forecast, Outcome
from tasks.template_expansion import Expansion

_SHEET_WIDTH = 1400  # pixels; the artifact holds a smaller JPEG, the PNG on disk is whole
_SHEET_HEIGHT = 2400


def publish_build(workspace: Workspace, manifest: Manifest, outcome: BuildOutcome, sheet: Path | None) -> None:
    """Rows by table and reason, shards by step, and the contact sheet as a picture."""
    rows: list[dict[str, Any]] = []
    for table, shards in manifest.tables.items():
        rejected = count_reasons(manifest.paths(workspace, table))
        counts = {"table": table, "shards": len(shards), "rows": sum(shard.num_rows for shard in shards)}
        usable = sum(shard.num_usable for shard in shards)
        reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.items())
        rows.append({**counts, "usable": usable, "not usable": reasons})
    _table("build-rows", rows, f"Build {manifest.name}: rows by table")
    seconds, costs = _taken(workspace)
    shards_by_step = [
        {
            "step": step,
            "made now": outcome.made[step],
            "there already": outcome.found[step],
            "seconds of work": round(seconds[step], 1),
            "cost": round(costs[step], 4),
        }
        for step in sorted(outcome.made.keys() | outcome.found.keys())
    ]
    _table("build-shards", shards_by_step, f"Build {manifest.name}: shards by step")
    if sheet is None:
        return
    picture = base64.b64encode(_small_jpeg(sheet)).decode()
    create_markdown_artifact(
        key="contact-sheet",
        markdown=f"# {manifest.name}\n\nFull size: `{sheet}`\n\n![pairs](data:image/jpeg;base64,{picture})",
        description=f"Build {manifest.name}: source, mask, target, instruction",
    )


def publish_pilot(forecast: Forecast) -> None:
    """What a pilot says of the whole build."""
    named = {
        "accepted pairs of edits": forecast.accepted,
        "seconds of one worker": forecast.seconds,
        "cost": forecast.cost,
    }
    rows = [{"quantity": name, "forecast": one.value, "from": one.low, "to": one.high} for name, one in named.items()]
    _table("forecast", rows, f"Build {forecast.build}: forecast by policy {forecast.policy['name']}")


def publish_forecast(outcomes: Sequence[Outcome], build: str) -> None:
    """What was forecast of a build beside what came of it."""
    rows = [
        {
            "quantity": one.quantity,
            "forecast": one.forecast.value,
            "from": one.forecast.low,
            "to": one.forecast.high,
            "came out": one.truth,
            "within": one.is_covered,
        }
        for one in outcomes
    ]
    _table("forecast", rows, f"Build {build}: its forecast, and what came of it")


def publish_crawl(manifest: Manifest, outcomes: Mapping[str, int]) -> None:
    """Rows of a crawl by what became of them."""
    rows = [{"outcome": outcome, "rows": count} for outcome, count in outcomes.items()]
    _table("crawl-rows", rows, f"Crawl {manifest.name}: photo requests by outcome")


def publish_expansions(expansions: Sequence[Expansion], folder: Path) -> None:
    """Sentences kept and dropped by template file."""
    rows = [{"task": one.name, "by hand": len(one.written), **one.counts()} for one in expansions]
    _table("expanded-instructions", rows, f"Instruction templates in {folder}")


def publish_decision(decision: Decision) -> None:
    """The survival waterfall: what each reason and condition removes, as a table and as a picture."""
    with tempfile.TemporaryDirectory() as folder:
        picture = write_waterfall(decision, Path(folder) / "waterfall.png")
        encoded = base64.b64encode(picture.read_bytes()).decode()
    create_markdown_artifact(
        key="survival-waterfall-picture",
        markdown=f"# {decision.build}\n\n![survival waterfall](data:image/png;base64,{encoded})",
        description=f"Build {decision.build}: what survives policy {decision.policy.name}",
    )
    rows = [
        {"what": stage.name, "kind": stage.kind, "removed": stage.removed, "remaining": stage.remaining}
        for stage in decision.waterfall
    ]
    title = f"Build {decision.build} under policy {decision.policy.name} v{decision.policy.version}"
    _table("survival-waterfall", rows, title)


def publish_mix(summary: MixSummary) -> None:
    """Rows of the mix by source and split."""
    rows = [dataclasses.asdict(source) for source in summary.sources]
    _table("mix-rows", rows, f"{summary.output.name}: rows by source; {summary.num_unclaimed} pairs in no source")


def publish_training(output: Path) -> None:
    """First and last losses of the run."""
    losses = read_losses(output)
    rows = [{"step": step, "loss": round(loss, 6)} for step, loss in losses]
    shown = rows if len(rows) <= 40 else rows[:: len(rows) // 40] + rows[-1:]
    _table("training-loss", shown, f"Training loss of {output.name}")


def publish_metrics(output: Path) -> None:
    """Every metric row."""
    _table("metrics", read_metrics(output), f"Metrics in {output.name}")


def publish_benchmarks(output: Path) -> None:
    """The table of benchmarks beside the paper's values: as Markdown, and as a picture."""
    table = (output / "metrics.md").read_text(encoding="utf-8")
    picture = base64.b64encode((output / "metrics.png").read_bytes()).decode()
    create_markdown_artifact(
        key="benchmarks",
        markdown=f"# {output.name}\n\n{table}\n\n![table](data:image/png;base64,{picture})",
        description=f"Benchmarks in {output.name}, beside the paper's values",
    )
    publish_metrics(output)


def publish_picture_report(output: Path, name: str, title: str) -> None:
    """A report in a folder, ``NAME.md`` and ``NAME.png``, as Markdown with the picture in it."""
    text = (output / f"{name}.md").read_text(encoding="utf-8")
    picture = base64.b64encode((output / f"{name}.png").read_bytes()).decode()
    create_markdown_artifact(
        key=name, markdown=f"{text}\n![{name}](data:image/png;base64,{picture})", description=title
    )


def publish_edit_benchmark(candidates: Sequence[dict[str, Any]], counts: dict[str, int]) -> None:
    """How far an edit benchmark is: proposals by class and what people said of them."""
    classes = Counter(
        "cannot be used" if row["reason"] else row["proposed_class"] or "left to people" for row in candidates
    )
    rows = [{"what": f"proposed: {name}", "samples": count} for name, count in sorted(classes.items())]
    rows += [{"what": name.replace("_", " "), "samples": count} for name, count in counts.items()]
    _table("edit-benchmark", rows, "Samples of the edit benchmark: proposals, and people's answers")


def _taken(workspace: Workspace) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and cost of this flow run by step, as the ledger has them."""
    seconds: dict[str, float] = defaultdict(float)
    costs: dict[str, float] = defaultdict(float)
    run = current_flow_run()
    for entry in read_entries(workspace):
        if entry.flow_run == run:
            seconds[entry.step] += entry.seconds
            costs[entry.step] += entry.cost
    return seconds, costs


def _table(key: str, rows: Sequence[dict[str, Any]], description: str) -> None:
    create_table_artifact(key=key, table=list(rows), description=description)


def _small_jpeg(path: Path) -> bytes:
    """The picture at most 1400x2400 pixels: artifacts live in Prefect's database."""
    image = cv2.imread(str(path))
    assert image is not None, path
    height, width = image.shape[:2]
    scale = min(1.0, _SHEET_WIDTH / width, _SHEET_HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    _, data = cv2.imencode(
        ".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 80]
    )
    return data.tobytes()
