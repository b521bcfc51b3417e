"""Referring phrases taken apart: "blue bird on top of tree" is the words of its head and a tail of relations.

There is no part-of-speech tagger behind it, only short lists of the words that such phrases are joined by
(PhraseCut's and RefCOCO's); a word that no list knows stays what and where it is.
"""

import re
import unicodedata
from dataclasses import dataclass

from tasks.nouns import (
    CONTAINERS,
    ORDINALS,
    PICTURES,
    article_for,
    is_always_plural,
    is_plural,
    is_rank,
    is_uncountable,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLOURS = _words(
    """black white grey gray red orange yellow green blue purple pink brown tan beige gold golden silver maroon navy
    teal turquoise violet dark light bright pale plaid striped camouflage camo"""
)
_PLAIN_COLOURS = COLOURS - _words("orange gold silver tan light dark")
"""Never the name of a thing."""
DETERMINERS = _words(
    """the a an this that these those his her its their my your our some any all both every each another either
    neither several many few lots such what which whose one two three four five six seven eight nine ten eleven
    twelve it him them me us you i he she they someone something everyone everything himself herself itself
    themselves who"""
)
_SIZES = _words("big bigger biggest small smaller smallest large larger largest little tall taller tallest tiny huge")
_FINITE = _words("is are was were")
_RELATIVE = _words("that which who whose where while as there")
POSITIONS = _words("left right middle center centre top bottom")
_BARE = _words(
    """front top back fire display bat home night left right forward backward up down away together close low high
    here there alone ahead flight motion line half sideways ground level work school bed use season"""
) - _words("back ground bed left right")
_UNIQUE_PLACES = _words("background foreground distance middle center centre corner front back sky air")
_CLOTHES = _words(
    """shirt jacket dress hat suit coat sweater sweatshirt hoodie t-shirt tshirt tee cap skirt tie vest uniform helmet
    costume jersey top outfit gown robe tuxedo blouse apron wetsuit bikini swimsuit tank"""
)

_SPATIAL = _words(
    """on at by near behind beside besides under underneath below beneath above over inside outside between among
    amongst against along alongside around across through throughout beyond past toward towards down up off into onto
    to from atop within opposite amid before after aboard touching facing covering surrounding overlooking
    following"""
)
_WITH = _words(
    """with without wearing holding carrying riding eating using driving pulling pushing reading throwing hitting
    swinging drinking feeding catching kicking containing featuring showing for like selling serving having chewing
    swinging flying-over displaying resembling"""
)
_PLAIN = _words("that which who whose where while as during saying reads labeled labelled named is are was were being")
_RESTING = _words(
    """sitting standing walking lying laying hanging flying running jumping looking leaning resting playing swimming
    sleeping waiting watching skating surfing skiing grazing growing sticking coming going pointing parked
    covered seated made filled attached painted hung mounted placed topped stacked surrounded
    decorated dressed pictured shown located laid tied connected printed written built perched positioned full next
    close farthest furthest closest nearest"""
)
"""Verbs that end a head only where a relation or nothing follows: "man sitting on ...", but "a sitting man"."""
_MADE = _words("filled made attached painted covered topped stacked decorated dressed printed written built full")
"""Of these, which say what a thing is like and not where it is."""
_VERBS = {"has": "with", "have": "with", "wears": "wearing", "holds": "holding", "rides": "riding"}
_JOINED = (
    *("on top of", "in front of", "in back of", "next to", "close to", "adjacent to", "left of", "right of"),
    *("out of", "ahead of", "because of", "instead of", "away from", "such as"),
)


_OWNERS = _words("his her its their my your our this that these those every each")
_TIED = ORDINALS | POSITIONS | _words("far upper lower other another")
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
    return re.sub(r"\b(left|right|top|bottom) most\b", r"\1most", _lowered(text))


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
    words = [_VERBS.get(word, word) if place else word for place, word in enumerate(words)]
    words = _with_relative(words)
    end = next((place for place in range(len(words)) if _relation(words, place)), len(words))
    if end == 0 and words[0] not in _RESTING | _PLAIN | {"like", "past", "before", "after"}:
        head = ["one"]
    else:
        end = end or next((place for place in range(1, len(words)) if _relation(words, place)), len(words))
        head = words[:end]
    tail = words[end:]
    head, position = _trailing_position(head) if not tail else (head, "")
    determiner = ""
    while len(head) > 1 and head[0] in DETERMINERS and not _is_amount(head):
        determiner = f"{determiner} {head[0]}".strip() if determiner in ("all", "both") else head[0]
        head = head[1:]
    if set(head) <= _PLAIN_COLOURS | _SIZES | {"and"}:
        head = [*head, "one"]
    elif head[0] in POSITIONS and len(head) == 1 and not tail:
        head, position = ["one"], place_in_words(head[0])
    if determiner == "another":
        determiner, head = "", ["other", *head]
    return Phrase(tuple(head), determiner, " ".join(filter(None, [_with_articles(tail, head[-1]), position])))


def _with_relative(words: list[str]) -> list[str]:
    """A sentence as the name of a thing: "dog is brown" as "dog that is brown"."""
    for place, word in enumerate(words):
        if place and word in _FINITE and not _RELATIVE & {*words[:place]}:
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
        and (head[0] in _TIED or is_rank(head[0]) or head[0].endswith(("'s", "s'")))
    ):
        head = head[1:]
    determiner = "" if phrase.determiner in _OWNERS else phrase.determiner
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
        return noun in CONTAINERS | PICTURES or word in _MADE or objects[:1] != ["the"]
    if relation == ["in"]:
        last = (objects or [""])[-1]
        return last in _CLOTHES or is_always_plural(last) or set(objects) <= COLOURS | {"and"}
    if word in _RESTING:
        return word in _MADE if following or objects else True
    reads = word == "that" and (objects + following)[:1] in (["says"], ["reads"])
    return word in _WITH or reads or word in ("saying", "reads")


