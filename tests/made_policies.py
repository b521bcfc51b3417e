"""Policies of one or two conditions, for tests."""

from typing import Any

from catalog.policies import Policy

LOW = {"name": "low", "score": "target_aesthetic", "minimum": 4.0}
GAP = {"name": "gap", "difference": ["source_aesthetic", "target_aesthetic"], "maximum": 0.5}


def make_policy(*conditions: dict[str, Any], name: str = "test", version: int = 1) -> Policy:
    return Policy.parse({"name": name, "version": version, "condition": list(conditions)}, "test.toml")


# -- files ------------------------------------------------------------------------------------------------------
