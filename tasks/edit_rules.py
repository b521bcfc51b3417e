"""What an instruction asks for, by rule: does it remove, replace or add something, and what?

The paper's benchmark sorts its samples by hand into replacement, removal and addition (section 4.5). This rule
proposes; a person confirms. It reads verbs, no meaning: whatever it does not know it leaves open and says why.
"""

import re
from dataclasses import dataclass

from tasks.phrases import one_line

REMOVAL, ADDITION, REPLACEMENT = "object_removal", "object_addition", "object_replacement"
EDIT_CLASSES = (REPLACEMENT, REMOVAL, ADDITION)
"""In the order of Table 5's columns."""

_A = r"(?:(?:a|an|the|some|one|any|all|this|that|these|those|his|her|its|their|my) )?"
_THING = r"(?P<{}>[^,.;!?]+?)"
_END = r"(?=[,.;!?]|$| and (?:then )?(?:add|put|make|let|have|remove|change|replace)\b| please\b)"
_RULES = tuple(
    (edit_class, re.compile(pattern, re.IGNORECASE))
    for edit_class, pattern in (
        (
            REPLACEMENT,
            rf"\b(?:replace|substitute|swap|exchange|switch)(?: out)? {_A}{_THING.format('old')} (?:with|for|by|to) "
            rf"{_A}{_THING.format('new')}{_END}",
        ),
        (
            REPLACEMENT,
            rf"\b(?:turn|transform|convert|change|make|morph|modify) {_A}{_THING.format('old')} (?:into|to be|in to) "
            rf"{_A}{_THING.format('new')}{_END}",
        ),
        (REPLACEMENT, rf"\b(?:change) {_A}{_THING.format('old')} (?:to|for|with) {_A}{_THING.format('new')}{_END}"),
        (
            REPLACEMENT,
            rf"\b(?:put|have|place|use) {_A}{_THING.format('new')} (?:instead|in place|in the place) of "
            rf"{_A}{_THING.format('old')}{_END}",
        ),
        (
            REMOVAL,
            rf"\b(?:remove|erase|delete|eliminate|crop out|photoshop out|edit out|clear(?: away| off)?|get rid of|"
            rf"take (?:away|off|out)|clean up) {_A}{_THING.format('old')}{_END}",
        ),
        (REMOVAL, rf"\b(?:take) {_A}{_THING.format('old')} (?:away|off|out)\b"),
        (
            ADDITION,
            rf"\b(?:add|insert|include|put|place|draw|attach|hang|introduce|let there be) "
            rf"(?:in )?{_A}{_THING.format('new')}{_END}",
        ),
        (ADDITION, rf"\b(?:give) (?:him|her|it|them|{_A}[\w ]+?) (?:a|an|some) {_THING.format('new')}{_END}"),
        (ADDITION, rf"\b(?:there should be|let there be|it needs) {_A}{_THING.format('new')}{_END}"),
    )
)
_PROPERTY = re.compile(
    r"\b(?:colou?rs?|size|style|background|weather|season|time of day|lighting|brightness|contrast|material|texture|"
    r"expression|shape|length|mood|tone|filter)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r" (?:to|on|onto|in|into|at|from|near|beside|next to|behind|under|over|above|between|around|to the|of the photo|"
    r"on top of|in front of)\b.*",
    re.IGNORECASE,
)
_MAX_WORDS = 60


@dataclass(frozen=True, kw_only=True)
class RuledEdit:
    """What the rule reads in an instruction."""

    edit_class: str | None
    """One of `EDIT_CLASSES`; None: left to a person."""
    why: str
    """One sentence."""
    removed: str = ""
    """What goes, without its article and its place: "red car"."""
    added: str = ""


def rule_edit(instruction: str, recorded: str | None = None) -> RuledEdit:
    """What an instruction asks for.

    Args:
        instruction: one sentence or several.
        recorded: what the dataset calls the edit; it must not contradict the words, and counts where they say nothing.
    """
    text = one_line(instruction)
    found = [(edit_class, match) for edit_class, rule in _RULES for match in rule.finditer(text)]
    found = _outermost(found)
    classes = list(dict.fromkeys(edit_class for edit_class, _ in found))
    known = recorded if recorded in EDIT_CLASSES else None
    if len(text.split()) > _MAX_WORDS or len(classes) > 1:
        return RuledEdit(edit_class=None, why=f"several edits in one instruction: {', '.join(classes) or 'it is long'}")
    if not classes:
        why = "no verb of replacing, removing or adding"
        return RuledEdit(edit_class=known, why=f"{why}; the dataset says {known}" if known else why)
    edit_class, match = found[0]
    parts = match.groupdict()
    removed, added = (_named(parts.get(name) or "") for name in ("old", "new"))
    if edit_class == REPLACEMENT and _PROPERTY.search(removed):
        return RuledEdit(edit_class=None, why=f"changes a property ({removed!r}), not an object", removed=removed)
    if known and known != edit_class:
        return RuledEdit(
            edit_class=None,
            why=f"the words ask for {edit_class}, the dataset says {known}",
            removed=removed,
            added=added,
        )
    verb = match[0].split()[0].lower()
    return RuledEdit(edit_class=edit_class, why=f'"{verb}" asks for {edit_class}', removed=removed, added=added)


def _outermost(found: list[tuple[str, re.Match[str]]]) -> list[tuple[str, re.Match[str]]]:
    """Matches that lie in no match of an earlier rule: "put X in place of Y" is no addition."""
    kept: list[tuple[str, re.Match[str]]] = []
    for edit_class, match in found:
        if not any(one.start() <= match.start() < one.end() for _, one in kept):
            kept.append((edit_class, match))
    return kept


def _named(text: str) -> str:
    """A thing without where it is: "a hat on the dog" -> "a hat"; the words as they are where only a place is left."""
    short = _PLACE.sub("", f" {text}").strip()
    return short or text.strip()
