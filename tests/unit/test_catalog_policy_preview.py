"""A preview of a policy with other thresholds gives what `decide` gives, for any build and any limits."""

import hashlib
from typing import Any

import numpy as np
import pytest
from made_policies import GAP, LOW, make_policy

from catalog.decisions import decide
from catalog.errors import PolicyError
from catalog.policy_preview import Preview
from catalog.revocation import Tombstone, write_tombstone
from catalog.workspace import Workspace

SHARE = {"name": "share", "score": "target_quality", "quantile": 0.2, "side": "low", "edit_types": ["object_removal"]}


@pytest.fixture
def build(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    """Usable and unusable pairs, scored, unscored and with scores that failed, of two edit types and a task more."""
    random, pairs, scores = np.random.default_rng(3), [], []
    for number in range(200):
        kind = ("object_removal", "object_addition", None)[number % 3]
        task = "image_editing" if kind else "segmentation"
        reason = "object_remains" if number % 17 == 0 else None
        pair = make_pair(f"pair-{number:03d}", edit_type=kind, vision_task=task, reason=reason)
        pairs.append(pair)
        if kind is None or number % 23 == 0:
            continue
        row = {"pair_id": pair["pair_id"], "reason": "backend_failed" if number % 29 == 0 else None}
        names = ("source_aesthetic", "target_aesthetic", "target_quality")
        values = {name: float(random.normal(4, 1)) for name in names}
        scores.append(row | values | ({"target_aesthetic": None} if number % 31 == 0 else {}))
    make_build(workspace, pairs, scores)


@pytest.mark.parametrize("shift", [-9.0, -1.0, -0.25, 0.0, 0.25, 9.0])
@pytest.mark.parametrize("withdraw", [False, True])
def test_counts_are_those_of_decide(workspace: Workspace, build: None, shift: float, withdraw: bool) -> None:
    if withdraw:
        write_tombstone(workspace, Tombstone(kind="image", value=_photo("pair-001"), note=""))
    preview = Preview.read(workspace, "build-ieiw", make_policy(LOW, GAP, SHARE))
    gap = {**GAP, "maximum": max(0.0, GAP["maximum"] + shift)}
    policy = make_policy({**LOW, "minimum": LOW["minimum"] + shift}, gap, SHARE, version=2)
    decision = decide(workspace, "build-ieiw", policy, on_record=False)
    for _ in range(2):  # quantiles are worked out once
        assert preview.count(policy) == (decision.waterfall, decision.thresholds)
    fixed = {**SHARE, "minimum": 4.0}
    del fixed["quantile"], fixed["side"]
    policy = make_policy(LOW, GAP, fixed, version=3)
    assert preview.count(policy)[0] == decide(workspace, "build-ieiw", policy, on_record=False).waterfall


def test_other_conditions_need_another_preview(workspace: Workspace, build: None) -> None:
    preview = Preview.read(workspace, "build-ieiw", make_policy(LOW))
    with pytest.raises(PolicyError, match="knows its conditions alone"):
        preview.count(make_policy(LOW, GAP))


def _photo(pair_id: str) -> str:
    return hashlib.sha256(f"photo of {pair_id}".encode()).hexdigest()
