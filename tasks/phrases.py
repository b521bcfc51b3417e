"""Referring phrases taken apart: "blue bird on top of tree" is the words of its head and a tail of relations.

There is no part-of-speech tagger behind it, only short lists of the words that such phrases are joined by
(PhraseCut's and RefCOCO's); a word that no list knows stays what and where it is.
"""

import re
import unicodedata
from dataclasses import dataclass

from tasks.adjectives import order_adjectives
from tasks.nouns import (
    CONTAINERS,
    PICTURES,
    article_for,
    is_always_plural,
    is_plural,
    is_rank,
    is_uncountable,
)
from tasks.phrase_words import (
    BARE,
    CLOTHES,
    COLOURS,
    DETERMINERS,
    FINITE,
    JOINED,
    MADE,
    NO_THING,
    OWNERS,
    PLAIN,
    PLAIN_COLOURS,
    POSITIONS,
    RELATIVE,
    RESTING,
    SHADES,
    SIZES,
    SPATIAL,
    TIED,
    UNIQUE_PLACES,
    VERBS,
    WHERE,
    WITH,
)

_OPENING = re.compile(
    r"^(?:(?:an?|the|this|one) )?(?:(?:black and white|blurry|close-?up|old|small) )?"
    r"(?:photo(?:graph)?|picture|image|close-?up|close up|view|shot)s? of |^there(?:'s| is| are) ",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Phrase:
    """A phrase in its parts; ``tail`` is final text with its articles, or empty."""

    head: tuple[str, ...]
    """Modifiers and noun, without a leading article: ("blue", "bird")."""
    determiner: str
    """What came before the head: "", "the", "his", "two", ..."""
    tail: str


def clean(text: str) -> str:
    """One line of plain words: no control characters, outer quotes or final punctuation, underscores as spaces."""
    text = unicodedata.normalize("NFC", text).translate(str.maketrans("“”‘’_", "\"\"'' "))
    text = one_line(text)
    while (bare := _unquoted(text.strip(" .,;:!?`*-"))) != text:
        text = bare
    text = re.sub(r"\bw/\s*", "with ", re.sub(r"\b(left|right|top|bottom) most\b", r"\1most", _lowered(text)))
    return _without_commas(text)


def _without_commas(text: str) -> str:
    """A list of things joined by "and", and a place or posture after a comma without it: "man, women", "guy, left"."""
    parts = [part.split() for part in re.split(r"\s*[,;]\s*", text) if part.strip()]
    if len(parts) < 2:
        return text
    if all(map(_says_where, parts[1:])):
        return " ".join(word for part in parts for word in part)
    *lone, last = parts
    things = [*lone, *([last[: last.index("and")], last[last.index("and") + 1 :]] if "and" in last else [last])]
    bare = [part[1:] if part[:1] and part[0] in ("a", "an", "the") else part for part in things]
    if all(len(part) == 1 and part[0] not in NO_THING and not part[0].endswith("ing") for part in bare):
        return " and ".join(part[0] for part in bare)
    return text


def _says_where(part: list[str]) -> bool:
    """Whether it is a place ("far right", "on the left"), what somebody does ("standing") or a colour."""
    return set(part) <= COLOURS or set(part) <= POSITIONS | WHERE or part[0] in RESTING or part[0] in SPATIAL


def one_line(text: str) -> str:
    """``text`` without control characters, every run of white space one space."""
    return " ".join("".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text).split())


def _unquoted(text: str) -> str:
    for mark in "\"'":
        if len(text) > 1 and text[0] == text[-1] == mark and mark not in text[1:-1]:
            return text[1:-1]
        if text.count(mark) == 1 and mark == '"':
            return text.replace(mark, "")
    return text


def _lowered(text: str) -> str:
    """Without the capitals of a sentence or title; "TV", "iPhone" and a name further on keep theirs."""
    words = text.split(" ")
    spelled = [word for word in words if any(letter.isalpha() for letter in word)]
    if len(spelled) > 1 and all(map(str.isupper, spelled)):
        return text.lower()
    if len(spelled) > 1 and all(word[0].isupper() for word in spelled):
        return " ".join(word if word.isupper() and len(word) < 4 else word.lower() for word in words)
    first = words[0]
    return " ".join([first.lower() if first[1:] == first[1:].lower() and len(first) > 1 else first, *words[1:]])


