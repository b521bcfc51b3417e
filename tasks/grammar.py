"""Instructions from referring phrases (paper section 3.2).

"blue bird on top of tree" is removed by "remove the blue bird on top of the tree" and, with source and target
swapped, put back by "add a blue bird on top of the tree". Both come from one phrase, so each can be had from the
other. Words keep their order; articles, number and the place of "left" and "right" are put in order.
"""

from collections.abc import Sequence

from catalog.digests import value_digest
from catalog.errors import RowRejected
from catalog.reasons import Reason
from tasks.instruction_check import check_instruction
from tasks.nouns import (
    NUMBER_WORDS,
    ORDINALS,
    PARTS,
    article_for,
    is_always_plural,
    is_plural,
    is_rank,
    is_uncountable,
    is_unique_part,
    pluralize,
)
from tasks.phrase_words import COLOURS
from tasks.phrases import Phrase, clean, one_line, parse, place_in_words, without_place

REPLACEMENT_FORMS = (
    "change {source} to {target}",
    "replace {source} with {target}",
    "turn {source} into {target}",
    "swap {source} for {target}",
    "please change {source} to {target}",
    "please replace {source} with {target}",
)

_POSSESSIVES = frozenset("his her its their my your our this that these those".split())
_NUMBERS = frozenset((*NUMBER_WORDS[2:], "several", "many", "few"))
_PRONOUNS = frozenset("it him them me us you i he she they everyone everything someone something her".split())
_EMPTY = frozenset("the a an another other and of in on at with is s".split())
_RELATIONAL = frozenset("top side edge end back front bottom corner middle rest left right".split())
_UNIQUE = frozenset("sun moon sky ground background horizon foreground".split())
_PLACES = (
    *("top left", "top right", "bottom left", "bottom right", "upper left", "upper right", "lower left", "lower right"),
    *("far left", "far right", "left", "right", "middle", "center", "centre", "leftmost", "rightmost", "top", "bottom"),
)
_MOST = {"leftmost": "far left", "rightmost": "far right"}


def removal_instruction(phrase: str, num_instances: int = 1) -> str:
    """``phrase`` as something to remove: "remove the blue bird on top of the tree".

    Args:
        phrase: refers to the region within its image, with or without an article.
        num_instances: objects that it refers to; more than one makes a singular noun plural.

    Raises:
        RowRejected: EMPTY_PHRASE where the phrase names nothing, BAD_INSTRUCTION where the result is no instruction.
    """
    return _checked(f"remove {_definite(_parsed(phrase), num_instances)}")


def addition_instruction(phrase: str, num_instances: int = 1) -> str:
    """``phrase`` as something to add: "add a blue bird on top of the tree". See `removal_instruction`."""
    return _checked(f"add {_indefinite(_parsed(phrase), num_instances)}")


def replacement_instruction(source: str, target: str, num_instances: int = 1) -> str:
    """What to put in whose place: "change the running dog to a cute cat with black and white stripes".

    One of `REPLACEMENT_FORMS`, the first of which is the paper's, chosen by the arguments: the same ones give the
    same words. Of the target only what it is like is said, because a phrase that refers to it in its own photo
    ("left cat on the sofa") is not true here. See `removal_instruction`.

    Args:
        source: refers to what is replaced, within its image.
        target: names what takes its place.
        num_instances: objects that ``source`` refers to.

    Raises:
        RowRejected: EMPTY_PHRASE where a phrase names nothing, BAD_INSTRUCTION where the result is no instruction.
    """
    replaced = _definite(_parsed(source), num_instances)
    new = without_place(_parsed(target))
    if new.head[-1] in ("one", "ones") or new.head[-1] in _PRONOUNS:
        raise RowRejected(Reason.EMPTY_PHRASE, f"{one_line(target)!r} names no thing to put in")
    words = {"source": replaced, "target": _indefinite(new, 1)}
    # "replace the cup with a handle with a jug" reads badly: a form whose joining word the source has comes last.
    said = set(replaced.split())
    forms = [form for form in REPLACEMENT_FORMS if form.split()[-2] not in said] or REPLACEMENT_FORMS
    return _checked(forms[int(value_digest([source, target, num_instances])[:8], 16) % len(forms)].format(**words))


def _checked(instruction: str) -> str:
    check_instruction(instruction)
    return instruction


