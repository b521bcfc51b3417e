"""The alignment curve: CLIP-Sim of held-out edits after each epoch of stage 3 (paper section 4.8, Figure 10).

Every checkpoint that the run kept is measured, and where it started from as epoch 0. An epoch is once through the
run's mix. Samples are the same at each point, with the same noise, so changes since epoch 0 are paired: their
intervals resample source images of the differences (`evaluation.intervals`).

    <output>/points/<key>.json      similarities of each sample at one checkpoint: finished ones are not sampled again
    <output>/predictions/<key>.tar  predicted images
    <output>/curve.json, .md, .png  the curve that was measured last
    <output>/earlier/<key>.*        those that it replaced

The paper measures on the benchmark whose edits people chose among. Here a photo that the run trained on is refused.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from catalog.digests import canonical_json, value_digest
from catalog.durable import write_file
from catalog.errors import BackendError, CheckpointError, ConfigError, RowRejected
from catalog.parquet_streams import mix_digest, reading_mix
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from evaluation.alignment_curve_report import CurvePoint, write_curve
from evaluation.benchmarks import PaperBenchmark
from evaluation.cases import Case, HeldOutRow, batches, render_cases
from evaluation.checkpoints import SamplingOptions
from evaluation.code_version import code_version
from evaluation.intervals import Share, ratio_interval
from evaluation.measured import image_of
from evaluation.measured_edits import measured_edits, refuse_trained
from evaluation.metrics import Image, mean
from evaluation.predictions import stored_predictions
from evaluation.run_checkpoints import RunPredictor, find_checkpoints
from tasks.backends.calls import call_batch
from tasks.backends.protocols import PairSimilarity
from tasks.backends.registry import backend_id

Progress = Callable[[str, int, int], None]
"""Called with (checkpoint, samples done, rows in all)."""


@dataclass(frozen=True, kw_only=True)
class CurveOptions:
    """Everything that the curve depends on beside run, mix and helper model."""

    split: str = "val"
    size: int = 256
    """Side of the images in pixels (paper section 4.1)."""
    limit: int | None = None
    """At most so many rows of each edit type; None: all."""
    batch_size: int = 8
    seed: int = 0
    """Of the noise."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        least = {"size": 1, "limit": 1, "batch_size": 1, "seed": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least {bound}. Got {value}")


def measure_curve(
    run: Path,
    mix: Path,
    output: Path,
    similarity: PairSimilarity,
    sampling: SamplingOptions,
    options: CurveOptions,
    progress: Progress,
    benchmark: PaperBenchmark | None = None,
) -> tuple[list[CurvePoint], Path | None]:
    """Measure every checkpoint of a run that is not measured yet, and write the curve.

    Args:
        run: folder of a stage-3 run.
        mix: rows to measure on: those of ``options.split`` that are edits, or the benchmark's.
        output: folder of points, predictions and curve.
        similarity: the helper model behind CLIP-Sim.
        sampling: steps and guidance.
        options: the rest.
        progress: told before each batch.
        benchmark: measure this one of the paper's instead of a split.

    Returns:
        The curve, and where another that it replaced is kept.

    Raises:
        CheckpointError: no run, or a torn checkpoint.
        MixError: no row to measure, or a photo that the run trained on among them.
        BackendError: the helper model has no answer.
    """
    config = _read_config(run)
    rows = measured_edits(mix, options.split, options.limit, benchmark)
    trained = Path(config["catalog"])
    refuse_trained(trained, rows)
    samples_per_epoch = _count_training_rows(trained)
    measured = []
    for step, place, sha256 in find_checkpoints(run, config["config"]["model"]):
        predictor = RunPredictor(place, sha256, sampling, options.device)
        values = _measure(predictor, rows, mix, output, similarity, options, f"step {step}", progress)
        measured.append((step, step * config["config"]["global_batch_size"] / samples_per_epoch, sha256, values))
    start = measured[0][3]
    points = [_point(step, epoch, sha256, values, start) for step, epoch, sha256, values in measured]
    facts = {"mix_sha256": mix_digest(mix), "benchmark": None if benchmark is None else benchmark.key}
    facts |= {**asdict(options), **asdict(sampling)}
    return points, write_curve(output, run.name, backend_id("pair_similarity", similarity), facts, points)


