"""Numbers and words of annotations: whatever JSON can hold ends as a value or as a reason."""

import math

import pytest

from catalog.errors import RowRejected
from catalog.reasons import Reason
from tasks.readers.phrases import referring_phrases
from tasks.records_check import finite_numbers, keypoints, plain_words

HUGE = 10**400


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ([], []),
        ([HUGE, 1], None),
        ([-HUGE], None),
        ([math.nan], None),
        ([math.inf], None),
        ([True], None),
        (["1"], None),
        ("12", None),
        (None, None),
    ],
)
def test_finite_numbers(values: object, expected: list[float] | None) -> None:
    assert finite_numbers(values) == expected


def test_a_joint_beyond_all_numbers_is_not_finite() -> None:
    with pytest.raises(RowRejected) as caught:
        keypoints({"keypoints": [["nose", HUGE, 1, 2]]}, 10, 10)
    assert caught.value.reason is Reason.NOT_FINITE


def test_a_box_beyond_all_numbers_rules_out_places_and_stops_nothing() -> None:
    boxes = [[0, 0, 5, 5], [HUGE, 0, 5, 5]]
    assert referring_phrases(["dog", "dog"], boxes, [False, False]) == [None, None]
    assert referring_phrases(["dog", "dog"], [[0, 0, 5, 5], [50, 0, 5, 5]], [False] * 2) == ["left dog", "right dog"]


@pytest.mark.parametrize(
    "text", ["a <b>dog</b>", "dog </p", "see https://example.com", "dog\u200b", "\u202edog", "<!-- dog"]
)
def test_markup_addresses_and_what_cannot_be_seen_are_no_words(text: str) -> None:
    with pytest.raises(RowRejected) as caught:
        plain_words({"phrase": text}, "phrase")
    assert caught.value.reason is Reason.BAD_ENCODING


@pytest.mark.parametrize("text", ["dog < 3 years", "the dog's \u201cball\u201d", "caf\u00e9 & bar", "\u732b"])
def test_words_are_words(text: str) -> None:
    assert plain_words({"phrase": f"  {text} "}, "phrase") == text
    assert plain_words({"phrase": "  "}, "phrase") is None
