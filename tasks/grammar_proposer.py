"""Proposes templates by our grammar: the way to expand them without a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from catalog.digests import bytes_digest
from tasks.template_expansion import Proposal
from tasks.template_grammar import derive, grammar_revision

_PER_TURN = 100


class GrammarProposer:
    """Sentences of `tasks.template_grammar`, drawn by a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.facts: dict[str, Any] = {"name": "grammar", "revision": grammar_revision(), "seed": seed}

    def propose(self, name: str, written: Sequence[str], kept: Sequence[str], turn: int) -> list[Proposal]:
        """See `Proposer`."""
        words = [self._seed, turn, int(bytes_digest(name.encode())[:8], 16)]
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
        return [Proposal(text=derive(name, rng), origin="") for _ in range(_PER_TURN)]
