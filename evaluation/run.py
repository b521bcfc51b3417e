"""Evaluates a predictor on the held-out rows of a mix: samples, predictions, metric rows.

Beside each benchmark stand two controls that read the same samples: ``.../no-op`` (prediction = source) and
``.../oracle`` (prediction = target). Below the first a model does harm; above the second nothing can be read.

    <output>/metrics.parquet          rows of the evaluation that ran last (`catalog.schema.METRICS`)
    <output>/predictions.png          a few of its predictions beside source and target
    <output>/evaluations/<key>.*      the same two files of every finished evaluation
    <output>/predictions/<key>.tar    predicted images, one tar per batch (`evaluation.predictions`)

Rows are a function of (predictor, mix, options, helper models), and so is the key: what is finished is read back.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.digests import canonical_json, file_digest, value_digest
from catalog.durable import sweep, write_file
from catalog.errors import ConfigError, MixError, PredictionError
from catalog.parquet_streams import write_stream
from catalog.render_styles import RenderStyle, refuse_training_only
from catalog.roots import Roots
from catalog.schema import METRICS, SPLITS
from catalog.store import read_shard
from evaluation.benchmarks import UNITS
from evaluation.cases import Case, HeldOutRow, batches, read_benchmarks, render_cases
from evaluation.measures import HelperModels, Measure, Metric, make_measure
from evaluation.metrics import Image
from evaluation.pictures import prediction_sheet
from evaluation.predictions import NoOpPredictor, OraclePredictor, Predictor, predict, stored_predictions

_VERSION = 1
"""Part of every key: raised with each change of what metrics mean."""

_SHOWN_PAIRS = 2
"""Pairs of each benchmark on the picture sheet."""

Row = dict[str, Any]
Progress = Callable[[str, int, int], None]
"""Called with (benchmark, rows done, rows in all)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Everything that the metric rows depend on beside predictor, mix and helper models."""

    split: str = "val"
    size: int = 256
    """Side of the images in pixels (paper section 4.1)."""
    limit: int | None = None
    """At most so many rows of each benchmark; None: all."""
    batch_size: int = 8
    """Images predicted at once."""
    seed: int = 0
    """Of rendering (crops, colours, wording) and of the noise."""
    render: RenderStyle = field(default_factory=RenderStyle)
    """How samples are drawn, at ``size``: as the checkpoint was trained."""

    def __post_init__(self) -> None:
        rules = [
            (self.split in SPLITS[1:], f"split must be one of {', '.join(SPLITS[1:])}", self.split),
            (self.size >= 32 and self.size % 8 == 0, "size must be a multiple of 8 from 32 on", self.size),
            (self.limit is None or self.limit >= 1, "limit must be at least 1", self.limit),
            (self.batch_size >= 1, "batch size must be at least 1", self.batch_size),
            (self.seed >= 0, "seed must not be negative", self.seed),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise ConfigError(f"{rule}. Got {value!r}")
        refuse_training_only(self.render)


def evaluate(
    predictor: Predictor,
    mix: Path,
    output: Path,
    helpers: HelperModels,
    options: EvaluationOptions,
    progress: Progress = lambda benchmark, done, total: None,
) -> list[Row]:
    """Metric rows of a predictor and of the controls; read back where this evaluation was finished before.

    Args:
        predictor: usually an `evaluation.checkpoints.CheckpointPredictor`.
        mix: the mix file, ``roots.json`` beside it.
        output: folder for everything that the module lists.
        helpers: backends of the metrics on edits.
        options: see there.
        progress: called after each batch.

    Returns:
        Rows of `catalog.schema.METRICS`: by benchmark the predictor's, then the controls'. ``checkpoint_sha256``
        is null in rows of controls, ``value`` is null where nothing could be measured.

    Raises:
        MixError: no mix, no rows of the split, or a row that cannot be rendered.
        PredictionError: a prediction is missing, of the wrong size or not finite.
        BackendError: a helper model has no answer for a prediction.
    """
    if not mix.is_file():
        raise MixError(f"there is no mix at {mix}: make one with `python -m catalog mix`")
    config = {
        **asdict(options),
        "version": _VERSION,
        "predictor": dict(predictor.options),
        "backends": helpers.ids(),
    }
    identity = {
        "checkpoint_sha256": predictor.checkpoint_sha256,
        "mix_sha256": file_digest(mix),
        "config": canonical_json(config),
    }
    path = output / "evaluations" / f"{value_digest(identity)[:32]}.parquet"
    if not path.exists():
        sweep(output)
        runner = _Runner(predictor, mix, output / "predictions", helpers, options, progress)
        rows = [{**identity, **row} for row in runner.rows()]
        write_file(path.with_suffix(".png"), [prediction_sheet(runner.shown)])
        table = pa.Table.from_pylist(rows, schema=METRICS)
        write_stream(path, "metrics", METRICS, table.to_batches(), {"split": options.split}, max(1, len(rows)))
    for source, name in ((path, "metrics.parquet"), (path.with_suffix(".png"), "predictions.png")):
        write_file(output / name, [source.read_bytes()])
    stored: list[Row] = read_shard(path).to_pylist()
    return stored


class _Runner:
    """One evaluation in progress."""

    def __init__(
        self,
        predictor: Predictor,
        mix: Path,
        predictions: Path,
        helpers: HelperModels,
        options: EvaluationOptions,
        progress: Progress,
    ) -> None:
        self._predictor = predictor
        self._controls: dict[str, Predictor] = {"no-op": NoOpPredictor(), "oracle": OraclePredictor()}
        self._benchmarks = read_benchmarks(mix, options.split, options.limit)
        self._roots = Roots.read(mix.parent / "roots.json")
        self._predictions = predictions
        self._helpers = helpers
        self._options = options
        self._progress = progress
        self._render = options.render.at_size(options.size)
        self._left_out = 0
        self.shown: list[tuple[str, Case, Image]] = []

    def rows(self) -> Iterator[Row]:
        """Metric rows of all benchmarks, without the columns that are the same in each row."""
        for (vision_task, edit_type), held_out in self._benchmarks.items():
            name = "/".join(part for part in (vision_task, edit_type, self._options.split) if part)
            yield from self._benchmark_rows(name, vision_task, held_out)

    def _benchmark_rows(self, name: str, vision_task: str, held_out: Sequence[HeldOutRow]) -> Iterator[Row]:
        self._left_out = 0
        measure = make_measure(vision_task, self._helpers)
        controls = {control: make_measure(vision_task, self._helpers) for control in self._controls}
        for batch in batches(self._cases(name, held_out), self._options.batch_size):
            self._observe(name, batch, measure, controls)
        metrics = measure.metrics()
        _check_complete(name, metrics, controls["oracle"].metrics())
        if self._left_out:
            metrics.append(Metric("rows_left_out", float(self._left_out), len(held_out)))
        yield from (_row(name, vision_task, metric) for metric in metrics)
        for control, control_measure in controls.items():
            for metric in control_measure.metrics():
                yield {**_row(f"{name}/{control}", vision_task, metric), "checkpoint_sha256": None}

    def _cases(self, name: str, held_out: Sequence[HeldOutRow]) -> Iterator[Case]:
        """Cases of a benchmark, one row rendered at a time."""
        for done, row in enumerate(held_out):
            self._progress(name, done, len(held_out))
            cases = render_cases(row, self._roots, self._options.seed, self._render)
            self._left_out += not cases
            yield from cases
        self._progress(name, len(held_out), len(held_out))

    def _observe(self, name: str, batch: Sequence[Case], measure: Measure, controls: dict[str, Measure]) -> None:
        samples = [case.sample for case in batch]
        images = stored_predictions(self._predictor, samples, self._options.seed, self._predictions)
        measure.observe(batch, images)
        for control, predictor in self._controls.items():
            controls[control].observe(batch, predict(predictor, samples, self._options.seed))
        for case, image in zip(batch, images, strict=True):
            pairs = {other.sample.pair_id for shown, other, _ in self.shown if shown == name}
            if len(pairs) < _SHOWN_PAIRS and case.sample.pair_id not in pairs:
                self.shown.append((name, case, image))


def _check_complete(benchmark: str, metrics: Sequence[Metric], oracle: Sequence[Metric]) -> None:
    """Predictions and targets must be measurable on the same samples: a mean over fewer is another number."""
    for metric, best in zip(metrics, oracle, strict=True):
        if metric.num_samples != best.num_samples:
            raise PredictionError(
                f"{benchmark}: {metric.name} must be measured on all {best.num_samples} samples. Got "
                f"{metric.num_samples}: {metric.backend} has no number for some predictions"
            )


def _row(benchmark: str, vision_task: str, metric: Metric) -> Row:
    return {
        "benchmark": benchmark,
        "metric": metric.name,
        "value": metric.value,
        "num_samples": metric.num_samples,
        "vision_task": vision_task,
        "unit": UNITS[metric.name],
        "backend": metric.backend,
    }
