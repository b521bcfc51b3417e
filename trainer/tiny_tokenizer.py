"""A small CLIP tokenizer for the tiny checkpoint: byte-pair merges learned from our own instructions.

It is a real ``transformers.CLIPTokenizer``: every byte has a token, so any text can be encoded, and the words
of the instruction templates take one token each, so that instructions fit into CLIP's 77 tokens.
"""

import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from catalog.render_styles import TEMPLATES

NUM_MERGES = 1500
CONTEXT_LENGTH = 77

_END = "</w>"
_START_TOKEN = "<|startoftext|>"
_END_TOKEN = "<|endoftext|>"
_WORDS = Path(__file__).parent / "tiny_words.txt"


def make_tokenizer() -> Any:
    """The tokenizer, a ``transformers.CLIPTokenizer`` of at most 2 * 256 + NUM_MERGES + 2 tokens."""
    from transformers import CLIPTokenizer

    merges = learn_merges(_corpus(), NUM_MERGES)
    alphabet = list(byte_letters().values())
    tokens = [*alphabet, *(letter + _END for letter in alphabet), *(a + b for a, b in merges)]
    tokens += [_START_TOKEN, _END_TOKEN]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT_LENGTH)


def learn_merges(words: Counter[str], num_merges: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: merge the commonest neighbours, again and again (ties: the smaller pair).

    Args:
        words: how often each word occurs.
        num_merges: at most so many; fewer where every word has become one token.
    """
    letters = byte_letters()
    split = {}
    for word in sorted(words):
        symbols = [letters[byte] for byte in word.encode()]
        split[word] = [*symbols[:-1], symbols[-1] + _END]
    neighbours = _Neighbours()
    for word, symbols in split.items():
        neighbours.add(word, symbols, words[word])
    merges: list[tuple[str, str]] = []
    while len(merges) < num_merges and (most := max(neighbours.counts.values(), default=0)):
        best = min(pair for pair, count in neighbours.counts.items() if count == most)
        merges.append(best)
        for word in neighbours.holders.pop(best):
            neighbours.add(word, split[word], -words[word])
            _merge(split[word], best)
            neighbours.add(word, split[word], words[word])
    return merges


class _Neighbours:
    """How often symbols stand beside each other, and in which words: after a merge these alone are counted anew."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.holders: dict[tuple[str, str], set[str]] = {}
        """Words that hold a pair now, or did before another merge."""

    def add(self, word: str, symbols: list[str], times: int) -> None:
        """Count the neighbours in a word; a negative number takes them away."""
        for pair in pairwise(symbols):
            self.counts[pair] += times
            if self.counts[pair] == 0:
                del self.counts[pair]
            else:
                self.holders.setdefault(pair, set()).add(word)


def _merge(symbols: list[str], pair: tuple[str, str]) -> None:
    """Join each occurrence of ``pair`` in ``symbols``, from the left, in place."""
    place = 0
    while place < len(symbols) - 1:
        if (symbols[place], symbols[place + 1]) == pair:
            symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
        place += 1


@cache
def byte_letters() -> dict[int, str]:
    """A printable letter for each byte, as GPT-2 and CLIP write them: printable bytes stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + number) for number, byte in enumerate(others)}


def _corpus() -> Counter[str]:
    """Words of the built-in list and of the instruction templates."""
    words: Counter[str] = Counter()
    for file in [_WORDS, *sorted(TEMPLATES.rglob("*.txt"))]:
        words.update(re.findall(r"[a-z]+", file.read_text(encoding="utf-8").lower()))
    return words
