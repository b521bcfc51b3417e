"""How a row of the mix becomes a sample: instruction, source and target, the same for trainer and evaluation.

Everything random about a sample (crop, flip, joints, colours, template; drawn in this order) comes from (seed, index)
alone, so the sample at one position of the plan is the same on any machine, after any restart, in any worker.

    target_image given      source and target go through one view; instruction as given, else worded from templates
    segmentation            target: the region under a half-transparent colour, drawn after the resize
    keypoint_detection      view: a square around the person; target: a disc on each joint that is asked for

The choices are in `catalog.render_styles`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalog.absent_classes import draw_absent_class
from catalog.asked_joints import Asked, ask_any_joints, ask_joints
from catalog.drawing_colors import Rgb, color_table, fixed_color
from catalog.errors import ConfigError, RowRejected
from catalog.images import EncodedImage
from catalog.instructions import (
    joint_words,
    names_a_side,
    other_side,
    word_enhancement,
    word_keypoints,
    word_segmentation,
)
from catalog.masks import decode_mask
from catalog.person_squares import augment_square, person_square
from catalog.reasons import Reason
from catalog.render_styles import RenderOptions
from catalog.roots import Roots, read_image_bytes
from catalog.targets import disc_radius, render_keypoints, render_mask
from catalog.views import View, pixel_view, square_view, whole_view


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
    """Keypoint detection: float64 N x 2, (x, y) of ``joints``; NaN for one that is asked although it is not labelled
    (``asked_joints`` official)."""
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
        "class_names",
        "present_classes",
    )


def sample_generator(seed: int, index: int) -> np.random.Generator:
    """The one source of chance for the sample at ``index``: PCG64 seeded by (seed, index), both 0 or more."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))


class Chance:
    """A sample's generator, made when a number is first needed: seeding it takes longer than all else that drawing a
    plain pair needs beside its pixels.
    """

    def __init__(self, seed: int, index: int) -> None:
        self._seed, self._index, self._skipped = seed, index, 0
        self._generator: np.random.Generator | None = None

    def skip(self, count: int) -> None:
        """Pass over ``count`` draws of `random` that nothing depends on."""
        self._skipped += count

    @property
    def generator(self) -> np.random.Generator:
        """The generator, past what was skipped."""
        if self._generator is None:
            self._generator = sample_generator(self._seed, self._index)
        if self._skipped:
            self._generator.random(self._skipped)
            self._skipped = 0
        return self._generator


