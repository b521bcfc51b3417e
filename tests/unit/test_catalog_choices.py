"""Choices: blind and shuffled, durable under kills and company, superseded but never lost, and pairs in the end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from alignment_cases import SIDE, make_alignment_set

from catalog.alignment_sets import AlignmentSet, list_alignment_sets
from catalog.choices import find_progress, list_people, read_choices, read_history, record
from catalog.chosen_pairs import choose
from catalog.cleaning import remove_generated
from catalog.errors import ConfigError, MixError, ShardError
from catalog.images import decode_image, resize_image
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.revocation import Tombstone, write_tombstone
from catalog.roots import Roots, read_image_bytes
from catalog.store import read_rows

REPOSITORY = Path(__file__).resolve().parents[2]
EVERYTHING = Policy.read(REPOSITORY / "infra" / "policies" / "everything.toml")
PLAN = MixPlan.read(REPOSITORY / "infra" / "mixes" / "alignment.toml")


@pytest.fixture
def alignment(tmp_path) -> AlignmentSet:
    return make_alignment_set(tmp_path)


def numbers(alignment, person, item="item-0"):
    return [variant.number for variant in alignment.blind_order(person, item)]


# -- blind ------------------------------------------------------------------------------------------------------------


def test_order_is_shuffled_and_the_same_at_every_visit(alignment, tmp_path):
    first = numbers(alignment, "Ana")
    assert sorted(first) == list(range(20)) != first
    assert first == numbers(AlignmentSet.read(alignment.workspace, "small"), " Ana ")
    assert first != numbers(alignment, "Bo") and first != numbers(alignment, "Ana", "item-1")


def test_no_place_favours_a_variant(alignment):
    firsts = Counter(numbers(alignment, f"person {n}")[0] for n in range(400))
    expected = 400 / 20
    chi_squared = sum((firsts[variant] - expected) ** 2 / expected for variant in range(20))
    assert chi_squared < 43.8  # 0.999 quantile with 19 degrees of freedom


def test_pictures_are_read_by_digest(alignment):
    item = alignment.item("item-1")
    assert decode_image(alignment.read_image(item.source_image)).shape == (SIDE, 2 * SIDE, 3)
    assert decode_image(alignment.read_image(item.variant(3).image))[0, 0].tolist() == [30, 225, 40]


def test_variant_that_could_not_be_made_is_not_shown(tmp_path):
    alignment = make_alignment_set(tmp_path, num_items=1, reason="bad_output", target_image=None)
    assert (dict(alignment.items), alignment.num_failed) == ({}, 20)
    with pytest.raises(ConfigError, match="has no item"):
        alignment.blind_order("Ana", "item-0")


def test_sets_are_listed_and_told_from_builds(alignment):
    workspace = alignment.workspace
    record(alignment, "Ana", "item-0", [1])
    choose(workspace, "small", "small-chosen")
    assert list_alignment_sets(workspace) == ["small"]
    with pytest.raises(ShardError, match="no alignment set"):
        AlignmentSet.read(workspace, "small-chosen")
    with pytest.raises(ShardError, match=r"no alignment set named .other.: there are small; flow `align` makes one"):
        AlignmentSet.read(workspace, "other")


# -- kept ------------------------------------------------------------------------------------------------------------


def test_answers_survive_in_another_process_and_later_ones_supersede(alignment):
    record(alignment, "Ana", "item-0", [4, 2])
    record(alignment, "Ana", "item-1", [])
    second = record(alignment, "Ana", "item-0", [7])
    again = AlignmentSet.read(alignment.workspace, "small")
    assert [(one.item_id, one.variants) for one in read_choices(again)] == [("item-0", (7,)), ("item-1", ())]
    assert second.number == 2
    assert [one.variants for one in read_history(again, "Ana")] == [(2, 4), (7,), ()]  # nothing is overwritten
    progress = find_progress(again, "Ana")
    assert (progress.num_items, progress.num_done, progress.open_items) == (3, 2, ("item-2",))
    assert find_progress(again, "Bo").open_items == ("item-0", "item-1", "item-2")


@pytest.mark.parametrize(
    ("person", "item", "variants", "message"),
    [
        ("", "item-0", [1], "printable"),
        ("a\nb", "item-0", [1], "printable"),
        ("x" * 81, "item-0", [1], "printable"),
        ("Ana", "item-9", [1], "no item"),
        ("Ana", "item-0", [20], "has the variants"),
        ("Ana", "item-0", [1, 1], "different variants"),
        ("Ana", "item-0", [1, 2, 3], "0 to 2"),
    ],
)
def test_what_is_no_answer_is_refused_and_leaves_nothing(alignment, person, item, variants, message):
    with pytest.raises(ConfigError, match=message):
        record(alignment, person, item, variants)
    assert read_history(alignment) == []


def test_a_name_is_a_persons_or_a_programs(alignment):
    record(alignment, "Ana", "item-0", [1])
    record(alignment, "judge 0", "item-0", [1], judge="simulated@1")
    with pytest.raises(ConfigError, match="take another name"):
        record(alignment, "Ana", "item-1", [1], judge="simulated@1")
    with pytest.raises(ConfigError, match="take another name"):
        record(alignment, "judge 0", "item-1", [1])
    assert list_people(alignment) == {"Ana": None, "judge 0": "simulated@1"}


def test_hostile_names_stay_below_the_folder(alignment):
    for name in ("../../etc", "Ana María", "a/b", "<script>", "."):
        record(alignment, name, "item-0", [1])
    files = sorted((alignment.workspace.data / "choices").rglob("*.json"))
    assert len(files) == 5 == len(list_people(alignment))
    assert {file.parents[2] for file in files} == {alignment.workspace.data / "choices"}


def test_two_people_and_two_windows_at_once_lose_nothing(alignment):
    barrier = threading.Barrier(8)

    def answer(worker: int) -> None:
        barrier.wait()
        for n in range(10):
            record(alignment, "Ana" if worker % 2 else "Bo", "item-0", [(worker + n) % 20])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(answer, range(8)))
    history = read_history(alignment)
    assert Counter(one.person for one in history) == {"Ana": 40, "Bo": 40}
    for person in ("Ana", "Bo"):
        assert [one.number for one in history if one.person == person] == list(range(1, 41))


CHILD = """
import sys
from pathlib import Path
from catalog.alignment_sets import AlignmentSet
from catalog.choices import record
from catalog.workspace import Workspace
alignment = AlignmentSet.read(Workspace(Path(sys.argv[1])), "small")
n = 0
while True:
    record(alignment, "Ana", "item-0", [n % 20])
    n += 1
    print(n, flush=True)
