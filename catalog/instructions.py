"""Instructions worded from annotations: colour names, templates, and the sentences made of them.

A segmentation or keypoint pair has no instruction of its own: each time it is drawn it gets a fresh colour and a
fresh wording (paper section 4.1). The templates are text files in ``catalog/templates``, one sentence a line, ten for
each task written by hand (paper section 3.1). The paper then lets an LLM multiply them: put longer files of the same
names into a folder of your own and pass that folder.

    segmentation.txt        {object} {color}
    keypoint_detection.txt  {person}, and the part in [brackets], repeated for each joint: {color} {joint}
    deblurring.txt, denoising.txt, watermark_removal.txt      no slots
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Literal, get_args

import numpy as np

from catalog.errors import ConfigError, RowRejected
from catalog.reasons import Reason

Rgb = tuple[int, int, int]
ColorRule = Literal["corrected", "official"]

COLORS: dict[str, Rgb] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "purple": (128, 0, 128),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
}
"""One meaning per name, for both drawn tasks (``corrected``).

The official code has two greens, (0, 255, 0) for joints and (0, 128, 0) for masks, so the word means two things to
the model. The pure one is kept: it is further from the greens of photos, hence easier to read back."""

_OFFICIAL_COLORS: dict[str, dict[str, Rgb]] = {
    "keypoint_detection": {name: rgb for name, rgb in COLORS.items() if name != "purple"},
    "segmentation": {
        "red": (255, 0, 0),
        "purple": (128, 0, 128),
        "blue": (0, 0, 255),
        "green": (0, 128, 0),
        "yellow": (255, 255, 0),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "gray": (128, 128, 128),
    },
}

TEMPLATES = Path(__file__).with_name("templates")

_SLOTS: dict[str, set[str]] = {
    "segmentation": {"object", "color"},
    "keypoint_detection": {"person"},
    "deblurring": set(),
    "denoising": set(),
    "watermark_removal": set(),
}
_JOINT_SLOTS = {"color", "joint"}
_SIDED = re.compile(r"left|right|lft|rgt|clock|east|west|\b[lr]\b|\brt\b", re.IGNORECASE)
_ARTICLE = re.compile(r"(the|an?)\s+(?=\S)", re.IGNORECASE)
_DETERMINED = re.compile(
    r"(this|that|these|those|my|your|his|her|its|our|their|all|both|each|every|everyone|everything)\b", re.IGNORECASE
)


def color_table(vision_task: str, rule: ColorRule = "corrected") -> dict[str, Rgb]:
    """Colours by name that a drawn task may use: ``corrected`` (`COLORS`) or the ``official`` code's own list.

    Raises:
        ConfigError: for an unknown rule.
    """
    if rule not in get_args(ColorRule):
        raise ConfigError(f"colors must be one of {', '.join(get_args(ColorRule))}. Got {rule!r}")
    return COLORS if rule == "corrected" else _OFFICIAL_COLORS[vision_task]


@cache
def read_templates(name: str, folder: Path = TEMPLATES) -> tuple[str, ...]:
    """The sentences of one template file, checked; blank lines and lines that start with ``#`` are skipped.

    Raises:
        ConfigError: no such file, no sentence in it, or one with a missing, unknown or doubled slot; file and line
            are named.
    """
    path = folder / f"{name}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the templates in {path}: {error}") from error
    sentences: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        sentence = line.strip()
        if not sentence or sentence.startswith("#"):
            continue
        if problem := _template_problem(sentence, name):
            raise ConfigError(f"{path}, line {number}: {problem}")
        if sentence in sentences:
            raise ConfigError(f"{path}, line {number}: the same sentence as in line {sentences[sentence]}")
        sentences[sentence] = number
    if not sentences:
        raise ConfigError(f"{path} holds no template: write one sentence a line")
    return tuple(sentences)


def _template_problem(sentence: str, name: str) -> str | None:
    """What is wrong with one template, None if nothing is."""
    if name != "keypoint_detection":
        return _slot_problem(sentence, _SLOTS[name])
    parts = re.split(r"[\[\]]", sentence)
    if len(parts) != 3 or sentence.index("[") > sentence.index("]"):
        return "needs exactly one part in [brackets], which is repeated for each joint"
    return _slot_problem(parts[0] + parts[2], _SLOTS[name]) or _slot_problem(parts[1], _JOINT_SLOTS)


def _slot_problem(text: str, expected: set[str]) -> str | None:
    try:
        fields = [(slot, spec, conversion) for _, slot, spec, conversion in Formatter().parse(text) if slot is not None]
    except ValueError as error:
        return f"braces do not match ({error})"
    slots = [slot for slot, _, _ in fields]
    if sorted(slots) != sorted(expected) or any(spec or conversion for _, spec, conversion in fields):
        needed = ", ".join(f"{{{slot}}}" for slot in sorted(expected)) or "no slot"
        found = ", ".join(f"{{{slot}}}" for slot in slots) or "none"
        return f"needs {needed}, each once, in {text!r}; found {found}"
    return None


def word_segmentation(phrase: str, color: str, rng: np.random.Generator, folder: Path = TEMPLATES) -> str:
    """One instruction to mark what ``phrase`` refers to: "Lay a half-transparent red mask over the left bird."

    Raises:
        RowRejected: empty_phrase.
    """
    return _choose("segmentation", rng, folder).format(object=definite(phrase), color=color)


def word_keypoints(
    joints: Sequence[tuple[str, str]], subject: str, rng: np.random.Generator, folder: Path = TEMPLATES
) -> str:
    """One sentence that asks for every joint, each in its colour.

    "Place a red dot on the nose and a blue dot on the left wrist of the person." (The official code draws one
    template per joint and strings the sentences together.)

    Args:
        joints: (joint, colour name), at least one.
        subject: whose joints: "person", "man on the left".
        rng: chooses the template.
        folder: of the template files.

    Raises:
        RowRejected: no_keypoints, empty_phrase.
    """
    if not joints:
        raise RowRejected(Reason.NO_KEYPOINTS, "no joint to ask for")
    before, clause, after = re.split(r"[\[\]]", _choose("keypoint_detection", rng, folder))
    clauses = [clause.format(joint=joint, color=color) for joint, color in joints]
    marks = " and ".join(filter(None, [", ".join(clauses[:-1]), clauses[-1]]))
    person = definite(subject)
    return before.format(person=person) + marks + after.format(person=person)


def word_enhancement(edit_type: str, rng: np.random.Generator, folder: Path = TEMPLATES) -> str:
    """One instruction for ``deblurring``, ``denoising`` or ``watermark_removal``.

    Raises:
        RowRejected: bad_instruction for an edit type without templates.
    """
    known = [name for name, slots in _SLOTS.items() if not slots]
    if edit_type not in known:
        detail = f"no instruction, and no templates for edit type {edit_type!r} (they exist for {', '.join(known)})"
        raise RowRejected(Reason.BAD_INSTRUCTION, detail)
    return _choose(edit_type, rng, folder)


def _choose(name: str, rng: np.random.Generator, folder: Path) -> str:
    templates = read_templates(name, folder)
    return templates[rng.integers(len(templates))]


def definite(phrase: str) -> str:
    """A referring phrase as a definite noun phrase in mid-sentence: "Left bird." becomes "the left bird".

    Raises:
        RowRejected: empty_phrase.
    """
    words = " ".join(phrase.split()).strip(" .,;:!?")
    if not words:
        raise RowRejected(Reason.EMPTY_PHRASE, "nothing to refer to the region by")
    words = words[0].lower() + words[1:] if words[1:].islower() or len(words) == 1 else words
    if _DETERMINED.match(words):
        return words
    return "the " + _ARTICLE.sub("", words, count=1) if _ARTICLE.match(words) else f"the {words}"


def names_a_side(words: str) -> bool:
    """Whether mirroring the picture could make ``words`` wrong. Cautious: "bright" counts too."""
    return _SIDED.search(words) is not None


def other_side(joint: str) -> str:
    """A joint's name in the mirrored picture: "left knee" becomes "right knee"."""
    return re.sub(r"\b(left|right)\b", lambda side: "right" if side[0] == "left" else "left", joint)
