"""The steps of a build, and the one way to run any of them on any shard.

A step is a pure function from input shards to one output shard::

    list          source dataset -> listings (many shards, streamed)
    ingest        listings -> regions         every region checked against its image
    ingest_pairs  listings -> pairs           ready-made pairs checked
    remove_object regions -> edits            inpainted, composited
    word_edits    edits -> pairs              captions, instruction, and the reversed pair
    annotate      regions -> pairs            segmentation and keypoint pairs, drawn at load time
    references    all regions -> references   features that quality is measured against
    score         pairs + references -> scores

`run_step` keys the output by content and returns at once where it exists. So any scheduler may run these calls in
any order that respects the arrows, on any number of workers, again after a kill, and the bytes are the same.
"""

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from catalog.digests import canonical_json, value_digest
from catalog.errors import ConfigError, ShardError
from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.roots import Roots, record_root
from catalog.store import STORE_ROOT, Shard, ShardWriter, read_metadata, read_rows, shard_key, sweep_store, write_shard
from catalog.workspace import Workspace
from tasks.backends.registry import backend_id, load_backend
from tasks.profiles import Profile, Source
from tasks.source_images import file_sizes

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a step's function works with."""

    workspace: Workspace
    profile: Profile
    source: Source | None
    """The source dataset, for the steps that read its files."""
    rows: Iterable[Row]
    """Rows of the input shards, in order."""
    roots: Roots
    backends: Mapping[str, Any]
    """Loaded backends by role."""
    backend_ids: tuple[str, ...]
    """"role=name@revision", sorted: the ``backends`` column."""
    extra: Mapping[str, Path]
    """Further input shards by table name."""


Produce = Callable[[StepContext, ShardWriter], Iterable[Row]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """How a step is found and what it depends on."""

    name: str
    reads: str
    writes: str
    function: str
    """module:function of type `Produce`; imported when the step first runs."""
    parameters: str | None = None
    """The profile's table that the result depends on."""
    roles: tuple[str, ...] = ()
    """Backends that the result depends on."""
    version: int = 1
    """Raised whenever the same inputs would give another result."""


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step(name="ingest", reads="listings", writes="regions", function="tasks.ingest:ingest", parameters="ingest"),
        Step(name="ingest_pairs", reads="listings", writes="pairs", function="tasks.ingest_pairs:ingest_pairs"),
        Step(
            name="remove_object",
            reads="regions",
            writes="edits",
            function="tasks.removal:remove_object",
            parameters="remove_object",
            roles=("inpainter",),
        ),
        Step(
            name="word_edits",
            reads="edits",
            writes="pairs",
            function="tasks.wording:word_edits",
            roles=("captioner", "instructor"),
        ),
        Step(name="annotate", reads="regions", writes="pairs", function="tasks.annotation:annotate"),
        Step(
            name="references",
            reads="regions",
            writes="references",
            function="tasks.references:references",
            parameters="score",
            roles=("embedder",),
        ),
        Step(
            name="score",
            reads="pairs",
            writes="scores",
            function="tasks.scoring:score",
            parameters="score",
            roles=("aesthetic_scorer", "embedder", "pair_similarity", "quality_scorer"),
        ),
    )
}


def successors(workspace: Workspace, profile: Profile, shard: Shard) -> list[str]:
    """Which per-shard steps follow on a shard (``references`` and ``score`` wait for all regions)."""
    if shard.num_rows == 0:
        return []
    if shard.table == "listings":
        kinds = read_metadata(shard.file(workspace))["kinds"]
        return [name for kind, name in (("image", "ingest"), ("pair", "ingest_pairs")) if kind in kinds]
    if shard.table == "regions":
        wanted = (("remove_object", profile.remove_object.enabled), ("annotate", profile.annotate.enabled))
        return [name for name, enabled in wanted if enabled]
    return {"edits": ["word_edits"], "pairs": ["score"]}.get(shard.table, [])


