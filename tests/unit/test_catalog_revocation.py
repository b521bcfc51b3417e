"""Withdrawals against a naive walk over a random lineage, and against every step that training took."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.command_line import run
from catalog.commands import main
from catalog.decisions import decide
from catalog.errors import ConfigError, ShardError
from catalog.manifests import Manifest, write_manifest
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.parquet_streams import mix_digest
from catalog.policies import Policy
from catalog.revocation import (
    KINDS,
    Tombstone,
    read_tombstones,
    revoked_pairs,
    trace,
    write_tombstone,
)
from catalog.schema import REQUESTS
from catalog.store import shard_key, write_shard
from catalog.workspace import HOME_VARIABLE, Workspace

SHAS = [f"{number:064x}" for number in range(12)]
BACKENDS = ["inpainter=lama@1", "inpainter=lama@2", "inpainter=lama-x@1", "replacer=paste@1"]
ids = st.integers(0, 9).map(lambda number: f"p{number}")
images = st.builds(lambda root, sha: (root, sha), st.sampled_from(["store", "photos"]), st.sampled_from(SHAS))
rows = st.fixed_dictionaries(
    {
        "group": st.sampled_from(SHAS),
        "source": images,
        "target": st.one_of(st.none(), images),
        "reversed": st.one_of(st.none(), ids),
        "licence": st.sampled_from([None, "CC0", "CC-BY"]),
        "backends": st.one_of(st.none(), st.lists(st.sampled_from(BACKENDS), max_size=2)),
        "donor": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "region": st.sampled_from(["r1", "r2"]),
                    "group": st.sampled_from(SHAS),
                    "licence": st.sampled_from([None, "CC0", "CC-BY-NC"]),
                }
            ),
        ),
    }
)
stones = st.one_of(
    st.tuples(st.just("image"), st.sampled_from(SHAS)),
    st.tuples(st.just("patch"), st.sampled_from(["r1", "r2"])),
    st.tuples(st.just("licence"), st.sampled_from(["CC0", "CC-BY", "CC-BY-NC"])),
    st.tuples(st.just("backend"), st.sampled_from(["inpainter=lama", "inpainter=lama@2", "replacer=paste"])),
)


def as_pair(make_pair: Any, pair_id: str, row: dict[str, Any]) -> dict[str, Any]:
    pair = make_pair(pair_id, group_id=row["group"], licence=row["licence"], backends=row["backends"])
    pair["source_image"] = pair["source_image"] | {"root": row["source"][0], "sha256": row["source"][1]}
    target = row["target"]
    pair["target_image"] = target and pair["target_image"] | {"root": target[0], "sha256": target[1]}
    pair["reversed_pair_id"] = row["reversed"]
    if donor := row["donor"]:
        image = pair["source_image"] | {"sha256": donor["group"]}
        pair["donor"] = {
            "region_id": donor["region"],
            "group_id": donor["group"],
            "licence": donor["licence"],
            "source_image": image,
        }
    return pair


def named(row: dict[str, Any], kind: str, value: str) -> bool:
    donor = row["donor"] or {"region": None, "group": None, "licence": None}
    if kind == "image":
        shown = [image[1] for image in (row["source"], row["target"]) if image]
        return value in (row["group"], donor["group"], *shown)
    if kind == "patch":
        return donor["region"] == value
    if kind == "licence":
        return value in (row["licence"], donor["licence"])
    return any(backend == value or backend.partition("@")[0] == value for backend in row["backends"] or [])


def walk(lineage: dict[str, dict[str, Any]], tombstones: list[tuple[str, str]]) -> list[str]:
    """One pair after another, looking at every other pair each time."""

    def made(row: dict[str, Any]) -> set[str]:
        images = [image for image in (row["source"], row["target"]) if image]
        return {sha for root, sha in images if root == "store" and sha != row["group"]}

    todo = [key for key, row in lineage.items() if any(named(row, *stone) for stone in tombstones)]
    reached: set[str] = set()
    while todo:
        key = todo.pop()
        if key in reached:
            continue
        reached.add(key)
        for other, row in lineage.items():
            linked = key in lineage and (row["reversed"] == key or lineage[key]["reversed"] == other)
            if linked or made(row) & made(lineage[key]):
                todo.append(other)
    return sorted(reached)


def make_crawl(workspace: Workspace, shown: list[tuple[str, str, str, str]]) -> None:
    """A crawl whose rows have the digests of photo, result, source and target."""
    names = ("photo_image", "result_image", "source_image", "target_image")
    rows = [
        {name: None for name in REQUESTS.names} | {name: {"sha256": one} for name, one in zip(names, row, strict=True)}
        for row in shown
    ]
    key = shard_key("by hand", {}, [], [repr(rows)])
    shard = write_shard(workspace, "requests", key, lambda writer: rows, {"step": "by hand"})
    write_manifest(workspace, Manifest(name="crawl", tables={"requests": [shard]}))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lineage=st.dictionaries(ids, rows, min_size=1),
    cut=st.lists(st.tuples(*[st.sampled_from(SHAS)] * 4), max_size=3),
    tombstones=st.lists(stones, max_size=2),
)
def test_the_closure_is_that_of_a_naive_walk(
    tmp_path_factory: Any, make_build: Any, make_pair: Any, lineage: Any, cut: Any, tombstones: Any
) -> None:
    # A link to a pair that is nowhere leads nowhere, but two pairs may be linked through it by the same name.
    for row in lineage.values():
        row["reversed"] = row["reversed"] if row["reversed"] in lineage else None
    workspace = Workspace(tmp_path_factory.mktemp("revoke"))
    pairs = [as_pair(make_pair, key, row) for key, row in lineage.items()]
    make_build(workspace, pairs[::2], name="first")
    make_build(workspace, pairs[1::2], name="second")
    make_crawl(workspace, cut)
    given_stones = [Tombstone(kind=kind, value=value) for kind, value in tombstones]
    named_images = [value for kind, value in tombstones if kind == "image"]
    meant = [*tombstones, *(("image", row[2]) for row in cut if row[0] in named_images)]
    meant += [("image", row[3]) for row in cut if row[1] in named_images]
    assert revoked_pairs(workspace, given_stones) == walk(lineage, meant)
    for stone in given_stones:
        write_tombstone(workspace, stone)
    assert revoked_pairs(workspace) == walk(lineage, meant)


def test_mixes_and_checkpoints_are_traced(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    pairs = [make_pair(f"p{i}", licence="CC0" if i == 3 else "CC-BY") for i in range(6)]
    make_build(workspace, pairs)
    policy = Policy.parse({"name": "all", "version": 1, "condition": []}, "test")
    plan = MixPlan.parse({"name": "m", "source": [{"name": "all", "weight": 2.0}]}, "test")
    decide(workspace, "build-ieiw", policy)
    mix = workspace.catalog / "mix.parquet"
    build_mix(workspace, ["build-ieiw"], policy, plan, mix)
    for name, sha256 in (("mine", mix_digest(mix)), ("other", SHAS[0])):
        for step in (0, 2, 40):
            (workspace.runs / name / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
        config = {"mix_sha256": sha256, "config": {"global_batch_size": 4, "num_steps": 40, "model": "tiny"}}
        (workspace.runs / name / "config.json").write_text(json.dumps(config))
    found = trace(workspace, [Tombstone(kind="licence", value="CC0")])
    assert found.pairs == ("p3",) and found.mixes == {"mix.parquet": 2}
    assert {one.run for one in found.checkpoints} == {"mine"} and found.unknown_runs == ("other",)
    assert found.checkpoints[-1].checkpoint == "step-00000040"
    assert not any(one.checkpoint == "step-00000000" for one in found.checkpoints)
    assert json.dumps(found.as_dict())
    assert trace(workspace).pairs == ()


def test_what_is_withdrawn_is_rejected_and_never_drawn(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    pairs = [make_pair(f"p{i}", licence="CC0" if i < 2 else "CC-BY") for i in range(6)]
    make_build(workspace, [*pairs, make_pair("bad", licence="CC0", reason="no_change")])
    policy = Policy.parse({"name": "all", "version": 1, "condition": []}, "test")
    plan = MixPlan.parse({"name": "m", "source": [{"name": "all", "weight": 1.0}]}, "test")
    before = decide(workspace, "build-ieiw", policy)
    assert before.num_accepted == 6
    write_tombstone(workspace, Tombstone(kind="licence", value="CC0"))
    after = decide(workspace, "build-ieiw", policy)
    assert {stage.name: stage.removed for stage in after.waterfall[1:]} == {"no_change": 1, "revoked": 2}
    assert after.num_accepted == 4 and after.manifest.tables != before.manifest.tables
    verdicts = pq.read_table(after.manifest.paths(workspace, "verdicts")[0]).to_pylist()
    assert [row["pair_id"] for row in verdicts if row["condition"] == "revoked"] == ["p0", "p1"]
    build_mix(workspace, ["build-ieiw"], policy, plan, workspace.catalog / "mix.parquet")
    drawn = pq.read_table(workspace.catalog / "mix.parquet")["pair_id"].to_pylist()
    assert sorted(drawn) == ["p2", "p3", "p4", "p5"]
    write_tombstone(workspace, Tombstone(kind="licence", value="CC-BY-NC"))  # reaches nothing here
    assert decide(workspace, "build-ieiw", policy).made is False


def test_a_tombstone_is_written_once_and_never_forgotten(workspace: Workspace) -> None:
    stone = Tombstone(kind="patch", value="sample/1/2", note="asked by the photographer")
    path = write_tombstone(workspace, stone)
    before = path.read_bytes()
    assert write_tombstone(workspace, Tombstone(kind="patch", value="sample/1/2", note="again")) == path
    assert path.read_bytes() == before and read_tombstones(workspace) == [stone]
    path.write_bytes(before[:40])
    with pytest.raises(ShardError, match="torn"):
        revoked_pairs(workspace)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("image", "photo.jpg"), ("backend", "lama"), ("licence", " "), ("patch", "a\nb"), ("photo", "x")],
)
def test_what_cannot_be_withdrawn_is_refused(kind: str, value: str) -> None:
    with pytest.raises(ConfigError, match=r"Got"):
        Tombstone(kind=kind, value=value)
    assert set(KINDS) == {"image", "patch", "licence", "backend"}


def test_the_command_lists_and_records(
    workspace: Workspace,
    make_build: Any,
    make_pair: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(workspace.home))
    make_build(workspace, [make_pair(f"p{i:02d}", licence="CC0" if i < 12 else "CC-BY") for i in range(14)])
    assert run(main, ["revoke", "--licence", "CC0", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("12 pairs\n  p00\n") and "and 2 more" in out and "nothing was recorded" in out
    assert revoked_pairs(workspace) == []
    assert run(main, ["revoke", "--licence", "CC0", "--note", "asked", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pairs"]) == 12
    assert len(revoked_pairs(workspace)) == 12
    assert run(main, ["revoke"]) == 0  # what is on record
    out = capsys.readouterr().out
    assert out.startswith("12 pairs") and out.endswith("\n1 withdrawal: on record before\n")
    assert run(main, ["revoke", "--licence", "CCO", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "no pair of any build bears these names yet" in out and out.endswith("\n  licence CCO\n")
    assert run(main, ["revoke", "--image", "photo.jpg"]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_a_withdrawal_that_reaches_nothing_says_how_it_is_lifted(
    workspace: Workspace,
    make_build: Any,
    make_pair: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(workspace.home))
    make_build(workspace, [make_pair("p0", licence="CC0")])
    for more, listed in (([], 1), (["--licence", "CC0"], 1), (["--licence", "none"], 2)):
        assert run(main, ["revoke", "--licence", "nope", *more]) == 0
        out = capsys.readouterr().out
        assert "no pair of any build bears these names yet" in out and "to lift one, delete its file" in out
        files = [line.partition(": ")[2] for line in out.splitlines() if line.startswith("  licence ")]
        assert len(files) == listed
        assert ("recorded; decide and mix again" in out) == ("CC0" in more)
    make_build(workspace, [make_pair("p0", licence="CC0"), make_pair("p1", licence="nope")])
    assert revoked_pairs(workspace) == ["p0", "p1"]
    Path(files[0]).unlink()
    assert revoked_pairs(workspace) == ["p0"]
