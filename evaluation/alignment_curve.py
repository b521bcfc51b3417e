"""The alignment curve: CLIP-Sim of held-out edits after each epoch of stage 3 (paper section 4.8, Figure 10).

Every checkpoint that the run kept is measured, and where it started from as epoch 0. An epoch is once through the
run's mix. Samples are the same at each point, with the same noise, so changes since epoch 0 are paired: their
intervals resample source images of the differences (`evaluation.intervals`).

    <output>/points/<key>.json      similarities of each sample at one checkpoint: finished ones are not sampled again
    <output>/predictions/<key>.tar  predicted images
    <output>/curve.json, .md, .png  the curve

The paper measures on the benchmark whose edits people chose among. Here a photo that the run trained on is refused.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from catalog.digests import canonical_json, value_digest
from catalog.durable import write_file
from catalog.errors import BackendError, CheckpointError, MixError, RowRejected
from catalog.images import decode_image, encode_png
from catalog.parquet_streams import mix_digest, reading_mix
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from evaluation.benchmarks import PaperBenchmark
from evaluation.cases import Case, HeldOutRow, batches, read_benchmarks, read_paper_benchmark, render_cases
from evaluation.checkpoints import SamplingOptions, checkpoint_digest, library_versions
from evaluation.code_version import code_version
from evaluation.intervals import Interval, Share, ratio_interval
from evaluation.line_charts import Line, draw_chart
from evaluation.measured import image_of
from evaluation.metrics import Image, mean
from evaluation.plain_tables import markdown_table
from evaluation.predictions import stored_predictions
from tasks.backends.calls import call_batch
from tasks.backends.protocols import PairSimilarity
from tasks.backends.registry import backend_id
from trainer.config import TINY_MODEL

if TYPE_CHECKING:
    from catalog.samples import Sample
    from trainer.models import Models

PAPER_CURVE = ((0.0, 29.6), (10.0, 29.9))
"""(epoch, 100 x CLIP-Sim) that section 4.8 prints: the start, and the peak "after approximately 10 epochs"."""

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


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One checkpoint. Cosines, not times 100."""

    epoch: float
    step: int
    checkpoint_sha256: str
    num_samples: int
    """With a caption that the helper model can compare."""
    text_similarity: float | None
    """CLIP-Sim: edited image and target caption."""
    interval: Interval | None
    change: float | None
    """Since epoch 0, of the same samples."""
    change_interval: Interval | None
    source_similarity: float | None
    """Of edited image and source: a model that does less and less can raise CLIP-Sim, too."""


class RunPredictor:
    """Samples what a run started from, or one of its checkpoints by its moving average."""

    def __init__(self, place: Path | str, sha256: str, sampling: SamplingOptions, device: str) -> None:
        self._place, self._sampling, self._device = place, sampling, device
        self._models: Models | None = None
        self.checkpoint_sha256: str | None = sha256
        self.options: Mapping[str, Any] = {**asdict(sampling), "device": device, "libraries": library_versions()}

    def predict(self, samples: "Sequence[Sample]", seeds: Sequence[int]) -> list[Image]:
        """The edited sources, each with noise from its own seed."""
        from trainer.inference import edit
        from trainer.models import load_models
        from trainer.ranks import pick_device

        if self._models is None:
            device = pick_device(self._device)  # type: ignore[arg-type]
            self._models = load_models(self._place).to(device)
        return edit(
            self._models,
            [sample.source for sample in samples],
            [sample.instruction for sample in samples],
            num_steps=self._sampling.num_steps,
            text_guidance=self._sampling.text_guidance,
            image_guidance=self._sampling.image_guidance,
            guidance=self._sampling.guidance,  # type: ignore[arg-type]
            seed=seeds,
        )


def measure_curve(
    run: Path,
    mix: Path,
    output: Path,
    similarity: PairSimilarity,
    sampling: SamplingOptions,
    options: CurveOptions,
    progress: Progress,
    benchmark: PaperBenchmark | None = None,
) -> list[CurvePoint]:
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

    Raises:
        CheckpointError: no run, or a torn checkpoint.
        MixError: no row to measure, or a photo that the run trained on among them.
        BackendError: the helper model has no answer.
    """
    config = _read_config(run)
    rows = _measured_rows(mix, options, benchmark)
    trained = Path(config["catalog"])
    _refuse_trained(trained, rows)
    samples_per_epoch = _count_training_rows(trained)
    measured = []
    for step, place, sha256 in _checkpoints(run, config["config"]["model"]):
        predictor = RunPredictor(place, sha256, sampling, options.device)
        values = _measure(predictor, rows, mix, output, similarity, options, f"step {step}", progress)
        measured.append((step, step * config["config"]["global_batch_size"] / samples_per_epoch, sha256, values))
    start = measured[0][3]
    points = [_point(step, epoch, sha256, values, start) for step, epoch, sha256, values in measured]
    write_curve(output, run.name, backend_id("pair_similarity", similarity), points)
    return points


def write_curve(output: Path, run: str, similarity: str, points: Sequence[CurvePoint]) -> None:
    """``curve.json``, ``curve.md`` and ``curve.png``, the paper's two values beside ours."""
    value = {"run": run, "similarity": similarity, "points": [asdict(point) for point in points], "paper": PAPER_CURVE}
    write_file(output / "curve.json", [json.dumps(value, indent=2).encode() + b"\n"])
    rows = [("epoch", "step", "CLIP-Sim", "95 %", "change", "95 %", "likeness to source", "samples", "paper")]
    printed = dict(PAPER_CURVE)
    for point in points:
        rows.append(
            (
                f"{point.epoch:.2f}",
                str(point.step),
                _shown(point.text_similarity),
                _span(point.interval),
                _shown(point.change, "+.2f"),
                _span(point.change_interval, "+.2f"),
                _shown(point.source_similarity),
                str(point.num_samples),
                f"{printed[point.epoch]:.1f}" if point.epoch in printed else "",
            )
        )
    note = (
        f"100 times the cosine by {similarity}; intervals: bootstrap over source images, of the change paired. Paper "
        "(section 4.8, Figure 10; CLIP, other data): 29.6 at the start, about 29.9 after about 10 epochs."
    )
    write_file(output / "curve.md", [f"# Alignment curve of {run}\n\n{markdown_table(rows)}\n{note}\n".encode()])
    write_file(output / "curve.png", [_draw(run, similarity, points)])


