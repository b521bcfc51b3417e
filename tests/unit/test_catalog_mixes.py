"""The mix: equals a naive draw in plain Python, for any threads and shard layout; appends move nothing else."""

import json
import tomllib
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.digests import bytes_digest
from catalog.errors import ConfigError, MixError, ShardError
from catalog.images import encode_png
from catalog.manifests import read_manifest, write_manifest
from catalog.mix_amounts import apportion, count_draws
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.queries import fetch_rows, open_database, run_query
from catalog.reports import TABLE_1
from catalog.roots import Roots, record_root
from catalog.schema import DONOR, MIX, SCHEMA_VERSION
from catalog.text_keys import text_key
from catalog.workspace import Workspace
from trainer.data import TrainingSamples
from trainer.plan import TrainingPlan
from trainer.recipes import make_config

INFRA = Path(__file__).parents[2] / "infra" / "mixes"
EVERYTHING = Policy(name="everything", version=1, description="", conditions=())
AESTHETIC = Policy.parse(
    {"name": "low", "version": 1, "condition": [{"name": "low", "score": "target_aesthetic", "minimum": 4.0}]}, "low"
)
ONE = {"name": "all", "weight": 1.0}
STRICTNESS = ("train", "val", "test")
DONOR_FIELDS = [field.name for field in DONOR]


def make_plan(*sources: dict[str, Any], seed: int = 0, barred: tuple[str, ...] = ()) -> MixPlan:
    return MixPlan.parse({"name": "test", "seed": seed, "source": list(sources)}, "test.toml", barred)


def stir(number: int, word: int) -> int:
    """catalog/sql/stir.sql in plain Python: twice the middle of a product of 128 bits."""
    middle = ((number ^ word) * 0x9E3779B97F4A7C15 >> 32) & (1 << 64) - 1
    return (middle * 0xBF58476D1CE4E5B9 >> 32) & (1 << 64) - 1


def place(seed: int, pair_id: str, repeat: int | None = None) -> tuple[int, int]:
    """What draws are ordered by: the number for the remainder, or for the order of the mix."""
    key = text_key(pair_id)
    if repeat is None:
        return stir(key, text_key(f"{seed}:draw")), key
    return stir(stir(key, text_key(f"{seed}:order")), repeat), key


def naive_mix(pairs: list[dict[str, Any]], accepted: set[str], plan: MixPlan) -> list[dict[str, Any]]:
    """The mix, drawn row by row: no histogram, no threshold."""
    strictest: dict[str, str] = {}
    for pair in pairs:
        known = strictest.get(pair["group_id"], "train")
        strictest[pair["group_id"]] = max(known, pair["split"], key=STRICTNESS.index)
    usable: dict[str, list[tuple[dict[str, Any], str]]] = {source.name: [] for source in plan.sources}
    for pair in pairs:
        split = strictest[pair["group_id"]]
        digests = {pair["group_id"], pair["source_image"]["sha256"]}
        digests |= {pair["target_image"]["sha256"]} if pair["target_image"] else set()
        if pair["reason"] or pair["pair_id"] not in accepted:
            continue
        if split == "train" and digests & set(plan.barred):
            continue
        for source in plan.sources:
            filters = {key: getattr(source, key) for key in ("dataset", "vision_task", "edit_type")}
            if all(value is None or pair[key] == value for key, value in filters.items()):
                usable[source.name].append((pair, split))
                break
    train, rest = [], []
    for source in plan.sources:
        mine = [pair for pair, split in usable[source.name] if split == "train"]
        mine.sort(key=lambda pair: place(plan.seed, pair["pair_id"]))
        passes = int(source.weight)
        extra = round((source.weight - passes) * len(mine))
        for rank, pair in enumerate(mine):
            train += [(pair, source.name, repeat) for repeat in range(passes + (rank < extra))]
        rest += [(pair, source.name, split) for pair, split in usable[source.name] if split != "train"]
    train.sort(key=lambda draw: place(plan.seed, draw[0]["pair_id"], draw[2]))
    rest.sort(key=lambda draw: (STRICTNESS.index(draw[2]), draw[0]["pair_id"]))
    rows = [
        pair | {"position": position, "split": "train", "mix_source": name, "repeat": repeat}
        for position, (pair, name, repeat) in enumerate(train)
    ]
    rows += [pair | {"position": None, "split": s, "mix_source": name, "repeat": 0} for pair, name, s in rest]
    return [{column: row[column] for column in MIX.names} for row in rows]