def run_step(
    name: str,
    workspace: Workspace,
    profile: Profile,
    inputs: list[Shard],
    extra: Mapping[str, Shard] | None = None,
) -> Shard:
    """Run one step on its input shards, unless its output exists, and return the output shard.

    Args:
        name: a key of `STEPS`.
        workspace: where shards live.
        profile: parameters and backends; only what the step declares enters its content key.
        inputs: shards of the table that the step reads; one, but for ``references``.
        extra: further inputs by table name (``score`` takes ``references``).

    Raises:
        UserError: a backend, profile or shard is not right.
        OSError: disk full, folder not writable.
    """
    step = STEPS[name]
    backends = {role: _backend(profile, role) for role in step.roles}
    ids = tuple(sorted(backend_id(role, backend) for role, backend in backends.items()))
    source = _source(workspace, profile, inputs[0]) if step.reads == "listings" else None
    parameters = _parameters(step, profile, source)
    further = dict(sorted((extra or {}).items()))
    digests = [shard.sha256 for shard in [*inputs, *further.values()]]
    if source and source.root:
        rows = (row for shard in inputs for row in read_rows(shard.file(workspace)))
        digests.append(value_digest(file_sizes(Path(source.root).expanduser(), rows)))
    key = shard_key(name, parameters, ids, digests)
    metadata = {"step": name, "parameters": parameters, "backends": list(ids), "inputs": digests}

    def produce(writer: ShardWriter) -> Iterable[Row]:
        context = StepContext(
            workspace=workspace,
            profile=profile,
            source=source,
            rows=(row for shard in inputs for row in read_rows(shard.file(workspace))),
            roots=Roots.read(workspace.roots_path),
            backends=backends,
            backend_ids=ids,
            extra={table: shard.file(workspace) for table, shard in further.items()},
        )
        return _function(step)(context, writer)

    return write_shard(workspace, step.writes, key, produce, metadata)


def step_device(name: str, profile: Profile) -> str:
    """``cuda`` where a backend of the step runs on a GPU, else ``cpu``."""
    devices = {_backend(profile, role).device for role in STEPS[name].roles}
    return "cuda" if any(device.startswith("cuda") for device in devices) else "cpu"


def prepare(workspace: Workspace) -> list[Path]:
    """Ready a workspace for a build: its folders exist, what killed runs left is removed and returned."""
    workspace.data.mkdir(parents=True, exist_ok=True)
    record_root(workspace, STORE_ROOT, workspace.data)
    return sweep_store(workspace)


def finish_build(workspace: Workspace, profile: Profile, name: str, shards: Iterable[Shard]) -> Manifest:
    """Write the manifest of a build: its shards by table, in a fixed order whatever order they were made in."""
    tables: dict[str, list[Shard]] = {}
    for shard in sorted(set(shards), key=lambda shard: (shard.table, shard.key)):
        tables.setdefault(shard.table, []).append(shard)
    parameters = asdict(profile)
    for source in parameters["sources"]:
        source.pop("root")  # a folder of this machine: roots.json has it
    manifest = Manifest(name=name, parameters=parameters, tables=tables)
    _refuse_changed(workspace, manifest)
    write_manifest(workspace, manifest)
    return manifest


def _refuse_changed(workspace: Workspace, manifest: Manifest) -> None:
    """A committed shard never changes: one with other bytes than the last build saw is damaged, not new."""
    if manifest.name not in list_manifests(workspace):
        return
    before = {
        shard.path: shard.sha256
        for shards in read_manifest(workspace, manifest.name).tables.values()
        for shard in shards
    }
    for shard in (shard for shards in manifest.tables.values() for shard in shards):
        if before.get(shard.path, shard.sha256) != shard.sha256:
            raise ShardError(
                f"{shard.file(workspace)} has changed since build {manifest.name!r} wrote it: delete it and run again"
            )


def _backend(profile: Profile, role: str) -> Any:
    if role not in profile.backends:
        raise ConfigError(f"profile {profile.name!r} names no backend for {role!r}: add it under [backends]")
    options = canonical_json(dict(profile.backend_options.get(role, {})))
    return _load(role, profile.backends[role], options)


@cache
def _load(role: str, name: str, options: str) -> Any:
    """One object per backend and process: weights are loaded once."""
    return load_backend(role, name, **json.loads(options))


def _source(workspace: Workspace, profile: Profile, listing: Shard) -> Source:
    dataset = read_metadata(listing.file(workspace))["dataset"]
    for source in profile.sources:
        if source.dataset == dataset:
            return source
    raise ConfigError(f"profile {profile.name!r} has no source {dataset!r}, which a listing shard is of")


def _parameters(step: Step, profile: Profile, source: Source | None) -> dict[str, Any]:
    parameters: dict[str, Any] = {"version": step.version}
    if step.parameters:
        parameters |= asdict(getattr(profile, step.parameters))
        parameters.pop("batch_size", None)  # a backend gives a batch what it gives its items one by one
    if source:
        parameters |= {"split": asdict(profile.split)}
    return parameters


def _function(step: Step) -> Produce:
    module, name = step.function.split(":")
    function: Produce = getattr(importlib.import_module(module), name)
    return function
