"""The helper models behind metrics that need one: their names stand beside every number of theirs."""

from dataclasses import dataclass

from tasks.backends.protocols import AestheticScorer, PairSimilarity
from tasks.backends.registry import backend_id


@dataclass(frozen=True)
class HelperModels:
    """The backends behind metrics that need one."""

    pair_similarity: PairSimilarity
    aesthetic_scorer: AestheticScorer

    def ids(self) -> list[str]:
        """``role=name@revision`` of each."""
        return [
            backend_id("pair_similarity", self.pair_similarity),
            backend_id("aesthetic_scorer", self.aesthetic_scorer),
        ]
