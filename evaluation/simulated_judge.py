"""A simulated judge: a program in a person's place, so that the alignment loop can be run and tested without people.

It is no model of taste. It takes up to two variants that come nearest to the target caption by a helper model's
similarity, of those that still look like their source; noise of its own makes two judges differ as two people would.
Every choice of it says so (`Choice.judge`), and choices of people and of programs never train together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.alignment_sets import MAX_PICKS, AlignmentSet, Item, Variant
from catalog.choices import read_choices, record
from catalog.digests import value_digest
from catalog.errors import BackendError, ConfigError, RowRejected
from catalog.images import decode_image, resize_image
from tasks.backends.calls import call_batch
from tasks.backends.protocols import PairSimilarity
from tasks.backends.registry import backend_id

_VERSION = 1

Progress = Callable[[int, int], None]
"""Called with (items judged, items in all)."""


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What decides a simulated judge's choices."""

    noise: float = 0.01
    """Standard deviation of what is added to a similarity: how far two judges differ."""
    least_likeness: float = 0.2
    """Cosine of source and variant below which the edit has destroyed the picture."""

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 10:
            raise ConfigError(f"noise must be from 0 to 10. Got {self.noise}")
        if not -1 <= self.least_likeness <= 1:
            raise ConfigError(f"least_likeness must be a cosine, from -1 to 1. Got {self.least_likeness}")


def judge_set(
    alignment: AlignmentSet, person: str, similarity: PairSimilarity, options: JudgeOptions, progress: Progress
) -> int:
    """Answer every item that ``person`` has not answered as this judge; returns how many those were.

    What this judge answered stays. An answer of another one under that name (other noise, other helper model) is
    superseded, as a person's later answer supersedes an earlier one.

    Raises:
        BackendError: the helper model has no answer for a variant.
        ConfigError: a person has answered under that name.
        RowRejected: a picture of the set is gone.
    """
    name = judge_name(similarity, options)
    answered = {one.item_id for one in read_choices(alignment, person) if one.judge == name}
    open_items = [item_id for item_id in alignment.items if item_id not in answered]
    for done, item_id in enumerate(open_items):
        progress(done, len(open_items))
        chosen = choose_variants(alignment, alignment.item(item_id), person, similarity, options)
        record(alignment, person, item_id, chosen, judge=name)
    progress(len(open_items), len(open_items))
    return len(open_items)


def judge_name(similarity: PairSimilarity, options: JudgeOptions) -> str:
    """The judge's name and revision, as its choices and the pairs made of them carry it."""
    model = backend_id("pair_similarity", similarity).partition("=")[2]
    return f"simulated@{_VERSION}+noise-{options.noise:g}+likeness-{options.least_likeness:g}+{model}"


def choose_variants(
    alignment: AlignmentSet, item: Item, person: str, similarity: PairSimilarity, options: JudgeOptions
) -> list[int]:
    """Numbers of up to two variants: the best by noisy similarity to the target caption, of those like the source.

    None where the item has no target caption, or the helper model cannot compare it with pictures.
    """
    variants = alignment.blind_order(person, item.item_id)
    answers = _ask(alignment, item, variants, similarity)
    scored = []
    for variant, answer in zip(variants, answers, strict=True):
        text, likeness = answer["target_text_similarity"], answer["image_similarity"]
        if text == text and likeness >= options.least_likeness:  # NaN: not measured
            scored.append((text + options.noise * _normal(alignment.name, person, item, variant), variant.number))
    return [number for _, number in sorted(scored, reverse=True)[:MAX_PICKS]]


def _ask(
    alignment: AlignmentSet, item: Item, variants: Sequence[Variant], similarity: PairSimilarity
) -> list[dict[str, float]]:
    pictures = [decode_image(alignment.read_image(variant.image)) for variant in variants]
    height, width = pictures[0].shape[:2]
    source = resize_image(decode_image(alignment.read_image(item.source_image)), width, height)
    count = len(pictures)
    captions = [[item.source_caption] * count, [item.target_caption] * count]
    answers = call_batch("pair_similarity", similarity, [source] * count, pictures, *captions)
    for answer in answers:
        if isinstance(answer, RowRejected):
            raise BackendError(f"no pair_similarity for a variant of item {item.item_id}: {answer}") from answer
    return answers


def _normal(alignment_set: str, person: str, item: Item, variant: Variant) -> float:
    """Standard normal noise that (set, person, item, variant) decide."""
    seed = int(value_digest([alignment_set, person, item.item_id, variant.number])[:16], 16)
    return float(np.random.Generator(np.random.PCG64(seed)).standard_normal())
