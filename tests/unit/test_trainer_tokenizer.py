"""The tiny tokenizer: byte pairs against the tokenizers library, and instructions that fit."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.render_styles import TEMPLATES
from trainer.tiny_tokenizer import byte_letters, learn_merges, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_merges_equal_a_hand_worked_example() -> None:
    words = Counter({"aab": 3, "ab": 2, "b": 5})
    assert learn_merges(words, 10) == [("a", "b</w>"), ("a", "ab</w>")]
    assert learn_merges(words, 1) == [("a", "b</w>")]


@given(st.dictionaries(st.text("abc", min_size=1, max_size=8), st.integers(1, 3), max_size=6), st.integers(0, 12))
def test_merges_equal_those_of_counting_every_word_anew(words: dict[str, int], num_merges: int) -> None:
    split = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges = []
    for _ in range(num_merges):
        counts = Counter(pair for word, parts in split.items() for pair in list(pairwise(parts)) * words[word])
        if not counts:
            break
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        for parts in split.values():
            place = 0
            while place < len(parts) - 1:
                if (parts[place], parts[place + 1]) == merges[-1]:
                    parts[place : place + 2] = ["".join(merges[-1])]
                place += 1
    assert learn_merges(Counter(words), num_merges) == merges


def test_bytes_have_the_letters_of_clip() -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert byte_letters() == bytes_to_unicode()


@pytest.mark.parametrize("text", ["remove the red bird", "naïve café 日本語 😀", "a" * 60, "x_y-z 12345 'quoted'"])
def test_any_text_is_encoded_without_loss(tokenizer, text: str) -> None:
    tokens = tokenizer.tokenize(text)
    assert tokenizer.unk_token not in tokens
    letters = "".join(tokens).replace("</w>", "")
    back = bytes({letter: byte for byte, letter in byte_letters().items()}[letter] for letter in letters)
    assert back.decode() == text.lower().replace(" ", "")


def test_known_words_take_one_token(tokenizer) -> None:
    assert tokenizer.tokenize("Remove the red bird") == ["remove</w>", "the</w>", "red</w>", "bird</w>"]


def test_instructions_fit_into_77_tokens(tokenizer) -> None:
    assert tokenizer.model_max_length == 77
    for path in TEMPLATES.rglob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert len(tokenizer(line).input_ids) < 60, line


def test_special_tokens_stand_at_the_ends(tokenizer) -> None:
    ids = tokenizer("a bird", padding="max_length", max_length=77).input_ids
    assert (ids[0], ids[3], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.eos_token_id)
    assert max(ids) < len(tokenizer)
