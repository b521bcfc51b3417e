"""What an instruction must be before it enters a pair, whoever worded it: one function per rule.

Captions come from models and answers from other models; both may hold anything. An answer that breaks a rule is
refused with BAD_INSTRUCTION and a detail that begins with the rule's name.
"""

import re
from collections.abc import Callable, Iterable

from catalog.errors import RowRejected
from catalog.reasons import Reason
from tasks.backends.protocols import InstructionRequest
from tasks.nouns import pluralize
from tasks.phrases import clean, parse, subject

MAX_INSTRUCTION = 300
"""Characters. The text encoder reads 77 tokens, which is less; but a longer text is no instruction."""
MIN_WORDS, MAX_WORDS = 2, 60
MIN_ENGLISH_SHARE = 0.9
"""Share of an instruction's letters that must be a to z: an accent or a name may occur, another script may not."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EDIT_WORDS = {
    "object_removal": _words(
        """remove removing removed delete erase eliminate take cut wipe clear drop rid hide omit exclude crop clean lose
        without disappear vanish gone edit strip"""
    ),
    "object_addition": _words(
        """add adding put place insert include give draw paint set introduce have show bring make create generate hang
        need want let with drop"""
    ),
    "object_replacement": _words(
        """change replace turn swap switch exchange substitute transform convert make become trade put let instead
        swapped replaced changed turned"""
    ),
}
"""One of these must occur: the answer is in English and asks for this kind of edit, not for another."""

_SYNONYMS = tuple(
    frozenset(form for word in group.split() for form in (word, pluralize(word)))
    for group in (
        "person people man woman boy girl kid child guy lady gentleman human someone player adult male female",
        "child kid boy girl baby toddler infant",
        "dog puppy pup hound",
        "cat kitten kitty",
        "horse pony foal",
        "cow bull calf cattle ox",
        "sheep lamb ram ewe",
        "bird parrot pigeon duck goose seagull gull sparrow owl eagle",
        "tv television screen monitor",
        "couch sofa settee loveseat",
        "plane airplane aeroplane aircraft jet airliner",
        "bike bicycle cycle",
        "motorcycle motorbike bike scooter moped",
        "car automobile vehicle sedan suv taxi cab",
        "truck lorry pickup van vehicle",
        "bus coach minibus",
        "boat ship vessel yacht sailboat canoe",
        "train locomotive tram",
        "phone cellphone smartphone telephone mobile",
        "laptop computer notebook",
        "cup mug teacup",
        "glass tumbler goblet wineglass",
        "bag backpack handbag purse suitcase sack",
        "plant flower houseplant bush shrub",
        "tree palm",
        "rug carpet mat",
        "house building home cottage hut",
        "shirt t-shirt tee top blouse",
        "trousers pants jeans slacks",
        "coin penny",
        "picture painting photo photograph image poster",
        "donut doughnut",
        "rock stone boulder",
        "street road",
        "hat cap helmet beanie",
        "shoe sneaker boot trainer",
        "table desk",
        "chair seat stool armchair",
        "ball football basketball baseball",
        "fridge refrigerator",
        "bin trashcan can",
        "food meal dish",
    )
)
"""Words that may name the same thing. Generous: the rule catches an answer about another object."""

_URL = re.compile(r"\w+://|\bwww\.|\b\w[\w-]*\.(?:com|org|net|io|ai|gov|edu|info)\b", re.IGNORECASE)
_CODE = re.compile(r"`|~~~|\$\(|\\[a-z0-9]|/\*|^#!", re.IGNORECASE)
_OVERRIDE = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:previous|prior|above|earlier|preceding|instructions?|"
    r"prompts?|rules?)\b|\b(?:system|developer) (?:prompt|message)\b|\bjailbreak",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"(?:^|\s)[\"']?(?:system|user|assistant|human|ai|bot|instruction|input|output|question|answer|response|note)\s*:"
    r"|<\||\|>|\[/?(?:inst|sys)|###|</?s>",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<[a-z/!?][^<]*>|&(?:[a-z]+|#\w+);|\*\*|__|\]\(|^\s*(?:#+|[*\-+>]|\d+[.)])\s", re.IGNORECASE)
_JSON = re.compile(r"[{}]|\"[\w ]+\"\s*:|^\s*\[|\]\s*$|\bnull\b")
_REFUSAL = re.compile(
    r"\b(?:i['’]?m sorry|i am sorry|sorry,|i apologi[sz]e|as an ai|language model|i can(?:['’]?t|not| not)|"
    r"i (?:won['’]?t|will not|am unable|am not able)|i['’]?m (?:unable|not able|afraid)|"
    r"(?:unable to|cannot) (?:help|assist|comply|fulfil|provide))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def check_instruction(text: str) -> None:
    """Refuse what no user could mean as an instruction, in whatever language.

    Raises:
        RowRejected: BAD_INSTRUCTION: blank, over `MAX_INSTRUCTION` characters, or with a line break, a control
            character or half of a surrogate pair in it.
    """
    if not any(character.isalnum() for character in text):
        raise RowRejected(Reason.BAD_INSTRUCTION, "no letter or digit in it")
    if len(text) > MAX_INSTRUCTION:
        raise RowRejected(Reason.BAD_INSTRUCTION, f"{len(text)} characters, at most {MAX_INSTRUCTION}")
    bad = next((character for character in text if not _is_text(character)), None)
    if bad is not None:
        raise RowRejected(Reason.BAD_INSTRUCTION, f"character U+{ord(bad):04X} in it")


def check_worded(text: str, request: InstructionRequest) -> None:
    """Refuse what does not word the edit that was asked for: `check_instruction` and every rule of `RULES`.

    Raises:
        RowRejected: BAD_INSTRUCTION; the detail begins with the rule's name.
    """
    check_instruction(text)
    for name, rule in RULES.items():
        if problem := rule(text, request):
            raise RowRejected(Reason.BAD_INSTRUCTION, f"{name}: {problem}")


def _is_text(character: str) -> bool:
    """Line and paragraph separators, control characters and lone surrogates are not."""
    code = ord(character)
    return not (code < 32 or 127 <= code < 160 or code in (0x2028, 0x2029) or 0xD800 <= code < 0xE000)


def _length(text: str, request: InstructionRequest) -> str | None:
    count = len(text.split())
    return None if MIN_WORDS <= count <= MAX_WORDS else f"{count} words, want {MIN_WORDS} to {MAX_WORDS}"


def _language(text: str, request: InstructionRequest) -> str | None:
    letters = [letter for letter in text if letter.isalpha()]
    share = sum(letter.isascii() for letter in letters) / max(len(letters), 1)
    return None if share >= MIN_ENGLISH_SHARE else f"{share:.0%} of the letters are a to z, at least 90%"


def _injection(pattern: re.Pattern[str]) -> Callable[[str, InstructionRequest], str | None]:
    def rule(text: str, request: InstructionRequest) -> str | None:
        found = pattern.search(text)
        return f"it holds {found.group().strip()!r}" if found else None

    return rule


def _edit(text: str, request: InstructionRequest) -> str | None:
    wanted = EDIT_WORDS.get(request.edit_type)
    if wanted is None or wanted & _spoken(text):
        return None
    return f"no word asks for {request.edit_type.replace('_', ' ')}"


def _source(text: str, request: InstructionRequest) -> str | None:
    """The object that the edit starts from; what is added is in the target, and is named by the same phrase."""
    if request.edit_type not in EDIT_WORDS:
        return None
    names = _heads([request.phrase, request.label]) or _heads([subject(request.source_caption or "")])
    return _unnamed(text, names)


def _target(text: str, request: InstructionRequest) -> str | None:
    """What a replacement puts in; of a caption of the whole picture, what the source's caption does not name."""
    if request.edit_type != "object_replacement":
        return None
    names = _heads([request.replacement_phrase])
    if not names:
        names = _heads([subject(request.target_caption or "")])
        names = names - _heads([subject(request.source_caption or "")]) or names
    return _unnamed(text, names)


