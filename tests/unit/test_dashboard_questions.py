"""Questions behind the dashboard's numbers: what is shown as SQL gives what was answered, and nothing stale is kept."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_policies import LOW, make_policy

from catalog.decisions import decide
from catalog.errors import ShardError
from catalog.manifests import Manifest
from catalog.policies import Policy
from catalog.workspace import Workspace
from infra.dashboard.data_browse import Filter
from infra.dashboard.data_thresholds import policy_file, with_limits
from infra.dashboard.decided import Decided
from infra.dashboard.questions import Question, View, ask

REPOSITORY = Path(__file__).resolve().parents[2]


def paste(statement: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        *views, last = [part for part in statement.strip().rstrip(";").split(";\n\n") if part]
        for view in views:
            connection.execute(view)
        return connection.sql(last).to_arrow_table().to_pylist()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=20), number=st.floats(allow_nan=False, allow_infinity=False), flag=st.booleans())
def test_what_is_shown_gives_what_was_answered(text: str, number: float, flag: bool) -> None:
    text = text.replace("\0", "")
    sql = "SELECT $text AS t, $number::DOUBLE AS n, $flag AS f, len($many) AS m, $none AS x"
    values = (("text", text), ("number", number), ("flag", flag), ("many", (text, "b")), ("none", None))
    question = Question(sql, (View("empty", (), (("a", "BIGINT"),)),), values)
    assert paste(question.statement()) == ask(question) == [{"t": text, "n": number, "f": flag, "m": 2, "x": None}]


def test_rows_by_place_are_those_by_id(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    pairs = [make_pair(f"pair-{number:02d}", instruction=f"it's {number}") for number in range(40)]
    scores = [{"pair_id": pair["pair_id"], "target_aesthetic": float(n % 9)} for n, pair in enumerate(pairs)]
    build = make_build(workspace, pairs, scores)
    decided = Decided(workspace, build, decide(workspace, build.name, make_policy(LOW)).manifest)
    places = [39, 0, 7, 6, 13]
    verdicts = {row["file_row_number"]: row["pair_id"] for row in ask(decided.verdicts_at(places))}
    found = {row["pair_id"]: row["instruction"] for row in ask(decided.pairs_at(places))}
    assert found == {verdicts[place]: f"it's {place}" for place in places}
    assert [row["file_row_number"] for row in ask(decided.verdict("pair-13"))] == [13]
    stages = decided.stages(ask(decided.survival()))
    assert stages == decide(workspace, build.name, make_policy(LOW)).waterfall
    assert paste(decided.survival().statement()) == ask(decided.survival())
    assert decided.is_current
    grown = make_build(workspace, [*pairs, make_pair("pair-40")], scores)
    assert not Decided(workspace, grown, decided.decision).is_current


WORDS = ("", "Left CAR", "bird", "100%", "it's", "c0", "ü")


@pytest.mark.parametrize("fate", ["any", "accepted", "rejected", "low", "no_change"])
@pytest.mark.parametrize("kinds", [(), (("edit_type", "object_removal"),)])
def test_a_search_finds_what_python_finds(
    workspace: Workspace, make_build: Any, make_pair: Any, fate: str, kinds: tuple[tuple[str, str], ...]
) -> None:
    pairs, scores = searched_pairs(make_pair)
    build = make_build(workspace, pairs, scores, shard_size=6)
    assert [one.sha256 for one in build.tables["pairs"]] != sorted(one.sha256 for one in build.tables["pairs"])
    decided = Decided(workspace, build, decide(workspace, build.name, make_policy(LOW)).manifest)
    for words in WORDS:
        wanted = Filter(fate, kinds, words)
        expected = [place for place, pair in enumerate(pairs) if is_wanted(pair, scores[place], wanted)]
        first, placed = wanted.first(decided), [wanted.places(decided, "chance", page) for page in (1, 2, 3)]
        found = [row["file_row_number"] for one in placed for row in ask(one)]
        assert sorted(found) == expected, words
        assert ask(first) == [{"num_pairs": len(expected), "places": found[:20] or None}], words
        for question in (first, placed[0]):
            assert paste(question.statement()) == ask(question)


def searched_pairs(make_pair: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Pairs in shards whose names are not in their order; ids are hexadecimal, as real ones are."""
    instructions = ("Remove the LEFT car", None, "it's 100% Bird 1", "grün: ÜBER")
    pairs = [
        make_pair(
            f"{number * 2654435761 % 2**32:032x}",
            instruction=instructions[number % 4],
            phrase=None if number % 3 else "left Car",
            label=("bird", "car")[number % 2],
            edit_type=("object_removal", "object_addition")[number % 5 == 0],
            reason="no_change" if number % 7 == 0 else None,
        )
        for number in range(50)
    ]
    return pairs, [{"pair_id": pair["pair_id"], "target_aesthetic": float(n % 9)} for n, pair in enumerate(pairs)]