def some_pairs(make_pair: Any, num_pairs: int, **given: Any) -> list[dict[str, Any]]:
    return [
        make_pair(
            f"pair {i:04d}",
            dataset=("sample", "coco")[i % 2],
            vision_task=("image_editing", "segmentation")[i % 3 == 0],
            split=("train", "train", "train", "train", "val", "test")[i % 6],
            **given,
        )
        for i in range(num_pairs)
    ]


def metadata(path: Path) -> dict[str, Any]:
    raw = pq.read_schema(path).metadata
    found: dict[str, Any] = json.loads(raw[b"ieiw"])
    return found


def data_pages(path: Path) -> bytes:
    """The file without its footer, which names the input shards."""
    data = path.read_bytes()
    return data[: -8 - int.from_bytes(data[-8:-4], "little")]


# -- files ------------------------------------------------------------------------------------------------------


def test_packaged_mixes_are_valid_and_named_like_their_files() -> None:
    for name in ("demo", "paper"):
        assert MixPlan.read(INFRA / f"{name}.toml").name == name


SET_SIZES = {
    "coco_keypoints": 149_000,
    "crowdpose": 35_000,
    "mpii": 22_000,
    "aic": 378_000,
    "gopro": 2_103,
    "reds": 24_000,
    "sidd": 320,
    "clwd": 60_000,
    "instructpix2pix": 561_000,
    "magicbrush": 8_000,
    "gier": 5_000,
    "gqa_inpaint": 131_000,
    "phrasecut": 85_000,
    "replacement": 51_000,
    "photo_request": 23_000,
}
"""The paper's section 4.1. It gives no sizes for segmentation, whose three sets have weight 1."""


def by_task(plan: MixPlan) -> dict[str | None, int]:
    sizes = [SET_SIZES.get(source.name, 0) for source in plan.sources]
    found: dict[str | None, int] = {}
    for source, drawn in zip(plan.sources, count_draws(plan, sizes), strict=True):
        found[source.vision_task] = found.get(source.vision_task, 0) + drawn
    return found


def test_the_papers_mix_gives_table_1_where_the_official_weights_do() -> None:
    """Enhancement is known not to fit: the official weights give 27k of the 46k."""
    found = by_task(MixPlan.read(INFRA / "paper.toml"))
    for task in ("keypoint_detection", "image_editing"):
        assert found[task] == pytest.approx(TABLE_1[task], rel=0.02)
    assert found["image_enhancement"] == pytest.approx(27_406, abs=1)


def test_quotas_give_table_1_to_the_sample() -> None:
    values = tomllib.loads((INFRA / "paper.toml").read_text())
    quotas = [{"vision_task": task, "count": count} for task, count in TABLE_1.items() if task != "segmentation"]
    found = by_task(MixPlan.parse({**values, "quota": quotas}, "paper.toml"))
    assert {task: found[task] for task in found if task != "segmentation"} == {
        task: count for task, count in TABLE_1.items() if task != "segmentation"
    }


