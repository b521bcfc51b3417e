"""How alike two sentences are, and how varied a set of them is."""

import re
from collections.abc import Sequence

NEAR_DUPLICATE = 0.7
"""ROUGE-L from which a sentence counts as one that is there already (Self-Instruct, Wang et al. 2023, section 2.2)."""

_WORD = re.compile(r"\{[a-z]+\}|[^\W_]+(?:['’-][^\W_]+)*")


def tokens(sentence: str) -> list[str]:
    """Words and {slots} in lower case, without punctuation."""
    return _WORD.findall(sentence.lower())


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """F-measure of the longest common subsequence of two token lists, in [0, 1] (Lin 2004, beta = 1)."""
    if not first or not second:
        return 0.0
    lengths = [0] * (len(second) + 1)  # of the best subsequence of what was read of ``first`` and each prefix
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return 2 * lengths[-1] / (len(first) + len(second))


def nearest(sentence: str, others: Sequence[str]) -> tuple[str, float]:
    """The one of ``others`` that is most like ``sentence``, and their ROUGE-L; ("", 0.0) where there is none."""
    words = tokens(sentence)
    alike = [(rouge_l(words, tokens(other)), other) for other in others]
    score, other = max(alike, default=(0.0, ""))
    return other, score


def distinct_ngrams(sentences: Sequence[str], n: int) -> float:
    """Different runs of ``n`` words over all runs, in [0, 1] (distinct-n, Li et al. 2016); 0 where there is none."""
    runs = [tuple(words[place : place + n]) for words in map(tokens, sentences) for place in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0
