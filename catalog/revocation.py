"""Revoke: a tombstone withdraws an image, a patch, a licence or a backend, and everything that came of it.

Shards are never changed. Tombstones are a table of their own, one file each below ``catalog/tombstones``; what
they reach is worked out anew from the pairs of all builds whenever it is asked for, so it holds for later builds too.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import value_digest
from catalog.errors import ConfigError, ShardError
from catalog.manifests import list_manifests, read_manifest
from catalog.parquet_streams import mix_digest, write_stream
from catalog.queries import fetch_rows, load_sql, open_database, open_table, run_query
from catalog.schema import MIX, PAIRS
from catalog.store import read_metadata
from catalog.workspace import Workspace

KINDS = ("image", "patch", "licence", "backend")

TOMBSTONES = pa.schema(
    [
        ("kind", pa.string()),  # one of KINDS
        ("value", pa.string()),  # SHA-256; region_id; the licence as rows have it; "role=name" or "role=name@revision"
        ("note", pa.string()),  # why, in the user's words
    ]
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BACKEND = re.compile(r"[a-z_]+=[^=@\s]+(@\S+)?")
_CHECKPOINT = re.compile(r"step-(\d{8,})")
_MAX_VALUE = 1000  # characters


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """One withdrawal."""

    kind: str
    value: str
    note: str = ""

    def __post_init__(self) -> None:
        """Raises ConfigError for what cannot be a value of its kind."""
        if self.kind not in KINDS:
            raise ConfigError(f"what is withdrawn must be one of {', '.join(KINDS)}. Got {self.kind!r}")
        if self.kind == "image" and not _SHA256.fullmatch(self.value):
            raise ConfigError(f"an image is named by its SHA-256, 64 hexadecimal digits. Got {self.value!r}")
        if self.kind == "backend" and not _BACKEND.fullmatch(self.value):
            raise ConfigError(f"a backend is named role=name or role=name@revision. Got {self.value!r}")
        if not self.value.strip() or not self.value.isprintable() or len(self.value) > _MAX_VALUE:
            raise ConfigError(f"a {self.kind} is named by one line of text, as rows have it. Got {self.value!r:.80}")


@dataclass(frozen=True, kw_only=True)
class AffectedCheckpoint:
    """A checkpoint that saw withdrawn pairs."""

    run: str
    checkpoint: str
    steps: tuple[tuple[int, int], ...]
    """Ranges of optimizer steps, counted from 0, the last one excluded, as ``plan --steps`` takes them."""


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """What some tombstones reach."""

    pairs: tuple[str, ...]
    """pair_ids of any build, sorted."""
    mixes: dict[str, int]
    """File name of a mix to its draws of these pairs; only mixes that have any."""
    checkpoints: tuple[AffectedCheckpoint, ...]

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def write_tombstone(workspace: Workspace, tombstone: Tombstone) -> Path:
    """Record a withdrawal, once; returns its file."""
    value = {"kind": tombstone.kind, "value": tombstone.value}
    path = _folder(workspace) / f"{value_digest(value)[:32]}.parquet"
    if not path.exists():
        batch = pa.RecordBatch.from_pylist([asdict(tombstone)], schema=TOMBSTONES)
        write_stream(path, "tombstones", TOMBSTONES, [batch], {"num_rows": 1, "num_usable": 1}, 1)
    return path


def read_tombstones(workspace: Workspace) -> list[Tombstone]:
    """All withdrawals on record, by file name.

    Raises:
        ShardError: a file is torn or foreign. None is passed over: its withdrawal would be forgotten.
    """
    found = []
    for path in sorted(_folder(workspace).glob("*.parquet")):
        if read_metadata(path).get("table") != "tombstones":
            raise ShardError(f"{path} must be a tombstone: move it elsewhere")
        found += [Tombstone(**row) for row in pq.read_table(path).to_pylist()]
    return found


def revoked_pairs(workspace: Workspace, tombstones: Sequence[Tombstone] | None = None) -> list[str]:
    """pair_ids, sorted, that tombstones (None: those on record) reach in the pairs of all builds."""
    stones = read_tombstones(workspace) if tombstones is None else tombstones
    manifests = [read_manifest(workspace, name) for name in list_manifests(workspace)] if stones else []
    paths = dict.fromkeys(path for manifest in manifests for path in manifest.paths(workspace, "pairs"))
    if not paths:
        return []
    with open_database() as connection:
        open_table(connection, "pairs", list(paths), PAIRS)
        connection.register("tombstones", pa.Table.from_pylist([asdict(one) for one in stones], schema=TOMBSTONES))
        run_query(connection, "named_pairs")
        return [row["pair_id"] for row in fetch_rows(connection, load_sql("revoked_pairs"))]


def trace(workspace: Workspace, tombstones: Sequence[Tombstone] | None = None) -> Revocation:
    """Everything that tombstones (None: those on record) reach: pairs, mixes and checkpoints below ``runs``.

    A mix elsewhere than in the workspace's ``catalog`` folder is not looked at, nor are checkpoints made from it.
    """
    pairs = revoked_pairs(workspace, tombstones)
    mixes: dict[str, int] = {}
    checkpoints: list[AffectedCheckpoint] = []
    for path in sorted(workspace.catalog.glob("*.parquet")) if pairs else ():
        metadata = read_metadata(path)
        if metadata.get("table") != "mix":
            continue
        num_draws, positions = _draws(path, pairs)
        if num_draws:
            mixes[path.name] = num_draws
            checkpoints += _checkpoints(workspace, mix_digest(path), positions, metadata["num_train"])
    return Revocation(pairs=tuple(pairs), mixes=mixes, checkpoints=tuple(checkpoints))


def affected_steps(positions: np.ndarray, num_train: int, batch: int, num_steps: int) -> tuple[tuple[int, int], ...]:
    """Steps below ``num_steps`` that saw one of some positions of a mix, as ranges with the end excluded.

    Step k sees the samples k * batch to (k + 1) * batch - 1, and sample i is the row at position i mod num_train.
    """
    seen = np.zeros(num_steps, bool)
    for start in range(0, num_steps * batch, num_train):
        steps = (positions + start) // batch
        seen[steps[steps < num_steps]] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    return tuple((int(first), int(last)) for first, last in edges.reshape(-1, 2))


def _folder(workspace: Workspace) -> Path:
    return workspace.catalog / "tombstones"


def _draws(path: Path, pairs: Sequence[str]) -> tuple[int, np.ndarray]:
    """How often a mix draws some pairs, and the training positions where it does."""
    with open_database() as connection:
        open_table(connection, "mix", [path], MIX)
        _register(connection, pairs)
        sql = "SELECT position FROM mix WHERE pair_id IN (SELECT pair_id FROM revoked) ORDER BY position"
        found = [row["position"] for row in fetch_rows(connection, sql)]
    return len(found), np.array([position for position in found if position is not None], np.int64)


def _register(connection: duckdb.DuckDBPyConnection, pairs: Sequence[str]) -> None:
    connection.register("revoked", pa.table({"pair_id": pa.array(pairs, pa.string())}))


def _checkpoints(
    workspace: Workspace, mix_sha256: str, positions: np.ndarray, num_train: int
) -> list[AffectedCheckpoint]:
    found = []
    for config in sorted(workspace.runs.glob("*/config.json")):
        try:
            value = json.loads(config.read_text(encoding="utf-8"))
            mine, batch = value["mix_sha256"] == mix_sha256, int(value["config"]["global_batch_size"])
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{config} is not what a training run writes ({error}): move it elsewhere") from error
        for path in sorted((config.parent / "checkpoints").glob("step-*")) if mine else ():
            if match := _CHECKPOINT.fullmatch(path.name):
                steps = affected_steps(positions, num_train, batch, int(match[1]))
                if steps:
                    found.append(AffectedCheckpoint(run=config.parent.name, checkpoint=path.name, steps=steps))
    return found
