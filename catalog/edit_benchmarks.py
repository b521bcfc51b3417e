"""Edit benchmarks: samples that a rule proposed and people confirm (paper section 4.5: 1,000 samples, sorted by hand).

::

    catalog/edit_benchmarks/NAME/candidates.parquet    made by `python -m evaluation edits propose`; `CANDIDATES`
    catalog/edit_benchmarks/NAME/confirmations.jsonl   a line per answer of a person, in the order in which they came
    catalog/edit_benchmarks/NAME/roots.json            where the pictures are

Nothing is ever taken back in the journal: of a person's answers about a sample the last one counts. An answer names the
proposal by digest, so an answer about another instruction or picture is not used, and counted as stale.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.columns import OUTCOME
from catalog.digests import value_digest
from catalog.errors import ConfigError, ShardError
from catalog.journals import append_line, read_lines
from catalog.manifests import check_name
from catalog.people import check_person, trim_name
from catalog.schema import MIX
from catalog.workspace import Workspace

CLASSES = ("object_replacement", "object_removal", "object_addition")
"""In the order of Table 5's columns."""
LEFT_OUT = "left_out"
"""A person's answer: no sample for this benchmark."""
ANSWERS = (*CLASSES, LEFT_OUT)

CANDIDATES = pa.schema(
    [
        *MIX,  # as the mix has it, but source_caption and target_caption, which are the helper models'
        ("proposed_class", pa.string()),  # one of CLASSES; null: the rule leaves it open
        ("why", pa.string()),  # what the rule found
        ("proposal", pa.string()),  # digest of what a person is shown: pictures, words, proposed class
        ("backends", pa.list_(pa.string())),  # captioner and caption editor
        *OUTCOME,
    ]
)

_MAX_CAPTION = 400  # characters
_FIELDS: dict[str, tuple[type, ...]] = dict.fromkeys(("pair_id", "proposal", "answer", "person", "given_at"), (str,))
_FIELDS |= {"target_caption": (str, type(None))}

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """One answer of a person."""

    pair_id: str
    proposal: str
    """Digest of what was shown."""
    answer: str
    """One of `ANSWERS`."""
    target_caption: str | None
    """In the person's words; None: as proposed."""
    person: str
    given_at: str
    """ISO 8601, UTC, microseconds."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What people's last answers about a sample come to."""

    state: str
    """open: nobody answered; confirmed; left_out; disputed: they do not agree."""
    edit_class: str | None = None
    """Of confirmed ones."""
    target_caption: str | None = None
    """Of confirmed ones, in the words of who gave some last; None: as proposed."""
    people: tuple[str, ...] = ()


def benchmark_folder(workspace: Workspace, name: str) -> Path:
    """Where an edit benchmark is made."""
    return workspace.catalog / "edit_benchmarks" / check_name(name)


def candidates_path(workspace: Workspace, name: str) -> Path:
    """The table of proposals."""
    return benchmark_folder(workspace, name) / "candidates.parquet"


def confirmations_path(workspace: Workspace, name: str) -> Path:
    """The journal of answers."""
    return benchmark_folder(workspace, name) / "confirmations.jsonl"


def list_edit_benchmarks(workspace: Workspace) -> list[str]:
    """Names of those that have proposals."""
    found = (workspace.catalog / "edit_benchmarks").glob("*/candidates.parquet")
    return sorted(path.parent.name for path in found)


def read_candidates(workspace: Workspace, name: str) -> list[Row]:
    """All proposals, the unusable ones too, in the order in which people see them.

    Raises:
        ConfigError: there are none.
        ShardError: the file is torn.
    """
    path = candidates_path(workspace, name)
    if not path.is_file():
        raise ConfigError(
            f"there is no {path}: propose samples first, by flow build-edit-benchmark or `python -m evaluation edits`"
        )
    rows: list[Row] = read_part(path).to_pylist()
    return rows