def test_only_a_text_that_may_lack_can_be_left_out() -> None:
    for values, key, remedy in (
        ({"name": " ", "source": [ONE]}, "name", "write something"),
        ({"name": "a", "source": [ONE | {"dataset": ""}]}, "dataset", "write something or leave it out"),
    ):
        with pytest.raises(MixError, match=f"has an empty '{key}': {remedy}$"):
            MixPlan.parse(values, "test.toml")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "a", "source": []}, "no [[source]]"),
        ({"name": "a"}, "no [[source]]"),
        ({"source": [ONE]}, "lacks 'name'"),
        ({"name": "A b", "source": [ONE]}, "lower-case"),
        ({"name": "a", "seed": 0.5, "source": [ONE]}, "whole number"),
        ({"name": "a", "sources": [ONE]}, "unknown keys: sources"),
        ({"name": "a", "source": [ONE, ONE]}, "two sources alike"),
        ({"name": "a", "source": [{"name": "x"}]}, "lacks 'weight'"),
        ({"name": "a", "source": [ONE | {"weight": -1}]}, "weight from 0"),
        ({"name": "a", "source": [ONE | {"weight": 1e9}]}, "weight from 0"),
        ({"name": "a", "source": [ONE | {"weight": float("nan")}]}, "finite"),
        ({"name": "a", "source": [ONE | {"weight": "1"}]}, "a number"),
        ({"name": "a", "source": [ONE | {"vision_task": "editing"}]}, "unknown vision_task"),
        ({"name": "a", "source": [ONE | {"dataset": ""}]}, "empty 'dataset'"),
        ({"name": "a", "source": [ONE | {"split": "val"}]}, "unknown keys: split"),
        ({"name": "a", "source": [ONE | {"count": 5}]}, "weight and count: keep one"),
        ({"name": "a", "source": [{"name": "x", "count": -1}]}, "'count' to be from 0"),
        ({"name": "a", "source": [{"name": "x", "share": 0.5}]}, "needs num_samples"),
        ({"name": "a", "num_samples": 10, "source": [ONE]}, "needs num_samples if"),
        ({"name": "a", "num_samples": 0, "source": [ONE]}, "'num_samples' to be from 1"),
        ({"name": "a", "num_samples": 9, "source": [{"name": "x", "share": 1.5}]}, "share above 0"),
        ({"name": "a", "num_samples": 9, "source": [{"name": n, "share": 0.6} for n in "xy"]}, "sum to at most 1"),
        ({"name": "a", "epochs": 0, "source": [ONE]}, "'epochs' to be from 1"),
        ({"name": "a", "quota": [{"vision_task": "x", "count": 5}], "source": [ONE]}, "vision_task, each once"),
        ({"name": "a", "quota": [{"vision_task": "segmentation", "count": 5}], "source": [ONE]}, "no source of"),
    ],
)
def test_each_mistake_in_a_mix_file_is_one_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(MixError) as caught:
        MixPlan.parse(values, "test.toml")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_list_of_barred_images_is_read_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mix.toml").write_text('name = "a"\nbarred = "barred.txt"\n[[source]]\nname = "all"\nweight = 1\n')
    (tmp_path / "barred.txt").write_text(f"# benchmarks\n{'B' * 64}  photo.jpg\n\n{'a' * 64}\n")
    assert MixPlan.read(tmp_path / "mix.toml").barred == ("a" * 64, "b" * 64)
    (tmp_path / "barred.txt").write_text("photo.jpg\n")
    with pytest.raises(MixError, match=r"line 1.*64 hexadecimal"):
        MixPlan.read(tmp_path / "mix.toml")
    (tmp_path / "barred.txt").unlink()
    with pytest.raises(MixError, match="barred images"):
        MixPlan.read(tmp_path / "mix.toml")


# -- draws ------------------------------------------------------------------------------------------------------

pair_rows = st.fixed_dictionaries(
    {
        "dataset": st.sampled_from(["a", "b"]),
        "vision_task": st.sampled_from(["image_editing", "segmentation"]),
        "edit_type": st.sampled_from(["object_removal", None]),
        "split": st.sampled_from(["train", "train", "val", "test"]),
        "group_id": st.sampled_from([f"group {i}" for i in range(12)]),
        "reason": st.sampled_from([None, None, None, "no_change"]),
    }
)
weights = st.sampled_from([0.0, 0.3, 0.5, 1.0, 1.5, 2.3])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(pair_rows, max_size=30),
    scores=st.lists(st.sampled_from([3.0, 5.0]), min_size=30, max_size=30),
    chosen=st.tuples(weights, weights, weights),
    seed=st.integers(0, 3),
)
def test_the_mix_equals_a_naive_draw(
    tmp_path_factory: Any, make_build: Any, make_pair: Any, rows: Any, scores: Any, chosen: Any, seed: int
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("mix"))
    pairs = [make_pair(f"pair {i * 11 % 31:02d}", **row) for i, row in enumerate(rows)]
    score_rows = [
        {"pair_id": pair["pair_id"], "target_aesthetic": score} for pair, score in zip(pairs, scores, strict=False)
    ]
    make_build(workspace, pairs, score_rows, shard_size=5)
    sources = [
        {"name": "b editing", "dataset": "b", "vision_task": "image_editing", "weight": chosen[0]},
        {"name": "removal", "edit_type": "object_removal", "weight": chosen[1]},
        {"name": "segmentation", "vision_task": "segmentation", "weight": chosen[2]},
    ]
    plan = make_plan(*[one | {"allow_empty": True} for one in sources], seed=seed, barred=("group 3",))
    accepted = {
        pair["pair_id"]
        for pair, row in zip(pairs, score_rows, strict=True)
        if pair["vision_task"] != "image_editing" or row["target_aesthetic"] >= 4.0
    }
    expected = naive_mix(pairs, accepted, plan)
    output = workspace.catalog / "mix.parquet"
    if not any(row["position"] is not None for row in expected):
        with pytest.raises(MixError, match="draws no training sample"):
            build_mix(workspace, ["build-ieiw"], AESTHETIC, plan, output)
        assert not output.exists()
        return
    summary = build_mix(workspace, ["build-ieiw"], AESTHETIC, plan, output, threads=1)
    table = pq.read_table(output)
    assert table.schema.equals(MIX)
    assert table.to_pylist() == expected
    for split, count in (("train", summary.num_train), ("val", summary.num_val), ("test", summary.num_test)):
        assert count == sum(row["split"] == split for row in expected)
    for source in summary.sources:
        drawn = [row for row in expected if row["mix_source"] == source.name]
        assert source.drawn == sum(row["split"] == "train" for row in drawn)
        assert source.available == source.rejected + source.barred + source.train + source.val + source.test
    claimed = sum(source.available for source in summary.sources)
    assert claimed + summary.num_unclaimed == sum(pair["reason"] is None for pair in pairs)