def _point(
    step: int, epoch: float, sha256: str, values: Sequence[Mapping[str, Any]], start: Sequence[Mapping[str, Any]]
) -> CurvePoint:
    texts = [Share(one["image"], one["text"]) for one in values if one["text"] is not None]
    changes = [
        Share(one["image"], one["text"] - first["text"])
        for one, first in zip(values, start, strict=True)
        if one["text"] is not None and first["text"] is not None
    ]
    return CurvePoint(
        epoch=round(epoch, 6),
        step=step,
        checkpoint_sha256=sha256,
        num_samples=len(texts),
        text_similarity=mean(share.part for share in texts),
        interval=ratio_interval(texts),
        change=mean(share.part for share in changes),
        change_interval=ratio_interval(changes),
        source_similarity=mean(one["likeness"] for one in values),
    )


def _measure(
    predictor: RunPredictor,
    rows: Sequence[HeldOutRow],
    mix: Path,
    output: Path,
    similarity: PairSimilarity,
    options: CurveOptions,
    name: str,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Similarities of each sample, in order: ``image``, ``pair_id``, ``text`` (None: not measurable), ``likeness``."""
    facts = {
        "checkpoint_sha256": predictor.checkpoint_sha256,
        "predictor": dict(predictor.options),
        "mix_sha256": mix_digest(mix),
        "rows": [row.row["pair_id"] for row in rows],
        "options": asdict(options),
        "backend": backend_id("pair_similarity", similarity),
        "code_version": code_version(),
    }
    path = output / "points" / f"{value_digest(facts)[:32]}.json"
    if not path.is_file():
        roots, render = Roots.read(mix.parent / "roots.json"), RenderStyle().at_size(options.size)
        cases = (case for row in rows for case in render_cases(row, roots, options.seed, render, "edits"))
        values: list[dict[str, Any]] = []
        for batch in batches(cases, options.batch_size):
            progress(name, len(values), len(rows))
            samples = [case.sample for case in batch]
            images = stored_predictions(predictor, samples, options.seed, output / "predictions")
            values += _ask(batch, images, similarity)
        progress(name, len(values), len(rows))
        write_file(path, [canonical_json({"facts": facts, "values": values}).encode()])
    stored: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["values"]
    return stored


def _ask(cases: Sequence[Case], images: Sequence[Image], similarity: PairSimilarity) -> list[dict[str, Any]]:
    captions = [[case.row[f"{side}_caption"] for case in cases] for side in ("source", "target")]
    sources = [case.sample.source for case in cases]
    answers = call_batch("pair_similarity", similarity, sources, list(images), *captions)
    values = []
    for case, answer in zip(cases, answers, strict=True):
        if isinstance(answer, RowRejected):
            raise BackendError(f"no pair_similarity for the edit of pair {case.sample.pair_id}: {answer}") from answer
        text = float(answer["target_text_similarity"])
        facts = {"pair_id": case.sample.pair_id, "image": image_of(case), "likeness": float(answer["image_similarity"])}
        values.append({**facts, "text": text if text == text else None})  # NaN: not measured
    return values


def _count_training_rows(mix: Path) -> int:
    with reading_mix(mix):
        found = pq.read_table(mix, columns=["position"], filters=[("split", "=", "train")])
    return len(found)


def _read_config(run: Path) -> dict[str, Any]:
    path = run / "config.json"
    remedy = "give the folder of a stage-3 run, such as one below runs"
    if not path.is_file():
        what = "has no config.json" if run.is_dir() else "is no folder"
        raise CheckpointError(f"{run} must be the folder of a training run, but {what}: {remedy}")
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {"model", "global_batch_size", "stage"} <= value["config"].keys() and "catalog" in value
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise CheckpointError(f"{path} must say what the run is, but cannot be read as that: {remedy}")
    if (stage := value["config"]["stage"]) != "human_alignment":
        raise CheckpointError(f"the curve is that of stage human_alignment, but {run} is of stage {stage}: {remedy}")
    return value
