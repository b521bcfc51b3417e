"""Lineage: which recorded shards and rows a row was made from, found through the digests in Parquet footers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from catalog.digests import file_digest
from catalog.errors import ShardError
from catalog.manifests import Manifest
from catalog.store import Shard, read_metadata, read_shard
from catalog.workspace import Workspace

Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """One recorded row and the shard that it is in."""

    shard: Shard
    index: int
    row: Row


class Lineage:
    """The shards of one build, by digest."""

    def __init__(self, workspace: Workspace, manifest: Manifest) -> None:
        self.workspace, self.manifest = workspace, manifest
        self._by_digest = {shard.sha256: shard for shards in manifest.tables.values() for shard in shards}

    def footer(self, shard: Shard) -> dict[str, Any]:
        """How a shard was made: step, parameters, backends, digests of inputs. Raises ShardError."""
        return read_metadata(shard.file(self.workspace))

    def inputs(self, shard: Shard) -> list[Shard]:
        """The shards of the same build that a shard was made from, in the step's order."""
        digests = self.footer(shard).get("inputs", [])  # a shard made by hand has none
        return [self._by_digest[digest] for digest in digests if digest in self._by_digest]

    def input_of(self, shard: Shard, table: str) -> Shard:
        """The one input of a table. Raises ShardError where the build does not list it."""
        found = [one for one in self.inputs(shard) if one.table == table]
        if not found:
            raise ShardError(
                f"{shard.file(self.workspace)} was made from a shard of {table!r} that build {self.manifest.name!r} "
                "does not list: build it again"
            )
        return found[0]

    def is_unchanged(self, shard: Shard) -> bool:
        """Whether the file still has the digest that the build recorded."""
        return file_digest(shard.file(self.workspace)) == shard.sha256

    def find(self, table: str, column: str, value: str) -> Place | None:
        """The first row of a table whose column has a value."""
        for shard in self.manifest.tables.get(table, []):
            place = self.find_in(shard, column, value)
            if place is not None:
                return place
        return None

    def find_in(self, shard: Shard, column: str, value: str) -> Place | None:
        """Likewise in one shard."""
        path = shard.file(self.workspace)
        index = pc.index(read_shard(path, [column])[column], value).as_py()
        if index < 0:
            return None
        return Place(shard, index, read_shard(path).slice(index, 1).to_pylist()[0])

    def walk(self, shard: Shard) -> Iterator[Shard]:
        """A shard and everything that it was made from, inputs before what is made of them, each once."""
        seen: set[str] = set()

        def visit(one: Shard) -> Iterator[Shard]:
            if one.sha256 in seen:
                return
            seen.add(one.sha256)
            inputs = self.inputs(one)
            # A gathering step reads the whole build: that says nothing about one row.
            for source in inputs if len({(item.table) for item in inputs}) == len(inputs) else []:
                yield from visit(source)
            yield one

        yield from visit(shard)
