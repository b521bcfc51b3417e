"""Policies: the packaged ones are the paper's and others' as they say; files are read strictly."""

import math
from pathlib import Path
from typing import Any

import pytest
from made_policies import LOW, make_policy

from catalog.decisions import decide
from catalog.errors import PolicyError
from catalog.policies import Policy
from catalog.schema import SCORE_NAMES
from catalog.workspace import Workspace

INFRA = Path(__file__).parents[2] / "infra" / "policies"


def test_packaged_policies_are_valid_and_named_like_their_files() -> None:
    files = sorted(INFRA.glob("*.toml"))
    assert {path.stem for path in files} >= {"embedded", "paper"}
    for path in files:
        policy = Policy.read(path)
        assert policy.name == path.stem
        assert policy.description and bool(policy.conditions) == (policy.name != "everything")


def test_the_papers_thresholds() -> None:
    by_name = {item.name: item for item in Policy.read(INFRA / "paper.toml").conditions}
    assert by_name["low_target_aesthetic"].minimum == 5.5
    assert by_name["aesthetic_discrepancy"].maximum == 0.5


def test_the_paper_policy_says_that_its_thresholds_are_inferred() -> None:
    """The paper publishes no number: the file must say where 5.5 and 0.5 come from, and nothing may state more."""
    text = (INFRA / "paper.toml").read_text()
    comment = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert "The paper gives no number. 5.5 and 0.5 are inferred" in comment
    assert "filtered-ip2p-thres5.5-0.5.json" in comment and "this project's choice" in comment
    limits = [item.as_dict() for item in Policy.read(INFRA / "paper.toml").conditions]
    kept = ("minimum", "maximum", "quantile", "side")
    assert [{key: item[key] for key in kept if key in item} for item in limits] == [
        {"minimum": 5.5},
        {"maximum": 0.5},
        {"quantile": 0.05, "side": "low"},
        {"quantile": 0.05, "side": "high"},
    ]
    ip2p = Policy.read(INFRA / "ip2p.toml").conditions
    assert [(item.scores[0], item.minimum) for item in ip2p] == [
        ("image_similarity", 0.7),
        ("source_text_similarity", 0.2),
        ("target_text_similarity", 0.2),
        ("direction_similarity", 0.2),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scor": "x"}, "unknown keys: scor"),
        ({"score": "beauty"}, "unknown scores: beauty"),
        ({"score": 3}, "'score' to be text"),
        ({"maximum": 5.0}, "exactly one of"),
        ({"minimum": None}, "exactly one of"),
        ({"quantile": 0.5}, "exactly one of"),
        ({"minimum": "4"}, "'minimum' to be a number"),
        ({"minimum": True}, "'minimum' to be a number"),
        ({"minimum": math.nan}, "finite 'minimum'"),
        ({"side": "low"}, "needs 'side' with 'quantile'"),
        ({"minimum": None, "quantile": 0.1}, "needs 'side' with 'quantile'"),
        ({"minimum": None, "quantile": 1.5, "side": "low"}, "between 0 and 1"),
        ({"minimum": None, "quantile": 0.5, "side": "left"}, "'low' or 'high'"),
        ({"difference": ["source_aesthetic", "target_aesthetic"]}, "either 'score' or 'difference'"),
        ({"score": None}, "either 'score' or 'difference'"),
        ({"score": None, "difference": ["source_aesthetic"]}, "two scores"),
        ({"edit_types": []}, "at least one"),
        ({"edit_types": ["a", "a"]}, "twice"),
        ({"name": "no_change"}, "not a reason of its own"),
        ({"name": "Bad Name"}, "snake case"),
        ({"name": None}, "lacks 'name'"),
    ],
)
def test_each_mistake_in_a_condition_is_one_sentence(change: dict[str, Any], words: str) -> None:
    condition = {key: value for key, value in (LOW | change).items() if value is not None}
    with pytest.raises(PolicyError, match="condition 1") as caught:
        make_policy(condition)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": 1}, "lacks 'name'"),
        ({"name": "a"}, "lacks 'version'"),
        ({"name": "a.b", "version": 1}, "lower-case"),
        ({"name": "a", "version": 0}, "from 1 on"),
        ({"name": "a", "version": 1, "conditions": []}, "unknown keys: conditions"),
        ({"name": "a", "version": 1, "condition": [LOW, LOW]}, "two conditions alike"),
        ({"name": "a", "version": 1, "condition": ["low"]}, "must be a table"),
    ],
)
def test_each_mistake_in_a_policy_is_one_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse(values, "test.toml")
    assert words in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = ")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    for name in ("absent.toml", "bad.toml", "latin.toml", "."):
        with pytest.raises(PolicyError, match=r"TOML|folder"):
            Policy.read(tmp_path / name)


# -- verdicts ---------------------------------------------------------------------------------------------------


def test_a_policy_for_other_scorers_is_refused() -> None:
    policy = Policy.read(INFRA / "paper.toml")
    policy.check_scorers(["aesthetic_scorer=laion-mlp@1", "pair_similarity=histogram@1"], "b")
    with pytest.raises(PolicyError, match=r"thresholds for aesthetic_scorer laion-linear or laion-mlp, but image-stat"):
        policy.check_scorers(["aesthetic_scorer=image-statistics@1"], "b")
    assert Policy.from_dict(policy.as_dict()) == policy
    with pytest.raises(PolicyError, match="unknown keys: inpainter"):
        Policy.parse({**policy.as_dict(), "condition": [], "scorers": {"inpainter": ["lama"]}}, "here")


def test_every_score_can_be_looked_at(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair("a")], [{"pair_id": "a", **dict.fromkeys(SCORE_NAMES, 1.0)}])
    conditions = [{"name": name, "score": name, "minimum": 1.0} for name in SCORE_NAMES]
    assert decide(workspace, "build-ieiw", make_policy(*conditions)).num_accepted == 1