def render_sample(
    row: Mapping[str, Any],
    roots: Roots,
    *,
    seed: int,
    index: int,
    options: RenderOptions,
    joints: Sequence[str] | None = None,
    window: View | None = None,
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
        window: show this part of a ready-made pair instead of drawing one; evaluation goes through its tiles so.

    Raises:
        RowRejected: the row or its images cannot be used, or nothing can be asked (no_keypoints).
        ShardError: a root is not known on this machine.
    """
    chance = Chance(seed, index)
    source = EncodedImage(read_image_bytes(roots, row["source_image"]))
    if row["target_image"] is not None:
        target = EncodedImage(read_image_bytes(roots, row["target_image"]))
        return _render_ready(row, source, target, chance, options, window)
    if row["instruction"] is not None:
        raise RowRejected(Reason.BAD_INSTRUCTION, "an instruction of its own, but no target image")
    if row["vision_task"] == "segmentation":
        return _render_segmentation(row, source, chance, options)
    if row["vision_task"] == "keypoint_detection":
        return _render_keypoints(row, source, chance.generator, options, joints)
    raise RowRejected(Reason.MALFORMED_RECORD, f"{row['vision_task']} without a target image")


def _render_ready(
    row: Mapping[str, Any],
    source: EncodedImage,
    target: EncodedImage,
    chance: Chance,
    options: RenderOptions,
    window: View | None,
) -> Sample:
    """Both images are given."""
    if (source.width, source.height) != (target.width, target.height):
        sizes = f"source {source.width} x {source.height}, target {target.width} x {target.height}"
        raise RowRejected(Reason.SIZE_MISMATCH, sizes)
    edit_mask = None if row["edit_mask"] is None else _mask_of(row["edit_mask"], source)
    drawn = _choose_view(row, source, edit_mask, row["instruction"] or "", chance, options)
    view = drawn if window is None else window
    shown = _show(view, [source, target], options)
    return Sample(
        pair_id=row["pair_id"],
        instruction=row["instruction"] or word_enhancement(row["edit_type"], chance.generator, options.templates),
        source=shown[0],
        target=shown[1],
        view=view,
        edit_mask=None if edit_mask is None else view.show_mask(edit_mask),
    )


def _render_segmentation(
    row: Mapping[str, Any], source: EncodedImage, chance: Chance, options: RenderOptions
) -> Sample:
    """The region under a colour; a mask without a pixel asks for something that is not there: target = source."""
    if row["mask"] is None:
        raise RowRejected(Reason.NO_REGION, "segmentation without a mask")
    phrase, mask = row["phrase"] or row["label"] or "", _mask_of(row["mask"], source)
    if (absent := draw_absent_class(row, chance.generator, options)) is not None:
        phrase, mask = absent, np.zeros_like(mask)
    view = _choose_view(row, source, mask, phrase, chance, options)
    shown = view.show_mask(mask)
    if options.referent == "corrected" and mask.any() and not shown.any():
        raise RowRejected(Reason.EMPTY_MASK, f"{mask.sum()} pixels vanish at {options.size} x {options.size}")
    name, rgb = _draw_colors(
        "segmentation", [absent or row["label"] or phrase], row["class_names"], chance.generator, options
    )[0]
    pixels = _show(view, [source], options)[0]
    return Sample(
        pair_id=row["pair_id"],
        instruction=word_segmentation(
            phrase, name, chance.generator, options.templates, is_class=row["class_names"] is not None
        ),
        source=pixels,
        target=render_mask(pixels, shown, rgb, options.alpha),
        view=view,
        colors=((name, rgb),),
        mask=shown,
    )


def _render_keypoints(
    row: Mapping[str, Any],
    source: EncodedImage,
    rng: np.random.Generator,
    options: RenderOptions,
    joints: Sequence[str] | None,
) -> Sample:
    """A disc on each asked joint. Hidden ones (visibility 1) are drawn like visible ones."""
    labelled = [joint for joint in row["keypoints"] or () if joint["visibility"]]
    if not labelled:
        raise RowRejected(Reason.NO_KEYPOINTS, "no labelled joint")
    subject = row["phrase"] or row["label"] or "person"
    flipped = _draw_flip(subject, rng, options)
    view = replace(_person_view(row, labelled, source, rng, options), flipped=flipped)
    names = [joint["name"] for joint in row["keypoints"]]
    points = np.array([[j["x"], j["y"]] if j["visibility"] else [np.nan, np.nan] for j in row["keypoints"]])
    shown = {other_side(n) if flipped else n: p for n, p in zip(names, view.show_points(points), strict=True)}
    radius = disc_radius(options.size, options.radius)
    asked = _ask(shown, radius, rng, options, joints)
    colors = _draw_colors("keypoint_detection", list(asked), names, rng, options)
    centers = np.array(list(asked.values())).reshape(-1, 2)
    if options.disc_centers == "official":
        centers = np.floor(centers + 0.5)
    words = [joint_words(joint, names, options.joint_names) for joint in asked]
    drawn, pixels = np.isfinite(centers).all(axis=1), _show(view, [source], options)[0]
    rgbs = [rgb for (_, rgb), is_drawn in zip(colors, drawn, strict=True) if is_drawn]
    return Sample(
        pair_id=row["pair_id"],
        instruction=word_keypoints(
            [(word, color) for word, (color, _) in zip(words, colors, strict=True)],
            subject,
            rng,
            options.templates,
            options.joint_sentences,
        ),
        source=pixels,
        target=render_keypoints(pixels, centers[drawn], rgbs, radius),
        view=view,
        colors=tuple(colors),
        joints=tuple(asked),
        keypoints=centers,
    )


def _person_view(
    row: Mapping[str, Any],
    labelled: Sequence[Mapping[str, Any]],
    source: EncodedImage,
    rng: np.random.Generator,
    options: RenderOptions,
) -> View:
    points = np.array([[joint["x"], joint["y"]] for joint in labelled])
    box = row["bbox"] or [*points.min(axis=0), *(np.ptp(points, axis=0) + 1)]
    square = person_square(box, source.height, source.width, options.person_scale)
    return augment_square(square, labelled, options.augmentation, rng).view(options.size)


def _ask(
    shown: Mapping[str, np.ndarray],
    radius: float,
    rng: np.random.Generator,
    options: RenderOptions,
    joints: Sequence[str] | None,
) -> Asked:
    """The joints of this sample, in the order that they are named and drawn in."""
    if joints is None and options.asked_joints == "official":
        return ask_any_joints(shown, options.size, radius, rng, options.max_keypoints)
    most = options.max_keypoints if options.names_everything else len(shown)
    return ask_joints(shown, options.size, joints, rng, most, radius, everything=not options.names_everything)


def _show(view: View, images: Sequence[EncodedImage], options: RenderOptions) -> list[np.ndarray]:
    """Images of one size through one view, all decoded in the same way: else one would be softer than the other."""
    reduces = options.decoding == "reduced" and all(image.is_reducible for image in images)
    reduction = view.reduction() if reduces else 1
    return [view.show_encoded(image, reduction) for image in images]


def _mask_of(code: Mapping[str, Any], source: EncodedImage) -> np.ndarray:
    mask, shape = decode_mask(code), (source.height, source.width)
    if mask.shape != shape:
        raise RowRejected(Reason.MASK_SIZE_MISMATCH, f"mask of {mask.shape} on an image of {shape}")
    return mask


def _choose_view(
    row: Mapping[str, Any],
    source: EncodedImage,
    region: np.ndarray | None,
    words: str,
    chance: Chance,
    options: RenderOptions,
) -> View:
    """Crop and flip; both are drawn in every case, so later draws are the same whatever the options."""
    height, width = source.height, source.width
    is_edit, is_noise = row["vision_task"] == "image_editing", row["edit_type"] == "denoising"
    if options.crop == "paper" or (options.crop == "official" and is_edit):
        view = whole_view(height, width, options.size)
        chance.skip(1)  # the square's place
        if options.flip_probability == 0:
            chance.skip(1)
            return view
        return _flip(view, _draw_flip(words, chance.generator, options))
    keeps = region is not None and region.any() and options.referent == "corrected"
    view = square_view(height, width, options.size, chance.generator, region if keeps else None)
    flipped = _draw_flip(words, chance.generator, options)
    if is_noise:
        view = pixel_view(height, width, options.size, chance.generator)
    return _flip(view, flipped)


def _flip(view: View, flipped: bool) -> View:
    return replace(view, flipped=True) if flipped else view


def _draw_flip(words: str, rng: np.random.Generator, options: RenderOptions) -> bool:
    """Whether to mirror; never where the words name a side, unless the style says so."""
    coin = rng.random() < options.flip_probability
    return coin and (options.sided_words == "official" or not names_a_side(words))


def _draw_colors(
    vision_task: str,
    subjects: Sequence[str],
    names: Sequence[str] | None,
    rng: np.random.Generator,
    options: RenderOptions,
) -> list[tuple[str, Rgb]]:
    """A colour of its own for each subject, as (name, RGB)."""
    table = list(color_table(vision_task, options.colors).items())
    if options.colors == "fixed":
        order = None if names is None else list(names)
        return [(subject, fixed_color(subject, order)) for subject in subjects]
    if len(subjects) > len(table):
        raise ConfigError(
            f"at most {len(table)} joints can be asked for at once, one colour each. Got {len(subjects)}: "
            "wording=simple, which means all joints in view, needs colors=fixed"
        )
    return [table[place] for place in rng.permutation(len(table))[: len(subjects)]]
