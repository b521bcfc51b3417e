"""Rows of a mix as pairs that need neither our code nor the photos' folders: facts, and pictures as encoded files.

A stored picture goes out as it is, byte for byte. Where the mix leaves something to be drawn or worded at load time,
that is done once, as training or evaluation would do it at (seed, index): index is the position of a training row and,
of a held-out one, its place in its split. So a pair is never half a pair. The annotation goes along with the window
that was drawn, for those who want to draw otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import bytes_digest, canonical_json
from catalog.errors import RowRejected
from catalog.exports.licences import licences_of
from catalog.image_headers import sniff_format
from catalog.images import EncodedImage, encode_png
from catalog.masks import decode_mask
from catalog.parquet_streams import reading_mix
from catalog.reasons import Reason
from catalog.render_styles import RenderOptions, as_evaluated
from catalog.roots import Roots, read_image_bytes
from catalog.samples import Sample, render_sample
from catalog.schema import MIX

Targets = Literal["drawn", "annotations"]
"""``drawn``: as above; ``annotations``: photos whole and as they are, and what is drawn at load time is left out."""

PICTURES = ("source_image", "target_image", "edit_mask", "mask")
"""Source and target; where they may differ; the annotated region. Masks are PNGs of one bit per pixel."""

FACTS = pa.schema(
    [
        *[MIX.field(name) for name in ("pair_id", "split", "position", "repeat", "mix_source")],
        *[MIX.field(name) for name in ("vision_task", "edit_type", "dataset", "group_id", "licence")],
        ("donor_licence", pa.string()),  # of a replacement's donor, where it is not the photo's
        *[MIX.field(name) for name in ("instruction", "source_caption", "target_caption")],
        *[
            MIX.field(name) for name in ("phrase", "label", "bbox", "keypoints")
        ],  # in pixels of the photo, not of a window
        ("source_sha256", pa.string()),  # of the photo's bytes in the dataset
        ("target_sha256", pa.string()),
        ("drawn", pa.string()),  # JSON of `describe_drawing`; null: nothing was drawn or worded for the export
    ]
)
"""What an export says of a pair beside its pictures; names are those of the mix."""

_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "TIFF": "tiff", "GIF": "gif"}
_BATCH = 256  # rows as dictionaries at a time


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How rows become pairs."""

    targets: Targets = "drawn"
    seed: int = 0
    size: int = 256
    """Side of what is drawn, pixels (paper section 4.1)."""
    repeats: bool = False
    """Every draw of a pair, as an epoch of training has them; else each pair once."""


@dataclass(frozen=True, kw_only=True)
class ExportedPair:
    """One pair."""

    facts: dict[str, Any]
    """`FACTS`."""
    pictures: dict[str, bytes]
    """By name of `PICTURES`; one that the pair does not have is left out."""


@dataclass(frozen=True, kw_only=True)
class MixRow:
    """A row of the mix, its number in the file, and the index that it is drawn from."""

    number: int
    index: int
    row: dict[str, Any]


def read_rows(mix: Path, first: int, num_train: int, num_val: int) -> Iterator[MixRow]:
    """The rows of a mix in its order, from number ``first`` on; memory stays at about one row group.

    Raises:
        MixError: a part of the file is damaged.
    """
    starts = {"train": 0, "val": num_train, "test": num_train + num_val}
    with reading_mix(mix):
        file = pq.ParquetFile(mix, page_checksum_verification=True)
        number = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if number + size > first:
                skipped = max(0, first - number)
                rows = file.read_row_group(group).slice(skipped)
                for place, row in enumerate(_plain_rows(rows), start=number + skipped):
                    yield MixRow(number=place, index=place - starts[row["split"]], row=row)
            number += size


