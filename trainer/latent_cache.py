"""The latent and text cache: what the frozen networks say of rows that look the same each time they are drawn.

A row is *static* where its target is given, its instruction is its own, and the whole image is shown without flipping
(`is_static`). Of such rows the table ``latents`` holds what training needs of the autoencoder and the text encoder, as
float16, in one file beside each shard with a record per row::

    source mode (4, h, w), target mean (4, h, w), target standard deviation (4, h, w), text states (77, C)

The key of a shard holds the digest of the frozen networks, the image size, the crop and the rows, so a cache of other
networks is never taken for this one. float16 keeps 11 bits: against online encoding in float32, losses differ by less
than 1 part in 100 (`tests/unit/test_trainer_latent_cache.py`).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog.digests import bytes_digest, value_digest
from catalog.errors import ConfigError, ShardError, UserError
from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from catalog.store import Shard, ShardWriter, read_entry, read_rows, shard_key, write_shard
from catalog.workspace import Workspace
from trainer.config import LATENT_STRIDE, TrainingConfig

if TYPE_CHECKING:
    from trainer.models import Models

TABLE = "latents"
SUFFIX = ".float16"
ROWS_PER_SHARD = 512
_STEP = "encode"
_CHANNELS = 4
_BATCH = 16


@dataclass(frozen=True)
class CacheKey:
    """What all shards of a cache have in common."""

    frozen_sha256: str
    """Of autoencoder and text encoder (`trainer.models.frozen_digest`)."""
    image_size: int
    crop: str
    text_shape: tuple[int, int]
    """Tokens and width of the text states."""

    @property
    def name(self) -> str:
        """Name of the manifest."""
        return f"latents-{value_digest(self.parameters)[:16]}"

    @property
    def parameters(self) -> dict[str, Any]:
        """As JSON values."""
        shape = list(self.text_shape)
        return {"frozen_sha256": self.frozen_sha256, "size": self.image_size, "crop": self.crop, "text_shape": shape}

    @cached_property
    def latent_shape(self) -> tuple[int, int, int]:
        """Of one image."""
        side = self.image_size // LATENT_STRIDE
        return _CHANNELS, side, side

    @property
    def record_bytes(self) -> int:
        """Of one row."""
        return 2 * (3 * int(np.prod(self.latent_shape)) + int(np.prod(self.text_shape)))


@dataclass(frozen=True)
class CachedStates:
    """One row of the cache, float16."""

    source: np.ndarray
    """Mode of the source's posterior, (4, h, w), not scaled."""
    target_mean: np.ndarray
    target_std: np.ndarray
    """Of the target's posterior, (4, h, w), not scaled."""
    text: np.ndarray
    """(77, C)."""

    def to_bytes(self) -> bytes:
        """The record."""
        parts = (self.source, self.target_mean, self.target_std, self.text)
        return b"".join(np.ascontiguousarray(part, "<f2").tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, record: bytes, key: CacheKey) -> "CachedStates":
        """Read a record."""
        values = np.frombuffer(record, "<f2")
        count = int(np.prod(key.latent_shape))
        source, mean, std = (
            values[place * count : (place + 1) * count].reshape(key.latent_shape) for place in range(3)
        )
        return cls(source, mean, std, values[3 * count :].reshape(key.text_shape))


def is_static(row: Mapping[str, Any], style: RenderStyle) -> bool:
    """Whether a mix row is drawn the same each time."""
    whole = style.crop == "paper" or (style.crop == "official" and row["vision_task"] == "image_editing")
    given = row["target_image"] is not None and row["instruction"] is not None
    return given and whole and style.flip_probability == 0


def row_key(row: Mapping[str, Any]) -> str:
    """What a static row's states depend on, beside the cache's key: both images' bytes and the instruction."""
    return value_digest([row["source_image"]["sha256"], row["target_image"]["sha256"], row["instruction"]])


def write_cache(
    workspace: Workspace,
    rows: Iterable[Mapping[str, Any]],
    roots: Roots,
    models: "Models",
    key: CacheKey,
    style: RenderStyle,
) -> Iterator[Shard]:
    """Encode the static rows among ``rows``, each once, and write the manifest; yields each shard when it is there.

    Shards that exist are kept. A row that cannot be rendered stays, with its reason, and is never used.
    """
    shards: list[Shard] = []
    for part in _parts(rows, style):
        inputs = [row_key(row) for row in part]
        shard = shard_key(_STEP, key.parameters, [f"encoder@{key.frozen_sha256}"], inputs)
        metadata = {"step": _STEP, "parameters": key.parameters}

        def produce(writer: ShardWriter, part: Sequence[Mapping[str, Any]] = part) -> Iterator[dict[str, Any]]:
            append = writer.add_file(SUFFIX)
            for start in range(0, len(part), _BATCH):
                for row, record in zip(
                    part[start : start + _BATCH],
                    _encode(part[start : start + _BATCH], roots, models, key, style),
                    strict=True,
                ):
                    append(record if isinstance(record, bytes) else bytes(key.record_bytes))
                    yield _entry(row, record, key)

        shards.append(write_shard(workspace, TABLE, shard, produce, metadata))
        yield shards[-1]
    mine = {shard.key for shard in shards}
    earlier = [shard for shard in _earlier_shards(workspace, key) if shard.key not in mine]  # of other mixes
    tables = {TABLE: [*earlier, *shards]}
    write_manifest(workspace, Manifest(name=key.name, parameters=key.parameters, tables=tables))


