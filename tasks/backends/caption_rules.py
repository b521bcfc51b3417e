"""Embedded caption editor: a caption after an edit, by what the instruction's words say goes and comes."""

import re
from collections.abc import Iterator, Sequence

from tasks.backends.protocols import library_revision
from tasks.edit_rules import ADDITION, REMOVAL, rule_edit
from tasks.nouns import article_for, is_plural, is_uncountable
from tasks.phrases import one_line

_ARTICLE = r"(?:a|an|the|some|one|two|three|four|five|several|many) "
_JOINING = "and|or|of|with|on|in|by|to|from|near|a|an|the"
_NOTHING_LEFT = "a photo"


class RuleCaptionEditor:
    """What `tasks.edit_rules` finds is struck from the caption, put in its place, or joined to it.

    It knows words and no pictures: a thing that the caption calls otherwise stays in it. An instruction that it cannot
    read is added to the caption as it is.
    """

    name = "rules"
    device = "cpu"

    def __init__(self) -> None:
        self.revision = library_revision(2)

    def edit_captions(self, captions: Sequence[str], instructions: Sequence[str]) -> list[str]:
        """See `protocols.CaptionEditor`."""
        return [_edit(*pair) for pair in zip(captions, instructions, strict=True)]


def _edit(caption: str, instruction: str) -> str:
    caption, ruled = one_line(caption), rule_edit(instruction)
    if ruled.edit_class is None:
        return f"{caption}, {one_line(instruction)}"
    if ruled.edit_class == ADDITION:
        return f"{caption} and {_with_article(ruled.added)}"
    new = "" if ruled.edit_class == REMOVAL else _with_article(ruled.added)
    for mention in _mentions(ruled.removed):
        edited, count = mention.subn(new, caption)
        if count:
            return _mended(edited) or _NOTHING_LEFT
    return f"{caption} without the {ruled.removed}" if not new else f"{caption}, with {new}"


def _mentions(thing: str) -> Iterator[re.Pattern[str]]:
    """A caption's words for a thing, the likeliest first: as the instruction has it; the noun with an article and
    whatever words are between them; the noun with those of its words that are there.
    """
    *before, noun = thing.split() or [thing]
    end = rf"{re.escape(noun)}(?:e?s)?\b"
    exact = "".join(f"{re.escape(word)} " for word in before)
    between = rf"(?:(?!(?:{_JOINING})\b)[\w-]+ ){{0,3}}"
    some = "".join(rf"(?:{re.escape(word)} )?" for word in before)
    for words in (rf"(?:{_ARTICLE})?{exact}", f"{_ARTICLE}{between}", some):
        yield re.compile(rf"\b{words}{end}", re.IGNORECASE)


def _with_article(thing: str) -> str:
    noun = thing.rpartition(" ")[2].lower()
    if is_plural(noun) or is_uncountable(noun):
        return thing
    return f"{article_for(thing.partition(' ')[0])} {thing}"


def _mended(text: str) -> str:
    """A caption after words were struck out: no double space, no joining word that joins nothing."""
    words = re.sub(r"\s+", " ", text).strip(" ,")
    words = re.sub(r"\b(of|with),? and\b", r"\1", words)
    words = re.sub(r"\band,? (?=(?:and|of|with)\b)", "", words)
    words = re.sub(r"(?:,? (?:and|of|with|on|in|by))+$", "", words)
    words = re.sub(r"^(?:(?:and|of|with|on|in|by) )+", "", words)
    words = re.sub(r"\s+,", ",", re.sub(r"\s+", " ", words)).strip(" ,")
    return words.replace(", and ", " and ") if words.count(",") == 1 else words
