"""Step ``replace_object``: put a similar patch of another photo in a region's place (paper section 3.2).

"We randomly select a semantic region, which is used as a query patch to retrieve its nearest neighbors from the
gallery"; source and neighbour go to the replacer (the paper's is Paint-by-Example). The output is blended back over a
feathered rim, so that outside the recorded ``edit_mask`` source and target are equal. Every selected region becomes
one edit row: with its target and donor, or with the reason why there is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from catalog.digests import bytes_digest, canonical_json, value_digest
from catalog.errors import RowRejected
from catalog.images import encode_png
from catalog.masks import decode_mask, encode_mask
from catalog.reasons import Reason
from catalog.schema import DONOR
from catalog.store import ShardWriter
from tasks.backends.calls import call_batch
from tasks.composites import composite, feathered_alpha
from tasks.gallery import Gallery, open_gallery
from tasks.parameters import ReplacementParameters
from tasks.patches import cut
from tasks.removal import CARRIED
from tasks.row_images import RowImages, batches
from tasks.steps import Row, StepContext

EDIT_TYPE = "object_replacement"
_BLACK = 8
"""Grey level up to which every pixel of a black output stays: a safety checker's answer, or an overflow's."""
_SAME_LOOK = 4
"""Differing bits of two crops' 64-bit hashes up to which they show the same thing, as in `catalog.duplicates`."""
_DONOR = tuple(field.name for field in DONOR)


@dataclass
class _Hole:
    """One region on its way to a replacement."""

    row: Row
    source: np.ndarray
    alpha: np.ndarray
    exemplar: np.ndarray


