"""Export: a mix becomes a folder that other tools read, shard by shard, in the mix's own order.

    webdataset   train-00000.tar ...           pictures as they are, masks, and the facts as JSON
    datasets     data/train-00000.parquet ...  the same as columns, a card, Croissant metadata
    croissant    data/train-00000.parquet ...  no picture: where each one lies, and its digest; Croissant metadata

A pure function of mix, pictures and options. Training rows come in their training order, which is a shuffle.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from catalog.counts import mix_metadata
from catalog.digests import canonical_json, value_digest
from catalog.errors import ConfigError, MixError, RowRejected
from catalog.exports.card import TALLIED, CardFacts, describe_in_a_sentence, write_card
from catalog.exports.croissant import describe
from catalog.exports.folder import ExportFolder, ShardNote, claim_export, refuse_store, settle
from catalog.exports.licences import LicenceChoice, licences_of, read_licences
from catalog.exports.origin import trace_origin
from catalog.exports.pairs import FACTS, PICTURES, ExportedPair, MixRow, PairOptions, make_pair, read_rows
from catalog.exports.references import REFERENCES, refer
from catalog.exports.shards import DATASETS_COLUMNS, ParquetShard, Shard, TarShard
from catalog.parquet_streams import mix_digest
from catalog.reasons import Reason
from catalog.revocation import revoked_pairs
from catalog.roots import Roots
from catalog.workspace import Workspace

Kind = Literal["webdataset", "datasets", "croissant"]
KINDS: tuple[Kind, ...] = ("webdataset", "datasets", "croissant")
EXPORT_VERSION = 1
"""Of the layout: a change makes unfinished exports begin anew."""
MIN_SHARD_BYTES = 1_000
SCHEMAS: dict[str, pa.Schema] = {"datasets": DATASETS_COLUMNS, "croissant": REFERENCES}
"""Columns of the formats that are Parquet."""

LICENCE_LEFT_OUT = "licence_left_out"
"""Why a row is not in an export, beside `catalog.reasons`: nobody chose its licence."""

Progress = Callable[[int, int], None]
"""Told the rows done and their number."""


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an export holds."""

    output: Path
    num_pairs: int
    num_bytes: int
    pairs: Counter[tuple[Any, ...]]
    """By `card.TALLIED`."""
    left_out: Counter[str]
    """Rows of the mix by the reason why they are not in it."""


@dataclass(frozen=True)
class _LeftOut:
    """Why a row is not in the export."""

    reason: str
    """One of `catalog.reasons`, or `LICENCE_LEFT_OUT`."""
    detail: str


@dataclass(frozen=True)
class _Job:
    """All that a row needs to be exported."""

    kind: Kind
    options: PairOptions
    choice: LicenceChoice
    roots: Roots
    donors: Mapping[str, str]
    revoked: frozenset[str]


def export_mix(
    workspace: Workspace,
    mix: Path,
    output: Path,
    kind: Kind,
    options: PairOptions,
    choice: LicenceChoice,
    shard_bytes: int = 500_000_000,
    progress: Progress = lambda done, total: None,
) -> ExportSummary:
    """Write the pairs of a mix into the new folder ``output``, whole or not at all.

    A pair that cannot be used (a photo that has changed or gone, a region that vanishes when drawn, a withdrawal since
    the mix was made, a licence that is not chosen) is left out, listed in ``left_out.jsonl`` and counted. Killed, the
    same call goes on behind the last finished shard.

    Args:
        workspace: where builds and withdrawals are.
        mix: the file; ``roots.json`` beside it says where pictures are.
        output: must not be there.
        kind: the format.
        options: how rows become pairs.
        choice: which licences are copied; of ``croissant``, which copies nothing, a mere filter.
        shard_bytes: size at which a shard is full; only its last pair may reach beyond.
        progress: told after each row.

    Raises:
        ConfigError: ``output`` is there and another export or none, cannot be made, or is in the workspace's own store;
            or licences are not vouched for.
        MixError: no such mix, a damaged one, or no pair of it can be exported.
        ShardError: a root is not known on this machine.
    """
    if shard_bytes < MIN_SHARD_BYTES:
        raise ConfigError(f"a shard needs at least {MIN_SHARD_BYTES} bytes. Got {shard_bytes}")
    refuse_store(output, workspace)
    footer = _read_footer(mix)
    counts, donors = read_licences(workspace, mix, footer, options.repeats)
    if kind == "croissant" and not choice.patterns:
        choice = LicenceChoice(private=True)  # nothing is copied
    choice.check(counts)
    revoked = frozenset(revoked_pairs(workspace))
    job = _Job(kind, options, choice, Roots.read(mix.parent / "roots.json"), donors, revoked)
    sha256 = mix_digest(mix)
    settings = {
        "export_version": EXPORT_VERSION,
        "kind": kind,
        "mix": sha256,
        "options": asdict(options),
        "choice": asdict(choice),
        "shard_bytes": shard_bytes,
        "donors": donors,
        "revoked": sorted(revoked),
    }
    output = output.absolute()
    settings_sha256 = value_digest(settings)
    with claim_export(output, settings_sha256) as folder:
        if folder is None:
            return _read_summary(output)
        rows = read_rows(mix, folder.next_row, footer["num_train"], footer["num_val"])
        _write_shards(folder, rows, job, shard_bytes, lambda done: progress(done, footer["num_rows"]))
        facts = _gather(folder, output.name, sha256, footer, workspace, job)
        if not facts.tallies:
            raise MixError(f"no pair of {mix} can be exported ({dict(facts.left_out)}): bring its pictures back")
        _write_texts(folder, facts, settings_sha256)
        folder.publish(output)
    return _read_summary(output)


