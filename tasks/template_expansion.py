"""Instruction templates multiplied: ten written by hand become many (paper section 3.1: "rewrite and expand").

Whoever proposes a sentence, a language model or our grammar, it is kept only if its slots are whole, it is plain
English of one line, and no sentence that is there already is nearly the same. Nothing is thrown away silently:
`Expansion` records each proposal with what became of it, and `write_expansion` writes both for a person to review.

    OUTPUT/NAME.txt      what is kept, a template file like those in ``catalog/templates``; delete a line to drop it
    OUTPUT/NAME.json     who proposed it, by which prompt, and every proposal with the reason why it was dropped
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from catalog.durable import write_file
from catalog.errors import ConfigError
from catalog.instruction_templates import SLOTS, read_templates, template_problem
from catalog.render_styles import TEMPLATES
from tasks.instruction_check import injected
from tasks.text_diversity import NEAR_DUPLICATE, distinct_ngrams, nearest

MAX_ROUNDS = 40
MIN_WORDS, MAX_WORDS = 3, 32
_MAX_IDLE = 3  # rounds in which nothing new was kept
_PLAIN = re.compile(r"[A-Za-z0-9 .,;:?'’{}\[\]_-]+")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One sentence that somebody proposes, or a failed attempt to get some."""

    text: str
    origin: str
    """The template that it rewrites; empty where it rewrites none."""
    failure: str | None = None
    """Why there is no sentence: ``text`` is then empty."""


class Proposer(Protocol):
    """Proposes sentences. ``facts`` says who it is: name, revision, model, the whole prompt; written to the record."""

    facts: dict[str, Any]

    def propose(self, name: str, written: Sequence[str], kept: Sequence[str], turn: int) -> list[Proposal]:
        """Sentences for the template file ``name``.

        Args:
            name: a key of `catalog.instruction_templates.SLOTS`.
            written: the templates by hand.
            kept: what is there already, the written ones first.
            turn: 0 in the first round; the same arguments give the same proposals.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A proposal and what became of it."""

    text: str
    origin: str
    turn: int
    dropped: str | None
    """The rule that it broke, in words; None: it is kept."""


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """What came of one template file."""

    name: str
    written: tuple[str, ...]
    candidates: tuple[Candidate, ...] = field(default=())

    @property
    def added(self) -> list[str]:
        """The kept proposals, in order."""
        return [candidate.text for candidate in self.candidates if candidate.dropped is None]

    @property
    def sentences(self) -> list[str]:
        """All of the new file: written by hand, then added."""
        return [*self.written, *self.added]

    def counts(self) -> dict[str, int]:
        """Proposals by outcome; ``kept`` first, then the rules that dropped some."""
        outcomes = Counter("kept" if one.dropped is None else one.dropped.partition(":")[0] for one in self.candidates)
        return {"kept": outcomes.pop("kept", 0), **dict(outcomes.most_common())}


def expand(
    name: str,
    proposer: Proposer,
    target: int,
    folder: Path = TEMPLATES,
    max_rounds: int = MAX_ROUNDS,
    progress: Callable[[str, int, int], None] | None = None,
) -> Expansion:
    """Ask for proposals until ``target`` of them are kept, ``max_rounds`` are over, or three brought nothing new.

    Args:
        name: of the template file.
        proposer: who writes.
        target: sentences to add to those written by hand.
        folder: where those are.
        max_rounds: times that the proposer is asked.
        progress: called with (name, added, target) after each round.

    Raises:
        ConfigError: no such file, or numbers out of range.
        UserError: the proposer cannot go on.
    """
    if name not in SLOTS:
        raise ConfigError(f"templates exist for {', '.join(SLOTS)}. Got {name!r}")
    if not (1 <= target <= 10_000 and 1 <= max_rounds <= 1_000):
        raise ConfigError(f"target must be 1 to 10000 and rounds 1 to 1000. Got {target} and {max_rounds}")
    written = read_templates(name, folder)
    kept, candidates, idle = list(written), list[Candidate](), 0
    for turn in range(max_rounds):
        before = len(kept)
        for proposal in proposer.propose(name, written, tuple(kept), turn):
            if len(kept) == len(written) + target:
                break
            dropped = proposal.failure or problem_of(proposal.text, name, kept)
            candidates.append(Candidate(text=proposal.text, origin=proposal.origin, turn=turn, dropped=dropped))
            if dropped is None:
                kept.append(proposal.text)
        if progress is not None:
            progress(name, len(kept) - len(written), target)
        idle = 0 if len(kept) > before else idle + 1
        if len(kept) == len(written) + target or idle == _MAX_IDLE:
            break
    return Expansion(name=name, written=written, candidates=tuple(candidates))


def problem_of(text: str, name: str, kept: Sequence[str]) -> str | None:
    """Why a proposed template is not kept: "rule: details"; None if it is.

    Args:
        text: the sentence.
        name: of its template file.
        kept: the sentences that are there already.
    """
    if problem := template_problem(text, name):
        return f"slots: {problem}"
    if problem := _form_problem(text):
        return f"form: {problem}"
    if problem := injected(text):
        return f"injected: {problem}"
    if text.casefold() in {other.casefold() for other in kept}:
        return "duplicate: word for word there already"
    other, score = nearest(text, kept)
    if score >= NEAR_DUPLICATE:
        return f"near-duplicate: ROUGE-L {score:.2f} to {other!r}"
    return None


def _form_problem(text: str) -> str | None:
    """What keeps a sentence from being one line of plain English that stands for itself."""
    if not _PLAIN.fullmatch(text) or "  " in text or text != text.strip():
        return "other characters than letters, digits, blanks and . , ; : ? ' - _"
    if not (text[0].isupper() and text[-1] in ".?"):
        return "must begin with a capital letter and end in . or ?"
    if not MIN_WORDS <= len(text.split()) <= MAX_WORDS:
        return f"{len(text.split())} words, want {MIN_WORDS} to {MAX_WORDS}"
    if re.search(r"\ban \{color\}|[{\[][^}\]]*$", text):
        return "no colour's name begins with a vowel"
    return None


def write_expansion(expansion: Expansion, facts: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write ``NAME.txt`` and ``NAME.json`` (see the module's docstring); both replace what is there.

    Raises:
        OSError: disk full, folder not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    who = ", ".join(str(facts[key]) for key in ("name", "model", "revision") if facts.get(key))
    lines = [
        f"# Templates for {expansion.name}: {len(expansion.written)} by hand, {len(expansion.added)} by {who}.",
        "# Review: delete what reads badly. What was dropped, and why, is in the .json beside this file.",
        *expansion.written,
        f"# From here on by {facts.get('name', 'unknown')}.",
        *expansion.added,
    ]
    record = {
        "task": expansion.name,
        "proposer": facts,
        "near_duplicate": NEAR_DUPLICATE,
        "counts": expansion.counts(),
        "distinct_ngrams": {str(n): round(distinct_ngrams(expansion.sentences, n), 4) for n in (1, 2, 3)},
        "written": list(expansion.written),
        "candidates": [asdict(candidate) for candidate in expansion.candidates],
    }
    text, review = folder / f"{expansion.name}.txt", folder / f"{expansion.name}.json"
    write_file(review, [(json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()])
    write_file(text, [("\n".join(lines) + "\n").encode()])
    return text, review
