"""Whether a build has the scores that a policy looks at: none at all would reject everything for a missing number."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.candidates import Candidates, list_stretches
from catalog.errors import PolicyError
from catalog.manifests import Manifest
from catalog.policies import Condition, Policy
from catalog.workspace import Workspace

_NEED_REFERENCES = {"source_quality", "target_quality"}
"""Scores that are null without photos in the table ``references``."""


def require_scores(workspace: Workspace, source: Manifest, policy: Policy) -> None:
    """Refuse a policy on a build without scores. Raises PolicyError."""
    if source.tables.get("scores"):
        return
    if num_pairs := _count_pairs(workspace, source, policy.conditions):
        raise PolicyError(
            f"policy {policy.name!r} looks at scores of {num_pairs} pairs, and build {source.name!r} has none: "
            "run its scoring step first"
        )


def require_references(workspace: Workspace, source: Manifest, policy: Policy) -> None:
    """Refuse conditions on quality where none could be measured. Raises PolicyError."""
    references = source.tables.get("references")
    if not references or any(shard.num_rows for shard in references):
        return
    asked = [item for item in policy.conditions if set(item.scores) & _NEED_REFERENCES]
    if num_pairs := _count_pairs(workspace, source, asked):
        raise PolicyError(
            f"policy {policy.name!r} asks for the quality of {num_pairs} pairs "
            f"({', '.join(one.name for one in asked)}), and build {source.name!r} has no photo of its train split to "
            "measure it against: all its pictures were generated, or nobody knows; add a source of photos to the "
            "profile and build again, or decide by a policy without those conditions, such as "
            "infra/policies/aesthetics.toml"
        )


def _count_pairs(workspace: Workspace, source: Manifest, conditions: Sequence[Condition]) -> int:
    """Usable pairs that any of some conditions is about."""
    found = 0
    pairs_alone = Manifest(name=source.name, parameters={}, tables={"pairs": source.tables["pairs"]})
    for stretch in list_stretches(workspace, pairs_alone) if conditions else ():
        candidates = Candidates.read(stretch, (), ids=False)
        covered = np.zeros(len(candidates), np.bool_)
        for item in conditions:
            covered |= candidates.is_about(item)
        found += pc.sum(pc.and_(candidates.words("reason").is_null(), pa.array(covered))).as_py() or 0
    return found
