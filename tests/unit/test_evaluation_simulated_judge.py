"""Alignment sets and simulated judges: whose answers count, and which builds a set is of."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from alignment_cases import make_alignment_set

from catalog.alignment_sets import AlignmentSet
from catalog.choices import read_choices, read_history, record
from catalog.chosen_pairs import choices_of, choose
from catalog.errors import ConfigError
from catalog.parquet_streams import write_stream
from catalog.schema import MIX
from evaluation.simulated_judge import JudgeOptions, judge_name, judge_set
from evaluation.variants import _builds_of
from tasks.backends.registry import load_backend

FIRST, SECOND = JudgeOptions(least_likeness=-1), JudgeOptions(noise=0.5, least_likeness=-1)


@pytest.fixture
def alignment(tmp_path: Path) -> AlignmentSet:
    return make_alignment_set(tmp_path, num_items=2, num_variants=4, source_caption="a bird")


def judge(alignment: AlignmentSet, person: str, options: JudgeOptions) -> int:
    similarity = load_backend("pair_similarity", "histogram")
    return judge_set(alignment, person, similarity, options, lambda done, total: None)


def test_another_judge_under_the_same_name_answers_anew(alignment):
    assert [judge(alignment, "judge 1", FIRST) for _ in range(2)] == [2, 0]
    assert judge(alignment, "judge 1", SECOND) == 2  # it was 0: the changed judge silently did nothing
    name = judge_name(load_backend("pair_similarity", "histogram"), SECOND)
    assert {one.judge for one in read_choices(alignment)} == {name}
    assert len(read_history(alignment)) == 4  # nothing is lost
    assert judge(alignment, "judge 1", SECOND) == 0


def test_half_of_another_judges_answers_are_answered_anew_and_a_persons_never(alignment):
    judge(alignment, "judge 1", FIRST)
    record(alignment, "judge 1", "item-0", [1], judge="simulated@0")
    assert judge(alignment, "judge 1", FIRST) == 1
    record(alignment, "Ana", "item-0", [1])
    with pytest.raises(ConfigError, match="take another name"):
        judge(alignment, "Ana", FIRST)


def test_a_set_is_of_the_builds_of_its_mix(tmp_path):
    footer = {"builds": [{"name": "one"}, {"name": "two"}], "num_rows": 0, "num_usable": 0}
    write_stream(tmp_path / "mix.parquet", "mix", MIX, [], footer, 8)
    assert _builds_of(tmp_path / "mix.parquet") == ["one", "two"]
    pq.write_table(MIX.empty_table(), tmp_path / "by_hand.parquet")
    assert _builds_of(tmp_path / "by_hand.parquet") == []


def test_pairs_of_some_names_alone(alignment):
    workspace = alignment.workspace
    record(alignment, "judge 1", "item-0", [1], judge="simulated@1")
    record(alignment, "judge 2", "item-0", [2, 3], judge="simulated@1")
    assert choose(workspace, "small", "both", judges="simulated").num_pairs == 3
    one = choose(workspace, "small", "one", judges="simulated", people=["judge 1"])
    assert (one.people, one.num_pairs) == (("judge 1",), 1)
    assert choices_of(alignment, "people", ["judge 1"]) == []
    with pytest.raises(ConfigError, match="no choice of simulated named judge 3"):
        choose(workspace, "small", "none", judges="simulated", people=["judge 3"])