class LatentCache:
    """Finds the states of a row; one read of the file each. Safe to hand to data-loader processes."""

    def __init__(self, workspace: Workspace, key: CacheKey) -> None:
        """Read the index.

        Raises:
            ConfigError: there is no cache of these networks, image size and crop.
            ShardError: a shard is missing or torn.
        """
        if key.name not in list_manifests(workspace):
            raise ConfigError(
                f"latents=use needs a cache for this model, image_size {key.image_size} and render.crop {key.crop}, "
                f"but {workspace.catalog} has none: run python -m trainer.encode with the same --recipe and --set"
            )
        self._key = key
        self._places: dict[str, tuple[Path, int, str]] = {}
        for listed in _earlier_shards(workspace, key):
            shard = read_entry(workspace, TABLE, listed.key)  # its file is there, at its full length
            path = shard.file(workspace)
            file = workspace.tar_path(TABLE, shard.key).with_suffix(SUFFIX)
            for number, row in enumerate(read_rows(path, ["row_key", "sha256", "reason"])):
                if row["reason"] is None:
                    self._places[row["row_key"]] = (file, number * key.record_bytes, row["sha256"])
        self._descriptors: dict[Path, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def find(self, row: Mapping[str, Any], style: RenderStyle) -> CachedStates | None:
        """The states of a mix row; None where it is not static or not in the cache.

        Raises:
            ShardError: the record is not what was written.
        """
        place = self._places.get(row_key(row)) if is_static(row, style) else None
        if place is None:
            return None
        file, offset, sha256 = place
        if file not in self._descriptors:
            self._descriptors[file] = os.open(file, os.O_RDONLY)
        record = os.pread(self._descriptors[file], self._key.record_bytes, offset)
        if bytes_digest(record) != sha256:
            raise ShardError(f"{file} is not what was written: delete it and its Parquet file, and encode again")
        return CachedStates.from_bytes(record, self._key)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptors": {}}


def cache_key(models: "Models", frozen_sha256: str, config: TrainingConfig) -> CacheKey:
    """The key of the cache that a run with this configuration uses."""
    width = int(models.text_encoder.config.hidden_size)
    shape = (int(models.tokenizer.model_max_length), width)
    return CacheKey(frozen_sha256, config.image_size, config.render.crop, shape)


def _earlier_shards(workspace: Workspace, key: CacheKey) -> list[Shard]:
    if key.name not in list_manifests(workspace):
        return []
    return read_manifest(workspace, key.name).tables.get(TABLE, [])


def _parts(rows: Iterable[Mapping[str, Any]], style: RenderStyle) -> Iterator[list[Mapping[str, Any]]]:
    """The static rows, each once, a shard's worth at a time."""
    seen: set[str] = set()
    part: list[Mapping[str, Any]] = []
    for row in rows:
        if not is_static(row, style) or (name := row_key(row)) in seen:
            continue
        seen.add(name)
        part.append(row)
        if len(part) == ROWS_PER_SHARD:
            yield part
            part = []
    if part:
        yield part


def _entry(row: Mapping[str, Any], record: bytes | str, key: CacheKey) -> dict[str, Any]:
    is_whole = isinstance(record, bytes)
    return {
        "pair_id": row["pair_id"],
        "row_key": row_key(row),
        "sha256": hashlib.sha256(record).hexdigest() if isinstance(record, bytes) else None,
        "backends": [f"encoder@{key.frozen_sha256}"],
        "reason": None if is_whole else str(record).partition(":")[0],
        "detail": None if is_whole else str(record).partition(": ")[2],
    }


def _encode(
    rows: Sequence[Mapping[str, Any]], roots: Roots, models: "Models", key: CacheKey, style: RenderStyle
) -> list[bytes | str]:
    """Each row's record, or why it has none."""
    samples: dict[int, Sample] = {}
    records: list[bytes | str] = [""] * len(rows)
    options = style.at_size(key.image_size)
    for place, row in enumerate(rows):
        try:
            samples[place] = render_sample(row, roots, seed=0, index=0, options=options)
        except UserError as error:
            records[place] = str(error)
    if samples:
        for place, states in zip(samples, encode_samples(models, list(samples.values())), strict=True):
            records[place] = states.to_bytes()
    return records


def encode_samples(models: "Models", samples: Sequence[Sample]) -> list[CachedStates]:
    """What the frozen networks say of rendered samples."""
    import torch

    def scale(images: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(images)).to(models.device).permute(0, 3, 1, 2).float() / 127.5 - 1

    sources = models.encode_sources(scale([sample.source for sample in samples]))
    means, stds = models.encode_posteriors(scale([sample.target for sample in samples]))
    texts = models.encode_texts([sample.instruction for sample in samples])
    parts = (part.cpu().to(torch.float16).numpy() for part in (sources, means, stds, texts))
    return [CachedStates(*states) for states in zip(*parts, strict=True)]