def _read_summary(output: Path) -> ExportSummary:
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    return ExportSummary(
        output=output,
        num_pairs=manifest["num_pairs"],
        num_bytes=sum(shard["bytes"] for shard in manifest["shards"]),
        pairs=Counter({tuple(values): number for *values, number in manifest["pairs"]}),
        left_out=Counter(manifest["left_out"]),
    )


def _read_footer(mix: Path) -> dict[str, Any]:
    footer = mix_metadata(mix)
    needed = ("num_train", "num_val", "num_rows", "policy", "sources", "name", "seed")
    if missing := [key for key in needed if key not in footer]:
        raise MixError(f"{mix} does not say its {missing[0]}: make it anew with `python -m catalog mix`")
    return footer


def _write_shards(
    folder: ExportFolder, rows: Iterator[MixRow], job: _Job, shard_bytes: int, done: Callable[[int], None]
) -> None:
    for split, members in groupby(rows, key=lambda one: str(one.row["split"])):
        while (note := _write_shard(folder, split, members, job, shard_bytes, done)) is not None:
            folder.add(note)


def _write_shard(
    folder: ExportFolder, split: str, rows: Iterator[MixRow], job: _Job, shard_bytes: int, done: Callable[[int], None]
) -> ShardNote | None:
    """One shard of the next rows of a split; None where there are none."""
    number = folder.num_shards(split)
    name = f"{split}-{number:05d}.tar" if job.kind == "webdataset" else f"data/{split}-{number:05d}.parquet"
    shard, end = None, None
    tallies: Counter[tuple[Any, ...]] = Counter()
    left_out: Counter[str] = Counter()
    with folder.left_out_path().open("w", encoding="utf-8") as lines:
        for one in rows:
            end = one.number + 1
            done(end)
            if one.row["repeat"] and not job.options.repeats:
                continue
            found = _export_row(one, job)
            if isinstance(found, _LeftOut):
                left_out[found.reason] += 1
                lines.write(canonical_json({"pair_id": one.row["pair_id"], **asdict(found)}) + "\n")
                continue
            shard = shard or _open_shard(folder.path / name, job)
            shard.add(found)
            tallies[tuple(found.facts[column] for column in TALLIED)] += 1
            if shard.length >= shard_bytes:
                break
    if end is None:
        return None
    note = ShardNote(path=None, split=split, end_row=end, left_out=dict(left_out))
    if shard is None:
        return note
    shard.close()
    length, sha256 = settle(folder.path / name)
    counted = [[*values, number] for values, number in tallies.items()]
    return replace(note, path=name, length=length, sha256=sha256, num_pairs=tallies.total(), tallies=counted)


def _open_shard(path: Path, job: _Job) -> Shard:
    path.parent.mkdir(exist_ok=True)
    if job.kind == "webdataset":
        return TarShard(path, job.options.repeats)
    return ParquetShard(path, job.options.repeats, SCHEMAS[job.kind])


def _export_row(one: MixRow, job: _Job) -> ExportedPair | _LeftOut:
    licences = licences_of(one.row, job.donors)
    if one.row["pair_id"] in job.revoked:
        return _LeftOut(Reason.REVOKED.value, "a tombstone withdraws the pair since the mix was made")
    if not job.choice.takes(licences):
        return _LeftOut(LICENCE_LEFT_OUT, "; donor: ".join(licences))
    if job.kind == "croissant":
        return refer(one.row, job.donors)
    try:
        return make_pair(one, job.roots, job.donors, job.options)
    except RowRejected as error:
        return _LeftOut(error.reason.value, error.detail)


def _gather(
    folder: ExportFolder, name: str, sha256: str, footer: Mapping[str, Any], workspace: Workspace, job: _Job
) -> CardFacts:
    tallies: Counter[tuple[Any, ...]] = Counter()
    left_out: Counter[str] = Counter()
    for note in folder.notes:
        tallies.update({tuple(values): number for *values, number in note.tallies})
        left_out.update(note.left_out)
    return CardFacts(
        name=name,
        kind=job.kind,
        tallies=tallies,
        left_out=left_out,
        mix_sha256=sha256,
        footer=footer,
        origins=trace_origin(workspace, footer),
        choice=job.choice,
        options=job.options,
    )


def _write_texts(folder: ExportFolder, facts: CardFacts, settings_sha256: str) -> None:
    folder.write("README.md", write_card(facts))
    if facts.left_out:
        folder.gather_left_out("left_out.jsonl")
    if facts.kind != "webdataset":
        sentence = describe_in_a_sentence(facts)
        croissant = describe(facts.name, sentence, facts.licences(), SCHEMAS[facts.kind], folder.notes)
        folder.write("croissant.json", json.dumps(croissant, indent=2, ensure_ascii=False) + "\n")
    shards = [note for note in folder.notes if note.path is not None]
    manifest = {
        "export_version": EXPORT_VERSION,
        "settings_sha256": settings_sha256,
        "format": facts.kind,
        "mix": {"name": facts.footer["name"], "sha256": facts.mix_sha256, "num_rows": facts.footer["num_rows"]},
        "policy": facts.footer["policy"],
        "options": asdict(facts.options),
        "licences": asdict(facts.choice),
        "columns": {one.name: str(one.type) for one in SCHEMAS.get(facts.kind, FACTS)},
        "pictures": [] if facts.kind == "croissant" else list(PICTURES),
        "num_pairs": facts.tallies.total(),
        "left_out": dict(sorted(facts.left_out.items())),
        "pairs": [[*values, number] for values, number in sorted(facts.tallies.items(), key=str)],
        "pairs_by": list(TALLIED),
        "shards": [
            {
                "path": one.path,
                "split": one.split,
                "num_pairs": one.num_pairs,
                "bytes": one.length,
                "sha256": one.sha256,
            }
            for one in shards
        ],
    }
    folder.write("manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
