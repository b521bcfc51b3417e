"""The steps of a build: what each reads, writes and depends on.

A step is a pure function from input shards to one output shard::

    list           source dataset -> listings (many shards, streamed)
    ingest         listings -> regions         every region checked against its image
    ingest_pairs   listings -> pairs           ready-made pairs checked
    remove_object  regions -> edits            inpainted, composited
    embed_patches  regions -> patches          crops that may take another region's place, with features
    gallery        all patches -> gallery      an index over them
    replace_object patches + gallery -> edits  a donor retrieved and put in the region's place
    word_edits     edits -> pairs              captions, instruction, and the reversed pair of a removal
    annotate       regions -> pairs            segmentation and keypoint pairs, drawn at load time
    references     all regions -> references   features that quality is measured against; without any, pairs' photos
    score          pairs + references -> scores

What each needs is declared in `STEPS`: `tasks.build_plan` turns the declarations into an order, and
`tasks.step_calls` runs a step on given shards.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.errors import ShardError
from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.roots import Roots, record_root
from catalog.store import STORE_ROOT, Shard, ShardWriter, sweep_store
from catalog.workspace import Workspace
from tasks.profiles import Profile, Source

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a step's function works with."""

    workspace: Workspace
    profile: Profile
    source: Source | None
    """The source dataset, for the steps that read its files."""
    inputs: tuple[Path, ...]
    """The input shards, in order."""
    rows: Iterable[Row]
    """Their rows, with the step's ``columns``."""
    roots: Roots
    backends: Mapping[str, Any]
    """Loaded backends by role."""
    backend_ids: tuple[str, ...]
    """"role=name@revision", sorted: the ``backends`` column."""
    extra: Mapping[str, Path]
    """Further input shards by table name."""


Produce = Callable[[StepContext, ShardWriter], Iterable[Row] | pa.Table]


@dataclass(frozen=True, kw_only=True)
class Step:
    """How a step is found and what it depends on."""

    name: str
    reads: str
    """The table that it makes one shard from one shard of; with ``gathers`` from all shards."""
    writes: str
    function: str
    """module:function of type `Produce`; imported when the step first runs."""
    gathers: bool = False
    """One call for the whole build, when nothing can add to the table that it reads any more."""
    otherwise: str | None = None
    """The table that a gathering step takes where the build has no row of ``reads``."""
    extra: tuple[str, ...] = ()
    """Tables of gathering steps whose one shard it needs beside its own."""
    kind: str | None = None
    """Of listings: only shards with records of this kind."""
    switch: str | None = None
    """The profile's table whose ``enabled`` says whether the step is wanted at all."""
    parameters: str | None = None
    """The profile's table that the result depends on."""
    roles: tuple[str, ...] = ()
    """Backends that the result depends on."""
    columns: tuple[str, ...] | None = None
    """Columns of ``reads`` that it looks at; None: all."""
    otherwise_columns: tuple[str, ...] | None = None
    """Columns of ``otherwise`` likewise."""
    version: int = 1
    """Raised whenever the same inputs would give another result."""


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step(
            name="ingest",
            reads="listings",
            kind="image",
            writes="regions",
            function="tasks.ingest:ingest",
            parameters="ingest",
            version=2,
        ),
        Step(
            name="ingest_pairs",
            reads="listings",
            kind="pair",
            writes="pairs",
            function="tasks.ingest_pairs:ingest_pairs",
        ),
        Step(
            name="remove_object",
            reads="regions",
            writes="edits",
            function="tasks.removal:remove_object",
            switch="remove_object",
            parameters="remove_object",
            roles=("embedder", "inpainter"),
        ),
        Step(
            name="embed_patches",
            reads="regions",
            writes="patches",
            function="tasks.patches:embed_patches",
            switch="replace_object",
            parameters="gallery",
            roles=("embedder",),
        ),
        Step(
            name="gallery",
            reads="patches",
            gathers=True,
            writes="gallery",
            function="tasks.gallery:build_gallery",
            parameters="gallery_index",
            roles=("index",),
        ),
        Step(
            name="replace_object",
            reads="patches",
            extra=("gallery",),
            writes="edits",
            function="tasks.replacement:replace_object",
            switch="replace_object",
            parameters="replace_object",
            roles=("index", "replacer"),
        ),
        Step(
            name="word_edits",
            reads="edits",
            writes="pairs",
            function="tasks.wording:word_edits",
            roles=("captioner", "instructor"),
        ),
        Step(name="annotate", reads="regions", writes="pairs", function="tasks.annotation:annotate", switch="annotate"),
        Step(
            name="references",
            reads="regions",
            otherwise="pairs",
            gathers=True,
            writes="references",
            function="tasks.references:references",
            parameters="score",
            roles=("embedder",),
            columns=("group_id", "split", "source_image", "reason"),
            otherwise_columns=(
                *("group_id", "split", "source_image", "reason"),
                *("dataset", "vision_task", "target_image"),
            ),
        ),
        Step(
            name="score",
            reads="pairs",
            extra=("references",),
            writes="scores",
            function="tasks.scoring:score",
            parameters="score",
            roles=("aesthetic_scorer", "embedder", "pair_similarity", "quality_scorer"),
        ),
    )
}


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