def _is_amount(head: list[str]) -> bool:
    return head[:2] in (["a", "lot"], ["a", "few"], ["a", "couple"])


def _relation(words: list[str], place: int) -> int:
    """How many words from ``place`` on join a head or object to what follows; 0 where none does."""
    for joined in _JOINED:
        length = joined.count(" ") + 1
        if " ".join(words[place : place + length]) == joined and (place == 0 or words[place - 1] not in _SPATIAL):
            return length
    word = words[place]
    if word in _RESTING:
        follows = place + 1 == len(words) or bool(_relation(words, place + 1)) or words[place + 1] in _BARE
        return int(place > 0 and follows)
    if word in ("top", "front") or (word == "like" and place == 0):
        return 0
    return int(word in _SPATIAL or word in _WITH or word in _PLAIN or word in ("of", "in"))


def _trailing_position(head: list[str]) -> tuple[list[str], str]:
    """RefCOCO's "guy left", "person far right": a noun, then a place."""
    length = 2 if len(head) > 2 and head[-2] in ("far", "top", "bottom", "upper", "lower") else 1
    place = " ".join(head[-length:])
    if head[-1] not in POSITIONS or len(head) <= length or head[-length - 1].endswith("ing"):
        return head, ""
    if head[-length - 1] in DETERMINERS | _PLAIN_COLOURS | {"far", "very", "and"}:
        return head, ""
    return head[:-length], place_in_words(place)


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
        if last in _UNIQUE_PLACES:
            return "" if last == "front" else "the"
        if set(noun_phrase) <= COLOURS | {"and"}:
            return ""
        return "a" if last in _CLOTHES else "the" if not is_plural(last) or not set(noun_phrase) & COLOURS else ""
    if word in _WITH:
        return "a"
    if word == "facing" and last in POSITIONS:
        return ""
    return "the" if word in _SPATIAL or len(relation) > 1 else ""


def _objects(words: list[str], kind: str) -> list[str]:
    """The objects of one relation, joined by "and", each with its article."""
    if "and" in words[1:-1]:
        middle = words.index("and", 1)
        if words[middle - 1] not in COLOURS:
            return [*_objects(words[:middle], kind), "and", *_objects(words[middle + 1 :], kind)]
    if not kind or not words or words[0] in DETERMINERS or words[0][0].isdigit() or _is_name(words[0]):
        return words
    if len(words) == 1 and words[0] in _BARE:
        return words
    if words[0].endswith(("'s", "s'")):
        return ["the", *words]
    if kind == "the":
        return words if words[-1] in ("forward", "backward", "away") else ["the", *words]
    return words if is_plural(words[-1]) or is_uncountable(words[-1]) else [article_for(words[0]), *words]


def _is_name(word: str) -> bool:
    """Whether it is written like "Paris", but neither "TV" nor "a"."""
    return bool(re.fullmatch(r"[A-Z][a-z]+(?:'s)?", word))