@pytest.mark.parametrize("weight", [0.1, 0.29, 0.5, 1.0, 2.3])
def test_a_weight_draws_exactly_its_share(workspace: Workspace, make_build: Any, make_pair: Any, weight: float) -> None:
    make_build(workspace, [make_pair(f"p{i}") for i in range(1000)], shard_size=1000)
    output = workspace.catalog / "mix.parquet"
    build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE | {"weight": weight}), output)
    rows = pq.read_table(output).to_pylist()
    assert len(rows) == round(weight * 1000)
    assert [row["position"] for row in rows] == list(range(len(rows)))
    times = {row["pair_id"]: 0 for row in rows}
    for row in rows:
        times[row["pair_id"]] += 1
    assert set(times.values()) <= {int(weight), int(weight) + 1}
    assert len({(row["pair_id"], row["repeat"]) for row in rows}) == len(rows)


def test_bytes_do_not_depend_on_threads_or_layout(tmp_path: Path, make_build: Any, make_pair: Any) -> None:
    pairs = some_pairs(make_pair, 9000)
    plan = make_plan({"name": "edit", "vision_task": "image_editing", "weight": 1.3}, ONE | {"weight": 0.4})
    whole, pages, described = set(), set(), set()
    for number, (threads, size, order) in enumerate([(1, 3000, 1), (2, 3000, 1), (4, 3000, 1), (2, 1111, -1)]):
        workspace = Workspace(tmp_path / str(number))
        make_build(workspace, pairs[::order], shard_size=size)
        output = workspace.catalog / "mix.parquet"
        build_mix(workspace, ["build-ieiw"], EVERYTHING, plan, output, threads=threads)
        pages.add(data_pages(output))
        found = metadata(output)
        builds = found.pop("builds")
        assert len(builds[0]["pairs"]) == -(-9000 // size)
        described.add(json.dumps(found))
        if size == 3000:
            whole.add(output.read_bytes())
    assert len(whole) == len(pages) == len(described) == 1


def test_row_groups_of_the_inputs_do_not_matter(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    manifest = make_build(workspace, some_pairs(make_pair, 500), shard_size=250)
    output = workspace.catalog / "mix.parquet"
    build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output)
    before = output.read_bytes()
    for path in manifest.paths(workspace, "pairs"):
        table = pq.read_table(path)
        pq.write_table(table, path, row_group_size=17, compression="none")
    build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output)
    assert output.read_bytes() == before


def test_row_groups_of_the_mix_have_a_fixed_size(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair(f"p{i}") for i in range(3000)], shard_size=3000)
    output = workspace.catalog / "mix.parquet"
    build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE | {"weight": 3}), output)
    groups = pq.ParquetFile(output).metadata
    sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
    assert sizes == [4096, 4096, 808]


def test_the_seed_decides_order_and_remainder(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair(f"p{i}") for i in range(200)], shard_size=200)
    drawn = []
    for seed in (0, 0, 1):
        output = workspace.catalog / "mix.parquet"
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE | {"weight": 0.5}, seed=seed), output)
        drawn.append(pq.read_table(output)["pair_id"].to_pylist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) != set(drawn[2])


def test_appended_rows_move_no_earlier_draw(tmp_path: Path, make_build: Any, make_pair: Any) -> None:
    pairs = [make_pair(f"p{i:03d}") for i in range(300)]
    draws = []
    for count in (200, 300):
        workspace = Workspace(tmp_path / str(count))
        make_build(workspace, pairs[:count], shard_size=100)
        output = workspace.catalog / "mix.parquet"
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE | {"weight": 1.5}), output)
        rows = pq.read_table(output, columns=["pair_id", "repeat"]).to_pylist()
        draws.append([(row["pair_id"], row["repeat"]) for row in rows])
    old = {f"p{i:03d}" for i in range(200)}
    before, after = draws[0], [draw for draw in draws[1] if draw[0] in old]
    kept = set(before) & set(after)
    assert [draw for draw in before if draw in kept] == [draw for draw in after if draw in kept]
    # Whole passes stay whole. The remainder stays a prefix of the old pairs by hash: only its length may change.
    remainders = [{pair_id for pair_id, repeat in draw if repeat == 1} for draw in (before, after)]
    assert remainders[0] <= remainders[1] or remainders[1] <= remainders[0]
    assert {draw for draw in before if draw[1] == 0} == {draw for draw in after if draw[1] == 0}


