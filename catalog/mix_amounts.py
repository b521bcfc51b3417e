"""How many samples each source of a mix gives: weights, counts, shares, quotas and epochs as whole numbers."""

from collections.abc import Sequence
from fractions import Fraction

from catalog.errors import MixError
from catalog.mix_plans import MAX_WEIGHT, MixPlan, MixSource


def count_draws(plan: MixPlan, num_pairs: Sequence[int]) -> list[int]:
    """Training samples of each source, all epochs together.

    A weight draws that many times the source's pairs, its fraction of them rounded half to even; a count draws so
    many, a share that part of ``num_samples``. A quota then scales the sources of its task to so many in all, in the
    proportion that they have (largest remainder, so that the sum is exact). Epochs multiply everything before it is
    rounded: a weight of 0.3 draws 90 % of the pairs in three epochs, never the same 30 % thrice.

    Args:
        plan: the mix file.
        num_pairs: training pairs of each source.

    Raises:
        MixError: more than `mix_plans.MAX_WEIGHT` draws of each pair would be needed, or there is no pair to draw from.
    """
    wanted = [_wanted(plan, source, pairs) for source, pairs in zip(plan.sources, num_pairs, strict=True)]
    draws = [_round(value, pairs) for value, pairs in zip(wanted, num_pairs, strict=True)]
    for vision_task, count in plan.quotas:
        places = [place for place, source in enumerate(plan.sources) if source.vision_task == vision_task]
        if not sum(wanted[place] for place in places):
            raise MixError(
                f"mix {plan.name!r} has a quota of {count} samples of {vision_task} and nothing to draw them from: "
                "build its data, or take the quota out"
            )
        parts = apportion(count * plan.epochs, [wanted[place] for place in places])
        for place, part in zip(places, parts, strict=True):
            draws[place] = part
    for source, pairs, drawn in zip(plan.sources, num_pairs, draws, strict=True):
        if drawn > MAX_WEIGHT * plan.epochs * pairs:
            raise MixError(
                f"source {source.name} must not draw a pair more than {MAX_WEIGHT:g} times an epoch, but {drawn} "
                f"samples of {pairs} pairs would: lower its count, or build more data"
            )
    return draws


def apportion(total: int, parts: Sequence[Fraction]) -> list[int]:
    """Whole numbers that sum to ``total``, in the proportion of ``parts`` (largest remainder; ties: the first)."""
    exact = [total * part / sum(parts) for part in parts]
    whole = [int(value) for value in exact]
    order = sorted(range(len(parts)), key=lambda place: (whole[place] - exact[place], place))
    for place in order[: total - sum(whole)]:
        whole[place] += 1
    return whole


def _round(value: Fraction, pairs: int) -> int:
    """Whole passes over the pairs, and the rest of them rounded."""
    whole = value // pairs * pairs if pairs else 0
    return whole + round(value - whole)


def _wanted(plan: MixPlan, source: MixSource, pairs: int) -> Fraction:
    """Draws before any quota; none where there is no pair."""
    if pairs == 0:
        return Fraction(0)
    if source.count is not None:
        return Fraction(source.count * plan.epochs)
    if source.share is not None:
        assert plan.num_samples is not None  # `MixPlan.parse` has seen to it
        return Fraction(str(source.share)) * plan.num_samples * plan.epochs
    return Fraction(str(source.weight)) * pairs * plan.epochs
