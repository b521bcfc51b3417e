"""Review labels: what people say of single pairs, beside the tables and never in them.

``catalog/reviews/<build>.jsonl`` holds a line per answer, in the order in which they came (`journals`). Nothing is ever
taken back there: of a person's answers about a pair the last one counts.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.decisions import decision_name
from catalog.errors import ConfigError, ShardError
from catalog.journals import append_line, read_lines
from catalog.manifests import Manifest, check_name, read_manifest
from catalog.people import check_person, trim_name
from catalog.queries import fetch_rows, load_sql, open_database, open_table, run_query
from catalog.schema import VERDICTS
from catalog.text_keys import text_keys
from catalog.workspace import Workspace

ANSWERS = ("good", "bad", "unsure")
"""Should the pair be trained on? ``unsure`` counts for neither side."""

REVIEWS = pa.schema(
    [
        ("verdicts", pa.string()),  # key of the shard of verdicts that was under review: one policy on one build
        ("pair_id", pa.string()),
        ("condition", pa.string()),  # what rejected the pair there; null: accepted
        ("drawn", pa.bool_()),  # shown by `next_pair`, so by chance; else the reviewer picked the pair
        ("answer", pa.string()),
        ("person", pa.string()),
        ("given_at", pa.string()),  # ISO 8601, UTC, microseconds
    ]
)

_FIELDS: dict[str, tuple[type, ...]] = dict.fromkeys(REVIEWS.names, (str,))
_FIELDS |= {"condition": (str, type(None)), "drawn": (bool,)}


def reviews_path(workspace: Workspace, build: str) -> Path:
    """The journal of a build's labels."""
    return workspace.catalog / "reviews" / f"{check_name(build)}.jsonl"


def record_label(
    workspace: Workspace, decision: Manifest, pair_id: str, answer: str, person: str, *, drawn: bool
) -> None:
    """Put down what a person says of a pair; it is on the disk when this returns.

    Args:
        workspace: where.
        decision: the decision under review.
        pair_id: a pair that it has a verdict on.
        answer: one of `ANSWERS`.
        person: who says so, see `people.check_person`.
        drawn: whether `next_pair` gave the pair.

    Raises:
        ConfigError: another answer, no name, or a pair without a verdict.
    """
    if answer not in ANSWERS:
        raise ConfigError(f"an answer is one of {', '.join(ANSWERS)}. Got {answer!r}")
    person = check_person(person)
    with open_database() as connection:
        open_table(connection, "verdicts", decision.paths(workspace, "verdicts"), VERDICTS)
        key = int(text_keys(pa.array([pair_id]))[0])  # numbers are found far quicker than texts
        sql = "SELECT condition FROM verdicts WHERE pair_key = $key AND pair_id = $pair_id"
        found = fetch_rows(connection, sql, key=key, pair_id=pair_id)
    if not found:
        raise ConfigError(f"{decision.name} has no verdict on {pair_id!r}: choose a pair of its build")
    values = {"verdicts": verdicts_key(decision), "pair_id": pair_id, "condition": found[0]["condition"]}
    values |= {"drawn": drawn, "answer": answer, "person": person, "given_at": datetime.now(UTC).isoformat()}
    append_line(reviews_path(workspace, decision.parameters["build"]), values)


def verdicts_key(decision: Manifest) -> str:
    """What names a decision in labels: another version of the policy, or of the build, has another one."""
    return decision.tables["verdicts"][0].key


def open_reviews(connection: duckdb.DuckDBPyConnection, workspace: Workspace, build: str) -> None:
    """Make a build's labels the view ``reviews`` (columns `REVIEWS`); torn lines are left out.

    Raises:
        ShardError: another line that is no label: none is dropped unseen.
    """
    path = reviews_path(workspace, build)
    rows = []
    for number, values in read_lines(path, _FIELDS, "an answer about a pair"):
        if values["answer"] not in ANSWERS:
            raise ShardError(f"{path}, line {number}, must be an answer about a pair: mend or remove that line")
        rows.append(values)
    connection.register("reviews", pa.Table.from_pylist(rows, schema=REVIEWS))


def next_pair(workspace: Workspace, decision: Manifest, condition: str | None, person: str) -> str | None:
    """The pair that a person reviews next among those that a condition rejects (None: the accepted ones).

    Everybody goes through the same order, which chance has made: so any number of first answers is a sample of the
    stratum, and people's answers meet. None: this person has seen them all.
    """
    with open_database() as connection:
        open_table(connection, "verdicts", decision.paths(workspace, "verdicts"), VERDICTS)
        open_reviews(connection, workspace, decision.parameters["build"])
        run_query(connection, "stir")
        values = {"verdicts": verdicts_key(decision), "condition": condition, "person": trim_name(person)}
        count = "SELECT count(DISTINCT pair_id) AS n FROM reviews WHERE verdicts = $verdicts AND person = $person"
        seen = fetch_rows(connection, count, verdicts=values["verdicts"], person=values["person"])[0]["n"]
        # One more than were answered is enough, and a constant: DuckDB then reads ids of these rows alone.
        sql = load_sql("review_queue").replace("$most", str(int(seen) + 1))
        rows = fetch_rows(connection, sql, **values)
    return rows[0]["pair_id"] if rows else None


def list_labels(workspace: Workspace, decision: Manifest, pair_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The last answer of each person about some pairs: pair_id, person, answer, given_at."""
    with open_database() as connection:
        open_reviews(connection, workspace, decision.parameters["build"])
        values = {"verdicts": verdicts_key(decision), "pairs": list(pair_ids)}
        return fetch_rows(connection, load_sql("review_answers"), **values)


def find_decision(workspace: Workspace, build: str, policy: str) -> Manifest:
    """The decision of a policy about a build. Raises ShardError where there is none."""
    return read_manifest(workspace, decision_name(build, policy))