def _parsed(phrase: str) -> Phrase:
    text = clean(phrase)
    if not any(word.strip("'\"") not in _EMPTY and any(map(str.isalnum, word)) for word in text.split()):
        raise RowRejected(Reason.EMPTY_PHRASE, "the phrase names nothing")
    if set(text.split()) <= _PRONOUNS:
        raise RowRejected(Reason.EMPTY_PHRASE, f"{text!r:.40} names nothing: it stands for a name")
    return parse(text)


def _definite(phrase: Phrase, num_instances: int) -> str:
    """The phrase as something that is there: "the blue bird on top of the tree"."""
    head = _agreed(phrase, num_instances)
    determiner = phrase.determiner
    if determiner in ("every", "each") or determiner.split()[:1] in (["all"], ["both"]) or determiner in _POSSESSIVES:
        article = determiner
    elif determiner in _NUMBERS:
        article = f"the {determiner}"
    else:
        article = "" if len(head) == 1 and head[0] in _PRONOUNS else "the"
    if head[:1] == ["other"] and not determiner and is_plural(head[-1]):
        article = "the"
    return _line(article, head, phrase.tail)


def _indefinite(phrase: Phrase, num_instances: int) -> str:
    """The phrase as something new: "a blue bird on top of the tree"."""
    head, place = _place_last(_agreed(phrase, num_instances), phrase.tail)
    tail = " ".join(filter(None, [phrase.tail, place]))
    determiner = phrase.determiner
    if determiner in _POSSESSIVES or determiner in _NUMBERS:
        return _line("a few" if determiner == "few" else determiner, head, tail)
    if head[0] == "other" and len(head) > 1:
        return _line("other" if is_plural(head[-1]) else "another", head[1:], tail)
    parts = _conjuncts(head)
    if len(parts) > 1:
        named = [_line(_new_article(part, "", 1, part[-1]), part, "") for part in parts]
        return _line("", [" and ".join(named)], tail)
    return _line(_new_article(head, tail, num_instances, phrase.head[-1]), head, tail)


def _new_article(head: list[str], tail: str, num_instances: int, noun: str) -> str:
    """What goes before something new; ``noun`` is the head's last word as the phrase had it."""
    first, last = head[0], head[-1]
    if len(head) == 1 and (last in ("one", "ones") or last in _PRONOUNS):
        return ""
    if is_rank(first) or first.endswith(("'s", "s'")):
        return "the"
    if first in ORDINALS:
        return "the" if "from the" in tail or len(head) == 1 else "a"
    if (last in _RELATIONAL and tail.startswith("of ")) or (len(head) == 1 and last in _UNIQUE):
        return "the"
    if num_instances < 2 and is_unique_part(head, tail):
        return "the"
    if is_uncountable(last):
        return "some"
    if is_plural(last) or (num_instances > 1 and pluralize(last) == last):
        garment = is_always_plural(noun) and not tail.startswith("of ")  # jeans, but not glasses of water
        countable = num_instances < len(NUMBER_WORDS) and not garment and not first[0].isdigit()
        return NUMBER_WORDS[num_instances] if num_instances > 1 and countable else ""
    return article_for(first)


def _conjuncts(head: Sequence[str]) -> list[list[str]]:
    """The things in a head: "man and woman" is two, "black and white cat" is one."""
    words = list(head)
    if "and" in words[1:-1]:
        middle = words.index("and", 1)
        if words[middle - 1] not in COLOURS:
            return [words[:middle], *_conjuncts(words[middle + 1 :])]
    return [words]


def _agreed(phrase: Phrase, num_instances: int) -> list[str]:
    """The head, its noun plural where the phrase refers to several things."""
    head = list(phrase.head)
    single = num_instances < 2 or phrase.determiner in ("every", "each") or len(_conjuncts(head)) > 1
    if single or head[-1] in _PRONOUNS or head[-1] in ORDINALS or head[-1] in _RELATIONAL:
        return head
    return [*head[:-1], pluralize(head[-1], num_instances)]


def _place_last(head: list[str], tail: str) -> tuple[list[str], str]:
    """Give "left zebra" as "zebra" and "on the left": what is added cannot be told apart by where it is."""
    for place in _PLACES:
        length = place.count(" ") + 1
        rest = head[length:]
        if " ".join(head[:length]) != place or not rest:
            continue
        part = place not in _MOST and not PARTS.isdisjoint((rest[-1], rest[-1].removesuffix("s"), rest[0]))
        if part or is_unique_part(rest, tail) or "from the" in tail:
            return head, ""
        return rest, place_in_words(_MOST.get(place, place))
    return head, ""


def _line(article: str, head: list[str], tail: str) -> str:
    return " ".join(filter(None, [article, *head, tail]))
