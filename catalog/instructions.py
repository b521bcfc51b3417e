"""Instructions worded from annotations: sentences made of templates, colours and names.

A segmentation or keypoint pair has no instruction of its own: each time it is drawn it gets a fresh colour and a
fresh wording (paper section 4.1).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catalog.errors import RowRejected
from catalog.instruction_templates import SLOTS, read_templates
from catalog.reasons import Reason
from catalog.render_styles import TEMPLATES, JointSentences, Repair

_SIDED = re.compile(r"left|right|lft|rgt|clock|east|west|\b[lr]\b|\brt\b", re.IGNORECASE)
_LONE_PLACE = re.compile(
    r"((far|upper|lower|top|bottom) )*(left|right|middle|center|centre|top|bottom|front|back)( side| one)?",
    re.IGNORECASE,
)
_LONE_COLOR = re.compile(
    r"((dark|light|bright) )?(black|white|gr[ae]y|red|yellow|green|blue|purple|pink|brown|tan|beige|big|small|tall)",
    re.IGNORECASE,
)
_RELATION = re.compile(
    r"(in|on|at|with|without|near|behind|beside|between|under|above|below|next to|closest to|wearing|holding|"
    r"(sitting|standing|lying) (in|on|at|by|next|near|behind|between)) ",
    re.IGNORECASE,
)
_WITH_ARTICLE = {"head top": "top of the head", "root of tail": "root of the tail"}
_SOME = re.compile(r"(some|any) (?=\S)", re.IGNORECASE)
_ARTICLE = re.compile(r"(the|an?)\s+(?=\S)", re.IGNORECASE)
_DETERMINED = re.compile(
    r"(this|that|these|those|my|your|his|her|its|our|their|all|both|each|every|everyone|everything)\b", re.IGNORECASE
)


def word_segmentation(
    phrase: str, color: str, rng: np.random.Generator, folder: Path = TEMPLATES, *, is_class: bool = False
) -> str:
    """One instruction to mark what ``phrase`` refers to: "Lay a half-transparent red mask over the left bird."

    Args:
        phrase: a referring phrase or the name of a class.
        color: its name.
        rng: chooses the template.
        folder: of the template files.
        is_class: ``phrase`` is a class, all of its pixels: its name stands as it is (paper section 4.1), as "the
            person" would be one of several people: "Lay a half-transparent red mask over person."

    Raises:
        RowRejected: empty_phrase.
    """
    words = _plain(phrase) if is_class else definite(phrase)
    return _choose("segmentation", rng, folder).format(object=words, color=color)


def word_keypoints(
    joints: Sequence[tuple[str, str]],
    subject: str,
    rng: np.random.Generator,
    folder: Path = TEMPLATES,
    sentences: JointSentences = "corrected",
) -> str:
    """Ask for every joint, each in its colour.

    ``corrected``, one sentence: "Place a red dot on the nose and a blue dot on the left wrist of the person."
    ``paper`` (Figure 3), a clause of its own wording for each: "Place a red dot on the nose of the person and mark the
    left wrist in blue on the person." ``official``, a sentence of its own wording for each; nothing for no joint.

    Args:
        joints: (joint, colour name), at least one but for ``official``.
        subject: whose joints: "person", "man on the left".
        rng: chooses the templates.
        folder: of the template files.
        sentences: which of the three.

    Raises:
        RowRejected: no_keypoints, empty_phrase.
    """
    person = definite(subject)
    if sentences == "official":
        return " ".join(_fill(_choose("keypoint_detection", rng, folder), [joint], person) for joint in joints)
    if not joints:
        raise RowRejected(Reason.NO_KEYPOINTS, "no joint to ask for")
    if sentences == "corrected":
        return _fill(_choose("keypoint_detection", rng, folder), joints, person)
    first, *others = [_fill(_choose("keypoint_detection", rng, folder), [joint], person) for joint in joints]
    clauses = [first[:-1], *(_continued(other) for other in others)]
    return " and ".join(filter(None, [", ".join(clauses[:-1]), clauses[-1]])) + first[-1]


def _fill(template: str, joints: Sequence[tuple[str, str]], person: str) -> str:
    """One sentence; its part in brackets once for each joint. An indicator stays as it is."""
    if "[" not in template:
        return template
    before, clause, after = re.split(r"[\[\]]", template)
    clauses = [clause.format(joint=joint, color=color) for joint, color in joints]
    marks = " and ".join(filter(None, [", ".join(clauses[:-1]), clauses[-1]]))
    return before.format(person=person) + marks + after.format(person=person)


def _continued(sentence: str) -> str:
    """A sentence as a later clause of another: no capital but for "I", no final mark."""
    opening = sentence if re.match(r"I\b", sentence) else sentence[0].lower() + sentence[1:]
    return opening.rstrip(".?!")


def joint_words(joint: str, names: Sequence[str], rule: Repair) -> str:
    """A joint's name as an instruction says it.

    Args:
        joint: in plain words: "left shoulder"; "head top" and "root of tail" get their articles.
        names: all joints of its dataset.
        rule: ``official`` writes "left_shoulder" for every dataset but COCO, which alone has a nose, and calls
            CrowdPose's head "top_head".
    """
    if rule == "corrected":
        return _WITH_ARTICLE.get(joint, joint)
    if "nose" in names:
        return joint
    return "top_head" if joint == "head" else joint.replace(" ", "_")


def word_enhancement(edit_type: str, rng: np.random.Generator, folder: Path = TEMPLATES) -> str:
    """One instruction for ``deblurring``, ``denoising`` or ``watermark_removal``.

    Raises:
        RowRejected: bad_instruction for an edit type without templates.
    """
    known = [name for name, slots in SLOTS.items() if not slots]
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
    words = _plain(phrase)
    words = words[0].lower() + words[1:] if words[1:].islower() or len(words) == 1 else words
    if _DETERMINED.match(words):
        return words
    if _LONE_PLACE.fullmatch(words) and not words.endswith(" one"):
        return f"the one {_in_place(words)}"
    if _LONE_COLOR.fullmatch(words):
        return f"the {words} one"
    if _RELATION.match(words):
        return f"the one {words}"
    words = _SOME.sub("", words, count=1) if _SOME.match(words) else words
    return "the " + _ARTICLE.sub("", words, count=1) if _ARTICLE.match(words) else f"the {words}"


def _plain(phrase: str) -> str:
    """A phrase without needless blanks and marks at its ends. Raises RowRejected (empty_phrase)."""
    words = " ".join(phrase.split()).strip(" .,;:!?")
    if not words:
        raise RowRejected(Reason.EMPTY_PHRASE, "nothing to refer to the region by")
    return words


def _in_place(place: str) -> str:
    """A place that stands for what is there: "left" is "on the left", "top right" "at the top right"."""
    first, last = place.split()[0].lower(), place.split()[-1].lower()
    if first in ("top", "bottom", "upper", "lower"):
        return f"at the {place}"
    return f"in the {place}" if last in ("middle", "center", "centre", "front", "back") else f"on the {place}"


def names_a_side(words: str) -> bool:
    """Whether mirroring the picture could make ``words`` wrong. Cautious: "bright" counts too."""
    return _SIDED.search(words) is not None


def other_side(joint: str) -> str:
    """A joint's name in the mirrored picture: "left knee" becomes "right knee"."""
    return re.sub(r"\b(left|right)\b", lambda side: "right" if side[0] == "left" else "left", joint)
