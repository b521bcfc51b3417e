"""Samples of stage 1, pretraining adaptation: (prompt, picture), no source image (paper section 3.3).

Stable Diffusion learns to generate pictures with masks and discs in them. The prompt is the picture's caption and a
suffix that says what was drawn: "..., surrounded with a red circle". So that it still generates plain photos, rows of
other tasks, and ``plain_share`` of the mask and joint rows, keep picture and caption as they are.

Captions are the row's own. A mask or joint row without one is captioned from its annotation: "a photo of the red bird".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from catalog.errors import ConfigError, RowRejected
from catalog.reasons import Reason
from catalog.render_styles import RenderOptions
from catalog.roots import Roots
from catalog.samples import Sample, render_sample

SUFFIXES = Path(__file__).with_name("suffixes")
_SLOTS = {"segmentation": "color", "keypoint_detection": "circles"}
_STREAM = 2
"""Third word of a sample's seed here, so that these draws are independent of the renderer's and the trainer's."""


@dataclass(frozen=True)
class AdaptationSample:
    """One picture and what it shows."""

    prompt: str
    picture: np.ndarray
    """uint8 (S, S, 3) RGB."""


def render_adaptation(
    row: Mapping[str, Any],
    roots: Roots,
    *,
    seed: int,
    index: int,
    options: RenderOptions,
    plain_share: float,
    suffixes: Path = SUFFIXES,
) -> AdaptationSample:
    """Draw one row of the mix for stage 1: a pure function of the row, the image bytes and the arguments.

    Args:
        row: columns of `catalog.samples.sample_fields`, and ``source_caption``, ``target_caption``.
        roots: where images are.
        seed: of the run.
        index: of the sample.
        options: how to draw.
        plain_share: chance, [0, 1], that a mask or joint row stays plain.
        suffixes: folder with ``segmentation.txt`` and ``keypoint_detection.txt``.

    Raises:
        RowRejected: as `catalog.samples.render_sample`, or nothing says what the picture shows (no_caption).
        ConfigError: a file of suffixes is missing or malformed.
    """
    rng = np.random.default_rng((seed, index, _STREAM))
    is_plain, place = rng.random() < plain_share, rng.random()
    sample = render_sample(row, roots, seed=seed, index=index, options=options)
    if row["vision_task"] not in _SLOTS or row["target_image"] is not None:
        if row["target_caption"]:
            return AdaptationSample(row["target_caption"], sample.target)
        return AdaptationSample(_caption(row), sample.source)
    if is_plain:
        return AdaptationSample(_caption(row), sample.source)
    sentences = read_suffixes(row["vision_task"], suffixes)
    if not (drawn := _drawn(sample)):  # nothing is marked, so there is nothing to tell
        return AdaptationSample(_caption(row), sample.target)
    suffix = sentences[int(place * len(sentences))].format(**_words(drawn))
    return AdaptationSample(f"{_caption(row)}, {suffix}", sample.target)


@cache
def read_suffixes(vision_task: str, folder: Path = SUFFIXES) -> tuple[str, ...]:
    """The suffixes of one task, one per line; blank lines and lines that start with ``#`` are skipped.

    Raises:
        ConfigError: no such file, no suffix in it, or an unknown slot.
    """
    path = folder / f"{vision_task}.txt"
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"suffixes must name a folder with {vision_task}.txt, but it cannot be read: {error}"
        ) from error
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise ConfigError(f"{path} must hold a suffix, but has none: write one a line")
    for line in found:
        try:
            slots = {name for _, name, _, _ in Formatter().parse(line) if name is not None}
        except ValueError as error:
            raise ConfigError(f"{path}: {line!r} must have whole slots in braces: {error}") from error
        if slots - {_SLOTS[vision_task]}:
            raise ConfigError(f"{path}: the only slot is {{{_SLOTS[vision_task]}}}, got {line!r}: take the others out")
    return found


def _drawn(sample: Sample) -> list[str]:
    """Names of the colours that the picture shows; the official code also asks for joints that it does not draw."""
    if sample.mask is not None:
        return [name for name, _ in sample.colors] if sample.mask.any() else []
    places = np.empty((0, 2)) if sample.keypoints is None else sample.keypoints
    return [name for (name, _), place in zip(sample.colors, places, strict=True) if np.isfinite(place).all()]


def _caption(row: Mapping[str, Any]) -> str:
    """What the source photo shows."""
    if row["source_caption"]:
        return str(row["source_caption"])
    subject = row["phrase"] or row["label"] or ("a person" if row["vision_task"] == "keypoint_detection" else "")
    if not subject or row["vision_task"] not in _SLOTS:
        raise RowRejected(Reason.NO_CAPTION, "neither a caption nor an annotation says what the picture shows")
    return f"a photo of {subject}"


def _words(colors: Sequence[str]) -> dict[str, str]:
    circles = [f"a {color} circle" for color in colors]
    joined = " and ".join(filter(None, (", ".join(circles[:-1]), circles[-1])))
    return {"color": colors[0], "circles": joined}
