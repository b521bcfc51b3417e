"""Agreement against the worked examples of the literature, and against plain definitions."""

from itertools import combinations, permutations

import numpy as np
import pytest
from alignment_cases import make_alignment_set

from catalog.agreement import jaccard, krippendorff_alpha, masi_distance, measure_agreement, nominal_distance
from catalog.choices import read_choices, record

# K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), a string per observer, "." where none was given:
# sections A (binary), B (nominal, two observers) and C (four observers, answers missing).
BINARY = ("0100000010", "1110010000")
NOMINAL = ("aabbdcccedda", "babbbcccedd" + "d")
MISSING = ("123321412...", "12332241" + "25.3", ".33323422" + "51.", "123324412" + "51.")
# The encyclopedia's example of three coders.
THREE = (".....34121133.3", "1.2133" + "43.......", "..2134" + "4.2113" + "3.4")


def units(*observers: str) -> list[list[str]]:
    return [[value for value in column if value != "."] for column in zip(*observers, strict=True)]


@pytest.mark.parametrize(("observers", "alpha"), [(BINARY, 0.095), (NOMINAL, 0.692), (MISSING, 0.743), (THREE, 0.691)])
def test_alpha_equals_the_worked_examples(observers, alpha):
    assert krippendorff_alpha(units(*observers), nominal_distance) == pytest.approx(alpha, abs=5e-4)


def naive_alpha(values: list[list], distance) -> float:
    """Over every ordered pair of answers, as the definition has it."""
    kept = [unit for unit in values if len(unit) > 1]
    pooled = [value for unit in kept for value in unit]
    total = len(pooled)
    observed = sum(distance(*two) / (len(unit) - 1) for unit in kept for two in permutations(unit, 2)) / total
    expected = sum(distance(*two) for two in permutations(pooled, 2)) / (total * (total - 1))
    return 1 - observed / expected


@pytest.mark.parametrize("distance", [nominal_distance, masi_distance])
def test_alpha_of_sets_equals_the_definition(distance):
    rng = np.random.default_rng(0)
    values = [
        [frozenset(rng.choice(5, rng.integers(0, 3), replace=False).tolist()) for _ in range(rng.integers(1, 5))]
        for _ in range(12)
    ]
    assert krippendorff_alpha(values, distance) == pytest.approx(naive_alpha(values, distance))


def test_alpha_of_perfect_agreement_is_one_and_of_one_value_unknown():
    assert krippendorff_alpha([["a", "a"], ["b", "b", "b"]], nominal_distance) == 1
    assert krippendorff_alpha([["a", "a"], ["a", "a"]], nominal_distance) is None
    assert krippendorff_alpha([["a"], []], nominal_distance) is None


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [  # R. Passonneau, LREC 2006: monotonicity 1, 2/3, 1/3, 0
        ({1, 2}, {1, 2}, 0.0),
        ({1}, {1, 2}, 1 - 1 / 2 * 2 / 3),
        ({1, 2}, {2, 3}, 1 - 1 / 3 * 1 / 3),
        ({1}, {2}, 1.0),
        (set(), {1}, 1.0),
        (set(), set(), 0.0),
    ],
)
def test_masi_distance_has_its_four_cases(one, other, distance):
    assert masi_distance(frozenset(one), frozenset(other)) == pytest.approx(distance)
    assert masi_distance(frozenset(other), frozenset(one)) == pytest.approx(distance)


def test_agreement_of_a_set_by_hand(tmp_path):
    alignment = make_alignment_set(tmp_path, num_items=4, num_variants=4)
    answers = {
        "Ana": [(0, 1), (2,), (), (3,)],
        "Bo": [(0, 1), (3,), ()],  # the same, another one, none either; the fourth not yet
        "Cy": [(1,)],
    }
    for person, chosen in answers.items():
        for item, variants in enumerate(chosen):
            record(alignment, person, f"item-{item}", variants)
    found = measure_agreement(alignment, read_choices(alignment))
    assert (found.people, found.num_items) == (("Ana", "Bo", "Cy"), 3)  # nobody else answered the fourth
    overlaps = {pair.people: (pair.num_items, pair.overlap) for pair in found.pairs}
    assert overlaps == {("Ana", "Bo"): (3, pytest.approx(2 / 3)), ("Ana", "Cy"): (1, 0.5), ("Bo", "Cy"): (1, 0.5)}
    assert found.overlap == pytest.approx((1 + 0 + 1 + 0.5 + 0.5) / 5)
    sets = [[{0, 1}, {0, 1}, {1}], [{2}, {3}], [set(), set()]]
    variants = [[number in one for one in item] for item in sets for number in range(4)]
    assert found.alpha_variants == pytest.approx(naive_alpha(variants, nominal_distance))
    frozen = [[frozenset(one) for one in item] for item in sets]
    assert found.alpha_sets == pytest.approx(naive_alpha(frozen, masi_distance))


def test_one_person_alone_agrees_with_nobody(tmp_path):
    alignment = make_alignment_set(tmp_path, num_items=1)
    assert measure_agreement(alignment, []).people == ()
    record(alignment, "Ana", "item-0", [3])
    found = measure_agreement(alignment, read_choices(alignment))
    assert (found.num_items, found.alpha_variants, found.overlap, found.pairs) == (0, None, None, ())


def test_jaccard_of_nothing_is_agreement():
    assert jaccard(frozenset(), frozenset()) == 1
    assert [jaccard(frozenset(one), frozenset(two)) for one, two in combinations(({1}, {1, 2}, {3}), 2)] == [0.5, 0, 0]
