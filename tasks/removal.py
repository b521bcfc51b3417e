"""Step ``remove_object``: inpaint each region out of its photo (paper section 3.2, "Object removal").

The region is dilated, the hole filled by the inpainter, and the fill blended back over a feathered rim, so that
outside the recorded ``edit_mask`` source and target are equal. Every region becomes one edit row: with its target,
or with the reason why there is none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
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
from tasks.composites import composite, feathered_alpha
from tasks.profiles import RemovalParameters
from tasks.row_images import RowImages
from tasks.steps import Row, StepContext

EDIT_TYPE = "object_removal"
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
    alpha: np.ndarray


def remove_object(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield one edit per region, in order."""
    parameters = context.profile.remove_object
    images = RowImages(context.roots, capacity=parameters.batch_size)
    settings = {name: value for name, value in asdict(parameters).items() if name != "batch_size"}
    recipe = canonical_json({"step": "remove_object", **settings})
    regions = iter(context.rows)
    while batch := list(islice(regions, parameters.batch_size)):
        rows = [_start(region, recipe, context.backend_ids) for region in batch]
        holes = [hole for row in rows if (hole := _open(row, images, parameters)) is not None]
        fills = call_batch(
            "inpainter",
            context.backends["inpainter"],
            [hole.source for hole in holes],
            [hole.alpha > 0 for hole in holes],
        )
        for hole, fill in zip(holes, fills, strict=True):
            _close(hole, fill, writer)
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
        return _Hole(row, source, feathered_alpha(mask, parameters.dilation, parameters.feather))
    except RowRejected as rejected:
        row |= {"reason": str(rejected.reason), "detail": rejected.detail}
        return None


def _close(hole: _Hole, fill: np.ndarray | RowRejected, writer: ShardWriter) -> None:
    """Composite the fill, store the target and complete the row."""
    row = hole.row
    if isinstance(fill, RowRejected):
        row |= {"reason": str(fill.reason), "detail": fill.detail}
        return
    target = composite(hole.source, fill, hole.alpha)
    if np.array_equal(target, hole.source):
        row |= {"reason": str(Reason.NO_CHANGE), "detail": "the filled region looks exactly as before"}
        return
    height, width = hole.alpha.shape
    row["target_image"] = writer.add_image(f"{row['edit_id']}.target.png", encode_png(target), width, height)
    row["edit_mask"] = encode_mask(hole.alpha > 0)
