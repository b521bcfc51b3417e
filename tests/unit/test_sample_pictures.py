"""Pictures to judge samples by: every word of an instruction is on them, whatever its length."""

from itertools import pairwise

import numpy as np
import pytest
from evaluation_cases import make_case
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catalog.images import decode_image
from catalog.text_lines import wrap_text
from evaluation.pictures import prediction_sheet
from trainer.pictures import _caption

LONG = "put a small red bird on the left arm of the grey chair that stands beside the window, " * 4


@given(st.text(), st.integers(1, 40))
def test_lines_hold_the_whole_text_and_are_no_wider_than_allowed(text: str, width: int) -> None:
    lines = wrap_text(text, width, len)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert lines and max(map(len, lines)) <= width


@given(st.lists(st.text("abcdefg", min_size=1, max_size=9)), st.integers(9, 40))
def test_words_stay_whole_and_no_line_has_room_for_the_next_word(words: list[str], width: int) -> None:
    lines = wrap_text("  ".join(words), width, len)
    assert " ".join(lines).split() == words
    assert all(len(f"{one} {two.split()[0]}") > width for one, two in pairwise(lines))


def ink(picture: np.ndarray) -> np.ndarray:
    """Rows of a picture with something dark on them."""
    return (picture.max(-1) < 128).any(1)


@pytest.mark.parametrize("width", [96, 192, 768])
def test_every_line_of_a_caption_in_training_is_drawn(width: int) -> None:
    one, many = _caption("remove the bird", 768), _caption(LONG, width)
    num_lines = many.shape[0] // one.shape[0]
    assert many.shape == (num_lines * one.shape[0], width, 3) and num_lines >= 2
    assert all(ink(line).any() for line in np.split(many, num_lines))
    assert (many[-one.shape[0] :] != _caption(LONG[:-3] + "x", width)[-one.shape[0] :]).any()  # the last word shows
    assert (_caption(LONG, width) == many).all()


def test_a_sheet_of_an_evaluation_shows_whole_instructions_above_whole_pictures() -> None:
    def sheet(*instructions: str) -> np.ndarray:
        cases = [make_case(f"pair {number}", instruction=text) for number, text in enumerate(instructions)]
        return decode_image(prediction_sheet([("image_editing/val", case, case.sample.source) for case in cases]))

    short, long = sheet("remove the bird", "x"), sheet("remove the bird", LONG)
    assert long.shape[1] == short.shape[1] and long.shape[0] > short.shape[0] + 19
    middle = long.shape[1] // 2
    added = long.shape[0] - short.shape[0]
    assert (long[added + 23 :] == short[23:]).all()  # titles and pictures are those of a short text, further down
    assert ink(long[:added, middle:]).any() and not ink(long[25:added, :middle]).any()
    assert (sheet("remove the bird", LONG.rstrip()[:-3] + "x") != long).any()
    assert (sheet("remove the bird", LONG) == long).all()
    assert len(sheet("x", "x", LONG)) == len(short) + len(long)
    assert Image.fromarray(sheet()).size == (short.shape[1], short.shape[0])
