"""Variants: what a checkpoint makes of an item under each setting of a guidance grid (paper sections 3.3 and 4.8).

Items are editing rows of a mix. They come from its training split by default: the paper samples, chooses and measures
on one benchmark, but a photo that trains measures nothing, so here the curve is measured on held-out rows.

A shard holds a few items with all their variants and is keyed by checkpoint, grid, size, seed and those rows, so a
sampling run that was stopped goes on at the first shard that is missing, and another checkpoint is another set.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.digests import value_digest
from catalog.errors import ConfigError, MixError, PredictionError, RowRejected
from catalog.images import encode_png
from catalog.manifests import Manifest, check_build_name, check_same_kind, list_manifests, read_manifest, write_manifest
from catalog.model_tables import VARIANTS
from catalog.parquet_streams import mix_digest, reading_mix
from catalog.reasons import Reason
from catalog.render_styles import RenderStyle, as_evaluated
from catalog.roots import Roots, record_root
from catalog.samples import render_sample
from catalog.schema import MIX, SPLITS
from catalog.store import METADATA_KEY, STORE_ROOT, Shard, ShardWriter, read_metadata, shard_key, write_shard
from catalog.workspace import Workspace
from evaluation.checkpoints import checkpoint_digest, library_versions
from evaluation.guidance_grids import GuidanceGrid, Setting
from evaluation.metrics import Image
from evaluation.predictions import denoising_seed
from trainer.config import TOKENIZER

if TYPE_CHECKING:
    from trainer.models import Models

_VERSION = 1
_ITEMS_PER_SHARD = 8
_OF_ROW = ("group_id", "dataset", "split", "licence", "edit_type", "region_id", "source_image", "instruction")
_CAPTIONS = ("source_caption", "target_caption")

Row = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with (items done, items in all)."""


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """Which items are sampled, and how."""

    grid: GuidanceGrid
    split: str = "train"
    size: int = 256
    """Side of the pictures in pixels (paper section 4.1)."""
    limit: int = 1000
    """Items at most (paper section 3.3: 1,000 images)."""
    seed: int = 0
    """Of the order of items and of the noise."""
    batch_size: int = 20
    """Variants sampled at once."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        rules = [
            (self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}", self.split),
            (self.size >= 32 and self.size % 8 == 0, "size must be a multiple of 8 from 32 on", self.size),
            (self.limit >= 1, "limit must be 1 or more", self.limit),
            (self.seed >= 0, "seed must be 0 or more", self.seed),
            (self.batch_size >= 1, "batch_size must be 1 or more", self.batch_size),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise ConfigError(f"{rule}. Got {value!r}")

    def as_dict(self) -> dict[str, Any]:
        """What the pictures of one item depend on beside the checkpoint, as JSON values."""
        names = ("split", "size", "seed", "batch_size", "device")
        values = {name: getattr(self, name) for name in names}
        return {"version": _VERSION, **values, "grid": self.grid.as_dict(), "libraries": library_versions()}


class VariantSampler:
    """Edits one source under many settings. The networks are loaded when the first picture is asked for."""

    def __init__(self, checkpoint: Path, plan: SamplingPlan, tokenizer: str = TOKENIZER) -> None:
        """Digest the checkpoint's files.

        Args:
            checkpoint: pipeline folder, or a single file.
            plan: grid, batch and device.
            tokenizer: folder or hub id of the tokenizer of a single file, which has none.

        Raises:
            CheckpointError: not a pipeline folder.
        """
        self.checkpoint_sha256 = checkpoint_digest(checkpoint)
        self._place, self._plan, self._tokenizer = checkpoint, plan, tokenizer
        self._models: Models | None = None

    def sample(self, source: Image, instruction: str, seed: int) -> list[Image | RowRejected]:
        """A picture per setting of the grid, uint8 of the source's size, all from the same noise; or why there is none.

        A batch in which one picture is not finite is sampled again, one by one: only that one is lost.
        """
        settings = iter(self._plan.grid.settings())
        made: list[Image | RowRejected] = []
        while batch := list(islice(settings, self._plan.batch_size)):
            try:
                made += self._edit(source, instruction, seed, batch)
            except PredictionError:
                made += [self._edit_one(source, instruction, seed, setting) for setting in batch]
        return made

    def _edit_one(self, source: Image, instruction: str, seed: int, setting: Setting) -> Image | RowRejected:
        try:
            return self._edit(source, instruction, seed, [setting])[0]
        except PredictionError as error:
            return RowRejected(Reason.BAD_OUTPUT, str(error))

    def _edit(self, source: Image, instruction: str, seed: int, settings: Sequence[Setting]) -> list[Image]:
        from trainer.inference import edit

        count, grid = len(settings), self._plan.grid
        return edit(
            self._load(),
            [source] * count,
            [instruction] * count,
            num_steps=grid.num_steps,
            text_guidance=[one.text_guidance for one in settings],
            image_guidance=[one.image_guidance for one in settings],
            guidance=grid.guidance,  # type: ignore[arg-type]
            sampler=grid.sampler,  # type: ignore[arg-type]
            seed=[seed] * count,
        )

    def _load(self) -> "Models":
        if self._models is None:
            import torch

            from trainer.models import load_models

            if self._plan.device == "cuda" and not torch.cuda.is_available():
                raise ConfigError("device cuda needs a CUDA GPU and there is none here: use --device cpu")
            models = load_models(self._place, tokenizer=self._tokenizer)
            self._models = models.to(torch.device(self._plan.device))
        return self._models


def sample_variants(
    workspace: Workspace, name: str, mix: Path, sampler: VariantSampler, plan: SamplingPlan, progress: Progress
) -> Manifest:
    """Make the alignment set ``name``, or what is missing of it.

    Args:
        workspace: where the set goes.
        name: of the set: lower-case letters, digits, '-' and '_'.
        mix: its editing rows with an instruction are the items, ``plan.limit`` of them in an order that the seed
            decides: first one of each photo, then a second one of each, ...
        sampler: the checkpoint.
        plan: how.
        progress: told of each shard.

    Raises:
        MixError: no mix, or no such row in it.
        ConfigError: a set of that name was made otherwise: people may have chosen in it.
        ShardError: the name is that of something else.
    """
    check_build_name(name)
    check_same_kind(workspace, name, "variants")
    facts = {"checkpoint_sha256": sampler.checkpoint_sha256, "mix_sha256": mix_digest(mix), **plan.as_dict()}
    items = read_items(mix, plan)
    _check_unchanged(workspace, name, facts, len(items))
    workspace.data.mkdir(parents=True, exist_ok=True)
    record_root(workspace, STORE_ROOT, workspace.data)
    roots = Roots.read(mix.parent / "roots.json")
    shards: list[Shard] = []
    for start in range(0, len(items), _ITEMS_PER_SHARD):
        part = items[start : start + _ITEMS_PER_SHARD]
        progress(start, len(items))
        shards.append(_sample_shard(workspace, part, roots, sampler, plan))
    progress(len(items), len(items))
    parameters = {"step": "sample_variants", **facts, "num_items": len(items), "builds": _builds_of(mix)}
    manifest = Manifest(name=name, parameters=parameters, tables={"variants": shards})
    write_manifest(workspace, manifest)
    return manifest


def _builds_of(mix: Path) -> list[str]:
    """Names of the builds that a mix was made of; none of a mix that says of none, as one made by hand."""
    metadata = pq.read_schema(mix).metadata or {}
    return [] if METADATA_KEY not in metadata else [one["name"] for one in read_metadata(mix).get("builds", [])]


def read_items(mix: Path, plan: SamplingPlan) -> list[Row]:
    """The rows of a mix that are the items of a plan, in order. Raises as `sample_variants`."""
    with reading_mix(mix):
        names = ["split", "vision_task", "pair_id", "group_id", "repeat", "instruction"]
        table = pq.read_table(mix, columns=names, page_checksum_verification=True)
        kept = pc.and_(pc.equal(table["split"], plan.split), pc.equal(table["vision_task"], "image_editing"))
        kept = pc.and_(kept, pc.is_valid(table["instruction"]))
        rows = table.filter(kept).select(["pair_id", "group_id"]).to_pylist()
    groups = {row["pair_id"]: row["group_id"] for row in rows}
    if not groups:
        raise MixError(
            f"{mix} has no editing row with an instruction in split {plan.split!r} to make an alignment set of: "
            "take another split, or a mix with edits"
        )
    ids = _spread(groups, plan.seed)[: plan.limit]
    with reading_mix(mix):
        filters = [("split", "=", plan.split), ("pair_id", "in", ids)]
        found = pq.read_table(mix, columns=MIX.names, filters=filters, page_checksum_verification=True).to_pylist()
    by_id = {row["pair_id"]: row for row in found}
    return [by_id[pair_id] for pair_id in ids]


def _spread(groups: Mapping[str, str], seed: int) -> list[str]:
    """pair_ids in the order of a digest, the first of each photo before the second of any."""
    ordered = sorted(groups, key=lambda pair_id: value_digest([seed, pair_id]))
    counts: dict[str, int] = {}
    rounds = {}
    for pair_id in ordered:
        rounds[pair_id] = counts[groups[pair_id]] = counts.get(groups[pair_id], -1) + 1
    return sorted(ordered, key=lambda pair_id: rounds[pair_id])  # stable: the digest's order within a round


def _check_unchanged(workspace: Workspace, name: str, facts: Mapping[str, Any], num_items: int) -> None:
    if name not in list_manifests(workspace):
        return
    before = read_manifest(workspace, name).parameters
    changed = [key for key, value in facts.items() if before.get(key) != value]
    if changed:
        raise ConfigError(
            f"alignment set {name!r} was sampled otherwise ({', '.join(changed)} differ), and people may have "
            "chosen in it: give this one another name"
        )
    if num_items < before["num_items"]:
        raise ConfigError(
            f"alignment set {name!r} has {before['num_items']} items, and fewer would drop what people chose: "
            "give the smaller one another name"
        )


def _sample_shard(
    workspace: Workspace, rows: Sequence[Row], roots: Roots, sampler: VariantSampler, plan: SamplingPlan
) -> Shard:
    columns = [*_OF_ROW, *_CAPTIONS, "pair_id"]
    facts = [{name: row[name] for name in columns} for row in rows]
    backend = f"generator=checkpoint@{(sampler.checkpoint_sha256 or '')[:16]}"
    key = shard_key("sample_variants", {**plan.as_dict(), "items": value_digest(facts)}, [backend], [])

    def produce(writer: ShardWriter) -> Iterator[Row]:
        for row in rows:
            yield from _variants(row, roots, sampler, plan, backend, writer)

    footer = {"step": "sample_variants", "parameters": plan.as_dict(), "backends": [backend], "inputs": []}
    return write_shard(workspace, "variants", key, produce, footer)


def _variants(
    row: Row, roots: Roots, sampler: VariantSampler, plan: SamplingPlan, backend: str, writer: ShardWriter
) -> Iterator[Row]:
    seed = denoising_seed(plan.seed, row["pair_id"])
    options = replace(as_evaluated(RenderStyle().at_size(plan.size)), crop="paper")  # the whole picture
    made: Sequence[Image | RowRejected]
    try:
        sample = render_sample(row, roots, seed=plan.seed, index=0, options=options)
        made = sampler.sample(sample.source, row["instruction"], seed)
    except RowRejected as rejected:
        made = [rejected] * len(plan.grid)
    item = value_digest(row["pair_id"])[:16]
    for number, (setting, picture) in enumerate(zip(plan.grid.settings(), made, strict=True)):
        variant: Row = dict.fromkeys(VARIANTS.names)
        variant |= {name: row[name] for name in (*_OF_ROW, *_CAPTIONS)}
        variant |= {"item_id": row["pair_id"], "variant": number, **setting._asdict(), "seed": seed}
        variant |= {name: getattr(plan.grid, name) for name in ("guidance", "num_steps", "sampler")}
        variant["backends"] = [backend]
        if isinstance(picture, RowRejected):
            variant |= {"reason": picture.reason.value, "detail": picture.detail}
        else:
            data = encode_png(picture)
            variant["target_image"] = writer.add_image(f"{item}-{number:02d}.png", data, plan.size, plan.size)
        yield variant
