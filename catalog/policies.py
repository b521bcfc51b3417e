"""Policies: named, versioned conditions on scores. A policy decides; it never makes or removes a pair.

The paper drops pairs whose target scores low and pairs whose source and target scores differ much (section
3.2), and publishes no threshold. So thresholds are data here: a file in ``infra/policies``, kept with every
verdict that it gives. All candidates and all scores stay; another policy gives other verdicts in seconds.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from catalog.digests import value_digest
from catalog.errors import PolicyError
from catalog.reasons import Reason
from catalog.schema import SCORE_NAMES
from catalog.strict_toml import Fields, read_toml

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
_LIMITS = ("minimum", "maximum", "quantile")
_SIDES = ("low", "high")
SCORING_ROLES = ("aesthetic_scorer", "embedder", "pair_similarity", "quality_scorer")
"""Helper models whose numbers conditions look at; of the quality scorer's the embedder decides the scale."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a pair must fulfil. A score that is null or not finite fulfils nothing."""

    name: str
    """Stands in the verdict of each pair that fails it."""
    scores: tuple[str, ...]
    """One score, or two whose absolute difference is looked at; names of `schema.SCORE_NAMES`."""
    minimum: float | None = None
    """The value must be at least this, in the score's own unit."""
    maximum: float | None = None
    """The value must be at most this."""
    quantile: float | None = None
    """Share of the build's usable candidates to cut off on ``side``, in (0, 1). Ties with the limit stay."""
    side: str | None = None
    """``low``: too small a value fails; ``high``: too large a one. Only with ``quantile``."""
    edit_types: tuple[str, ...] | None = None
    """Edits that the condition is about; None: every pair of vision task ``image_editing``."""

    @property
    def looks_at(self) -> str:
        """The ``score`` column of verdicts: a score's name, or "|a - b|"."""
        return self.scores[0] if len(self.scores) == 1 else f"|{self.scores[0]} - {self.scores[1]}|"

    @property
    def wants_large(self) -> bool:
        """Whether the value must reach the threshold; else it must not exceed it."""
        return self.minimum is not None or self.side == "low"

    @property
    def fixed_threshold(self) -> float | None:
        """The threshold, unless a quantile decides it."""
        return self.maximum if self.minimum is None else self.minimum

    def is_about(self, vision_task: str | None, edit_type: str | None) -> bool:
        """Whether a pair of this kind must fulfil the condition."""
        return vision_task == "image_editing" if self.edit_types is None else edit_type in self.edit_types

    def value(self, scores: Mapping[str, Any]) -> float | None:
        """What the condition looks at in a row of scores; None where one of them is null or not finite."""
        values = [item for name in self.scores if (item := scores.get(name)) is not None and isfinite(item)]
        if len(values) < len(self.scores):
            return None
        return abs(values[0] - values[1]) if len(values) == 2 else float(values[0])

    def holds(self, value: float | None, threshold: float | None) -> bool:
        """Whether a value passes, as the SQL has it."""
        if value is None or threshold is None or not isfinite(value):
            return False
        return value >= threshold if self.wants_large else value <= threshold

    def as_dict(self) -> dict[str, Any]:
        """The fields that are given, as JSON values."""
        limits = {key: value for key in (*_LIMITS, "side") if (value := getattr(self, key)) is not None}
        types = {} if self.edit_types is None else {"edit_types": list(self.edit_types)}
        return {"name": self.name, "scores": list(self.scores), **limits, **types}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Conditions in order. A pair is rejected by the first one that it fails."""

    name: str
    version: int
    description: str
    conditions: tuple[Condition, ...]
    scorers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Role to names of the helper models whose numbers the thresholds are about; a role that is absent may be any."""

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """Read a policy file.

        Raises:
            PolicyError: missing, malformed, or naming an unknown score.
        """
        return cls.parse(read_toml(path, PolicyError), str(path))

    @classmethod
    def parse(cls, values: Any, where: str) -> "Policy":
        """A policy from the values of its file; ``where`` names the file in errors."""
        fields = Fields(values, where, PolicyError)
        name = fields.text("name")
        if not _NAME.fullmatch(name):
            raise fields.wrong(f"needs a name of lower-case letters, digits, '-' and '_'. Got {name!r}")
        version = fields.integer("version")
        if version < 1:
            raise fields.wrong(f"needs a version from 1 on. Got {version}")
        description = fields.text("description", "")
        scorers = Fields(fields.table("scorers"), f"{where} [scorers]", PolicyError)
        roles = {role: scorers.texts(role) for role in SCORING_ROLES if scorers.has(role)}
        scorers.finish()
        tables = fields.tables("condition")
        fields.finish()
        conditions = tuple(
            _parse_condition(Fields(table, f"{where}, condition {number}", PolicyError))
            for number, table in enumerate(tables, start=1)
        )
        names = [condition.name for condition in conditions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise fields.wrong(f"names two conditions alike ({', '.join(twice)}): verdicts need to tell them apart")
        return cls(name=name, version=version, description=description, conditions=conditions, scorers=roles)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Policy":
        """The policy that `as_dict` describes, as manifests keep it."""
        conditions = []
        for condition in values["conditions"]:
            given: dict[str, Any] = {
                key: tuple(item) if isinstance(item, list) else item for key, item in condition.items()
            }
            conditions.append(Condition(**given))
        scorers = {role: tuple(names) for role, names in values.get("scorers", {}).items()}
        return cls(**{**values, "conditions": tuple(conditions), "scorers": scorers})

    def as_dict(self) -> dict[str, Any]:
        """The policy as JSON values, without comments and layout of its file."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "conditions": [condition.as_dict() for condition in self.conditions],
            **({"scorers": {role: list(names) for role, names in self.scorers.items()}} if self.scorers else {}),
        }

    def check_scorers(self, backends: Iterable[str], build: str) -> None:
        """Refuse scores of other helper models than the thresholds are about.

        Args:
            backends: "role=name@revision" of those that scored the build.
            build: its name, for the message.

        Raises:
            PolicyError: a role was filled by another helper model.
        """
        for backend in sorted(backends):
            role, _, name = backend.partition("@")[0].partition("=")
            if role in self.scorers and name not in self.scorers[role]:
                raise PolicyError(
                    f"policy {self.name!r} has thresholds for {role} {' or '.join(self.scorers[role])}, but "
                    f"{name} scored build {build!r}: take a policy for it, or build again with "
                    f"backends.{role} = {self.scorers[role][-1]!r}"
                )

    def digest(self) -> str:
        """Digest of everything that the policy says."""
        return value_digest(self.as_dict())


def _parse_condition(fields: Fields) -> Condition:
    name = fields.text("name")
    if not _NAME.fullmatch(name) or name in set(Reason):
        raise fields.wrong(f"needs a name in snake case that is not a reason of its own. Got {name!r}")
    fields.where = f"{fields.where} ({name})"
    scores = _parse_scores(fields)
    edit_types = fields.texts("edit_types") if fields.has("edit_types") else None
    limits = _parse_limits(fields)
    fields.finish()
    return Condition(name=name, scores=scores, edit_types=edit_types, **limits)


def _parse_scores(fields: Fields) -> tuple[str, ...]:
    single, double = fields.has("score"), fields.has("difference")
    if single == double:
        raise fields.wrong("needs either 'score' or 'difference': give exactly one of them")
    scores = (fields.text("score"),) if single else fields.texts("difference")
    if double and len(scores) != 2:
        raise fields.wrong(f"needs two scores in 'difference'. Got {list(scores)}")
    if unknown := [score for score in scores if score not in SCORE_NAMES]:
        raise fields.wrong(f"names unknown scores: {', '.join(unknown)}. Known ones: {', '.join(SCORE_NAMES)}")
    return scores


def _parse_limits(fields: Fields) -> dict[str, Any]:
    given = [limit for limit in _LIMITS if fields.has(limit)]
    if len(given) != 1:
        got = ", ".join(given) or "none"
        raise fields.wrong(f"needs exactly one of 'minimum', 'maximum' and 'quantile'. Got {got}")
    limits: dict[str, Any] = {given[0]: fields.number(given[0])}
    if fields.has("side") != (given[0] == "quantile"):
        raise fields.wrong("needs 'side' with 'quantile' and only there: add or remove it")
    if given[0] == "quantile":
        limits["side"] = fields.text("side")
        if not 0 < limits["quantile"] < 1:
            raise fields.wrong(f"needs a quantile between 0 and 1. Got {limits['quantile']}")
        if limits["side"] not in _SIDES:
            raise fields.wrong(f"needs side 'low' or 'high'. Got {limits['side']!r}")
    return limits
