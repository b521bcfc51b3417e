"""The list of shards that one build consists of. Written last: until it exists, the build is not finished."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.digests import canonical_json, value_digest
from catalog.durable import write_file
from catalog.errors import ShardError
from catalog.schema import SCHEMA_VERSION
from catalog.store import Shard
from catalog.workspace import Workspace

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Manifest:
    """Shards by table, in build order, and the parameters that made them. Same content, same bytes."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[Shard]] = field(default_factory=dict)

    def paths(self, workspace: Workspace, table: str) -> list[Path]:
        """Parquet files of one table; empty where the build has none."""
        return [shard.file(workspace) for shard in self.tables.get(table, [])]

    def digest(self) -> str:
        """Digest of everything that the manifest says."""
        return value_digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return {
            "name": self.name,
            "schema_version": SCHEMA_VERSION,
            "parameters": self.parameters,
            "tables": {table: [shard.as_dict() for shard in shards] for table, shards in self.tables.items()},
        }


def write_manifest(workspace: Workspace, manifest: Manifest) -> Path:
    """Write the manifest whole and return its path."""
    path = workspace.manifest_path(check_name(manifest.name))
    write_file(path, [canonical_json(manifest.as_dict()).encode() + b"\n"])
    return path


def read_manifest(workspace: Workspace, name: str) -> Manifest:
    """Read a manifest.

    Raises:
        ShardError: no such build, not a manifest, or one of another schema version.
    """
    path = workspace.manifest_path(check_name(name))
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        version = value["schema_version"]
        if version != SCHEMA_VERSION:
            raise ShardError(f"{path} has schema version {version}, this code {SCHEMA_VERSION}: run the build again")
        tables = {table: [Shard(**shard) for shard in shards] for table, shards in value["tables"].items()}
        return Manifest(name=value["name"], parameters=value["parameters"], tables=tables)
    except FileNotFoundError as error:
        kind = "." in name  # a decision's name has a dot
        known = ", ".join(other for other in list_manifests(workspace) if ("." in other) == kind) or "none"
        raise ShardError(f"no build named {name!r} in {path.parent} (builds there: {known}); run it first") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(f"{path} is not a manifest ({error}): delete it and run the build again") from error


def list_manifests(workspace: Workspace) -> list[str]:
    """Names of all manifests, sorted."""
    return sorted(path.stem for path in workspace.manifest_path("x").parent.glob("*.json"))


def check_build_name(name: Any) -> str:
    """A name that a build may have: without a dot, as ``BUILD.POLICY`` names a decision. Raises ShardError."""
    if "." in check_name(name):
        raise ShardError(f"a build's name has no dot, which parts a build from a policy in a decision's. Got {name!r}")
    return str(name)


def check_same_kind(workspace: Workspace, name: str, table: str) -> None:
    """Refuse a name that a manifest of another kind bears: writing this one would lose that one.

    Args:
        workspace: where the manifests are.
        name: of the manifest to be written.
        table: ``pairs``, which every build has, ``requests``, which is all that a crawl has, or ``variants``, all
            that an alignment set has.

    Raises:
        ShardError: something of another kind has the name.
    """
    if name not in list_manifests(workspace):
        return
    try:
        tables = read_manifest(workspace, name).tables
    except ShardError:  # of another version, or damaged: to be written anew
        return
    kinds = {"pairs": "build", "requests": "crawl", "variants": "alignment set"}
    there = next((kind for kind in kinds if kind in tables), table)
    if there != table:
        raise ShardError(f"{name!r} is the name of a {kinds[there]}: give this {kinds[table]} another one")


def check_name(name: Any) -> str:
    """A build's name, if it can be one. Raises ShardError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ShardError(f"a build's name is lower-case letters, digits, '.', '-' and '_', at most 100. Got {name!r}")
    return name
