"""How a row of the mix becomes a sample: instruction, source and target, the same for trainer and evaluation.

Everything random about a sample (crop, flip, joints, colours, template; drawn in this order) comes from (seed, index)
alone, so the sample at one position of the plan is the same on any machine, after any restart, in any worker.

    target_image given      source and target go through one view; instruction as given, else worded from templates
    segmentation            target: the region under a half-transparent colour, drawn after the resize
    keypoint_detection      view: a square around the person; target: a disc on each joint that is asked for
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from catalog.errors import ConfigError, RowRejected
from catalog.images import decode_image
from catalog.instructions import (
    TEMPLATES,
    ColorRule,
    Rgb,
    color_table,
    names_a_side,
    other_side,
    word_enhancement,
    word_keypoints,
    word_segmentation,
)
from catalog.masks import decode_mask, mask_box
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.targets import ALPHA, RADIUS, disc_radius, render_keypoints, render_mask
from catalog.views import View, person_view, square_view, whole_view

Crop = Literal["by_task", "square", "resize"]


@dataclass(frozen=True, kw_only=True)
class RenderStyle:
    """How samples are drawn, whatever their size. Defaults are the paper's; where it is silent, the official code's."""

    crop: Crop = "by_task"
    """``square``: random square along the long side; ``resize``: the whole image, aspect not kept; ``by_task``:
    resize for image editing, square for the others (official code). Keypoints always show the person's square."""
    keep_region: bool = True
    """Squares keep the region in view (corrected). False: they may cut it away, text unchanged (official code)."""
    alpha: float = ALPHA
    """Share of the colour in a mask's pixels (paper section 4.1: transparency of 0.5)."""
    radius: float = RADIUS
    """Of keypoint discs, in pixels at size 256; scales with ``size`` (official code: 10)."""
    max_keypoints: int = 5
    """Joints of one sample: between 1 and this (paper section 4.1: 1 to 5)."""
    person_scale: float = 1.25
    """Side of the person's square over the long side of the box (official code: 1.25)."""
    colors: ColorRule = "corrected"
    """Colour names: see `catalog.instructions.color_table`."""
    flip_probability: float = 0.0
    """Chance to mirror a sample whose words name no side; joints change sides (official code: 0.5, referring 0)."""

    def __post_init__(self) -> None:
        _require(self.crop in get_args(Crop), f"crop must be one of {', '.join(get_args(Crop))}", self.crop)
        _require(0 < self.alpha <= 1, "alpha must be in (0, 1]", self.alpha)
        _require(1 <= self.radius <= 128, "radius must be in [1, 128] pixels", self.radius)
        _require(1 <= self.person_scale <= 10, "person_scale must be in [1, 10]", self.person_scale)
        _require(0 <= self.flip_probability <= 1, "flip_probability must be in [0, 1]", self.flip_probability)
        most = len(color_table("keypoint_detection", self.colors))
        _require(
            1 <= self.max_keypoints <= most, f"max_keypoints must be 1 to {most}, one colour each", self.max_keypoints
        )

    def at_size(self, size: int) -> "RenderOptions":
        """This style for samples of ``size`` x ``size`` pixels."""
        return RenderOptions(size=size, **{field.name: getattr(self, field.name) for field in fields(RenderStyle)})


@dataclass(frozen=True, kw_only=True)
class RenderOptions(RenderStyle):
    """A style with all that drawing needs beside it."""

    size: int = 256
    """Side of source and target in pixels (paper section 4.1)."""
    templates: Path = TEMPLATES
    """Folder of the template files."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.size >= 32, "size must be at least 32 pixels", self.size)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One (instruction, source, target), and what reading the answer needs. Pixels and coordinates are the view's."""

    pair_id: str
    instruction: str
    source: np.ndarray
    """uint8 size x size x 3, RGB."""
    target: np.ndarray
    """The same shape."""
    view: View
    """From source pixels and back."""
    colors: tuple[tuple[str, Rgb], ...] = ()
    """Asked colours by name: one for a mask, one per joint."""
    mask: np.ndarray | None = None
    """Segmentation: bool size x size, the region; without a pixel if nothing is to be marked."""
    joints: tuple[str, ...] = ()
    """Keypoint detection: the joints asked for."""
    keypoints: np.ndarray | None = None
    """Keypoint detection: float64 N x 2, (x, y) of ``joints``."""
    edit_mask: np.ndarray | None = None
    """Ready-made pairs that record one: bool size x size, where source and target may differ."""


