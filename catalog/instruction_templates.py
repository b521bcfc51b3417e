"""Template files of instructions: ``NAME.txt`` in a folder, one sentence a line, ``#`` starts a comment line.

    segmentation.txt        {object} {color}
    keypoint_detection.txt  {person}, and the part in [brackets], repeated for each joint: {color} {joint}
    deblurring.txt, denoising.txt, watermark_removal.txt      no slots

The folders that ship with the code, all in ``catalog/templates``: the ten per task written by hand (paper section 3.1)
lie there itself; ``expanded`` has them multiplied, as the paper does by GPT-4; ``simple`` has indicators (paper section
4.6), files that begin with the line ``# indicators`` and whose sentences have no slots at all.
"""

import re
from functools import cache
from pathlib import Path
from string import Formatter

from catalog.errors import ConfigError
from catalog.render_styles import TEMPLATES

INDICATORS = "# indicators"
"""First line of a file whose sentences say neither what nor in which colour."""

SLOTS: dict[str, set[str]] = {
    "segmentation": {"object", "color"},
    "keypoint_detection": {"person"},
    "deblurring": set(),
    "denoising": set(),
    "watermark_removal": set(),
}
"""What each sentence of a file must hold, once. The names are the tasks that have templates."""
_JOINT_SLOTS = {"color", "joint"}


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
    is_simple = bool(lines) and lines[0].strip() == INDICATORS
    sentences: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        sentence = line.strip()
        if not sentence or sentence.startswith("#"):
            continue
        if problem := indicator_problem(sentence) if is_simple else template_problem(sentence, name):
            raise ConfigError(f"{path}, line {number}: {problem}")
        if sentence in sentences:
            raise ConfigError(f"{path}, line {number}: the same sentence as in line {sentences[sentence]}")
        sentences[sentence] = number
    if not sentences:
        raise ConfigError(f"{path} holds no template: write one sentence a line")
    return tuple(sentences)


def template_problem(sentence: str, name: str) -> str | None:
    """What is wrong with the slots of one sentence of the file ``name``, None if nothing is."""
    if name != "keypoint_detection":
        return _slot_problem(sentence, SLOTS[name])
    parts = re.split(r"[\[\]]", sentence)
    if len(parts) != 3 or sentence.index("[") > sentence.index("]"):
        return "needs exactly one part in [brackets], which is repeated for each joint"
    return _slot_problem(parts[0] + parts[2], SLOTS[name]) or _slot_problem(parts[1], _JOINT_SLOTS)


def indicator_problem(sentence: str) -> str | None:
    """What is wrong with a sentence that must have no slot, None if nothing is."""
    return "an indicator has neither slot nor brackets" if re.search(r"[{}\[\]]", sentence) else None


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
