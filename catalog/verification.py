"""Verify: is everything that the manifests and mixes promise still there, whole and unchanged?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.columns import IMAGE
from catalog.digests import file_digest
from catalog.durable import TEMPORARY_SUFFIX
from catalog.errors import RowRejected, ShardError
from catalog.manifests import Manifest, list_manifests, read_manifest
from catalog.parquet_streams import data_digest_holds
from catalog.roots import Roots, read_image_bytes
from catalog.schema import MIX
from catalog.store import Shard, files_beside, orphans, read_metadata, read_shard
from catalog.workspace import Workspace

_BATCH_ROWS = 65536


@dataclass(kw_only=True)
class Verification:
    """What was looked at, what is wrong, and what merely lies around."""

    num_manifests: int = 0
    num_shards: int = 0
    num_rows: int = 0
    num_images: int = 0
    """Distinct images whose place was checked; with ``deep`` their bytes too."""
    num_files: int = 0
    """Tars and indexes beside the shards."""
    num_mixes: int = 0
    problems: list[str] = field(default_factory=list)
    """One sentence each; anything here means that training or evaluation may fail."""
    notes: list[str] = field(default_factory=list)
    """Harmless: temporary files, shards that no manifest lists, mixes older than their builds."""


def verify(workspace: Workspace, build: str | None = None, deep: bool = False) -> Verification:
    """Check manifests, their shards, the images that rows point to, and the mixes beside the tables.

    Every Parquet file is read whole and compared with its digest; every image must lie inside its file.

    Args:
        workspace: what to check.
        build: one manifest only, without mixes and leftovers; None: all.
        deep: read every image, too, and compare with the digest in its row.

    Raises:
        ShardError: no manifest of that name.
    """
    return _Verifier(workspace, deep).verify(build)


class _Verifier:
    def __init__(self, workspace: Workspace, deep: bool) -> None:
        self._workspace = workspace
        self._deep = deep
        self._found = Verification()
        self._roots = Roots({})
        self._sizes: dict[Path, int | None] = {}
        self._seen: set[tuple[Any, ...]] = set()
        self._checked: set[tuple[str, str]] = set()
        self._unknown_roots: set[str] = set()

    def verify(self, build: str | None) -> Verification:
        if self._workspace.roots_path.exists():
            self._roots = Roots.read(self._workspace.roots_path)
        names = list_manifests(self._workspace) if build is None else [build]
        manifests = []
        for name in names:
            try:
                manifests.append(read_manifest(self._workspace, name))
            except ShardError as error:
                if build is not None:
                    raise
                self._problem(str(error))
        for manifest in manifests:
            self._manifest(manifest)
        if build is None:
            for path in sorted(self._workspace.catalog.glob("*.parquet")):
                self._mix(path, {manifest.name: manifest for manifest in manifests})
            self._leftovers(manifests)
        return self._found

    def _problem(self, sentence: str) -> None:
        self._found.problems.append(sentence)

    def _manifest(self, manifest: Manifest) -> None:
        self._found.num_manifests += 1
        for shards in manifest.tables.values():
            for shard in shards:
                if (shard.path, shard.sha256) not in self._checked:
                    self._checked.add((shard.path, shard.sha256))
                    self._shard(shard, manifest.name)

    def _shard(self, shard: Shard, manifest: str) -> None:
        self._found.num_shards += 1
        path = shard.file(self._workspace)
        where = f"{shard.path} (of {manifest})"
        if not path.is_file():
            self._problem(f"{where} is missing")
            return
        if file_digest(path) != shard.sha256:
            self._problem(f"{where} has changed: its digest is not the manifest's")
            return
        try:
            table = read_shard(path)
        except (ShardError, pa.ArrowException) as error:
            self._problem(f"{where} cannot be read: {error}")
            return
        if table.num_rows != shard.num_rows:
            self._problem(f"{where} has {table.num_rows} rows, the manifest says {shard.num_rows}")
        self._found.num_rows += table.num_rows
        self._images(table, where)
        self._files(shard, where)

    def _files(self, shard: Shard, where: str) -> None:
        """The tar and files that a shard counts on: their lengths; with ``deep`` the digests of files, too."""
        metadata = read_metadata(shard.file(self._workspace))
        for file, facts in files_beside(self._workspace, shard.table, shard.key, metadata).items():
            name = f"{file.parent.name}/{file.name}"
            length = file.stat().st_size if file.is_file() else 0
            self._found.num_files += length > 0
            if length != facts["length"] and "sha256" in facts:
                self._problem(f"{where}: {name} must have {facts['length']} bytes, but has {length}")
            elif self._deep and "sha256" in facts and file_digest(file) != facts["sha256"]:
                self._problem(f"{where}: {name} has changed: its digest is not the one in the footer")

    def _images(self, table: pa.Table, where: str) -> None:
        for image in _distinct_images(table):
            place = tuple(image[name] for name in ("root", "path", "offset", "length", "sha256"))
            if place in self._seen:
                continue
            self._seen.add(place)
            self._found.num_images += 1
            if self._in_range(image, where) and self._deep:
                try:
                    read_image_bytes(self._roots, image)
                except RowRejected as error:
                    self._problem(f"{where}: {error}")

    def _in_range(self, image: dict[str, Any], where: str) -> bool:
        root, path = image["root"], PurePosixPath(image["path"])
        if root not in self._roots.folders:
            if root not in self._unknown_roots:
                self._unknown_roots.add(root)
                self._problem(f"{where}: roots.json has no folder for {root!r}: add it there")
            return False
        if path.is_absolute() or ".." in path.parts:
            self._problem(f"{where}: image path {path} leaves its root {root!r}")
            return False
        size = self._size(self._roots.folder(root) / path, f"{root}/{path}", where)
        if size is None:
            return False
        start, end = image["offset"], image["offset"] + image["length"]
        if start < 0 or image["length"] <= 0 or end > size:
            self._problem(f"{where}: bytes {start} to {end} of {root}/{path} are outside its {size} bytes")
            return False
        return True

    def _size(self, file: Path, name: str, where: str) -> int | None:
        if file not in self._sizes:
            self._sizes[file] = file.stat().st_size if file.is_file() else None
            if self._sizes[file] is None:
                self._problem(f"{where}: image file {name} is missing")
        return self._sizes[file]

    def _mix(self, path: Path, manifests: dict[str, Manifest]) -> None:
        self._found.num_mixes += 1
        try:
            metadata = read_metadata(path)
            file = pq.ParquetFile(path)
            if metadata.get("table") != "mix" or not file.schema_arrow.equals(MIX, check_metadata=False):
                self._problem(f"{path.name} has other columns than a mix: delete it or make it again")
                return
            row = 0
            for batch in file.iter_batches(_BATCH_ROWS):
                positions = batch.column("position").drop_null().to_pylist()
                if positions != list(range(row, row + len(positions))):
                    self._problem(f"{path.name} lacks positions from {row} on: make it again")
                    return
                row += len(positions)
                self._images(pa.Table.from_batches([batch]), path.name)
        except (ShardError, pa.ArrowException, OSError) as error:
            self._problem(f"{path.name} cannot be read: {error}")
            return
        if self._deep and not data_digest_holds(path):
            self._problem(f"{path.name} has not the bytes that its footer vouches for: make it again")
        if row != metadata["num_train"] or file.metadata.num_rows != metadata["num_rows"]:
            self._problem(f"{path.name} has not the rows that its footer promises: make it again")
        for build in metadata.get("builds", []):  # a confirmed benchmark is made from candidates, not from a build
            manifest = manifests.get(build["name"])
            if manifest is None or [one.sha256 for one in manifest.tables.get("pairs", [])] != build["pairs"]:
                self._found.notes.append(f"{path.name} was made from another state of build {build['name']}")

    def _leftovers(self, manifests: list[Manifest]) -> None:
        listed = {shard.path for one in manifests for shards in one.tables.values() for shard in shards}
        catalog, data = self._workspace.catalog, self._workspace.data
        for path in sorted((catalog / "tables").glob("*/*.parquet")):
            name = path.relative_to(catalog).as_posix()
            if name not in listed:
                self._found.notes.append(f"{name} is in no manifest")
        for path in orphans(self._workspace):
            self._found.notes.append(f"{path.relative_to(data)} has no table beside it")
        for folder in (catalog, data):
            for path in sorted(folder.rglob("*" + TEMPORARY_SUFFIX)):
                self._found.notes.append(f"{path.relative_to(folder.parent)} is a temporary file")


def _distinct_images(table: pa.Table) -> Iterator[dict[str, Any]]:
    names = ["root", "path", "offset", "length", "sha256"]
    for values in _image_columns(table):
        fields = pa.table({name: pc.struct_field(values, name) for name in names})
        present = fields.filter(pc.is_valid(fields.column("path")))
        yield from present.group_by(names, use_threads=False).aggregate([]).to_pylist()


def _image_columns(table: pa.Table) -> Iterator[pa.ChunkedArray]:
    """The columns of images, also those within a donor."""
    for column in table.schema:
        if column.type.equals(IMAGE):
            yield table.column(column.name)
        elif pa.types.is_struct(column.type):
            names = [part.name for part in column.type if part.type.equals(IMAGE)]
            yield from (pc.struct_field(table.column(column.name), name) for name in names)
