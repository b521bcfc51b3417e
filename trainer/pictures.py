"""Sample pictures during training: rows of the mix, each as source, target and the network's edit, side by side."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catalog.durable import write_file
from catalog.errors import UserError
from catalog.images import encode_png
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from catalog.text_lines import wrap_text
from trainer.config import TrainingConfig
from trainer.inference import edit
from trainer.models import Models
from trainer.split_rows import split_rows

NUM_STEPS = 20
"""Sampling steps, DPM-Solver++: near what 100 Euler-ancestral steps give, at a fifth of the time."""

_HELD_OUT = ("val", "test", "train")
_LINE = 14  # pixels of a line of text


class SamplePictures:
    """The same few rows each time, so that pictures of different steps can be compared."""

    def __init__(self, mix: Path, roots: Roots, config: TrainingConfig) -> None:
        """Render the first rows that can be, held-out ones first.

        Raises:
            MixError: the mix is damaged.
        """
        options = config.render.at_size(config.image_size)
        self._samples: list[Sample] = []
        for split in _HELD_OUT:
            for index, row in enumerate(split_rows(mix, split)):
                if len(self._samples) == config.num_pictures:
                    return
                try:
                    sample = render_sample(row, roots, seed=config.seed, index=index, options=options)
                except UserError:
                    continue  # training says what is wrong with it; a picture takes the next row
                self._samples.append(sample)

    def make(self, models: Models) -> np.ndarray:
        """One picture, uint8 (H, W, 3): a row of source, target and edit per sample, its instruction above it,
        whole. Its size is the same at every step.
        """
        edits = edit(
            models,
            [sample.source for sample in self._samples],
            [sample.instruction for sample in self._samples],
            num_steps=NUM_STEPS,
            sampler="dpm_solver",
            seed=0,
        )
        rows = [
            np.concatenate([_caption(sample.instruction, 3 * sample.source.shape[1]), _side_by_side(sample, result)])
            for sample, result in zip(self._samples, edits, strict=True)
        ]
        return np.concatenate(rows)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """As PNG, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    write_file(path, [encode_png(picture)])


def _side_by_side(sample: Sample, result: np.ndarray) -> np.ndarray:
    return np.concatenate([sample.source, sample.target, result], axis=1)


def _caption(text: str, width: int) -> np.ndarray:
    """The whole text, in as many lines as it needs at this width."""
    font = ImageFont.load_default()
    lines = wrap_text(text.encode("latin-1", "replace").decode("latin-1"), width - 4, font.getlength)
    canvas = Image.new("RGB", (width, _LINE * len(lines)), "white")
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((2, 1 + number * _LINE), line, fill="black", font=font)
    return np.asarray(canvas)
