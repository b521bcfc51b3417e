"""Evaluates a predictor on the unseen tasks of Figure 11, with the controls, keys and files of `evaluation.run`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from catalog.digests import bytes_digest, value_digest
from catalog.durable import sweep, write_file
from catalog.errors import MixError
from catalog.roots import Roots
from catalog.store import read_shard
from evaluation.cases import Case, HeldOutRow, batches, read_benchmarks
from evaluation.decoders import ColorDecoder, Decoder
from evaluation.measured import Metric
from evaluation.metric_rows import Row, check_complete, identity_columns, metric_row, write_metric_rows
from evaluation.metrics import Image
from evaluation.pictures import prediction_sheet
from evaluation.predictions import NoOpPredictor, OraclePredictor, Predictor, predict, stored_predictions
from evaluation.run import EvaluationOptions, Progress
from evaluation.unseen_options import UnseenOptions, UnseenTask
from evaluation.unseen_tasks import PROMPTS, TASKS, unseen_cases

_SHOWN = 2
"""Samples of each task on the picture sheet."""


class NothingToAsk(MixError):
    """A mix without any row that a task can be asked of."""


def evaluate_unseen(
    name: str,
    predictor: Predictor,
    mix: Path,
    output: Path,
    options: EvaluationOptions,
    unseen: UnseenOptions,
    progress: Progress,
    decoder: Decoder | None = None,
) -> list[Row]:
    """Metric rows (`catalog.model_tables.METRICS`) of one task; read back where the same was measured before.

    Args:
        name: of the task, see `unseen_tasks.TASKS`.
        predictor: who answers.
        mix: its held-out rows are asked about.
        output: folder; the task's rows and pictures go to ``evaluations/``, predictions to ``predictions/``.
        options: split, size, limit, batch, seed and rendering.
        unseen: of the tasks.
        progress: told of each row.
        decoder: reads masks and circles; None: by colour distance.

    Raises:
        NothingToAsk: no row that the task can be asked of.
        PredictionError: a prediction is missing, of the wrong size or not finite.
    """
    task = TASKS[name](unseen)
    reader = decoder or ColorDecoder(options.render.alpha, options.render.radius)
    prompts = {path.name: bytes_digest(path.read_bytes()) for path in sorted((PROMPTS / name).glob("*.txt"))}
    config = {
        **asdict(options),
        "unseen_task": name,
        "unseen": asdict(unseen),
        "prompts": prompts,
        "decoder": reader.id,
        "predictor": dict(predictor.options),
    }
    identity = identity_columns(predictor, mix, options.seed, config)
    path = output / "evaluations" / f"{name}-{value_digest(identity)[:32]}.parquet"
    if not path.exists():
        sweep(output)
        runner = _Runner(task, predictor, mix, output / "predictions", options, reader, progress)
        rows = [{**identity, **row} for row in runner.rows()]
        write_file(path.with_suffix(".png"), [prediction_sheet(runner.shown)])
        write_metric_rows(path, rows, {"split": options.split})
    write_file(output / f"{name}.png", [path.with_suffix(".png").read_bytes()])
    stored: list[Row] = read_shard(path).to_pylist()
    return stored


class _Runner:
    """One task in progress."""

    def __init__(
        self,
        task: UnseenTask,
        predictor: Predictor,
        mix: Path,
        predictions: Path,
        options: EvaluationOptions,
        decoder: Decoder,
        progress: Progress,
    ) -> None:
        self._task, self._predictor, self._options, self._decoder = task, predictor, options, decoder
        self._roots, self._predictions, self._progress = Roots.read(mix.parent / "roots.json"), predictions, progress
        self._questions = _read_questions(task, mix, options)
        self._benchmark = f"{task.name}/{options.split}"
        self._left_out = 0
        self.shown: list[tuple[str, Case, Image]] = []

    def rows(self) -> list[Row]:
        """Of the task and its controls, without the columns that are the same in each row."""
        controls: dict[str, Predictor] = {"no-op": NoOpPredictor(), "oracle": OraclePredictor()}
        measure = self._task.make_measure(self._decoder)
        of_controls = {name: self._task.make_measure(self._decoder, intervals=False) for name in controls}
        for batch in batches(self._cases(), self._options.batch_size):
            samples = [case.sample for case in batch]
            images = stored_predictions(self._predictor, samples, self._options.seed, self._predictions)
            measure.observe(batch, images)
            for name, control in controls.items():
                of_controls[name].observe(batch, predict(control, samples, self._options.seed))
            self._show(batch, images)
        metrics = measure.metrics()
        check_complete(self._benchmark, metrics, of_controls["oracle"].metrics())
        if self._left_out:
            metrics.append(Metric("rows_left_out", float(self._left_out), len(self._questions)))
        if left_out := self._task.photos_left_out:
            photos = {question.row["source_image"]["sha256"] for question in self._questions}
            metrics.append(Metric("photos_left_out", float(left_out), left_out + len(photos)))
        vision_task = self._task.vision_task
        rows = [metric_row(self._benchmark, vision_task, metric) for metric in metrics]
        for name, control_measure in of_controls.items():
            for metric in control_measure.metrics():
                row = metric_row(f"{self._benchmark}/{name}", vision_task, metric)
                rows.append({**row, "checkpoint_sha256": None})
        return rows

    def _cases(self) -> Iterator[Case]:
        """Samples, one question rendered at a time; where there is nothing to ask at this size is counted."""
        render = self._options.render.at_size(self._options.size)
        for done, row in enumerate(self._questions):
            self._progress(self._benchmark, done, len(self._questions))
            cases = unseen_cases(self._task, row, self._roots, self._options.seed, render)
            self._left_out += not cases
            yield from cases
        self._progress(self._benchmark, len(self._questions), len(self._questions))

    def _show(self, batch: Sequence[Case], images: Sequence[Image]) -> None:
        for case, image in zip(batch, images, strict=True):
            if len(self.shown) < _SHOWN:
                self.shown.append((self._benchmark, case, image))


def _read_questions(task: UnseenTask, mix: Path, options: EvaluationOptions) -> list[HeldOutRow]:
    groups: dict[Any, list[HeldOutRow]] = dict(read_benchmarks(mix, options.split))
    rows = [row for (vision_task, _), members in groups.items() if vision_task == task.vision_task for row in members]
    questions = task.questions(rows)
    if not questions:
        left_out = f", {task.photos_left_out} photos do not say which classes they show" if task.photos_left_out else ""
        raise NothingToAsk(
            f"{mix} has no row of split {options.split!r} that {task.name} can be asked of ({len(rows)} rows of "
            f"{task.vision_task}{left_out}): take another split, or data with what it needs"
        )
    # A question about several classes is several rows of one index.
    kept = set(list(dict.fromkeys(question.index for question in questions))[: options.limit])
    return [question for question in questions if question.index in kept]
