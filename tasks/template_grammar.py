"""A grammar that multiplies instruction templates: what stands in for the paper's GPT-4 where there is no model.

The rules are data, in ``template_grammars.toml``, for a person to read and change.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from catalog.digests import bytes_digest

VERSION = 2
"""Raised when the same rules and seed give other sentences."""

Rules = Mapping[str, Sequence[str]]

_NONTERMINAL = re.compile(r"<([a-z_]+)>")


def _read_grammars() -> dict[str, Rules]:
    tables: dict[str, Rules] = tomllib.loads(Path(__file__).with_name("template_grammars.toml").read_text("utf-8"))
    shared = tables.pop("shared")
    return {name: {**shared, **rules} for name, rules in tables.items()}


GRAMMARS: Mapping[str, Rules] = _read_grammars()
"""One grammar per template file: name -> alternatives."""


def derive(name: str, rng: np.random.Generator) -> str:
    """One sentence of the grammar ``name``; it may have been derived before."""
    rules, text = GRAMMARS[name], "<sentence>"
    while found := _NONTERMINAL.search(text):
        alternatives = rules[found[1]]
        text = text[: found.start()] + alternatives[int(rng.integers(len(alternatives)))] + text[found.end() :]
    return text[0].upper() + text[1:]


def grammar_revision() -> str:
    """Names exactly these grammars."""
    rules = repr([(name, sorted(rules.items())) for name, rules in GRAMMARS.items()])
    return f"{VERSION}+{bytes_digest(rules.encode())[:12]}"