def sample_fields() -> tuple[str, ...]:
    """Columns of a mix row that `render_sample` reads: all that a loader needs to fetch."""
    images = ("source_image", "target_image", "edit_mask")
    return (
        "pair_id",
        "vision_task",
        "edit_type",
        "instruction",
        *images,
        "phrase",
        "label",
        "mask",
        "bbox",
        "keypoints",
    )


def sample_generator(seed: int, index: int) -> np.random.Generator:
    """The one source of chance for the sample at ``index``: PCG64 seeded by (seed, index), both 0 or more."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))


def render_sample(
    row: Mapping[str, Any],
    roots: Roots,
    *,
    seed: int,
    index: int,
    options: RenderOptions,
    joints: Sequence[str] | None = None,
) -> Sample:
    """Draw one row of the mix: a pure function of the row, the image bytes and the arguments.

    Args:
        row: the columns of `sample_fields`.
        roots: where images are.
        seed: of the run.
        index: position of the sample; evaluation gives a fixed one per row.
        options: how to draw.
        joints: ask for these (as far as labelled and in view, in this order) instead of drawing some; evaluation
            goes through all joints of a person so.

    Raises:
        RowRejected: the row or its images cannot be used, or nothing can be asked (no_keypoints).
        ShardError: a root is not known on this machine.
    """
    rng = sample_generator(seed, index)
    source = decode_image(read_image_bytes(roots, row["source_image"]))
    if row["target_image"] is not None:
        target = decode_image(read_image_bytes(roots, row["target_image"]))
        return _render_ready(row, source, target, rng, options)
    if row["instruction"] is not None:
        raise RowRejected(Reason.BAD_INSTRUCTION, "an instruction of its own, but no target image")
    if row["vision_task"] == "segmentation":
        return _render_segmentation(row, source, rng, options)
    if row["vision_task"] == "keypoint_detection":
        return _render_keypoints(row, source, rng, options, joints)
    raise RowRejected(Reason.MALFORMED_RECORD, f"{row['vision_task']} without a target image")


def _render_ready(
    row: Mapping[str, Any], source: np.ndarray, target: np.ndarray, rng: np.random.Generator, options: RenderOptions
) -> Sample:
    """Both images are given."""
    if source.shape != target.shape:
        sizes = f"source {source.shape[1]} x {source.shape[0]}, target {target.shape[1]} x {target.shape[0]}"
        raise RowRejected(Reason.SIZE_MISMATCH, sizes)
    edit_mask = None if row["edit_mask"] is None else _mask_of(row["edit_mask"], source)
    view = _choose_view(source, edit_mask, row["instruction"] or "", row["vision_task"], rng, options)
    return Sample(
        pair_id=row["pair_id"],
        instruction=row["instruction"] or word_enhancement(row["edit_type"], rng, options.templates),
        source=view.show_image(source),
        target=view.show_image(target),
        view=view,
        edit_mask=None if edit_mask is None else view.show_mask(edit_mask),
    )


def _render_segmentation(
    row: Mapping[str, Any], source: np.ndarray, rng: np.random.Generator, options: RenderOptions
) -> Sample:
    """The region under a colour; a mask without a pixel asks for something that is not there: target = source."""
    if row["mask"] is None:
        raise RowRejected(Reason.NO_REGION, "segmentation without a mask")
    phrase = row["phrase"] or row["label"] or ""
    mask = _mask_of(row["mask"], source)
    view = _choose_view(source, mask, phrase, "segmentation", rng, options)
    shown = view.show_mask(mask)
    if options.keep_region and mask.any() and not shown.any():
        raise RowRejected(Reason.EMPTY_MASK, f"{mask.sum()} pixels vanish at {options.size} x {options.size}")
    name, rgb = _draw_colors("segmentation", 1, rng, options)[0]
    pixels = view.show_image(source)
    return Sample(
        pair_id=row["pair_id"],
        instruction=word_segmentation(phrase, name, rng, options.templates),
        source=pixels,
        target=render_mask(pixels, shown, rgb, options.alpha),
        view=view,
        colors=((name, rgb),),
        mask=shown,
    )


def _render_keypoints(
    row: Mapping[str, Any],
    source: np.ndarray,
    rng: np.random.Generator,
    options: RenderOptions,
    joints: Sequence[str] | None,
) -> Sample:
    """A disc on each asked joint: labelled ones in view, hidden (visibility 1) included.

    Unlabelled ones are never asked for (corrected: the official code asks, and draws nothing).
    """
    labelled = [joint for joint in row["keypoints"] or () if joint["visibility"]]
    if not labelled:
        raise RowRejected(Reason.NO_KEYPOINTS, "no labelled joint")
    subject = row["phrase"] or row["label"] or "person"
    flipped = _draw_flip(subject, rng, options)
    points = np.array([[joint["x"], joint["y"]] for joint in labelled])
    box = row["bbox"] or [*points.min(axis=0), *(np.ptp(points, axis=0) + 1)]
    height, width = source.shape[:2]
    view = replace(person_view(box, height, width, options.size, options.person_scale), flipped=flipped)
    shown = view.show_points(points)
    names = [other_side(joint["name"]) if flipped else joint["name"] for joint in labelled]
    in_view = {names[place]: int(place) for place in np.flatnonzero(view.contains(shown))}
    chosen = _draw_joints(in_view, joints, rng, options.max_keypoints)
    colors = _draw_colors("keypoint_detection", len(chosen), rng, options)
    asked = [(names[place], color) for place, (color, _) in zip(chosen, colors, strict=True)]
    pixels, radius = view.show_image(source), disc_radius(options.size, options.radius)
    return Sample(
        pair_id=row["pair_id"],
        instruction=word_keypoints(asked, subject, rng, options.templates),
        source=pixels,
        target=render_keypoints(pixels, shown[chosen], [rgb for _, rgb in colors], radius),
        view=view,
        colors=tuple(colors),
        joints=tuple(name for name, _ in asked),
        keypoints=shown[chosen],
    )


def _mask_of(code: Mapping[str, Any], source: np.ndarray) -> np.ndarray:
    mask = decode_mask(code)
    if mask.shape != source.shape[:2]:
        raise RowRejected(Reason.MASK_SIZE_MISMATCH, f"mask of {mask.shape} on an image of {source.shape[:2]}")
    return mask


def _choose_view(
    source: np.ndarray,
    region: np.ndarray | None,
    words: str,
    vision_task: str,
    rng: np.random.Generator,
    options: RenderOptions,
) -> View:
    """Crop and flip; both are drawn in every case, so later draws are the same whatever the options."""
    height, width = source.shape[:2]
    resize = options.crop == "resize" or (options.crop == "by_task" and vision_task == "image_editing")
    box = mask_box(region) if region is not None and region.any() and options.keep_region and not resize else None
    square = square_view(height, width, options.size, rng, box)
    view = whole_view(height, width, options.size) if resize else square
    return replace(view, flipped=_draw_flip(words, rng, options))


def _draw_flip(words: str, rng: np.random.Generator, options: RenderOptions) -> bool:
    """Whether to mirror; never where the words name a side."""
    return rng.random() < options.flip_probability and not names_a_side(words)


def _draw_joints(
    in_view: Mapping[str, int], joints: Sequence[str] | None, rng: np.random.Generator, most: int
) -> list[int]:
    """Places of the asked joints: 1 to ``most`` at random, or the given names as far as they are in view."""
    if joints is not None:
        chosen = [in_view[joint] for joint in joints if joint in in_view]
    else:
        places = rng.permutation(list(in_view.values())).tolist()
        chosen = places[: rng.integers(1, min(most, len(places)) + 1)] if places else []
    if not chosen:
        raise RowRejected(Reason.NO_KEYPOINTS, f"no joint to ask for in view (in view: {', '.join(in_view) or 'none'})")
    return chosen


def _draw_colors(
    vision_task: str, count: int, rng: np.random.Generator, options: RenderOptions
) -> list[tuple[str, Rgb]]:
    """``count`` different colours: (name, RGB)."""
    table = list(color_table(vision_task, options.colors).items())
    if count > len(table):
        raise ConfigError(f"at most {len(table)} joints can be asked for at once, one colour each. Got {count}")
    return [table[place] for place in rng.permutation(len(table))[:count]]


def _require(holds: bool, rule: str, value: Any) -> None:
    if not holds:
        raise ConfigError(f"{rule}. Got {value!r}")
