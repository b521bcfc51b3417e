"""Decisions: verdicts against a judge in plain Python, waterfalls, versions, and what they refuse."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_policies import GAP, LOW, make_policy

from catalog.decisions import compare, decide, list_decisions
from catalog.errors import PolicyError, ShardError
from catalog.manifests import Manifest, read_manifest, write_manifest
from catalog.parquet_streams import read_ending
from catalog.policies import Policy
from catalog.queries import fetch_rows, load_sql, open_database, open_table, run_query
from catalog.schema import SCORES, VERDICTS
from catalog.store import shard_key, write_shard
from catalog.text_keys import text_key, text_keys
from catalog.workspace import Workspace


def judge(pairs: list[dict[str, Any]], scores: list[dict[str, Any]], policy: Policy) -> list[dict[str, Any]]:
    """The verdicts, worked out row by row."""
    by_id = {row["pair_id"]: row for row in scores}

    def about(condition: Any, pair: dict[str, Any]) -> bool:
        if condition.edit_types is None:
            return bool(pair["vision_task"] == "image_editing")
        return pair["edit_type"] in condition.edit_types

    def value(condition: Any, pair: dict[str, Any]) -> float | None:
        row = by_id.get(pair["pair_id"], {})
        values = [row.get(name) for name in condition.scores]
        if any(item is None or not math.isfinite(item) for item in values):
            return None
        return values[0] if len(values) == 1 else abs(values[0] - values[1])

    def threshold(condition: Any) -> float | None:
        if condition.quantile is None:
            return condition.minimum if condition.minimum is not None else condition.maximum
        usable = [
            value(condition, pair)
            for pair in pairs
            if pair["reason"] is None
            and by_id.get(pair["pair_id"], {}).get("reason") is None
            and about(condition, pair)
        ]
        found = sorted((item for item in usable if item is not None), reverse=condition.side == "high")
        return found[int(Fraction(str(condition.quantile)) * len(found))] if found else None

    thresholds = {condition.name: threshold(condition) for condition in policy.conditions}
    verdicts = []
    for pair in pairs:
        verdict = dict.fromkeys(VERDICTS.names) | {"pair_id": pair["pair_id"], "accepted": True}
        verdict |= {name: pair[name] for name in ("dataset", "vision_task", "edit_type", "split")}
        verdict |= {"pair_key": text_key(pair["pair_id"]), "group_key": text_key(pair["group_id"])}
        verdict["donor_key"] = text_key(pair["donor"]["group_id"]) if pair["donor"] else None
        verdict["usable"] = pair["reason"] is None
        concerned = [item for item in policy.conditions if about(item, pair)]
        score_reason = by_id.get(pair["pair_id"], {}).get("reason") if concerned else None
        if reason := pair["reason"] or score_reason:
            verdict |= {"accepted": False, "condition": reason}
        else:
            for item in concerned:
                seen, limit = value(item, pair), thresholds[item.name]
                low = item.minimum is not None or item.side == "low"
                passes = seen is not None and limit is not None and (seen >= limit if low else seen <= limit)
                if not passes:
                    verdict |= {"accepted": False, "condition": item.name, "score": item.looks_at}
                    verdict |= {"value": seen, "threshold": limit}
                    break
        verdicts.append(verdict)
    return verdicts


numbers = st.one_of(st.none(), st.sampled_from([math.nan, math.inf, -math.inf, 4.0, 0.5]), st.floats(-10, 10, width=16))
pair_rows = st.fixed_dictionaries(
    {
        "vision_task": st.sampled_from(["image_editing", "segmentation"]),
        "edit_type": st.sampled_from(["object_removal", "object_addition", None]),
        "reason": st.sampled_from([None, None, None, "no_change"]),
    }
)
score_rows = st.fixed_dictionaries(
    {
        "source_aesthetic": numbers,
        "target_aesthetic": numbers,
        "target_quality": numbers,
        "reason": st.sampled_from([None, None, None, "backend_failed"]),
    }
)
condition_sets = st.lists(
    st.sampled_from(
        [
            LOW,
            GAP,
            {"name": "top", "score": "target_quality", "quantile": 0.25, "side": "high"},
            {"name": "tail", "score": "target_quality", "quantile": 0.29, "side": "low"},
            {"name": "add", "score": "source_aesthetic", "maximum": 3.0, "edit_types": ["object_addition"]},
            {
                "name": "gap_tail",
                "difference": ["source_aesthetic", "target_aesthetic"],
                "quantile": 0.5,
                "side": "high",
                "edit_types": ["object_removal", "object_addition"],
            },
        ]
    ),
    unique_by=lambda condition: condition["name"],
    max_size=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(pair_rows, st.one_of(st.none(), score_rows)), max_size=12), conditions=condition_sets)
def test_verdicts_equal_a_judge_in_plain_python(
    tmp_path_factory: Any, make_build: Any, make_pair: Any, rows: Any, conditions: Any
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("decide"))
    pairs = [make_pair(f"pair {i * 7 % 13:02d}", **pair) for i, (pair, _) in enumerate(rows)]
    scores = [{"pair_id": pair["pair_id"], **score} for pair, (_, score) in zip(pairs, rows, strict=True) if score]
    make_build(workspace, pairs, scores or [{"pair_id": "stranger"}], shard_size=3)
    policy = make_policy(*conditions)
    decision = decide(workspace, "build-ieiw", policy, threads=1)
    expected = judge(pairs, scores, policy)
    path = decision.manifest.paths(workspace, "verdicts")[0]
    found = pq.read_table(path)
    assert read_ending(path) == count_by_sql(path)
    assert found.schema.equals(VERDICTS)
    assert found.to_pylist() == expected
    assert decision.num_pairs == len(pairs)
    assert decision.num_accepted == sum(row["accepted"] for row in expected)
    assert sum(stage.removed for stage in decision.waterfall) + decision.num_accepted == len(pairs)
    for stage in decision.waterfall[1:]:
        assert stage.removed == sum(row["condition"] == stage.name for row in expected)


def test_verdicts_of_another_layout_are_decided_anew(
    tmp_path: Path, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, policy = Workspace(tmp_path), make_policy()
    make_build(workspace, [make_pair("pair")], [{"pair_id": "pair"}])
    with monkeypatch.context() as older:
        older.setattr("catalog.decisions._VERSION", 1)
        before = decide(workspace, "build-ieiw", policy)
    after = decide(workspace, "build-ieiw", policy)
    assert before.made and after.made and not decide(workspace, "build-ieiw", policy).made
    assert after.manifest.tables != before.manifest.tables


def count_by_sql(verdicts: Path) -> dict[str, Any]:
    """What the footer of verdicts says, as the mix and the dashboard would count it."""
    with open_database() as connection:
        open_table(connection, "verdicts", [verdicts], VERDICTS)
        for name in ("judged_pairs", "unchanged_candidates", "mix_tally"):
            run_query(connection, name)
        kinds = fetch_rows(
            connection, "SELECT * EXCLUDE (split, fate, num_pairs), split, fate, num_pairs FROM mix_tally"
        )
        counts = fetch_rows(connection, load_sql("verdict_counts"))
    return {"counts": counts, "kinds": sorted(kinds, key=lambda row: [(v is None, v or "") for v in row.values()])}


def write_scored(workspace: Workspace, pairs: list[Any], scores: list[Any], size: int) -> None:
    """A build as step ``score`` leaves it: a shard of scores for each shard of pairs, which its footer names."""
    shards: dict[str, list[Any]] = {"pairs": [], "scores": []}
    by_id = {row["pair_id"]: {name: row.get(name) for name in SCORES.names} for row in scores}
    for start in range(0, len(pairs), size):
        part = pairs[start : start + size]
        key = shard_key("by hand", {}, [], [repr(part)])
        shards["pairs"].append(write_shard(workspace, "pairs", key, lambda _, part=part: part, {}))
        inputs = [shards["pairs"][-1].sha256, "of the references"]
        rows = [by_id[pair["pair_id"]] for pair in part if pair["pair_id"] in by_id]
        key = shard_key("by hand", {}, [], [*inputs, repr(rows)])
        shards["scores"].append(write_shard(workspace, "scores", key, lambda _, rows=rows: rows, {"inputs": inputs}))
    tables = {table: sorted(listed, key=lambda shard: shard.key) for table, listed in shards.items()}
    write_manifest(workspace, Manifest(name="build-ieiw", parameters={}, tables=tables))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(pair_rows, score_rows), max_size=12),
    conditions=condition_sets,
    shuffled=st.booleans(),
    size=st.sampled_from([2, 5]),
    stretch=st.sampled_from([1, 4]),
)
def test_scores_in_the_order_of_pairs_and_in_any_other_give_the_same(
    tmp_path_factory: Any, make_pair: Any, rows: Any, conditions: Any, shuffled: bool, size: int, stretch: int
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("decide"))
    pairs = [make_pair(f"pair {i * 7 % 13:02d}", **pair) for i, (pair, _) in enumerate(rows)]
    scores = [
        {"pair_id": pair["pair_id"], **score}
        for pair, (_, score) in zip(pairs, rows, strict=True)
        if pair["reason"] is None and pair["vision_task"] == "image_editing"
    ]
    write_scored(workspace, pairs, scores[::-1] if shuffled else scores, size)
    if shuffled:
        for path in read_manifest(workspace, "build-ieiw").paths(workspace, "scores"):
            table = pq.read_table(path)
            pq.write_table(table.take(np.arange(len(table))[::-1]), path)
    policy = make_policy(*conditions)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("catalog.candidates._STRETCH", stretch)
        decision = decide(workspace, "build-ieiw", policy, threads=2)
    found = pq.read_table(decision.manifest.paths(workspace, "verdicts")[0]).to_pylist()
    in_order = sorted(judge(pairs, scores, policy), key=lambda row: row["pair_id"])
    assert sorted(found, key=lambda row: row["pair_id"]) == in_order
    listed = read_manifest(workspace, "build-ieiw").paths(workspace, "pairs")
    assert [row["pair_id"] for row in found] == [one for path in listed for one in pq.read_table(path)[0].to_pylist()]


def test_two_pairs_of_one_key_are_refused(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_build(workspace, *scored(make_pair, [5.0] * 3))
    for module in ("catalog.verdicts", "catalog.decisions"):
        monkeypatch.setattr(f"{module}.text_keys", lambda texts: text_keys(texts) % np.uint64(2))
    with pytest.raises(ShardError, match=r"p00\d and p00\d of build 'build-ieiw' do, by chance"):
        decide(workspace, "build-ieiw", make_policy(LOW))
    assert not list(workspace.table_folder("verdicts").iterdir())


def scored(make_pair: Any, values: list[float | None]) -> tuple[list[Any], list[Any]]:
    pairs = [make_pair(f"p{i:03d}") for i in range(len(values))]
    scores = [
        {"pair_id": f"p{i:03d}", "target_aesthetic": value, "source_aesthetic": 4.25} for i, value in enumerate(values)
    ]
    return pairs, scores


def test_a_quantile_cuts_exactly_its_share(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, *scored(make_pair, [float(i) for i in range(100)]))
    for side, kept in (("low", range(29, 100)), ("high", range(71))):
        tail = {"name": "tail", "score": "target_aesthetic", "quantile": 0.29, "side": side}
        decision = decide(workspace, "build-ieiw", make_policy(tail, name=f"tail-{side}"))
        assert decision.num_accepted == 71
        assert decision.thresholds["tail"] == (kept[0] if side == "low" else kept[-1])


def test_a_build_without_a_pair_has_a_decision_without_one(workspace: Workspace) -> None:
    write_manifest(workspace, Manifest(name="none", tables={"pairs": [], "scores": []}))
    worst = {"name": "worst", "score": "target_quality", "quantile": 0.1, "side": "low"}
    decision = decide(workspace, "none", make_policy(worst))
    assert (decision.num_pairs, decision.num_accepted, decision.thresholds) == (0, 0, {"worst": None})


def test_a_second_call_makes_nothing_and_says_the_same(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_build(workspace, *scored(make_pair, [3.0, 4.0, None]))
    first = decide(workspace, "build-ieiw", make_policy(LOW, GAP))
    path = first.manifest.paths(workspace, "verdicts")[0]
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    monkeypatch.setattr("catalog.decisions.write_stream", None)  # would be called to write
    second = decide(workspace, "build-ieiw", make_policy(LOW, GAP))
    assert (first.made, second.made) == (True, False)
    assert second.waterfall == first.waterfall and second.thresholds == first.thresholds
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert read_manifest(workspace, "build-ieiw.test") == second.manifest
    assert [one.name for one in list_decisions(workspace, "build-ieiw")] == ["build-ieiw.test"]


def test_bytes_do_not_depend_on_threads_or_the_builds_name(tmp_path: Path, make_build: Any, make_pair: Any) -> None:
    pairs, scores = scored(make_pair, [i % 9 + 0.1 for i in range(500)])
    found = set()
    for threads, name in ((1, "a"), (2, "b"), (4, "a")):
        workspace = Workspace(tmp_path / f"{threads}")
        make_build(workspace, pairs, scores, name=name, shard_size=50)
        decision = decide(workspace, name, make_policy(LOW, GAP), threads=threads)
        path = decision.manifest.paths(workspace, "verdicts")[0]
        found.add((path.name, path.read_bytes()))
    assert len(found) == 1


def test_another_version_gives_other_verdicts_and_a_diff(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, *scored(make_pair, [3.0, 4.0, 4.5, 5.0, None]))
    first = decide(workspace, "build-ieiw", make_policy(LOW))
    second = decide(workspace, "build-ieiw", make_policy(GAP, LOW | {"minimum": 2.0}, name="other"))
    accepted = []
    for decision in (first, second):
        rows = pq.read_table(decision.manifest.paths(workspace, "verdicts")[0]).to_pylist()
        accepted.append({row["pair_id"] for row in rows if row["accepted"]})
    changes = compare(workspace, first.manifest, second.manifest)
    assert set(changes.gained) == accepted[1] - accepted[0]
    assert set(changes.lost) == accepted[0] - accepted[1] == {"p003"}
    assert changes.lost_to == {"gap": 1}
    assert len(list(workspace.table_folder("verdicts").glob("*.parquet"))) == 2


def test_pairs_without_scores_need_a_scoring_step_first(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair("a"), make_pair("b", vision_task="segmentation")])
    with pytest.raises(PolicyError, match="scores of 1 pairs"):
        decide(workspace, "build-ieiw", make_policy(LOW))
    assert decide(workspace, "build-ieiw", make_policy()).num_accepted == 2
    assert not list(workspace.home.rglob("*.tmp"))


def test_a_pair_id_that_comes_twice_is_refused(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    pairs, scores = scored(make_pair, [5.0, 5.0])
    make_build(workspace, [*pairs, pairs[0]], scores)
    with pytest.raises(ShardError, match="'p000' comes twice"):
        decide(workspace, "build-ieiw", make_policy(LOW))
    assert not list(workspace.home.rglob("*.tmp")) and not list(workspace.table_folder("verdicts").iterdir())


def test_a_torn_or_foreign_shard_is_one_sentence(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    manifest = make_build(workspace, *scored(make_pair, [5.0] * 40), shard_size=40)
    path = manifest.paths(workspace, "scores")[0]
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PAR1" + bytes(200) + whole[204:]):
        path.write_bytes(damaged)
        with pytest.raises(ShardError, match=r"verify|run the build again"):
            decide(workspace, "build-ieiw", make_policy(LOW))
    path.unlink()
    with pytest.raises(ShardError, match="no shard at"):
        decide(workspace, "build-ieiw", make_policy(LOW))
    assert not list(workspace.home.rglob("*.tmp"))


def test_a_decision_is_no_build(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, *scored(make_pair, [5.0]))
    decide(workspace, "build-ieiw", make_policy(LOW))
    with pytest.raises(ShardError, match="no table of pairs"):
        decide(workspace, "build-ieiw.test", make_policy(LOW))
