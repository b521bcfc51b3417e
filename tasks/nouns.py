"""English nouns, as far as instructions and captions need them: articles, plurals, what cannot be counted."""

import re
import unicodedata
from collections.abc import Sequence

NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)

UNCOUNTABLE = frozenset(
    """
    asphalt bacon bamboo beef bread broccoli butter cardboard celery cement cheese clothing coffee concrete corn
    cream debris dirt equipment fabric fog foliage food foam frosting fruit fur furniture garbage graffiti grass
    gravel greenery hair hay honey ice ivy jam jelly jewellery jewelry juice ketchup landscaping laundry leather
    lettering lettuce lightning linen litter luggage mail makeup mayonnaise meat metal milk money moss mud mustard
    oatmeal oil paint pasta paperwork plastic pollen popcorn pork pottery produce rain rice rubble rust salt sand
    scenery seafood seaweed shrubbery silverware smoke snow soap soil soup spaghetti spinach steam straw stuff
    sugar sunlight sunshine syrup tea text tofu toast traffic trash underwear vegetation water wheat wine wood
    wool writing yarn yogurt baggage cutlery footwear denim hummus
    """.split()
)

_ALWAYS_PLURAL = frozenset(
    """
    binoculars boxers briefs clothes clippers earphones earbuds eyeglasses glasses goggles headphones jeans knickers
    leggings overalls pajamas pants pliers pyjamas scissors shades shorts slacks stairs sunglasses swimtrunks tights
    tongs trousers trunks tweezers undies groceries outskirts suspenders surroundings remains
    """.split()
)

_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "leaf": "leaves",
    "loaf": "loaves",
    "knife": "knives",
    "wife": "wives",
    "life": "lives",
    "shelf": "shelves",
    "half": "halves",
    "scarf": "scarves",
    "calf": "calves",
    "wolf": "wolves",
    "thief": "thieves",
    "elf": "elves",
    "hoof": "hooves",
    "cactus": "cacti",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "mango": "mangoes",
    "buffalo": "buffaloes",
    "hero": "heroes",
    "echo": "echoes",
    "volcano": "volcanoes",
    "mosquito": "mosquitoes",
    "bus": "buses",
    "quiz": "quizzes",
    "passerby": "passersby",
    "ski": "skis",
    "taxi": "taxis",
    "bikini": "bikinis",
    "menu": "menus",
    "emu": "emus",
    "this": "these",
    "that": "those",
    "one": "ones",
}
_IRREGULAR_PLURALS = frozenset(_IRREGULAR.values())
_SAME = frozenset(
    """sheep deer fish aircraft spacecraft hovercraft watercraft moose bison salmon trout shrimp squid species series
    swine offspring dice""".split()
)
_SINGULAR_IN_S = frozenset(
    """
    gas lens canvas atlas pancreas christmas bias chaos circus asparagus hibiscus octopus hippopotamus platypus
    campus walrus virus status census minibus omnibus trolleybus chorus focus nexus eucalyptus crocus papyrus
    news tennis chess this us its his yes always plus versus perhaps thus
    """.split()
)

CONTAINERS = frozenset(
    """cup glass slice piece bowl plate bottle bunch pile group pair stack box bag basket row herd flock loaf set can
    jar lot lots slices pieces mug pitcher tray bucket team crowd couple number made full kind type sort line bed
    patch field body strip""".split()
)
PICTURES = frozenset(
    "picture painting photo photograph drawing image poster statue sculpture figure model view".split()
)
PARTS = frozenset(
    """hand arm leg foot wheel door seat window shelf hat pocket tire tyre ear eye wing headlight light lamp side half
    corner edge part row lane page drawer bun button rack layer shoe glove paw horn fin sleeve cheek shoulder knee
    burner step deck floor bunk""".split()
)
"""Of these the left one is another than one on the left."""
_SEVERAL = PARTS | frozenset(
    """tooth claw feather finger toe branch leaf brick tile petal pillar column key candle spoke pane blade stripe
    spot string member player example copy section""".split()
)
"""What one thing has several of."""
_WHICH = frozenset("front back rear left right top bottom upper lower middle central main only first last".split())
_NAMED = frozenset("the this that these those his her its their my your our".split())
ORDINALS = frozenset("second third fourth fifth sixth seventh eighth ninth tenth".split())
_RANKS = frozenset("first last only same next final most least".split())
_NOT_SUPERLATIVE = frozenset(
    """forest chest guest nest west vest test rest harvest interest priest crest quest request contest protest breast
    honest modest manifest dentist midwest everest conquest""".split()
)

_SILENT_H = ("hour", "honest", "honor", "honour", "heir", "herb")
_VOWEL_LETTERS = frozenset("AEFHILMNORSX")  # said aloud as letters: "an L", "an X"
_SPOKEN_ACRONYMS = frozenset(("NASA", "NATO", "LEGO", "RAM", "ROM", "LASER", "RADAR", "SWAT", "FEMA", "FIFA", "NASCAR"))
_HARD_U = re.compile(r"u(?:[bfhjkqrst][aeiou]|ni(?![nmd]))|eu|ewe")
"""Words that begin with the sound of "you"."""


def article_for(word: str) -> str:
    """The indefinite article before ``word``: "an hour", "a unicorn", "an 8-ball", "an MRI scan"."""
    match = re.match(r"\W*(\w*)(-?)", word)
    first, hyphen = match.groups() if match else ("", "")
    if not first:
        return "a"
    if first[0].isdigit():
        return "an" if _number_with_vowel(first) else "a"
    if (len(first) == 1 and (hyphen or first.isupper())) or _is_spelled(first):
        return "an" if first[0].upper() in _VOWEL_LETTERS else "a"
    lower = unicodedata.normalize("NFD", first.lower())
    if lower.startswith(_SILENT_H):
        return "an"
    if _HARD_U.match(lower) or lower in ("one", "once"):
        return "a"
    return "an" if lower[0] in "aeiou" else "a"