def is_wanted(pair: dict[str, Any], score: dict[str, Any], wanted: Filter) -> bool:
    """Naively."""
    words = wanted.words.lower()
    texts = [pair[name].lower() for name in ("instruction", "phrase", "label") if pair[name]]
    if set(words) <= set("0123456789abcdef"):
        texts.append(pair["pair_id"])
    fate = pair["reason"] or ("low" if score["target_aesthetic"] < 4 else "accepted")
    fates = {"any", fate, *(["rejected"] if fate == "low" else [])}
    is_kind = all(pair[column] == value for column, value in wanted.kinds)
    return wanted.fate in fates and is_kind and any(words in text for text in texts)


def test_a_build_of_no_shards_has_nothing_to_find(tmp_path: Path) -> None:
    build = Manifest(name="empty", parameters={}, tables={"pairs": []})
    decided = Decided(Workspace(tmp_path), build, Manifest(name="d", parameters={}, tables={"verdicts": []}))
    for wanted in (Filter("any", (), "bird"), Filter("accepted", (("split", "val"),), "c0")):
        assert ask(wanted.first(decided)) == [{"num_pairs": 0, "places": None}]
        assert ask(wanted.places(decided, "near", 1)) == []


def test_words_of_hexadecimal_digits_alone_search_ids(workspace: Workspace, make_build: Any, make_pair: Any) -> None:
    ids = ("00c0ffee", "11c0ffee", "22decade", "33decade")
    pairs = [make_pair(one, phrase=None, label=None, instruction="a decade ago") for one in ids[:3]]
    pairs += [make_pair(ids[3], phrase=None, label=None, instruction="a cafe")]
    build = make_build(workspace, pairs, [{"pair_id": one, "target_aesthetic": 5.0} for one in ids], shard_size=3)
    decided = Decided(workspace, build, decide(workspace, build.name, make_policy(LOW)).manifest)

    def found(words: str) -> set[str]:
        places = [row["file_row_number"] for row in ask(Filter("any", (), words).places(decided, "low", 1))]
        return {ids[place] for place in places}

    assert found("C0FFEE") == {ids[0], ids[1]}  # in no text
    assert found("decade") == set(ids)  # texts or ids
    assert found("cafe") == {ids[3]}
    assert found("33decade") == {ids[3]}
    assert found("decade ago") == {ids[0], ids[1], ids[2]}  # a space: no id is looked at
    assert "pair_id" not in Filter("any", (), "decade ago").first(decided).sql


def test_a_file_that_has_changed_is_asked_again_and_a_torn_one_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    question = Question("SELECT sum(a)::BIGINT AS s FROM t", (View("t", (path,), (("a", "BIGINT"),)),))
    with pytest.raises(ShardError, match="no file at"):
        ask(question)
    for count in (3, 4):
        duckdb.sql(f"SELECT unnest(range({count})) AS a").write_parquet(str(path))
        assert ask(question) == [{"s": sum(range(count))}]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ShardError, match="cannot be read"):
        ask(question)


@pytest.mark.parametrize("name", ["paper", "strict", "embedded", "ip2p"])
def test_a_moved_policy_is_kept_as_a_file_that_reads_back(name: str, tmp_path: Path) -> None:
    policy = Policy.read(REPOSITORY / "infra" / "policies" / f"{name}.toml")
    limits = {policy.conditions[0].name: 0.1 + 0.2}
    moved = with_limits(policy, limits)
    path = tmp_path / "policy.toml"
    path.write_text(policy_file(moved))
    assert Policy.read(path) == moved
    assert moved.conditions[0].fixed_threshold == 0.1 + 0.2 and moved.conditions[1:] == policy.conditions[1:]
