"""Revoke: a tombstone withdraws an image, a patch, a licence or a backend, and everything that came of it.

Shards are never changed. Tombstones are a table of their own, one file each below ``catalog/tombstones``; what
they reach is worked out anew from the pairs of all builds whenever it is asked for, so it holds for later builds too.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.affected_checkpoints import AffectedCheckpoint, Draws, find_affected, read_runs
from catalog.digests import value_digest
from catalog.errors import ConfigError, ShardError
from catalog.manifests import list_manifests, read_manifest
from catalog.parquet_streams import mix_digest, write_stream
from catalog.queries import fetch_rows, load_sql, open_database, open_table, run_query
from catalog.schema import MIX, PAIRS, REQUESTS
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
class Revocation:
    """What some tombstones reach."""

    pairs: tuple[str, ...]
    """pair_ids of any build, sorted."""
    mixes: dict[str, int]
    """File name of a mix to its draws of these pairs; only mixes that have any."""
    checkpoints: tuple[AffectedCheckpoint, ...]
    unknown_runs: tuple[str, ...] = ()
    """Runs on a mix that is no longer in the catalog, written over or moved: what they saw cannot be told."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def write_tombstone(workspace: Workspace, tombstone: Tombstone) -> Path:
    """Record a withdrawal, once; returns its file."""
    path = tombstone_path(workspace, tombstone)
    if not path.exists():
        batch = pa.RecordBatch.from_pylist([asdict(tombstone)], schema=TOMBSTONES)
        write_stream(path, "tombstones", TOMBSTONES, [batch], {"num_rows": 1, "num_usable": 1}, 1)
    return path


def tombstone_path(workspace: Workspace, tombstone: Tombstone) -> Path:
    """The file that holds a withdrawal, by kind and value; without it the next decision knows nothing of it."""
    value = {"kind": tombstone.kind, "value": tombstone.value}
    return _folder(workspace) / f"{value_digest(value)[:32]}.parquet"


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
    tables = {
        table: list(dict.fromkeys(path for manifest in manifests for path in manifest.paths(workspace, table)))
        for table in ("pairs", "requests")
    }
    if not tables["pairs"]:
        return []
    with open_database() as connection:
        open_table(connection, "pairs", tables["pairs"], PAIRS)
        open_table(connection, "requests", tables["requests"], REQUESTS)
        connection.register("tombstones", pa.Table.from_pylist([asdict(one) for one in stones], schema=TOMBSTONES))
        run_query(connection, "named_pairs")
        return [row["pair_id"] for row in fetch_rows(connection, load_sql("revoked_pairs"))]


def trace(workspace: Workspace, tombstones: Sequence[Tombstone] | None = None) -> Revocation:
    """Everything that tombstones (None: those on record) reach: pairs, mixes and checkpoints below ``runs``.

    Checkpoints that started from one that is reached are reached as well. Of a run whose mix is no longer in the
    workspace's ``catalog`` folder nobody knows what it saw: it is named as such.
    """
    pairs = revoked_pairs(workspace, tombstones)
    mixes: dict[str, int] = {}
    draws: dict[str, Draws] = {}
    known: set[str] = set()
    for path in sorted(workspace.catalog.glob("*.parquet")) if pairs else ():
        metadata = read_metadata(path)
        if metadata.get("table") != "mix":
            continue
        known.add(digest := mix_digest(path))
        num_draws, positions = _draws(path, pairs)
        if num_draws:
            mixes[path.name] = num_draws
            draws[digest] = Draws(positions=positions, num_train=metadata["num_train"])
    runs = read_runs(workspace) if pairs else []
    return Revocation(
        pairs=tuple(pairs),
        mixes=mixes,
        checkpoints=tuple(find_affected(workspace, runs, draws)),
        unknown_runs=tuple(run.folder.name for run in runs if run.mix_sha256 not in known),
    )


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