def _is_spelled(word: str) -> bool:
    """Whether an acronym is said letter by letter: "MRI", "SUVs"."""
    letters = word.removesuffix("s")
    return 2 <= len(letters) <= 5 and letters.isupper() and letters.isalpha() and letters not in _SPOKEN_ACRONYMS


def _number_with_vowel(word: str) -> bool:
    digits = re.match(r"\d+", word)
    number = digits.group() if digits else ""
    return number.startswith("8") or (number[:2] in ("11", "18") and len(number) % 3 == 2)


def is_plural(noun: str) -> bool:
    """Whether the last word of ``noun`` is a plural: "cars", "people", "sunglasses"; "bus" and "sheep" are not."""
    word = _last_word(noun)
    if word in _ALWAYS_PLURAL or word in _IRREGULAR_PLURALS:
        return True
    if word in _SAME or word in UNCOUNTABLE or word in _SINGULAR_IN_S or word in _IRREGULAR:
        return False
    if word.endswith(("men", "people", "children", "feet", "teeth", "mice")) and len(word) > 4:
        return word not in ("specimen", "acumen", "abdomen", "omen", "regimen", "ramen", "stamen")
    return len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is", "'s", "’s"))


def is_always_plural(noun: str) -> bool:
    """Whether one such thing is already a plural: "jeans", "sunglasses", "stairs"."""
    return _last_word(noun) in _ALWAYS_PLURAL


def is_uncountable(noun: str) -> bool:
    """Whether the last word of ``noun`` takes no number and no "a": "water", "grass"."""
    return _last_word(noun) in UNCOUNTABLE


def pluralize(noun: str, count: int = 2) -> str:
    """``noun`` for ``count`` things; its last word changes, and a plural or uncountable one stays.

    ``pluralize("coffee cup")`` is ``"coffee cups"``.
    """
    word = _last_word(noun)
    if count == 1 or not word or not word[-1].isalnum() or is_plural(noun) or is_uncountable(noun) or word in _SAME:
        return noun
    stem = noun[: len(noun) - len(word)]
    written = noun[len(stem) :]
    if word in _IRREGULAR:
        plural = _IRREGULAR[word]
    elif word.endswith(("man", "child", "foot", "tooth", "goose", "mouse", "knife", "shelf")) and len(word) > 5:
        plural = _compound_plural(word)
    elif word.endswith(("s", "x", "z", "ch", "sh")) and not _is_spelled(written):
        plural = word + "es"
    elif re.search(r"[^aeiou\W\d]y$", word):
        plural = word[:-1] + "ies"
    else:
        plural = word + "s"
    return stem + _in_case_of(written, plural)


def _compound_plural(word: str) -> str:
    if word in ("human", "german", "roman", "talisman", "ottoman", "caiman"):
        return word + "s"
    for singular in ("woman", "man", "child", "foot", "tooth", "goose", "mouse", "knife", "shelf"):
        if word.endswith(singular):
            return word.removesuffix(singular) + _IRREGULAR[singular]
    raise AssertionError(word)


def _in_case_of(written: str, plural: str) -> str:
    """``plural`` with the capitals of the word it was made from."""
    kept = 0
    while kept < min(len(written), len(plural)) and written[kept].lower() == plural[kept]:
        kept += 1
    return written[:kept] + plural[kept:]


def counted(noun: str, count: int) -> str:
    """``noun`` with its number in words: "a cup", "two coins", "13 coins", "water", "the largest coin".

    "Of" phrases change before the "of": "two bowls of soup".
    """
    head, of, rest = noun.partition(" of ")
    words = head.split()
    number = NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else str(count)
    if words and (is_rank(words[0]) or words[0] in ORDINALS or is_unique_part(words, of.lstrip() + rest)):
        return f"the {noun}" if count == 1 else f"the {number} {pluralize(head, count)}{of}{rest}"
    if is_uncountable(head) or (count == 1 and is_plural(head)):
        return noun
    if count == 1:
        return f"{article_for(noun)} {noun}"
    return f"{number} {pluralize(head, count)}{of}{rest}"


def is_rank(word: str) -> bool:
    """Whether ``word`` picks things out by rank and so takes "the": "largest", "first", "only", "topmost"."""
    superlative = word.endswith("est") and len(word) > 5 and word not in _NOT_SUPERLATIVE
    return superlative or word in _RANKS or word.endswith("most")


def is_unique_part(head: Sequence[str], tail: str) -> bool:
    """Whether ``head`` and ``tail`` name the one such part of a named thing, which takes "the".

    The "handle" "of the cup" and the "front wheel" "of the motorcycle" do. What a thing has several of ("wheel")
    needs a word that says which ("front"); amounts and pictures ("slice of the pizza") are no parts.
    """
    words = tail.split()
    if not head or words[:1] != ["of"] or len(words) < 3:
        return False
    noun = head[-1].lower()
    named = words[1] in _NAMED or words[1].endswith(("'s", "s'"))
    if not named or is_plural(noun) or noun in CONTAINERS | PICTURES:
        return False
    return noun not in _SEVERAL or not _WHICH.isdisjoint(head[:-1])


def joined(parts: Sequence[str]) -> str:
    """A list in words: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _last_word(noun: str) -> str:
    return re.split(r"[\s-]", noun)[-1].lower()