"""


def test_killed_at_any_instant_every_answer_said_to_be_kept_is_there(alignment):
    for delay in (0.0, 0.013, 0.031):
        before = len(read_history(alignment))
        command = [sys.executable, "-c", CHILD, str(alignment.workspace.home)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        said = 1 + len(child.stdout.read().splitlines())
        child.wait()
        history = read_history(alignment)  # reads every file: none is torn
        assert said <= len(history) - before <= said + 1
        assert [one.number for one in history] == list(range(1, len(history) + 1))


def test_torn_or_foreign_answer_is_named_not_passed_over(alignment):
    record(alignment, "Ana", "item-0", [1])
    (file,) = (alignment.workspace.data / "choices").rglob("*.json")
    whole = file.read_bytes()
    others = [b'["1"]', b"[1,1]", b"[1,2,3]"]
    changed = [whole.replace(b"[1]", other) for other in others]
    changed += [whole.replace(b'"Ana"', other) for other in (b"5", b'["Ana"]', b'"Bo"', b"null")]
    changed += [whole.replace(b'"judge":null', b'"judge":7'), whole.replace(b'"item-0"', b'"item-1"')]
    for data in (whole[:-20], b"[]", b"{}", *changed):
        assert data != whole
        file.write_bytes(data)
        with pytest.raises(ShardError, match=file.name):
            read_choices(alignment)
    file.write_bytes(whole.replace(b"[1]", b"[99]"))
    with pytest.raises(ShardError, match="none that was given"):
        read_choices(alignment)


def test_answers_of_a_person_and_a_program_under_one_name_are_refused(alignment):
    record(alignment, "Ana", "item-0", [1])
    record(alignment, "Ana", "item-1", [1])
    second = sorted((alignment.workspace.data / "choices").rglob("*.json"))[1]
    second.write_bytes(second.read_bytes().replace(b'"judge":null', b'"judge":"simulated@1"'))
    with pytest.raises(ShardError, match="of a person and of a program"):
        read_choices(alignment)


def test_answers_about_other_pictures_are_stale_not_used(alignment, tmp_path):
    record(alignment, "Ana", "item-0", [1])
    remade = make_alignment_set(tmp_path, version=1)
    assert read_choices(remade) == [] and len(read_history(remade)) == 1
    progress = find_progress(remade, "Ana")
    assert (progress.num_done, progress.num_stale, len(progress.open_items)) == (0, 1, 3)
    with pytest.raises(ConfigError, match="no choice of people"):
        choose(remade.workspace, "small", "chosen")


def test_cleaning_keeps_what_people_did(alignment, tmp_path):
    record(alignment, "Ana", "item-0", [1])
    remove_generated(alignment.workspace)
    assert [one.variants for one in read_choices(make_alignment_set(tmp_path))] == [(1,)]


# -- pairs ------------------------------------------------------------------------------------------------------------


def rows_of(workspace, build, table="pairs"):
    return [row for path in build.manifest.paths(workspace, table) for row in read_rows(path)]


def test_choices_become_pairs_with_who_chose(alignment):
    workspace = alignment.workspace
    record(alignment, "Ana", "item-0", [4, 2])
    record(alignment, "Bo", "item-0", [4])
    record(alignment, "Ana", "item-1", [])
    record(alignment, "robot", "item-2", [9], judge="simulated@1")
    chosen = choose(workspace, "small", "chosen")
    assert (chosen.people, chosen.num_items, chosen.num_answered, chosen.num_none) == (("Ana", "Bo"), 3, 2, 1)
    rows = rows_of(workspace, chosen)
    assert [row["pair_id"] for row in rows] == ["small/item-0/variant-02", "small/item-0/variant-04"]
    item, row = alignment.item("item-0"), rows[1]
    assert row["source_image"] == item.source_image and row["instruction"] == item.instruction
    assert (row["split"], row["group_id"], row["licence"]) == ("train", item.row["group_id"], "CC0")
    recipe = json.loads(row["parameters"])
    assert [one["person"] for one in recipe["chosen_by"]] == ["Ana", "Bo"]
    assert (recipe["text_guidance"], recipe["image_guidance"], recipe["seed"]) == (4.0, 1.0, 0)
    picks = rows_of(workspace, chosen, "picks")
    assert [(one["person"], one["variants"]) for one in picks] == [("Ana", [2, 4]), ("Bo", [4]), ("Ana", [])]
    # The target has its source's size: the variant, resized once.
    roots = Roots.read(workspace.roots_path)
    target = decode_image(read_image_bytes(roots, row["target_image"]))
    made = decode_image(alignment.read_image(item.variant(4).image))
    assert np.array_equal(target, resize_image(made, 2 * SIDE, SIDE))


def test_votes_and_judges_decide_what_counts(alignment):
    workspace = alignment.workspace
    record(alignment, "Ana", "item-0", [4, 2])
    record(alignment, "Bo", "item-0", [4])
    record(alignment, "robot", "item-2", [9], judge="simulated@1")
    assert choose(workspace, "small", "two", min_votes=2).num_pairs == 1
    simulated = choose(workspace, "small", "robots", judges="simulated")
    (row,) = rows_of(workspace, simulated)
    assert "judge=simulated@1" in row["backends"] and row["pair_id"] == "small/item-2/variant-09"
    for options in ({"judges": "everybody"}, {"min_votes": 0}):
        with pytest.raises(ConfigError, match="people or simulated"):
            choose(workspace, "small", "chosen", **options)
    with pytest.raises(ShardError, match="is not the name of pairs"):
        choose(workspace, "small", "small")


def test_damaged_manifest_stops_the_pairs_of_its_own_build_alone(tmp_path):
    alignment = make_alignment_set(tmp_path, parameters={"builds": ["mine", "elsewhere"]})
    workspace = alignment.workspace
    record(alignment, "Ana", "item-0", [4])
    workspace.manifest_path("unrelated").write_text("{")
    assert choose(workspace, "small", "chosen").num_pairs == 1
    workspace.manifest_path("mine").write_text("{")
    with pytest.raises(ShardError, match=r"mine.json is not a manifest"):
        choose(workspace, "small", "chosen")


def test_same_choices_are_the_same_bytes_whenever_they_were_made(tmp_path):
    digests = []
    for home in ("one", "two"):
        alignment = make_alignment_set(tmp_path / home)
        record(alignment, "Ana", "item-0", [1] if home == "one" else [5])
        record(alignment, "Ana", "item-0", [5])
        digests.append(choose(alignment.workspace, "small", "chosen").manifest.digest())
    assert digests[0] == digests[1]


def test_chosen_mix_trains_on_them_alone(alignment, tmp_path):
    record(alignment, "Ana", "item-0", [4, 2])
    record(alignment, "Ana", "item-1", [0])
    choose(alignment.workspace, "small", "chosen")
    output = tmp_path / "catalog" / "chosen.parquet"
    summary = build_mix(alignment.workspace, ["chosen"], EVERYTHING, PLAN, output)
    assert (summary.num_train, summary.num_val) == (3, 0)
    rows = pq.read_table(output).to_pylist()
    assert sorted(row["pair_id"] for row in rows)[0] == "small/item-0/variant-02"


def test_held_out_and_barred_photos_do_not_train(tmp_path):
    alignment = make_alignment_set(tmp_path)
    workspace, output = alignment.workspace, tmp_path / "catalog" / "chosen.parquet"
    record(alignment, "Ana", "item-0", [4])
    record(alignment, "Ana", "item-1", [0])
    choose(workspace, "small", "chosen")
    values = {"name": "alignment", "seed": 0, "source": [{"name": "chosen", "weight": 1.0}]}
    plan = MixPlan.parse(values, "x.toml", [alignment.item("item-0").row["group_id"]])
    assert build_mix(workspace, ["chosen"], EVERYTHING, plan, output).num_train == 1
    held_out = make_alignment_set(tmp_path, name="heldout", split="val")
    record(held_out, "Ana", "item-2", [4])
    choose(workspace, "heldout", "of-val")
    with pytest.raises(MixError, match="0 in train"):
        build_mix(workspace, ["of-val"], EVERYTHING, PLAN, output)


def test_withdrawn_photo_checkpoint_or_judge_withdraws_what_was_chosen(alignment, tmp_path):
    workspace, output = alignment.workspace, tmp_path / "catalog" / "chosen.parquet"
    for item in range(3):
        record(alignment, "robot", f"item-{item}", [item], judge="simulated@1")
    choose(workspace, "small", "chosen", judges="simulated")
    write_tombstone(workspace, Tombstone(kind="image", value=alignment.item("item-0").row["group_id"]))
    assert build_mix(workspace, ["chosen"], EVERYTHING, PLAN, output).num_train == 2
    write_tombstone(workspace, Tombstone(kind="backend", value="judge=simulated"))
    with pytest.raises(MixError, match="0 accepted"):
        build_mix(workspace, ["chosen"], EVERYTHING, PLAN, output)
