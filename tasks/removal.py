"""Step ``remove_object``: inpaint each region out of its photo (paper section 3.2, "Object removal").

The region is dilated, a larger one by more, the hole filled by the inpainter, and the fill blended back over a
feathered rim, so that outside the recorded ``edit_mask`` source and target are equal. A second pair of eyes then
rejects removals that left the object or a blank (`tasks.removal_check`). Every region becomes one edit row: with its
target, or with the reason why there is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from catalog.digests import canonical_json, value_digest
from catalog.errors import RowRejected
from catalog.images import encode_png
from catalog.masks import decode_mask, encode_mask
from catalog.reasons import Reason
from catalog.store import ShardWriter
from tasks.backends.calls import call_batch
from tasks.backends.protocols import Embedder
from tasks.composites import composite, feathered_alpha
from tasks.parameters import RemovalParameters
from tasks.removal_check import check_fill, check_gone, removal_crops
from tasks.row_images import RowImages, batches
from tasks.steps import Row, StepContext

EDIT_TYPE = "object_removal"
MEDIUM_SHARE, LARGE_SHARE = 0.33, 0.66
"""Shares of the image from which a region counts as medium and above which as large, as in AnyEdit."""

CARRIED = (
    "region_id",
    "group_id",
    "dataset",
    "split",
    "licence",
    "source_image",
    "phrase",
    "label",
    "mask",
    "bbox",
    "keypoints",
    "attributes",
    "relations",
    "num_instances",
    "image_labels",
    "captions",
    "reason",
    "detail",
)
"""Columns that an edit takes over from its region."""


@dataclass
class _Hole:
    """One region on its way to an edit."""

    row: Row
    source: np.ndarray
    mask: np.ndarray
    alpha: np.ndarray
    target: np.ndarray | None = field(default=None, init=False)

    def reject(self, rejected: RowRejected) -> None:
        """Record why there will be no target."""
        self.row |= {"reason": str(rejected.reason), "detail": rejected.detail}
        self.target = None


def remove_object(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield one edit per region, in order."""
    parameters = context.profile.remove_object
    images = RowImages(context.roots, capacity=parameters.batch_size)
    settings = {name: value for name, value in asdict(parameters).items() if name != "batch_size"}
    recipe = canonical_json({"step": "remove_object", **settings})
    for batch in batches(context.rows, parameters.batch_size):
        rows = [_start(region, recipe, context.backend_ids) for region in batch]
        holes = [hole for row in rows if (hole := _open(row, images, parameters)) is not None]
        fills = call_batch(
            "inpainter",
            context.backends["inpainter"],
            [hole.source for hole in holes],
            [hole.alpha > 0 for hole in holes],
        )
        for hole, fill in zip(holes, fills, strict=True):
            _close(hole, fill)
        _look_again([hole for hole in holes if hole.target is not None], context.backends["embedder"], parameters)
        for hole in holes:
            _store(hole, writer)
        yield from rows


def _start(region: Mapping[str, Any], recipe: str, backends: tuple[str, ...]) -> Row:
    carried = {name: region[name] for name in CARRIED}
    identity = value_digest([EDIT_TYPE, region["region_id"], region["group_id"], recipe, backends])[:32]
    return {"edit_id": identity, "edit_type": EDIT_TYPE, "backends": list(backends), "parameters": recipe, **carried}


def _open(row: Row, images: RowImages, parameters: RemovalParameters) -> _Hole | None:
    """Read a usable region's photo and cut its hole; None, with the reason in the row, where that fails."""
    if row["reason"] is not None:
        return None
    try:
        if row["mask"] is None:
            raise RowRejected(Reason.NO_REGION, "the region has joints but no mask to remove")
        if row["phrase"] is None:
            raise RowRejected(Reason.AMBIGUOUS_LABEL, f"no phrase, and {row['label']!r} may fit other regions too")
        mask = decode_mask(row["mask"])
        if not mask.any():
            raise RowRejected(Reason.EMPTY_MASK, "the phrase refers to nothing that is there")
        share = mask.mean()
        if share < parameters.min_area_share:
            raise RowRejected(
                Reason.REGION_TOO_SMALL, f"{share:.4%} of the image, at least {parameters.min_area_share:.4%}"
            )
        if share > parameters.max_area_share:
            raise RowRejected(
                Reason.REGION_TOO_LARGE, f"{share:.1%} of the image, at most {parameters.max_area_share:.1%}"
            )
        source = images.read(row["source_image"])
        alpha = feathered_alpha(mask, dilation_of(share, parameters), parameters.feather)
        if (alpha > 0).all():
            raise RowRejected(Reason.REGION_TOO_LARGE, "grown by the dilation, it leaves nothing to fill it from")
        return _Hole(row, source, mask, alpha)
    except RowRejected as rejected:
        row |= {"reason": str(rejected.reason), "detail": rejected.detail}
        return None


def dilation_of(share: float, parameters: RemovalParameters) -> float:
    """By how much a region grows, in pixels at a shorter side of 512, from its share of the image."""
    if share < MEDIUM_SHARE:
        return parameters.dilation
    return parameters.medium_dilation if share <= LARGE_SHARE else parameters.large_dilation


def _close(hole: _Hole, fill: np.ndarray | RowRejected) -> None:
    """Composite the fill, unless it changes nothing or is a blank."""
    try:
        if isinstance(fill, RowRejected):
            raise fill
        target = composite(hole.source, fill, hole.alpha)
        if np.array_equal(target, hole.source):
            raise RowRejected(Reason.NO_CHANGE, "the filled region looks exactly as before")
        check_fill(hole.source, target, hole.alpha == 1, hole.alpha > 0)
        hole.target = target
    except RowRejected as rejected:
        hole.reject(rejected)


def _look_again(holes: Sequence[_Hole], embedder: Embedder, parameters: RemovalParameters) -> None:
    """Reject the removals after which the embedder still sees the object."""
    crops = []
    for hole in holes:
        assert hole.target is not None
        crops.append(removal_crops(hole.source, hole.target, hole.mask, hole.alpha > 0))
    embeddings = iter(call_batch("embedder", embedder, [crop for part in crops for crop in part]))
    for hole, part in zip(holes, crops, strict=True):
        seen = list(islice(embeddings, len(part)))
        try:
            for embedding in seen:
                if isinstance(embedding, RowRejected):
                    raise embedding
            check_gone(seen, parameters.max_remaining)
        except RowRejected as rejected:
            hole.reject(rejected)


def _store(hole: _Hole, writer: ShardWriter) -> None:
    """Store the target and complete the row."""
    if hole.target is None:
        return
    row, (height, width) = hole.row, hole.alpha.shape
    row["target_image"] = writer.add_image(f"{row['edit_id']}.target.png", encode_png(hole.target), width, height)
    row["edit_mask"] = encode_mask(hole.alpha > 0)
