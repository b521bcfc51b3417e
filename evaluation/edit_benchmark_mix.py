"""An edit benchmark that people have confirmed, as the mix that it is evaluated from.

Whoever has answered decides: class and target caption are theirs. The rows lie in ``catalog/benchmarks/KEY.parquet``,
where `python -m evaluation run --benchmark KEY` looks; the mix's digest stands in every metric row.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import file_digest, value_digest
from catalog.durable import write_file
from catalog.edit_benchmarks import CLASSES, Settled, candidates_path, read_candidates, read_confirmations, settle
from catalog.errors import ConfigError
from catalog.parquet_streams import mix_digest, reading_mix, write_stream
from catalog.roots import share_roots
from catalog.schema import MIX
from catalog.store import METADATA_KEY
from catalog.workspace import Workspace
from evaluation.benchmarks import benchmark_mix, find_benchmark
from evaluation.trained_images import list_barred_rows

ConfirmedBy = Literal["people", "rule"]
_ROW_GROUP = 4096

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FinishedBenchmark:
    """What was written."""

    path: Path
    barred: Path
    """The list that keeps its images out of training mixes (`barred`)."""
    sha256: str
    """Of the dataset: `catalog.parquet_streams.mix_digest`."""
    counts: dict[str, int]
    """Samples by class."""
    confirmed_by: ConfirmedBy
    num_people: int


def finish(
    workspace: Workspace,
    name: str,
    total: int = 1000,
    confirmed_by: ConfirmedBy = "people",
    *,
    allow_fewer: bool = False,
    key: str = "edits_1000",
) -> FinishedBenchmark:
    """Write the benchmark, whole or not at all: as many of each class, the first ones in the order of the candidates.

    Args:
        workspace: where its candidates and answers are.
        name: of the edit benchmark.
        total: samples (paper section 4.5: 1,000).
        confirmed_by: "people", or "rule" for proposals as they are: a trial, which says so in its footer.
        allow_fewer: write what there is of a class that has too few.
        key: of the benchmark in `evaluation.benchmarks`.

    Beside it comes ``KEY.barred.txt``, which names its images for the ``barred`` of training mixes.

    Raises:
        ConfigError: no candidates, too few of a class, or a trial in the place of what people confirmed.
        MixError: a picture that cannot be read.
    """
    if total < len(CLASSES):
        raise ConfigError(f"a benchmark has at least a sample of each of {len(CLASSES)} classes. Got {total}")
    benchmark, candidates = find_benchmark(key), read_candidates(workspace, name)
    answers = read_confirmations(workspace, name)
    settled = settle(candidates, answers) if confirmed_by == "people" else _as_proposed(candidates)
    rows = [
        _row(row, settled[row["pair_id"]], benchmark.key, benchmark.split) for row in candidates if _is_in(row, settled)
    ]
    wanted = {one: total // len(CLASSES) + (place < total % len(CLASSES)) for place, one in enumerate(CLASSES)}
    chosen, counts = _first(rows, wanted)
    short = {one: f"{counts[one]} of {wanted[one]}" for one in CLASSES if counts[one] < wanted[one]}
    if not chosen or (short and not allow_fewer):
        listed = ", ".join(f"{one} {text}" for one, text in short.items())
        raise ConfigError(
            f"benchmark {name!r} must have {total} samples that {confirmed_by} confirmed, but lacks some ({listed}): "
            "answer for more, propose more, lower --total, or give --allow-fewer and say so beside the number"
        )
    output = benchmark_mix(workspace.catalog, key)
    _refuse_to_replace(output, confirmed_by)
    barred = output.with_suffix(".barred.txt")
    lines = list_barred_rows(workspace, chosen)
    share_roots(
        workspace, {row[side]["root"] for row in chosen for side in ("source_image", "target_image")}, output.parent
    )
    of_people = answers if confirmed_by == "people" else []
    num_people = len({one.person for one in of_people})
    footer = {
        "name": benchmark.key,
        "edit_benchmark": name,
        "confirmed_by": confirmed_by,
        "num_people": num_people,
        "candidates_sha256": file_digest(candidates_path(workspace, name)),
        "answers_sha256": value_digest([vars(one) for one in of_people]) if confirmed_by == "people" else None,
        "counts": dict(counts),
        **dict.fromkeys(("num_train", "num_val"), 0),
        **dict.fromkeys(("num_test", "num_rows", "num_usable"), len(chosen)),
    }
    # First: a benchmark without its list would be trained on. A list of one more than was written bars too much only.
    write_file(barred, ["\n".join([f"# images of {output.name}", *lines, ""]).encode()])
    table = pa.Table.from_pylist(chosen, schema=MIX)
    write_stream(output, "mix", MIX, table.to_batches(), footer, _ROW_GROUP)
    return FinishedBenchmark(
        path=output,
        barred=barred,
        sha256=mix_digest(output),
        counts={one: counts[one] for one in CLASSES},
        confirmed_by=confirmed_by,
        num_people=num_people,
    )


def _refuse_to_replace(output: Path, confirmed_by: ConfirmedBy) -> None:
    if confirmed_by == "rule" and output.exists() and read_confirmed_by(output) == "people":
        raise ConfigError(
            f"a trial by rule must not replace what people confirmed, but {output} is theirs: move it elsewhere, or "
            "finish as people confirmed"
        )


def read_confirmed_by(mix: Path) -> str | None:
    """Who confirmed the samples of an edit benchmark's mix; None of any other mix.

    Raises:
        MixError: torn.
    """
    with reading_mix(mix):
        footer = (pq.read_schema(mix).metadata or {}).get(METADATA_KEY, b"{}")
    found: str | None = json.loads(footer).get("confirmed_by")
    return found


def _as_proposed(candidates: Sequence[Row]) -> dict[str, Settled]:
    """The rule's classes as if they had been confirmed."""
    return {
        row["pair_id"]: Settled(
            state="confirmed" if row["proposed_class"] else "open", edit_class=row["proposed_class"]
        )
        for row in candidates
        if row["reason"] is None
    }


def _is_in(row: Row, settled: Mapping[str, Settled]) -> bool:
    return row["reason"] is None and settled[row["pair_id"]].state == "confirmed"


def _row(row: Row, found: Settled, key: str, split: str) -> Row:
    """A candidate as a row of the benchmark's mix: its own dataset stays in ``mix_source``."""
    own = {name: row[name] for name in MIX.names}
    caption = found.target_caption or row["target_caption"]
    placed = {"position": None, "split": split, "mix_source": row["dataset"], "repeat": 0, "dataset": key}
    return {**own, **placed, "edit_type": found.edit_class, "target_caption": caption}


def _first(rows: Sequence[Row], wanted: Mapping[str, int]) -> tuple[list[Row], Counter[str]]:
    chosen, counts = [], Counter[str]()
    for row in rows:
        if counts[row["edit_type"]] < wanted[row["edit_type"]]:
            counts[row["edit_type"]] += 1
            chosen.append(row)
    return chosen, counts