def replace_object(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield one edit per selected region, in order."""
    parameters = context.profile.replace_object
    gallery = open_gallery(context.workspace, context.extra["gallery"], context.backends["index"])
    images = RowImages(context.roots, capacity=2 * parameters.batch_size)
    settings = {name: value for name, value in asdict(parameters).items() if name != "batch_size"}
    recipe = canonical_json({"step": "replace_object", "gallery": gallery.key, **settings})
    for patches in batches(_choose(context.rows, parameters), parameters.batch_size):
        rows = [_start(patch, recipe, context.backend_ids) for patch in patches]
        _give_donors(rows, patches, gallery, parameters)
        opened = (_open(row, patch, images, parameters) for row, patch in zip(rows, patches, strict=True))
        holes = [hole for hole in opened if hole is not None]
        answers = call_batch(
            "replacer",
            context.backends["replacer"],
            [hole.source for hole in holes],
            [hole.alpha > 0 for hole in holes],
            [hole.exemplar for hole in holes],
        )
        for hole, answer in zip(holes, answers, strict=True):
            _close(hole, answer, parameters, writer)
        yield from rows


def _choose(patches: Iterator[Row] | Any, parameters: ReplacementParameters) -> Iterator[Row]:
    """Up to ``per_photo`` eligible patches of each photo, by the seed, in their own order."""
    for _, of_photo in groupby(patches, key=lambda patch: patch["group_id"]):
        eligible = [patch for patch in of_photo if patch["reason"] is None and _is_eligible(patch, parameters)]
        ranked = sorted(eligible, key=lambda patch: _number("region", patch, parameters))
        wanted = {patch["region_id"] for patch in ranked[: parameters.per_photo]}
        yield from (patch for patch in eligible if patch["region_id"] in wanted)


def _is_eligible(patch: Mapping[str, Any], parameters: ReplacementParameters) -> bool:
    """Whether a region may be replaced: by its own size, and by that of the hole that takes away what is around it."""
    image, (_, _, width, height) = patch["source_image"], patch["crop"]
    all_pixels = image["width"] * image["height"]
    region = patch["area"] or patch["bbox"][2] * patch["bbox"][3]
    hole = region if parameters.hole == "region" and patch["area"] else width * height
    if hole != region and (patch["num_instances"] or 1) > 1:
        return False  # what stands between two towers would go with them
    return bool(parameters.min_area_share <= region / all_pixels and hole / all_pixels <= parameters.max_area_share)


def _number(what: str, patch: Mapping[str, Any], parameters: ReplacementParameters) -> int:
    """A number from the seed and the region alone."""
    return int(bytes_digest(f"replace:{what}:{parameters.seed}:{patch['region_id']}".encode())[:15], 16)


def _start(patch: Mapping[str, Any], recipe: str, backends: tuple[str, ...]) -> Row:
    identity = value_digest([EDIT_TYPE, patch["region_id"], patch["group_id"], recipe, backends])[:32]
    carried = {name: patch[name] for name in CARRIED}
    made_by = sorted({*patch["backends"], *backends})
    return {"edit_id": identity, "edit_type": EDIT_TYPE, "backends": made_by, "parameters": recipe, **carried}


def _give_donors(
    rows: Sequence[Row], patches: Sequence[Row], gallery: Gallery, parameters: ReplacementParameters
) -> None:
    """Retrieve a donor for each row, or say in the row that there is none."""
    embeddings = np.array([patch["embedding"] for patch in patches], np.float32)
    neighbours = gallery.nearest(embeddings, parameters.num_candidates)
    for row, patch, found in zip(rows, patches, neighbours, strict=True):
        eligible = [other for other in found if _may_replace(other, patch, parameters)][: parameters.num_neighbours]
        if not eligible:
            detail = f"none of the {len(found)} nearest patches may take its place"
            row |= {"reason": str(Reason.NO_DONOR), "detail": detail}
            continue
        rank = _number("donor", patch, parameters) % len(eligible)
        facts = eligible[rank] | {"rank": rank, "gallery": gallery.key}
        row["donor"] = {name: facts[name] for name in _DONOR}


def _may_replace(other: Mapping[str, Any], patch: Mapping[str, Any], parameters: ReplacementParameters) -> bool:
    """Another photo of the same split, alike but not the same, of compatible aspect and wanted label."""
    ratio = other["aspect"] / patch["aspect"]
    same_label = other["label"] == patch["label"]
    return bool(
        other["group_id"] != patch["group_id"]
        and other["split"] == patch["split"]  # what a held-out photo shows must not be seen in training
        and other["similarity"] <= parameters.max_similarity
        and _differing_bits(other["crop_hash"], patch["crop_hash"]) > _SAME_LOOK  # an IVF-PQ similarity is an estimate
        and max(ratio, 1 / ratio) <= parameters.max_aspect_ratio
        and (other["dataset"] == patch["dataset"] or not parameters.same_dataset)
        and (parameters.donor_label == "any" or (same_label == (parameters.donor_label == "same")))
    )


def _differing_bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def _open(row: Row, patch: Row, images: RowImages, parameters: ReplacementParameters) -> _Hole | None:
    """Read both photos and cut hole and exemplar; None, with the reason in the row, where that fails."""
    if row["reason"] is not None:
        return None
    try:
        source = images.read(row["source_image"])
        exemplar = np.ascontiguousarray(cut(images.read(row["donor"]["source_image"]), row["donor"]["crop"]))
        alpha = feathered_alpha(_region(patch, source, parameters.hole), parameters.dilation, parameters.feather)
        return _Hole(row, source, alpha, exemplar)
    except RowRejected as rejected:
        row |= {"reason": str(rejected.reason), "detail": rejected.detail}
        return None


def _region(patch: Mapping[str, Any], source: np.ndarray, hole: str) -> np.ndarray:
    """What is repainted: bool (H, W). A region without a mask is its box."""
    if hole == "region" and patch["mask"] is not None:
        return decode_mask(patch["mask"])
    region = np.zeros(source.shape[:2], bool)
    cut(region, patch["crop"])[:] = True
    return region


def _close(
    hole: _Hole, answer: np.ndarray | RowRejected, parameters: ReplacementParameters, writer: ShardWriter
) -> None:
    """Look at what the replacer made, composite it, store the target and complete the row."""
    row = hole.row
    try:
        if isinstance(answer, RowRejected):
            raise answer
        inside = hole.alpha > 0
        if answer[inside].max() <= _BLACK < hole.exemplar.max():
            raise RowRejected(Reason.BLACK_OUTPUT, f"no pixel above grey level {_BLACK}")
        target = composite(hole.source, answer, hole.alpha)
        change = float(np.abs(target[inside].astype(np.int16) - hole.source[inside]).mean())
        if change < parameters.min_change or np.array_equal(target, hole.source):
            raise RowRejected(Reason.NO_CHANGE, f"{change:.2f} grey levels, at least {parameters.min_change:g}")
    except RowRejected as rejected:
        row |= {"reason": str(rejected.reason), "detail": rejected.detail}
        return
    height, width = hole.alpha.shape
    row["target_image"] = writer.add_image(f"{row['edit_id']}.target.png", encode_png(target), width, height)
    row["edit_mask"] = encode_mask(inside)
