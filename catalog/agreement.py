"""Agreement: how far people chose alike, beyond chance.

Krippendorff's alpha (K. Krippendorff, Content Analysis, 2nd edition 2004, chapter 11) takes any number of people and
missing answers: 1 - D_o / D_e, observed over expected disagreement. 1: all agree; 0: as if chosen by chance; below:
they avoid each other. Two questions are asked of it:

``alpha_variants``  the unit is a variant, the value whether it was chosen; nominal distance. Every variant counts.
``alpha_sets``      the unit is an item, the value the set of chosen variants; MASI distance (R. Passonneau, LREC 2006),
                    which counts half-alike sets as half alike.

``overlap`` is plain: |A and B| / |A or B| of two people's sets of an item (Jaccard), 1 where both chose none, averaged
over items and pairs of people; it knows nothing of chance.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from catalog.alignment_sets import AlignmentSet
from catalog.choices import Choice

Distance = Callable[[Any, Any], float]
"""Of two values, 0 for equal ones up to 1."""


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """Two people's."""

    people: tuple[str, str]
    num_items: int
    """That both answered."""
    overlap: float
    alpha_variants: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of all who answered."""

    people: tuple[str, ...]
    num_items: int
    """With answers of at least two."""
    alpha_variants: float | None
    """None where fewer than two people answered one item, or nobody or everybody chose everything."""
    alpha_sets: float | None
    overlap: float | None
    pairs: tuple[PairAgreement, ...]
    """Of any two people with an item in common."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def measure_agreement(alignment: AlignmentSet, choices: Iterable[Choice]) -> Agreement:
    """The agreement among some answers, at most one per person and item (`choices.read_choices`)."""
    by_item: dict[str, dict[str, frozenset[int]]] = {}
    for one in choices:
        by_item.setdefault(one.item_id, {})[one.person] = frozenset(one.variants)
    people = tuple(sorted({person for answers in by_item.values() for person in answers}))
    shared = {item_id: answers for item_id, answers in by_item.items() if len(answers) > 1}
    pairs = [found for two in combinations(people, 2) if (found := _pair(alignment, shared, two)) is not None]
    weights = sum(pair.num_items for pair in pairs)
    return Agreement(
        people=people,
        num_items=len(shared),
        alpha_variants=krippendorff_alpha(_variant_units(alignment, shared), nominal_distance),
        alpha_sets=krippendorff_alpha([list(answers.values()) for answers in shared.values()], masi_distance),
        overlap=sum(pair.overlap * pair.num_items for pair in pairs) / weights if weights else None,
        pairs=tuple(pairs),
    )


def krippendorff_alpha(units: Iterable[Sequence[Hashable]], distance: Distance) -> float | None:
    """Alpha of the values that each unit was given, one per person who judged it, in any order.

    Units with fewer than two values say nothing and are left out.

    Args:
        units: values by unit.
        distance: of two values; symmetric, 0 for equal ones.

    Returns:
        At most 1; None where nothing can be compared, or all values are alike, which chance would give as well.
    """
    counted = [Counter(values) for values in units if len(values) > 1]
    pooled: Counter[Hashable] = Counter()
    for values in counted:
        pooled.update(values)
    total = pooled.total()
    expected = _disagreement(pooled, distance) / (total - 1) if total else 0.0
    if not expected:
        return None
    observed = sum(_disagreement(values, distance) / (values.total() - 1) for values in counted)
    return 1 - observed / expected


def nominal_distance(one: Hashable, other: Hashable) -> float:
    """0 for equal values, else 1."""
    return float(one != other)


def masi_distance(one: frozenset[Any], other: frozenset[Any]) -> float:
    """1 - Jaccard x monotonicity: 1 for equal sets, 2/3 where one holds the other, 1/3 where they only overlap."""
    if one == other:
        return 0.0
    if not one & other:
        return 1.0
    monotonicity = 2 / 3 if one <= other or other <= one else 1 / 3
    return 1 - jaccard(one, other) * monotonicity


def jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    """Shared members over all members, 1 for two empty sets."""
    return len(one & other) / len(one | other) if one | other else 1.0


def _disagreement(values: Counter[Hashable], distance: Distance) -> float:
    """Sum of distances over ordered pairs of some values."""
    return 2 * sum(values[one] * values[other] * distance(one, other) for one, other in combinations(values, 2))


def _variant_units(
    alignment: AlignmentSet, by_item: Mapping[str, Mapping[str, frozenset[int]]]
) -> Iterable[Sequence[bool]]:
    for item_id, answers in by_item.items():
        for variant in alignment.item(item_id).variants:
            yield [variant.number in chosen for chosen in answers.values()]


def _pair(
    alignment: AlignmentSet, by_item: Mapping[str, Mapping[str, frozenset[int]]], people: tuple[str, str]
) -> PairAgreement | None:
    both = {
        item_id: {person: answers[person] for person in people}
        for item_id, answers in by_item.items()
        if all(person in answers for person in people)
    }
    if not both:
        return None
    overlaps = [jaccard(*answers.values()) for answers in both.values()]
    return PairAgreement(
        people=people,
        num_items=len(both),
        overlap=sum(overlaps) / len(overlaps),
        alpha_variants=krippendorff_alpha(_variant_units(alignment, both), nominal_distance),
    )