def parse(text: str) -> Phrase:
    """Take a cleaned phrase apart. A phrase that begins with a relation ("in white") is of "one"."""
    words = text.split()
    words = [VERBS.get(word, word) if place else word for place, word in enumerate(words)]
    words = _with_relative(words)
    end = next((place for place in range(len(words)) if _relation(words, place)), len(words))
    if end == 0 and words[0] not in RESTING | PLAIN | {"like", "past", "before", "after"}:
        head = ["one"]
    else:
        end = end or next((place for place in range(1, len(words)) if _relation(words, place)), len(words))
        head = words[:end]
    tail = words[end:]
    head, position = _trailing_position(head) if not tail else (head, "")
    if tail:
        tail, position = _trailing_side(tail)
    determiner = ""
    if _is_amount(head):
        head = head[1:]  # "a few birds", of which a definite phrase says "the few birds"
    while len(head) > 1 and head[0] in DETERMINERS:
        determiner = f"{determiner} {head[0]}".strip() if determiner in ("all", "both") else head[0]
        head = head[1:]
    if set(head) <= PLAIN_COLOURS | SIZES | {"and"} | SHADES and not set(head) <= SHADES:
        head = [*head, "one"]
    elif not tail and not position and head[-1] in POSITIONS and set(head) <= POSITIONS | WHERE:
        head, position = ["one"], place_in_words(" ".join(head))
    head = order_adjectives(head)
    if determiner == "another":
        determiner, head = "", ["other", *head]
    return Phrase(tuple(head), determiner, " ".join(filter(None, [_with_articles(tail, head[-1]), position])))


def _with_relative(words: list[str]) -> list[str]:
    """A sentence as the name of a thing: "dog is brown" as "dog that is brown"."""
    for place, word in enumerate(words):
        if place and word in FINITE and not RELATIVE & {*words[:place]}:
            return [*words[:place], "that", *words[place:]]
    return words


def subject(caption: str) -> str:
    """A caption without its opening: "a photo of two coins" and "there are two coins" are about "two coins"."""
    text = clean(caption)
    while (rest := _OPENING.sub("", text, count=1)) != text:
        text = rest
    return text


def without_place(phrase: Phrase) -> Phrase:
    """What a phrase says of its thing alone, wherever it stands: "the left cat with stripes on the sofa" is "cat
    with stripes".

    Left out is where it is, whose it is, and which of several: what ties it to its own photo.
    """
    head = list(phrase.head)
    while (
        len(head) > 1
        and head != ["top", "hat"]
        and (head[0] in TIED or is_rank(head[0]) or head[0].endswith(("'s", "s'")))
    ):
        head = head[1:]
    determiner = "" if phrase.determiner in OWNERS else phrase.determiner
    return Phrase(tuple(head), determiner, _tail_without_place(phrase.tail.split(), phrase.head[-1]))


def _tail_without_place(words: list[str], noun: str) -> str:
    """The relations up to the first one that says where the thing is."""
    place = 0
    while place < len(words):
        start = place + max(_relation(words, place), 1)
        end = start
        while end < len(words) and not _relation(words, end):
            end += 1
        if not _says_what_it_is(words[place:start], words[start:end], words[end:], noun):
            return " ".join(words[:place])
        place = end
    return " ".join(words)


def _says_what_it_is(relation: list[str], objects: list[str], following: list[str], noun: str) -> bool:
    word = relation[-1]
    if relation == ["of"]:
        return noun in CONTAINERS | PICTURES or word in MADE or objects[:1] != ["the"]
    if relation == ["in"]:
        last = (objects or [""])[-1]
        return last in CLOTHES or is_always_plural(last) or set(objects) <= COLOURS | {"and"}
    if word in RESTING:
        return word in MADE if following or objects else True
    reads = word == "that" and (objects + following)[:1] in (["says"], ["reads"])
    return word in WITH or reads or word in ("saying", "reads")


def _is_amount(head: list[str]) -> bool:
    return head[:2] in (["a", "lot"], ["a", "few"], ["a", "couple"])


def _relation(words: list[str], place: int) -> int:
    """How many words from ``place`` on join a head or object to what follows; 0 where none does."""
    for joined in JOINED:
        length = joined.count(" ") + 1
        if " ".join(words[place : place + length]) == joined and (place == 0 or words[place - 1] not in SPATIAL):
            return length
    word = words[place]
    if word in RESTING:
        follows = place + 1 == len(words) or bool(_relation(words, place + 1)) or words[place + 1] in BARE
        return int(place > 0 and follows)
    if word in ("top", "front") or (word == "like" and place == 0):
        return 0
    return int(word in SPATIAL or word in WITH or word in PLAIN or word in ("of", "in"))