def test_a_group_takes_its_strictest_split_even_from_unusable_pairs(
    workspace: Workspace, make_build: Any, make_pair: Any
) -> None:
    make_build(
        workspace,
        [
            make_pair("a", group_id="g", split="train"),
            make_pair("b", group_id="g", split="val"),
            make_pair("c", group_id="g", split="test", reason="no_change"),
            make_pair("d", group_id="h", split="train"),
            make_pair("e", group_id=None, split="val"),
            make_pair("f", group_id=None, split="train"),
        ],
    )
    output = workspace.catalog / "mix.parquet"
    build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output)
    rows = pq.read_table(output).to_pylist()
    assert {row["pair_id"]: row["split"] for row in rows} == {
        "a": "test",
        "b": "test",
        "d": "train",
        "e": "val",
        "f": "train",
    }
    assert all((row["position"] is None) == (row["split"] != "train") for row in rows)


def test_barred_images_do_not_train_and_are_counted(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    pairs = [make_pair(name) for name in "abcde"] + [make_pair("f", split="test")]
    barred = (
        pairs[0]["source_image"]["sha256"],
        pairs[1]["target_image"]["sha256"],
        pairs[2]["group_id"],
        pairs[5]["group_id"],
    )
    make_build(workspace, pairs)
    output = workspace.catalog / "mix.parquet"
    summary = build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE, barred=barred), output)
    rows = pq.read_table(output).to_pylist()
    assert {row["pair_id"] for row in rows if row["split"] == "train"} == {"d", "e"}
    assert {row["pair_id"] for row in rows if row["split"] == "test"} == {"f"}
    assert summary.sources[0].barred == 3
    assert metadata(output)["plan"]["barred"]["num_images"] == 4


# -- amounts ----------------------------------------------------------------------------------------------------


def test_counts_shares_quotas_and_epochs_are_exact(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    kinds = [("a", "segmentation")] * 30 + [("b", "segmentation")] * 50 + [("c", "image_editing")] * 40
    kinds += [("d", "image_editing")] * 20
    make_build(workspace, [make_pair(f"p{i}", dataset=d, vision_task=t) for i, (d, t) in enumerate(kinds)])
    names = dict(zip("abcd", ("segmentation", "segmentation", "image_editing", "image_editing"), strict=True))
    amounts = {"a": {"weight": 1.0}, "b": {"weight": 0.5}, "c": {"count": 101}, "d": {"share": 0.25}}
    sources = [{"name": n, "dataset": n, "vision_task": names[n], **amounts[n]} for n in "abcd"]
    output = workspace.catalog / "mix.parquet"
    for quotas, epochs, expected in (
        ([], 1, [30, 25, 101, 50]),
        ([("segmentation", 100)], 1, [55, 45, 101, 50]),  # 30 : 25, largest remainder
        ([("segmentation", 7), ("image_editing", 10)], 3, [11, 10, 20, 10]),
    ):
        values = {"name": "m", "num_samples": 200, "epochs": epochs, "source": sources}
        values["quota"] = [{"vision_task": task, "count": count} for task, count in quotas]
        summary = build_mix(workspace, ["build-ieiw"], EVERYTHING, MixPlan.parse(values, "test"), output)
        assert [source.drawn for source in summary.sources] == expected
        for source in summary.sources:
            assert source.weight == pytest.approx(source.drawn / source.train / epochs, rel=0.02)
        rows = pq.read_table(output).to_pylist()
        assert [sum(row["mix_source"] == name for row in rows) for name in "abcd"] == expected
        times = Counter(row["pair_id"] for row in rows)
        for name, drawn in zip("abcd", expected, strict=True):  # whole passes and one remainder, whatever the amount
            mine = [times[f"p{i}"] for i, (dataset, _) in enumerate(kinds) if dataset == name]
            assert {drawn // len(mine), -(-drawn // len(mine))} >= set(mine)


def test_remainders_of_epochs_draw_other_pairs(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair(f"p{i}") for i in range(100)], shard_size=100)
    output = workspace.catalog / "mix.parquet"
    plan = MixPlan.parse({"name": "m", "epochs": 3, "source": [ONE | {"weight": 0.3}]}, "test")
    build_mix(workspace, ["build-ieiw"], EVERYTHING, plan, output)
    assert len(set(pq.read_table(output)["pair_id"].to_pylist())) == 90


def test_amounts_that_cannot_be_drawn_are_one_sentence(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair("a")])
    output = workspace.catalog / "mix.parquet"
    with pytest.raises(MixError, match="1001 samples of 1 pairs"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan({"name": "x", "count": 1001}), output)
    empty = {"name": "s", "vision_task": "segmentation", "weight": 1.0, "allow_empty": True}
    values = {"name": "m", "quota": [{"vision_task": "segmentation", "count": 5}], "source": [empty, ONE]}
    with pytest.raises(MixError, match="quota of 5 samples of segmentation"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, MixPlan.parse(values, "test"), output)
    assert not output.exists()


