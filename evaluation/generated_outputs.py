"""A checkpoint's own outputs for training rows: what it drew and the truth, for the post-processor to learn from.

They are predictions like any others, kept by content (`evaluation.predictions`): made once, and gone on with after a
kill. Rows are taken in the order of a hash of (seed, pair), so fewer outputs are a part of more.
"""

from collections.abc import Callable
from pathlib import Path

from catalog.digests import value_digest
from catalog.errors import ConfigError, MixError, RowRejected
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from evaluation.decoder_examples import GeneratedOutput, read_rows
from evaluation.predictions import Predictor, stored_predictions

_BATCH = 8

Progress = Callable[[int, int], None]
"""Called with (outputs made, outputs in all)."""


def generate_outputs(
    predictor: Predictor,
    mix: Path,
    folder: Path,
    count: int,
    style: RenderStyle,
    size: int,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> list[GeneratedOutput]:
    """Samples of a mix's training rows and what a predictor answers; about 0.6 MB of memory each at 256 pixels.

    Args:
        predictor: usually an `evaluation.checkpoints.CheckpointPredictor`.
        mix: its segmentation and keypoint rows are asked; ``roots.json`` beside it.
        folder: where predictions are kept.
        count: outputs; fewer where the mix has fewer rows that can be drawn at this size.
        style: how targets are drawn: as the model was trained.
        size: side in pixels.
        seed: of choice, drawing and noise.
        progress: called after each batch.

    Raises:
        ConfigError: no output asked for.
        MixError: no row that can be drawn.
        PredictionError: a prediction is missing, of another size or not finite.
    """
    if count < 1:
        raise ConfigError(f"generated outputs must be at least 1. Got {count}")
    samples = _draw(mix, count, style, size, seed)
    outputs: list[GeneratedOutput] = []
    for start in range(0, len(samples), _BATCH):
        batch = samples[start : start + _BATCH]
        outputs += zip(batch, stored_predictions(predictor, batch, seed, folder), strict=True)
        progress(len(outputs), len(samples))
    return outputs


def _draw(mix: Path, count: int, style: RenderStyle, size: int, seed: int) -> list[Sample]:
    roots, samples = Roots.read(mix.parent / "roots.json"), list[Sample]()
    rows = sorted(read_rows(mix), key=lambda row: value_digest([seed, row["pair_id"]]))
    for index, row in enumerate(rows):
        if len(samples) == count:
            break
        try:
            samples.append(render_sample(row, roots, seed=seed, index=index, options=style.at_size(size)))
        except RowRejected as error:
            last = error
    if not samples:
        raise MixError(f"no row of {mix} can be drawn at {size} pixels (the last: {last}): mend the mix's images")
    return samples
