"""Evaluates a predictor on the held-out rows of a mix, or on one of the paper's benchmarks.

Beside each benchmark stand controls that read the same samples: ``.../no-op`` (prediction = source), ``.../oracle``
(prediction = target), of edits ``.../over-edit`` (the target mirrored: nothing is where it was) and, of a checkpoint,
``.../autoencoder`` (the target through its autoencoder, the paper's bound in parentheses). Below the first a model does
harm; above the others nothing can be read.

    <output>/metrics.parquet          rows of the evaluation that ran last (`catalog.model_tables.METRICS`)
    <output>/predictions.png          a few of its predictions beside source and target
    <output>/evaluations/<key>.*      the same two files of every finished evaluation
    <output>/cases/<key>.*            its best and worst cases (`evaluation.standouts`)
    <output>/predictions/<key>.tar    predicted images, one tar per batch (`evaluation.predictions`)

Rows are a function of (predictor, mix, options, decoder, helper models, code), and so is the key: what is finished is
read back.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from catalog.digests import value_digest
from catalog.durable import sweep, write_file
from catalog.errors import ConfigError, MixError
from catalog.render_styles import RenderStyle, refuse_training_only
from catalog.roots import Roots
from catalog.samples import Sample
from catalog.schema import SPLITS
from catalog.store import read_shard
from catalog.workspace import Workspace
from evaluation.benchmarks import PaperBenchmark, Protocol
from evaluation.cases import Case, HeldOutRow, batches, read_benchmarks, read_paper_benchmark, render_cases
from evaluation.decoders import ColorDecoder, Decoder
from evaluation.edit_benchmark_mix import read_confirmed_by
from evaluation.helper_models import HelperModels
from evaluation.measured import Measure, Metric
from evaluation.measures import make_measure
from evaluation.metric_rows import Row, check_complete, identity_columns, metric_row, write_metric_rows
from evaluation.metrics import Image
from evaluation.pictures import prediction_sheet
from evaluation.predictions import (
    AutoencoderPredictor,
    NoOpPredictor,
    OraclePredictor,
    OverEditPredictor,
    Predictor,
    Reconstructor,
    predict,
    stored_predictions,
)
from evaluation.reports import write_report
from evaluation.sessions import predict_sessions
from evaluation.standouts import Standouts
from evaluation.trained_images import refuse_trained_checkpoint

_SHOWN_PAIRS = 2
"""Pairs of each benchmark on the picture sheet."""

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
    """How samples are drawn, at ``size``: as the checkpoint was trained. A paper benchmark's protocol decides the
    crop."""
    no_target_pixels: int | None = None
    """A mask of fewer pixels, on a picture of 480 x 480, counts as empty; None: the benchmark's own rule."""

    def __post_init__(self) -> None:
        rules = [
            (self.split in SPLITS[1:], f"split must be one of {', '.join(SPLITS[1:])}", self.split),
            (self.size >= 32 and self.size % 8 == 0, "size must be a multiple of 8 from 32 on", self.size),
            (self.limit is None or self.limit >= 1, "limit must be at least 1", self.limit),
            (self.batch_size >= 1, "batch size must be at least 1", self.batch_size),
            (self.seed >= 0, "seed must not be negative", self.seed),
            (
                self.no_target_pixels is None or self.no_target_pixels >= 0,
                "no-target pixels must not be negative",
                self.no_target_pixels,
            ),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise ConfigError(f"{rule}. Got {value!r}")
        refuse_training_only(self.render)


def check_mix(mix: Path, benchmark: PaperBenchmark | None) -> None:
    """Raise MixError, saying what makes it, where a mix is not there."""
    if mix.is_file():
        return
    is_made = benchmark is not None and benchmark.protocol == "edits"
    flow = "flow build-edit-benchmark" if is_made else "flow evaluate-benchmarks"
    maker = "`python -m catalog mix`" if benchmark is None else flow
    raise MixError(f"there is no mix at {mix}: make one with {maker}")


def evaluate(
    predictor: Predictor,
    mix: Path,
    output: Path,
    helpers: HelperModels,
    options: EvaluationOptions,
    progress: Progress = lambda benchmark, done, total: None,
    *,
    benchmark: PaperBenchmark | None = None,
    decoder: Decoder | None = None,
    checkpoint: Path | None = None,
) -> list[Row]:
    """Metric rows of a predictor and of the controls; read back where this evaluation was finished before.

    Args:
        predictor: usually an `evaluation.checkpoints.CheckpointPredictor`.
        mix: the mix file, ``roots.json`` beside it.
        output: folder for everything that the module lists.
        helpers: backends of the metrics on edits.
        options: see there.
        progress: called after each batch.
        benchmark: the paper's benchmark that the mix holds; its split and protocol are used. None: the splits of a mix.
        decoder: reads masks and discs; None: by colour distance, as the render style draws.
        checkpoint: where the predictor's weights lie. Of a benchmark of edits, what they trained on is looked up.

    Returns:
        Rows of `catalog.model_tables.METRICS`: by benchmark the predictor's, then the controls'. ``checkpoint_sha256``
        is null in rows of controls, ``value`` is null where nothing could be measured.

    Raises:
        MixError: no mix, no rows of the split, a row that cannot be rendered, or a benchmark of edits whose images
            the checkpoint trained on.
        PredictionError: a prediction is missing, of the wrong size or not finite.
        BackendError: a helper model has no answer for a prediction.
    """
    check_mix(mix, benchmark)
    reader = decoder or ColorDecoder(options.render.alpha, options.render.radius)
    config = {
        **asdict(options),
        "benchmark": None if benchmark is None else benchmark.key,
        "decoder": reader.id,
        "predictor": dict(predictor.options),
        "backends": helpers.ids(),
    }
    if (confirmed := read_confirmed_by(mix)) is not None:
        config["confirmed_by"] = confirmed
        if predictor.checkpoint_sha256 is not None:
            config["training_known"] = checkpoint is not None and refuse_trained_checkpoint(
                Workspace.default(), checkpoint, mix
            )
    identity = identity_columns(predictor, mix, options.seed, config)
    path = output / "evaluations" / f"{value_digest(identity)[:32]}.parquet"
    if not path.exists():
        sweep(output)
        runner = _Runner(predictor, mix, output / "predictions", helpers, options, progress, benchmark, reader)
        rows = [{**identity, **row} for row in runner.rows()]
        write_file(path.with_suffix(".png"), [prediction_sheet(runner.shown)])
        runner.standouts.write(output / "cases" / path.name)
        write_metric_rows(path, rows, {"split": options.split})
    for source, name in ((path, "metrics.parquet"), (path.with_suffix(".png"), "predictions.png")):
        write_file(output / name, [source.read_bytes()])
    stored: list[Row] = read_shard(path).to_pylist()
    write_report(output, stored)
    return stored


def write_rows(output: Path, rows: Sequence[Row]) -> None:
    """Put the rows of several evaluations together: ``metrics.parquet`` and the report of a folder."""
    write_metric_rows(output / "metrics.parquet", rows)
    write_report(output, rows)


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
        benchmark: PaperBenchmark | None,
        decoder: Decoder,
    ) -> None:
        self._predictor = predictor
        self._controls: dict[str, Predictor] = {
            "no-op": NoOpPredictor(),
            "over-edit": OverEditPredictor(),
            "oracle": OraclePredictor(),
        }
        self._asked: list[str] = []
        if isinstance(predictor, Reconstructor):
            self._controls["autoencoder"] = AutoencoderPredictor(predictor, predictor.autoencoder)
        self._benchmark = benchmark
        self._protocol: Protocol = "crops" if benchmark is None else benchmark.protocol
        self._decoder = decoder
        if benchmark is None:
            self._benchmarks = read_benchmarks(mix, options.split, options.limit)
        else:
            self._benchmarks = read_paper_benchmark(mix, benchmark, options.limit)
        self._roots = Roots.read(mix.parent / "roots.json")
        self._predictions = predictions
        self._helpers = helpers
        self._options = options
        self._progress = progress
        self._render = options.render.at_size(options.size)
        self._left_out = 0
        self.shown: list[tuple[str, Case, Image]] = []
        self.standouts = Standouts()

    def rows(self) -> Iterator[Row]:
        """Metric rows of all benchmarks, without the columns that are the same in each row."""
        for (vision_task, edit_type), held_out in self._benchmarks.items():
            yield from self._benchmark_rows(vision_task, edit_type, held_out)

    def _benchmark_rows(self, vision_task: str, edit_type: str | None, held_out: Sequence[HeldOutRow]) -> Iterator[Row]:
        own = self._benchmark
        first, split = (vision_task, self._options.split) if own is None else (own.key, own.split)
        name = "/".join(part for part in (first, edit_type, split) if part)
        self._left_out = 0
        measure = self._make_measure(vision_task)
        # What an edit left alone is a question for edits only.
        self._asked = [name for name in self._controls if name != "over-edit" or vision_task == "image_editing"]
        controls = {control: self._make_measure(vision_task) for control in self._asked}
        for batch in batches(self._cases(name, held_out), self._options.batch_size):
            self._observe(name, batch, measure, controls)
        metrics = measure.metrics()
        check_complete(name, metrics, controls["oracle"].metrics())
        if self._left_out:
            metrics.append(Metric("rows_left_out", float(self._left_out), len(held_out)))
        for metric in metrics:
            yield {**metric_row(name, vision_task, metric), **self._printed(edit_type, metric.name)}
        for control, control_measure in controls.items():
            for metric in control_measure.metrics():
                yield {**metric_row(f"{name}/{control}", vision_task, metric), "checkpoint_sha256": None}

    def _make_measure(self, vision_task: str) -> Measure:
        rule = self._options.no_target_pixels
        if rule is None:
            rule = 0 if self._benchmark is None else self._benchmark.no_target_pixels
        return make_measure(vision_task, self._helpers, self._decoder, self._protocol, rule)

    def _printed(self, edit_type: str | None, metric: str) -> Row:
        """What the paper prints for a metric of its own benchmark."""
        printed = None if self._benchmark is None else self._benchmark.printed(edit_type, metric)
        if self._benchmark is None or printed is None:
            return {}
        value, bound = printed
        return {"paper_value": value, "paper_bound": bound, "paper_place": self._benchmark.place}

    def _cases(self, name: str, held_out: Sequence[HeldOutRow]) -> Iterator[Case]:
        """Cases of a benchmark, one row rendered at a time."""
        for done, row in enumerate(held_out):
            self._progress(name, done, len(held_out))
            cases = render_cases(row, self._roots, self._options.seed, self._render, self._protocol)
            self._left_out += not cases
            yield from cases
        self._progress(name, len(held_out), len(held_out))

    def _observe(self, name: str, batch: Sequence[Case], measure: Measure, controls: dict[str, Measure]) -> None:
        images = self._answer(self._predictor, batch, stored=True)
        measure.observe(batch, images)
        self.standouts.observe(name, batch, images)
        for control in self._asked:
            predictor = self._controls[control]
            answers = self._answer(predictor, batch, stored=predictor.checkpoint_sha256 is not None)
            controls[control].observe(batch, answers)
        for case, image in zip(batch, images, strict=True):
            pairs = {other.sample.pair_id for shown, other, _ in self.shown if shown == name}
            if len(pairs) < _SHOWN_PAIRS and case.sample.pair_id not in pairs:
                self.shown.append((name, case, image))

    def _answer(self, predictor: Predictor, batch: Sequence[Case], *, stored: bool) -> list[Image]:
        """Predictions of a batch; of sessions turn by turn, the last pictures."""

        def answer(samples: Sequence[Sample]) -> list[Image]:
            if stored:
                return stored_predictions(predictor, samples, self._options.seed, self._predictions)
            return predict(predictor, samples, self._options.seed)

        return predict_sessions(answer, [[*case.earlier, case.sample] for case in batch])