def _unnamed(text: str, names: frozenset[str]) -> str | None:
    if not names or _forms(names) & _spoken(text):
        return None
    return f"it does not name {' or '.join(sorted(names))}"


def _heads(phrases: Iterable[str | None]) -> frozenset[str]:
    """The nouns that phrases are about: "two coins and a cup on a table" gives coins and cup."""
    nouns: set[str] = set()
    for phrase in phrases:
        text = clean(phrase or "")
        if not any(map(str.isalnum, text)):
            continue
        head = parse(text).head
        if head[-1] in ("one", "ones"):  # "in white" has no noun: any of its words will do
            nouns.update(word for word in _tokens(text) if len(word) > 2 and word != "the")
        else:
            nouns.update(word for part in re.split(r",| and ", " ".join(head)) for word in _tokens(part)[-1:])
    return frozenset(nouns)


def _tokens(text: str) -> list[str]:
    return _WORD.findall(clean(text).lower())


def _spoken(text: str) -> frozenset[str]:
    """The words of an instruction, each with its plural."""
    words = set(_tokens(text))
    return frozenset(words | {pluralize(word) for word in words})


def _forms(names: frozenset[str]) -> frozenset[str]:
    """Names, words that may name the same, and the plurals of all: "dogs" is also "puppy"."""
    known = names.union(*(group for group in _SYNONYMS if not group.isdisjoint(names)))
    return known | {pluralize(word) for word in known}


_INJECTIONS = {
    "refusal": _REFUSAL,
    "address": _URL,
    "code": _CODE,
    "override": _OVERRIDE,
    "role": _ROLE,
    "markup": _MARKUP,
}
"""Traces of text that is for somebody else than an image editor."""


def injected(text: str) -> str | None:
    """What in ``text`` is not meant for an image editor ("override in 'Ignore the rules'"), None if nothing is."""
    for name, pattern in _INJECTIONS.items():
        if found := pattern.search(text):
            return f"{name} in {found[0].strip()!r:.60}"
    return None


RULES: dict[str, Callable[[str, InstructionRequest], str | None]] = {
    "length": _length,
    "language": _language,
    "refusal": _injection(_REFUSAL),
    "address": _injection(_URL),
    "code": _injection(_CODE),
    "override": _injection(_OVERRIDE),
    "role": _injection(_ROLE),
    "JSON": _injection(_JSON),
    "markup": _injection(_MARKUP),
    "edit": _edit,
    "source": _source,
    "target": _target,
}
"""Rule name to the function that says what is wrong with an answer to a request, None where nothing is."""
