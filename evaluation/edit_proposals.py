"""Proposes samples of an edit benchmark from held-out edits (paper section 4.5).

Each has a source image and an instruction, both as the dataset has them; the source's caption by a captioner (in the
paper BLIP2), the edited image's caption by a caption editor (there GPT-3.5-turbo), its class by rule, with the reason.
Which samples, and in which order people see them, is decided by hash of (seed, pair): so whatever people get through
is a random part.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import value_digest
from catalog.durable import sweep
from catalog.edit_benchmarks import CANDIDATES, CLASSES, benchmark_folder, candidates_path, proposal_digest, read_part
from catalog.errors import ConfigError, MixError, RowRejected
from catalog.images import decode_image
from catalog.parquet_streams import mix_digest, reading_mix, write_stream
from catalog.roots import Roots, read_image_bytes, share_roots
from catalog.schema import MIX
from catalog.workspace import Workspace
from tasks.backends.calls import call_batch
from tasks.backends.protocols import CaptionEditor, Captioner
from tasks.backends.registry import backend_id
from tasks.edit_rules import rule_edit

_VERSION = 1
_BATCH = 32
"""Samples captioned at a time; each batch is kept, so a rerun after a kill captions nothing twice."""

Row = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with (samples captioned, samples in all)."""


@dataclass(frozen=True, kw_only=True)
class ProposalOptions:
    """Which samples are proposed."""

    per_class: int = 500
    """At most so many of each class, and as many again that the rule leaves open: people reject some."""
    splits: tuple[str, ...] = ("val", "test")
    """Held-out splits of the mix that are taken from."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise ConfigError(f"samples per class must be at least 1. Got {self.per_class}")
        if not self.splits or set(self.splits) - {"val", "test"}:
            raise ConfigError(f"splits must be some of val and test. Got {', '.join(self.splits) or 'none'}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative. Got {self.seed}")


@dataclass(frozen=True)
class Proposers:
    """The helper models."""

    captioner: Captioner
    caption_editor: CaptionEditor

    def ids(self) -> list[str]:
        """``role=name@revision`` of each."""
        return [backend_id("captioner", self.captioner), backend_id("caption_editor", self.caption_editor)]


def propose(
    workspace: Workspace,
    name: str,
    mix: Path,
    proposers: Proposers,
    options: ProposalOptions,
    progress: Progress = lambda done, total: None,
) -> list[Row]:
    """Write the candidates of a benchmark, whole or not at all, and return them. Answers about them stay.

    Args:
        workspace: where the benchmark is made.
        name: of the benchmark.
        mix: holds the edits; ``roots.json`` beside it.
        proposers: captioner and caption editor.
        options: see there.
        progress: called after each batch.

    Raises:
        MixError: no mix, or no held-out edit in it.
        BackendError: a helper model cannot be used.
    """
    chosen = choose(read_edits(mix, options.splits), options)
    folder, roots = benchmark_folder(workspace, name), Roots.read(mix.parent / "roots.json")
    sweep(folder)
    share_roots(workspace, {row[side]["root"] for row in chosen for side in ("source_image", "target_image")}, folder)
    rows: list[Row] = []
    for start in range(0, len(chosen), _BATCH):
        rows += _captioned(folder / "parts", chosen[start : start + _BATCH], roots, proposers)
        progress(min(start + _BATCH, len(chosen)), len(chosen))
    footer = {
        "name": name,
        "seed": options.seed,
        "splits": list(options.splits),
        "per_class": options.per_class,
        "mix_sha256": mix_digest(mix),
        "backends": proposers.ids(),
        "num_rows": len(rows),
        "num_usable": sum(row["reason"] is None for row in rows),
    }
    _write(candidates_path(workspace, name), rows, footer)
    return rows


def read_edits(mix: Path, splits: Sequence[str]) -> list[Row]:
    """Held-out edits of a mix that have an instruction and a target. Raises MixError where there is none."""
    if not mix.is_file():
        raise MixError(f"there is no mix at {mix}: flow build-edit-benchmark makes one")
    with reading_mix(mix):
        missing = sorted(set(MIX.names) - set(pq.read_schema(mix).names))
        if missing:
            raise MixError(f"{mix} is not a mix: it has no column {missing[0]!r}; make one with catalog mix")
        wanted = [("split", "in", list(splits)), ("vision_task", "=", "image_editing")]
        table = pq.read_table(mix, columns=MIX.names, filters=wanted, page_checksum_verification=True)
    rows = [row for row in table.to_pylist() if row["instruction"] and row["target_image"]]
    if not rows:
        raise MixError(f"{mix} has no edit in its splits {', '.join(splits)}: build more, or hold more out")
    return rows


def choose(rows: Sequence[Row], options: ProposalOptions) -> list[Row]:
    """The candidates, ruled and in the order of the hash: of each class one per photo, the first ``per_class``."""
    ordered = sorted(rows, key=lambda row: value_digest([options.seed, row["pair_id"]]))
    chosen, counts, photos = [], dict.fromkeys((*CLASSES, None), 0), set()
    for row in {row["pair_id"]: row for row in ordered}.values():
        ruled = rule_edit(row["instruction"], row["edit_type"])
        photo = (row["group_id"], ruled.edit_class)
        if photo in photos or counts[ruled.edit_class] == options.per_class:
            continue
        photos.add(photo)
        counts[ruled.edit_class] += 1
        chosen.append({**row, "proposed_class": ruled.edit_class, "why": ruled.why})
    return chosen


def _captioned(folder: Path, rows: Sequence[Row], roots: Roots, proposers: Proposers) -> list[Row]:
    """Candidates of one batch, read back where they were made before."""
    shown = [
        [row["pair_id"], row["source_image"]["sha256"], row["target_image"]["sha256"], row["instruction"], row["why"]]
        for row in rows
    ]
    path = folder / f"{value_digest([_VERSION, proposers.ids(), shown])[:32]}.parquet"
    if not path.exists():
        made = list(_caption(rows, roots, proposers))
        _write(path, made, {"num_rows": len(made), "num_usable": sum(row["reason"] is None for row in made)})
    found: list[Row] = read_part(path).to_pylist()
    return found


def _caption(rows: Sequence[Row], roots: Roots, proposers: Proposers) -> Iterator[Row]:
    images: list[Any] = [_read(roots, row) for row in rows]
    places = [place for place, image in enumerate(images) if not isinstance(image, RowRejected)]
    seen = [rows[place] for place in places]
    labels = [[row["label"]] if row["label"] and row["proposed_class"] != "object_addition" else [] for row in seen]
    given = [[row["source_caption"]] if row["source_caption"] else [] for row in seen]
    sources = call_batch("captioner", proposers.captioner, [images[place] for place in places], labels, given)
    captions = dict(zip(places, sources, strict=True))
    told = [place for place in places if isinstance(captions[place], str)]
    words = [captions[place] for place in told], [rows[place]["instruction"] for place in told]
    targets = dict(zip(told, call_batch("caption_editor", proposers.caption_editor, *words), strict=True))
    for place, row in enumerate(rows):
        found = [images[place], captions.get(place), targets.get(place)]
        rejected = next((one for one in found if isinstance(one, RowRejected)), None)
        candidate = {
            **row,
            "source_caption": captions[place] if isinstance(captions.get(place), str) else None,
            "target_caption": targets[place] if isinstance(targets.get(place), str) else None,
            "backends": proposers.ids(),
            "reason": None if rejected is None else str(rejected.reason),
            "detail": None if rejected is None else rejected.detail,
        }
        yield {**candidate, "proposal": proposal_digest(candidate)}


def _read(roots: Roots, row: Row) -> Any:
    """The source's pixels, or why there are none."""
    try:
        return decode_image(read_image_bytes(roots, row["source_image"]))
    except RowRejected as rejected:
        return rejected


def _write(path: Path, rows: Sequence[Row], footer: dict[str, Any]) -> None:
    table = pa.Table.from_pylist(list(rows), schema=CANDIDATES)
    write_stream(path, "edit_candidates", CANDIDATES, table.to_batches(), footer, max(1, len(rows)))