def read_part(path: Path) -> pa.Table:
    """A table of candidates. Raises ShardError where it is torn or of another form."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        first = str(error).partition("\n")[0]
        raise ShardError(f"{path} is torn or not Parquet ({first}): delete it and propose samples again") from error
    if table.schema.names != CANDIDATES.names:
        raise ShardError(f"{path} must have the columns of candidates: delete it and propose samples again")
    return table


def proposal_digest(row: Mapping[str, Any]) -> str:
    """Names what a person is shown of a candidate."""
    images = [row[side]["sha256"] for side in ("source_image", "target_image")]
    words = [row[name] for name in ("instruction", "source_caption", "target_caption", "proposed_class")]
    return value_digest([*images, *words])[:32]


def record_confirmation(
    workspace: Workspace, name: str, row: Mapping[str, Any], answer: str, person: str, target_caption: str | None = None
) -> Confirmation:
    """Put down what a person says of a candidate; it is on the disk when this returns.

    Args:
        workspace: where.
        name: of the benchmark.
        row: the candidate as it was shown.
        answer: one of `ANSWERS`.
        person: who says so, see `people.check_person`.
        target_caption: the edited image in the person's own words; None where the proposed ones will do.

    Raises:
        ConfigError: another answer, no name, a caption that is none, or a candidate that is not usable.
        OSError: it could not be written; what was there before is unchanged.
    """
    if answer not in ANSWERS:
        raise ConfigError(f"an answer is one of {', '.join(ANSWERS)}. Got {answer!r}")
    person = check_person(person)
    caption = None if target_caption is None or target_caption == row["target_caption"] else target_caption.strip()
    if caption is not None and not (0 < len(caption) <= _MAX_CAPTION and caption.isprintable()):
        raise ConfigError(f"a caption is one line of 1 to {_MAX_CAPTION} printable characters. Got {caption[:50]!r}")
    if row["reason"] is not None:
        raise ConfigError(f"candidate {row['pair_id']} cannot be used ({row['reason']}): answer for another one")
    given = Confirmation(
        pair_id=row["pair_id"],
        proposal=row["proposal"],
        answer=answer,
        target_caption=caption,
        person=person,
        given_at=datetime.now(UTC).isoformat(),
    )
    append_line(confirmations_path(workspace, name), vars(given))
    return given


def read_confirmations(workspace: Workspace, name: str) -> list[Confirmation]:
    """Every answer, in order; a line that a power cut tore is passed over.

    Raises:
        ShardError: another line that is no answer: none is dropped unseen.
    """
    path = confirmations_path(workspace, name)
    found = []
    for number, values in read_lines(path, _FIELDS, "an answer about a sample"):
        if values["answer"] not in ANSWERS:
            raise ShardError(f"{path}, line {number}, must be an answer about a sample: mend or remove that line")
        found.append(Confirmation(**values))
    return found


def settle(candidates: Iterable[Mapping[str, Any]], answers: Sequence[Confirmation]) -> dict[str, Settled]:
    """What the answers come to, by pair_id of the usable candidates: each person's last one about what is proposed."""
    last = last_answers(answers)
    return {
        row["pair_id"]: _settle([*last.get((row["pair_id"], row["proposal"]), {}).values()])
        for row in candidates
        if row["reason"] is None
    }


def last_answers(answers: Iterable[Confirmation]) -> dict[tuple[str, str], dict[str, Confirmation]]:
    """The last answer of each person about each proposal: by (pair_id, proposal), then by person."""
    last: dict[tuple[str, str], dict[str, Confirmation]] = {}
    for one in answers:
        last.setdefault((one.pair_id, one.proposal), {})[one.person] = one
    return last


def list_disputed(candidates: Sequence[Row], answers: Sequence[Confirmation]) -> list[tuple[Row, list[Confirmation]]]:
    """Samples on which people differ, in the candidates' order, with what each says: to be answered again."""
    settled, last = settle(candidates, answers), last_answers(answers)
    return [
        (row, sorted(last[row["pair_id"], row["proposal"]].values(), key=lambda one: one.person))
        for row in candidates
        if row["reason"] is None and settled[row["pair_id"]].state == "disputed"
    ]


def _settle(answers: Sequence[Confirmation]) -> Settled:
    people = tuple(sorted(one.person for one in answers))
    said = {one.answer for one in answers}
    if len(said) != 1:
        return Settled(state="disputed" if said else "open", people=people)
    (answer,) = said
    if answer == LEFT_OUT:
        return Settled(state="left_out", people=people)
    worded = [one for one in sorted(answers, key=lambda one: one.given_at) if one.target_caption is not None]
    caption = worded[-1].target_caption if worded else None
    return Settled(state="confirmed", edit_class=answer, target_caption=caption, people=people)


def next_candidate(candidates: Iterable[Row], answers: Sequence[Confirmation], person: str) -> Row | None:
    """The first usable candidate about which this person has not answered as it is proposed; None when all are done.

    What people differ on is in `list_disputed`, not here: it may stay so.
    """
    name = trim_name(person)
    done = {(one.pair_id, one.proposal) for one in answers if one.person == name}
    for row in candidates:
        if row["reason"] is None and (row["pair_id"], row["proposal"]) not in done:
            return row
    return None


def count_states(settled: Mapping[str, Settled]) -> dict[str, int]:
    """Samples by state, and the confirmed ones by class."""
    counts = Counter(one.state for one in settled.values())
    counts.update(one.edit_class for one in settled.values() if one.edit_class)
    names = ("open", "disputed", "left_out", "confirmed", *CLASSES)
    return {name: counts.get(name, 0) for name in names}
