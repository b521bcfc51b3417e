"""The helper models behind metrics that need one: their names stand beside every number of theirs."""

from dataclasses import dataclass, fields
from pathlib import Path

from catalog.errors import ConfigError
from evaluation.judge import EditJudge
from tasks.backends.protocols import AestheticScorer, FeatureSimilarity, PairSimilarity, PerceptualDistance
from tasks.backends.registry import backend_id, load_backend
from tasks.profiles import read_profile

_EMBEDDED = {
    "pair_similarity": "histogram",
    "aesthetic_scorer": "image-statistics",
    "feature_similarity": "histogram",
    "perceptual_distance": "laplacian-pyramid",
}


@dataclass(frozen=True)
class HelperModels:
    """The backends behind metrics that need one."""

    pair_similarity: PairSimilarity
    aesthetic_scorer: AestheticScorer
    feature_similarity: FeatureSimilarity | None = None
    """None: what it measures is left null."""
    perceptual_distance: PerceptualDistance | None = None
    judge: EditJudge | None = None
    """None: edits are not judged by a model."""
    max_unanswered: float = 0.0
    """Share of a benchmark's samples that the judge may leave without an answer."""

    def id_of(self, role: str) -> str | None:
        """``role=name@revision``; None where there is none."""
        backend = getattr(self, role)
        return None if backend is None else backend_id(role, backend)

    def ids(self) -> list[str]:
        """``role=name@revision`` of each."""
        roles = [one.name for one in fields(self) if one.name != "max_unanswered"]
        return [found for role in roles if (found := self.id_of(role))]


def load_helpers(profile: Path | None) -> HelperModels:
    """The backends that a profile names, or the embedded ones.

    Raises:
        ConfigError: the profile names none for a role.
        BackendError: one cannot be loaded.
    """
    if profile is None:
        return HelperModels(**{role: load_backend(role, name) for role, name in _EMBEDDED.items()})
    chosen = read_profile(profile)
    missing = [role for role in _EMBEDDED if role not in chosen.backends]
    if missing:
        raise ConfigError(
            f"{profile} must name a {missing[0]} under [backends]: add one, such as {_EMBEDDED[missing[0]]!r}"
        )
    return HelperModels(
        **{
            role: load_backend(role, chosen.backends[role], **chosen.backend_options.get(role, {}))
            for role in _EMBEDDED
        }
    )
