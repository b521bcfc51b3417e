"""The helper models behind metrics that need one: their names stand beside every number of theirs."""

from dataclasses import dataclass, fields

from tasks.backends.protocols import AestheticScorer, FeatureSimilarity, PairSimilarity, PerceptualDistance
from tasks.backends.registry import backend_id


@dataclass(frozen=True)
class HelperModels:
    """The backends behind metrics that need one."""

    pair_similarity: PairSimilarity
    aesthetic_scorer: AestheticScorer
    feature_similarity: FeatureSimilarity | None = None
    """None: what it measures is left null."""
    perceptual_distance: PerceptualDistance | None = None

    def id_of(self, role: str) -> str | None:
        """``role=name@revision``; None where there is none."""
        backend = getattr(self, role)
        return None if backend is None else backend_id(role, backend)

    def ids(self) -> list[str]:
        """``role=name@revision`` of each."""
        return [found for one in fields(self) if (found := self.id_of(one.name))]