def _draw(run: str, similarity: str, points: Sequence[CurvePoint]) -> bytes:
    """Two charts, one above the other: CLIP-Sim, and its change since epoch 0 with paired intervals."""
    found = [point for point in points if point.text_similarity is not None and point.change is not None]
    start = PAPER_CURVE[0][1]
    values = [100 * (point.text_similarity or 0.0) for point in found]
    changes = [100 * (point.change or 0.0) for point in found]
    charts = []
    for title, ours, intervals, base in (
        ("CLIP-Sim by epoch of human alignment", values, [point.interval for point in found], 0.0),
        ("Change since epoch 0", changes, [point.change_interval for point in found], start),
    ):
        printed = [(epoch, value - base) for epoch, value in PAPER_CURVE]
        lines = [Line(name="paper, its own data and CLIP", points=printed, is_dashed=True)]
        if found:
            spots = [(point.epoch, value) for point, value in zip(found, ours, strict=True)]
            lines.insert(0, Line(name=run, points=spots, intervals=[_times_100(one) for one in intervals]))
        charts.append(decode_image(draw_chart(title, "epoch", "100 x cosine", lines, f"by {similarity}")))
    return encode_png(np.concatenate(charts))


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


def _measured_rows(mix: Path, options: CurveOptions, benchmark: PaperBenchmark | None) -> list[HeldOutRow]:
    if benchmark is None:
        groups = read_benchmarks(mix, options.split, options.limit)
    else:
        groups = read_paper_benchmark(mix, benchmark, options.limit)
    rows = [row for (vision_task, _), members in groups.items() if vision_task == "image_editing" for row in members]
    if not rows:
        raise MixError(f"{mix} has no edit in split {options.split!r} to measure: take another split or mix")
    return rows


def _refuse_trained(trained: Path, rows: Sequence[HeldOutRow]) -> None:
    """See that nothing is measured that the run learned from: a copy of its own choice would look like progress."""
    with reading_mix(trained):
        table = pq.read_table(trained, columns=["group_id", "split"], filters=[("split", "=", "train")])
    shared = sorted(set(table["group_id"].to_pylist()) & {row.row["group_id"] for row in rows})
    if shared:
        raise MixError(
            f"photos that are measured must not train, but {len(shared)} of {trained} do (the first: "
            f"{shared[0]!s:.16}): measure on held-out rows, or bar them from the mix"
        )


def _count_training_rows(mix: Path) -> int:
    with reading_mix(mix):
        found = pq.read_table(mix, columns=["position"], filters=[("split", "=", "train")])
    return len(found)


def _read_config(run: Path) -> dict[str, Any]:
    path = run / "config.json"
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {"model", "global_batch_size"} <= value["config"].keys() and "catalog" in value
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} must say what the run is ({error}): give the folder of a training run"
        ) from error
    if not known:
        raise CheckpointError(f"{path} must say what the run is: give the folder of a training run")
    return value


def _checkpoints(run: Path, model: str) -> list[tuple[int, Path | str, str]]:
    """(step, place, digest) of what the run started from and of each checkpoint that it kept."""
    from trainer.checkpoint import checkpoint_digest as digest_of_checkpoint
    from trainer.checkpoint import list_checkpoints
    from trainer.starting_points import find_start

    place = str(run / "tiny_model") if model == TINY_MODEL else model
    start = find_start(place)
    files = start.file or start.folder
    assert files is not None
    sha256 = checkpoint_digest(files)
    if start.checkpoint is not None:
        sha256 = value_digest([sha256, digest_of_checkpoint(start.checkpoint)])
    kept = [(int(path.name.partition("-")[2]), path) for path in list_checkpoints(run / "checkpoints")]
    if not kept:
        raise CheckpointError(f"{run} must have a checkpoint to measure, but has none: let it train longer")
    found: list[tuple[int, Path | str, str]] = [(0, place, sha256)]
    return found + [(step, path, value_digest([sha256, digest_of_checkpoint(path)])) for step, path in kept]


def _shown(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else f"{100 * value:{form}}"


def _span(interval: Interval | None, form: str = ".2f") -> str:
    return "" if interval is None else f"{_shown(interval[0], form)} to {_shown(interval[1], form)}"


def _times_100(interval: Interval | None) -> Interval | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])