@given(total=st.integers(0, 1000), parts=st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any))
def test_apportioned_parts_sum_up_and_are_near_their_share(total: int, parts: list[int]) -> None:
    found = apportion(total, [Fraction(part) for part in parts])
    assert sum(found) == total
    assert all(abs(one - total * part / sum(parts)) < 1 for one, part in zip(found, parts, strict=True))


# -- several builds ---------------------------------------------------------------------------------------------


def test_builds_are_joined_and_shared_pairs_count_once(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    shared = [make_pair(f"s{i}") for i in range(10)]
    moved = [pair | {"source_image": pair["source_image"] | {"path": "elsewhere.tar", "offset": 9}} for pair in shared]
    make_build(workspace, [*shared, make_pair("a")], name="first", shard_size=4)
    make_build(workspace, [*moved, make_pair("b")], name="second", shard_size=6)
    outputs = []
    for number, builds in enumerate((["first", "second"], ["second", "first"], ["first"])):
        output = workspace.catalog / f"{number}.parquet"
        build_mix(workspace, builds, EVERYTHING, make_plan(ONE), output)
        outputs.append(pq.read_table(output).to_pylist())
    assert outputs[0] == outputs[1]
    assert {row["pair_id"] for row in outputs[0]} == {row["pair_id"] for row in shared} | {"a", "b"}
    assert len(outputs[0]) == 12 and len(outputs[2]) == 11


def test_a_pair_rejected_in_one_build_is_not_drawn(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    pairs = [make_pair("a"), make_pair("b")]
    make_build(workspace, pairs, [{"pair_id": name, "target_aesthetic": 5.0} for name in "ab"], name="first")
    make_build(
        workspace,
        pairs,
        [{"pair_id": name, "target_aesthetic": score} for name, score in (("a", 5.0), ("b", 3.0))],
        name="second",
    )
    output = workspace.catalog / "mix.parquet"
    build_mix(workspace, ["first", "second"], AESTHETIC, make_plan(ONE), output)
    assert pq.read_table(output)["pair_id"].to_pylist() == ["a"]


def test_different_pairs_of_one_name_are_refused_by_name(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair("same"), make_pair("other")], name="first")
    make_build(workspace, [make_pair("same", instruction="remove the dog")], name="second")
    output = workspace.catalog / "mix.parquet"
    with pytest.raises(MixError, match="called same: mix"):
        build_mix(workspace, ["first", "second"], EVERYTHING, make_plan(ONE), output)
    with pytest.raises(MixError, match="each named once"):
        build_mix(workspace, ["first", "first"], EVERYTHING, make_plan(ONE), output)
    with pytest.raises(MixError, match="Got none"):
        build_mix(workspace, [], EVERYTHING, make_plan(ONE), output)


# -- keys -------------------------------------------------------------------------------------------------------


def test_photos_whose_keys_are_alike_by_chance_are_told_apart(
    tmp_path: Path, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups that straddle splits, and donors held out elsewhere, with keys that are all alike: the same mix."""
    donor = {name: None for name in DONOR_FIELDS}
    pairs = [
        make_pair(f"p{i}", group_id=f"group {i % 7}", split=("train", "val", "test")[i % 11 % 3]) for i in range(40)
    ]
    pairs += [make_pair(f"d{i}", group_id=f"own {i}", donor=donor | {"group_id": f"group {i}"}) for i in range(9)]
    rows = []
    for alike in (False, True):
        workspace = Workspace(tmp_path / str(alike))
        make_build(workspace, pairs)
        if alike:
            monkeypatch.setattr("catalog.verdicts._known_keys", lambda texts: pa.array([5] * len(texts), pa.uint64()))
        summary = build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), workspace.catalog / "mix.parquet")
        rows.append(pq.read_table(summary.output).to_pylist())
        assert summary.sources[0].barred == 7
    assert rows[0] == rows[1]
    assert {row["pair_id"] for row in rows[0] if row["split"] == "train"} == {"d7", "d8"}


def test_pairs_of_two_builds_with_one_key_are_refused(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.verdicts.text_keys", lambda texts: np.arange(len(texts), dtype=np.uint64))
    make_build(workspace, [make_pair("a"), make_pair("b")], name="first")
    make_build(workspace, [make_pair("c")], name="second")
    with pytest.raises(MixError, match="a and c do, by chance"):
        build_mix(workspace, ["first", "second"], EVERYTHING, make_plan(ONE), workspace.catalog / "mix.parquet")


@pytest.mark.parametrize("number", [0, 1, 2**32 - 1, 2**63, 2**64 - 1, 0x123456789ABCDEF0])
def test_the_engine_stirs_as_plain_python_does(number: int) -> None:
    with open_database() as connection:
        run_query(connection, "stir")
        for word in (0, 1, 2**64 - 1, text_key("0:draw")):
            sql = "SELECT stir($number::UBIGINT, $word::UBIGINT) AS found"
            assert fetch_rows(connection, sql, number=number, word=word)[0]["found"] == stir(number, word)


def test_draw_numbers_are_even_and_those_of_two_seeds_do_not_know_each_other() -> None:
    ids = [f"pair {number}" for number in range(20_000)]
    rows = [[place(seed, one)[0] >> 60 for one in ids] for seed in (0, 1)]
    table = np.zeros((16, 16))
    np.add.at(table, (rows[0], rows[1]), 1)
    expected = len(ids) / 256
    assert ((table - expected) ** 2 / expected).sum() < 355  # chi-squared, 255 degrees of freedom: one in 30,000


def test_a_draw_that_falls_short_looks_further(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_build(workspace, [make_pair(f"p{i}") for i in range(500)], shard_size=500)
    outputs = []
    for spread in (6.0, 1e-3, 1e-9):
        monkeypatch.setattr("catalog.mix_draws._SPREAD", spread)
        output = workspace.catalog / f"{spread}.parquet"
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE | {"weight": 0.37}), output)
        outputs.append(output.read_bytes())
    assert len(set(outputs)) == 1


# -- what goes wrong --------------------------------------------------------------------------------------------


def test_empty_sources_are_refused_unless_allowed(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair("a"), make_pair("b", vision_task="segmentation", split="val")])
    output = workspace.catalog / "mix.parquet"
    nothing = {"name": "nothing", "dataset": "nowhere", "weight": 1.0}
    held_out = {"name": "held out", "vision_task": "segmentation", "weight": 2.0}
    with pytest.raises(MixError, match=r"nothing \(0 pairs.*held out \(1 pairs, 1 accepted, 0 in train"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(nothing, held_out, ONE), output)
    allowed = make_plan(nothing | {"allow_empty": True}, held_out | {"weight": 0}, ONE)
    summary = build_mix(workspace, ["build-ieiw"], EVERYTHING, allowed, output)
    assert [source.drawn for source in summary.sources] == [0, 0, 1]
    assert summary.num_val == 1


def test_a_mix_without_training_rows_is_refused(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    output = workspace.catalog / "mix.parquet"
    for name, pairs in (("none", []), ("held-out", [make_pair("a", split="val")])):
        make_build(workspace, pairs, name=name)
        with pytest.raises(MixError, match="no training sample"):
            build_mix(workspace, [name], EVERYTHING, make_plan(ONE | {"allow_empty": True}), output)
    assert not output.exists() and not list(workspace.home.rglob("*.tmp"))


def test_an_unknown_split_is_refused(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    make_build(workspace, [make_pair("a"), make_pair("b", split="dev")])
    with pytest.raises(MixError, match="Got dev"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), workspace.catalog / "mix.parquet")


def test_a_failed_write_leaves_the_old_mix_and_nothing_else(
    workspace: Workspace, make_build: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_build(workspace, [make_pair("a")])
    output = workspace.catalog / "mix.parquet"
    output.parent.mkdir(exist_ok=True)
    output.write_bytes(b"old")

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("catalog.parquet_streams.publish", full_disk)
    with pytest.raises(OSError, match="No space"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output)
    assert output.read_bytes() == b"old"
    assert not list(workspace.home.rglob("*.tmp"))


def test_a_torn_input_is_one_sentence(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    manifest = make_build(workspace, some_pairs(make_pair, 100), shard_size=100)
    output = workspace.catalog / "mix.parquet"
    build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output)
    path = manifest.paths(workspace, "pairs")[0]
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ShardError, match="verify"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output)
    with pytest.raises(ConfigError, match="must be 1 to 1024"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output, threads=0)
    with pytest.raises(ConfigError, match="like 4GB"):
        build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output, memory_limit="much")


def test_the_file_says_what_it_was_made_from(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    manifest = make_build(workspace, some_pairs(make_pair, 60))
    output = workspace.catalog / "mix.parquet"
    plan = make_plan(ONE, seed=7)
    summary = build_mix(workspace, ["build-ieiw"], EVERYTHING, plan, output)
    found = metadata(output)
    assert found["schema_version"] == SCHEMA_VERSION and found["table"] == "mix"
    assert (found["name"], found["seed"], found["plan"]) == ("test", 7, plan.as_dict())
    assert found["builds"][0]["pairs"] == [shard.sha256 for shard in manifest.tables["pairs"]]
    verdicts = read_manifest(workspace, "build-ieiw.everything").tables["verdicts"]
    assert found["builds"][0]["verdicts"] == [shard.sha256 for shard in verdicts]
    assert found["policy"]["sha256"] == EVERYTHING.digest()
    assert found["num_train"] == summary.num_train == found["sources"][0]["drawn"] == 40
    assert str(workspace.home) not in json.dumps(found)


def test_a_build_made_again_is_decided_again(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    output = workspace.catalog / "mix.parquet"
    make_build(workspace, [make_pair("a")])
    build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output)
    write_manifest(workspace, make_build(workspace, [make_pair("a"), make_pair("b")]))
    assert build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), output).num_train == 2


# -- roots beside a mix -----------------------------------------------------------------------------------------


def roots_of(path: Path) -> dict[str, Path]:
    return {name: folder.resolve() for name, folder in Roots.read(path).folders.items()}


@pytest.fixture
def painted(workspace: Workspace, make_pair: Any, make_build: Any, tmp_path: Path) -> Workspace:
    """A build whose pairs have real images: sources in a dataset's own folder, targets in the store."""
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    photos.mkdir()
    workspace.data.mkdir()
    pairs = []
    for number in range(4):
        images = {}
        for root, folder in (("photos", photos), ("store", workspace.data)):
            data = encode_png(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
            (folder / f"{number}.png").write_bytes(data)
            place = {"root": root, "path": f"{number}.png", "offset": 0, "length": len(data)}
            images[root] = place | {"sha256": bytes_digest(data), "width": 64, "height": 48}
        pairs.append(
            make_pair(f"pair {number}", source_image=images["photos"], target_image=images["store"], edit_mask=None)
        )
    make_build(workspace, pairs, [])
    record_root(workspace, "photos", photos)
    record_root(workspace, "unused", tmp_path)
    return workspace


def mix_into(workspace: Workspace, folder: Path) -> Path:
    return build_mix(workspace, ["build-ieiw"], EVERYTHING, make_plan(ONE), folder / "mix.parquet").output


def test_a_mix_elsewhere_is_trained_on_with_the_roots_that_it_uses(painted: Workspace, tmp_path: Path) -> None:
    there = tmp_path.parent / f"{tmp_path.name} elsewhere"
    mix = mix_into(painted, there)
    assert roots_of(there / "roots.json") == {"photos": tmp_path / "photos", "store": painted.data}
    samples = TrainingSamples(TrainingPlan(mix), Roots.read(there / "roots.json"), make_config("demo"))
    assert [samples[index].rejected for index in range(4)] == [None] * 4
    before = (there / "roots.json").stat().st_mtime_ns
    mix_into(painted, there)
    assert (there / "roots.json").stat().st_mtime_ns == before
    assert sorted(path.name for path in there.iterdir()) == ["mix.parquet", "roots.json"]


def test_a_mix_inside_the_workspace_moves_with_it(painted: Workspace, tmp_path: Path) -> None:
    mix_into(painted, painted.home / "mixes")
    written = json.loads((painted.home / "mixes" / "roots.json").read_text())
    assert written == {"photos": "../photos", "store": "../data"}


def test_roots_beside_a_mix_are_completed_and_never_contradicted(painted: Workspace, tmp_path: Path) -> None:
    roots = tmp_path / "other" / "roots.json"
    roots.parent.mkdir()
    roots.write_text(json.dumps({"more": "/somewhere", "store": "../data"}))
    mix_into(painted, roots.parent)
    assert json.loads(roots.read_text()) == {"more": "/somewhere", "store": "../data", "photos": "../photos"}
    text = json.dumps({"store": "/another/store"})
    roots.write_text(text)
    (roots.parent / "mix.parquet").unlink()
    with pytest.raises(MixError, match="'store' is /another/store there"):
        mix_into(painted, roots.parent)
    assert roots.read_text() == text
    assert [path.name for path in roots.parent.iterdir()] == ["roots.json"]
    roots.write_text("[]")
    with pytest.raises(ShardError, match="JSON object"):
        mix_into(painted, roots.parent)


def test_the_catalogs_own_roots_are_left_alone(painted: Workspace) -> None:
    before = painted.roots_path.read_bytes()
    mix_into(painted, painted.catalog)
    assert painted.roots_path.read_bytes() == before