def _trailing_position(head: list[str]) -> tuple[list[str], str]:
    """RefCOCO's "guy left", "person far right": a noun, then a place."""
    if len(head) > 2 and head[-1] == "side" and head[-2] in ("left", "right"):
        return head[:-2], f"on the {head[-2]} side"
    if set(head) <= POSITIONS | WHERE:
        return head, ""  # a place and nothing else
    length = 2 if len(head) > 2 and head[-2] in ("far", "top", "bottom", "upper", "lower") else 1
    place = " ".join(head[-length:])
    if head[-1] not in POSITIONS or len(head) <= length or head[-length - 1].endswith("ing"):
        return head, ""
    if head[-length - 1] in DETERMINERS | PLAIN_COLOURS | {"far", "very", "and"}:
        return head, ""
    return head[:-length], place_in_words(place)


def _trailing_side(tail: list[str]) -> tuple[list[str], str]:
    """A side after a relation's object: "in white shirt right" is "in white shirt", "on the right"."""
    if len(tail) < 3 or tail[-1] not in ("left", "right") or _relation(tail, len(tail) - 2):
        return tail, ""
    before = tail[-2]
    if before in DETERMINERS | POSITIONS | {"far", "and"} or before.endswith("ing"):
        return tail, ""
    return tail[:-1], place_in_words(tail[-1])


def place_in_words(place: str) -> str:
    """Words for a place: "left" is "on the left", "top right" is "at the top right"."""
    first, last = place.split()[0], place.split()[-1]
    if first in ("top", "bottom", "upper", "lower"):
        return f"at the {place}"
    return f"in the {place}" if last in ("middle", "center", "centre") else f"on the {place}"


def _with_articles(words: list[str], before: str) -> str:
    """The tail, each object with the article that its relation asks for."""
    out: list[str] = []
    place = 0
    while place < len(words):
        length = max(_relation(words, place), 1)
        relation = words[place : place + length]
        start = place + length
        end = start
        while end < len(words) and not _relation(words, end):
            end += 1
        previous = words[place - 1] if place else before
        out += [*relation, *_objects(words[start:end], _article_kind(relation, words[start:end], previous))]
        place = end
    return " ".join(out)


def _article_kind(relation: list[str], noun_phrase: list[str], before: str) -> str:
    """The article that objects of a relation take: "the", "a" (singular only) or ""."""
    word, last = relation[-1], (noun_phrase or [""])[-1]
    if relation == ["of"]:
        if before in CONTAINERS:
            return ""
        plural = is_plural(last) or is_uncountable(last)
        return "a" if before in PICTURES else "" if plural else "the"
    if relation == ["in"]:
        if last in UNIQUE_PLACES:
            return "" if last == "front" else "the"
        if set(noun_phrase) <= COLOURS | {"and"}:
            return ""
        return "a" if last in CLOTHES else "the" if not is_plural(last) or not set(noun_phrase) & COLOURS else ""
    if word in WITH:
        return "a"
    if word == "facing" and last in POSITIONS:
        return ""
    return "the" if word in SPATIAL or len(relation) > 1 else ""


def _objects(words: list[str], kind: str) -> list[str]:
    """The objects of one relation, joined by "and", each with its article."""
    if "and" in words[1:-1]:
        middle = words.index("and", 1)
        if words[middle - 1] not in COLOURS:
            return [*_objects(words[:middle], kind), "and", *_objects(words[middle + 1 :], kind)]
    if not kind or not words or words[0] in DETERMINERS or words[0][0].isdigit() or _is_name(words[0]):
        return words
    if len(words) == 1 and words[0] in BARE:
        return words
    if words[0].endswith(("'s", "s'")):
        return ["the", *words]
    if kind == "the":
        return words if words[-1] in ("forward", "backward", "away") else ["the", *words]
    return words if is_plural(words[-1]) or is_uncountable(words[-1]) else [article_for(words[0]), *words]


def _is_name(word: str) -> bool:
    """Whether it is written like "Paris", but neither "TV" nor "a"."""
    return bool(re.fullmatch(r"[A-Z][a-z]+(?:'s)?", word))