def _plain_rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def make_pair(one: MixRow, roots: Roots, donors: Mapping[str, str], options: PairOptions) -> ExportedPair:
    """A row as a pair.

    Raises:
        RowRejected: the row or its pictures cannot be used; as `samples.render_sample`.
        ShardError: a root is not known on this machine.
    """
    row, instruction, sample = one.row, one.row["instruction"], None
    is_drawn = row["target_image"] is None
    if options.targets == "drawn" and (is_drawn or instruction is None):
        sample = _draw(one, roots, options)
        instruction = sample.instruction
    pictures = _sample_pictures(sample) if is_drawn and sample is not None else _stored_pictures(row, roots)
    facts = {name: row[name] for name in FACTS.names if name in row}
    licences = licences_of(row, donors)
    facts |= {"instruction": instruction, "donor_licence": licences[1] if len(licences) > 1 else None}
    facts |= {
        f"{kind}_sha256": row[f"{kind}_image"] and row[f"{kind}_image"]["sha256"] for kind in ("source", "target")
    }
    drawing = None if sample is None else describe_drawing(sample, one.index, options, pictures_too=is_drawn)
    facts["drawn"] = None if drawing is None else canonical_json(drawing)
    return ExportedPair(facts={name: facts[name] for name in FACTS.names}, pictures=pictures)


def render_options(row: Mapping[str, Any], size: int) -> RenderOptions:
    """How a row is drawn: the default style, without what only training does where the row is held out."""
    options = RenderOptions(size=size)
    return options if row["split"] == "train" else as_evaluated(options)


def _draw(one: MixRow, roots: Roots, options: PairOptions) -> Sample:
    return render_sample(
        one.row, roots, seed=options.seed, index=one.index, options=render_options(one.row, options.size)
    )


def _sample_pictures(sample: Sample) -> dict[str, bytes]:
    pictures = {"source_image": encode_png(sample.source), "target_image": encode_png(sample.target)}
    return pictures if sample.mask is None else pictures | {"mask": encode_png(sample.mask)}


def _stored_pictures(row: Mapping[str, Any], roots: Roots) -> dict[str, bytes]:
    images = [name for name in ("source_image", "target_image") if row[name] is not None]
    pictures = {name: read_image_bytes(roots, row[name]) for name in images}
    sizes = {(image.width, image.height) for image in map(EncodedImage, pictures.values())}
    masks = {name: decode_mask(row[name]) for name in ("edit_mask", "mask") if row[name] is not None}
    if len(sizes) > 1:
        raise RowRejected(Reason.SIZE_MISMATCH, f"source and target of {sorted(sizes)}")
    for name, mask in masks.items():
        if mask.shape[::-1] not in sizes:
            raise RowRejected(Reason.MASK_SIZE_MISMATCH, f"{name} of {mask.shape} on an image of {sorted(sizes)}")
    return pictures | {name: encode_png(mask) for name, mask in masks.items()}


def describe_drawing(sample: Sample, index: int, options: PairOptions, *, pictures_too: bool) -> dict[str, Any]:
    """Where a drawn or worded pair comes from, as JSON values.

    ``seed`` and ``index``; of drawn pictures also ``size``, the photo's ``window`` [x, y, width, height] with ``angle``
    in degrees and ``flipped``, ``colors`` by name or joint as RGB, and ``joints`` by name as [x, y] in pixels of the
    drawn picture.
    """
    origin: dict[str, Any] = {"seed": options.seed, "index": index}
    if not pictures_too:
        return origin
    view = sample.view
    window = {"window": [view.x, view.y, view.width, view.height], "angle": view.angle, "flipped": view.flipped}
    points = [] if sample.keypoints is None else [[round(float(value), 3) for value in xy] for xy in sample.keypoints]
    rgbs = [list(rgb) for _, rgb in sample.colors]
    names = sample.joints or [name for name, _ in sample.colors]
    joints = {"joints": dict(zip(sample.joints, points, strict=True))} if sample.joints else {}
    return origin | {"size": options.size} | window | {"colors": dict(zip(names, rgbs, strict=True))} | joints


def picture_suffix(data: bytes) -> str:
    """File name suffix of an encoded picture, by its first bytes: "jpg"."""
    return _SUFFIXES[sniff_format(data)]


def pair_key(facts: Mapping[str, Any], repeats: bool) -> str:
    """A name for files, unique in an export: the pair's id, and the number of its draw where all are exported."""
    pair_id: str = facts["pair_id"]
    plain = pair_id.replace("-", "").replace("_", "").isalnum() and pair_id.isascii() and len(pair_id) <= 64
    key = pair_id if plain else bytes_digest(pair_id.encode())[:32]
    return f"{key}_{facts['repeat']}" if repeats else key
