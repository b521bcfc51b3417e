"""Step ``embed_patches``: crops of regions as things that may take another region's place (paper section 3.2).

Every region becomes one row: with its crop's box, hash and features, or with the reason why it is no patch. The
pixels are not stored; a patch is cut from its photo again when it is needed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.errors import RowRejected
from catalog.masks import decode_mask, mask_box
from catalog.reasons import Reason
from catalog.store import ShardWriter
from tasks.backends.calls import call_batch
from tasks.parameters import GalleryParameters
from tasks.records_check import object_name
from tasks.row_images import RowImages, batches
from tasks.steps import Row, StepContext

_RELATIVE = frozenset(
    """left right middle center centre top bottom upper lower front back rear far near close closer closest nearest
    farthest furthest other another same next last first second third only single whole leftmost rightmost large larger
    largest small smaller smallest big bigger biggest tall taller tallest short shorter shortest long little tiny
    huge""".split()
)
"""Attributes that compare an object with what is around it: not true of it in another photo."""


def embed_patches(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield one patch per region, in order."""
    parameters = context.profile.gallery
    images = RowImages(context.roots)
    for batch in batches(context.rows, parameters.batch_size):
        rows: list[Row] = [{**region, "backends": list(context.backend_ids)} for region in batch]
        crops = [(row, crop) for row in rows if (crop := _open(row, images, parameters)) is not None]
        embeddings = call_batch("embedder", context.backends["embedder"], [crop for _, crop in crops])
        for (row, _), embedding in zip(crops, embeddings, strict=True):
            if isinstance(embedding, RowRejected):
                row |= {"reason": str(embedding.reason), "detail": embedding.detail}
            else:
                row["embedding"] = embedding
        yield from rows


def cut(image: np.ndarray, crop: list[int]) -> np.ndarray:
    """The pixels of a ``crop`` column: a view of uint8 (H, W, 3)."""
    x, y, width, height = crop
    return image[y : y + height, x : x + width]


def difference_hash(image: np.ndarray) -> str:
    """64 bits as 16 hexadecimal digits: which of two neighbouring cells of an 8 x 9 grid is brighter."""
    cells = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes().hex()


def _open(row: Row, images: RowImages, parameters: GalleryParameters) -> NDArray[np.uint8] | None:
    """Cut the patch of a usable region; None, with the reason in the row, where it is none."""
    if row["reason"] is not None:
        return None
    try:
        box = _box(row)
        _check(box, row["source_image"], parameters)
        row["crop"] = _with_margin(box, row["source_image"], parameters.margin)
        crop = np.ascontiguousarray(cut(images.read(row["source_image"]), row["crop"]))
        row |= {"aspect": box[2] / box[3], "crop_hash": difference_hash(crop), "name": _name(row)}
        return crop
    except RowRejected as rejected:
        row |= {"reason": str(rejected.reason), "detail": rejected.detail}
        return None


def _box(row: Mapping[str, Any]) -> list[float]:
    """x, y, width and height of the region's mask, or its annotated box where it has none."""
    if row["mask"] is not None:
        return mask_box(decode_mask(row["mask"]))
    if row["bbox"] is None:
        raise RowRejected(Reason.NO_REGION, "the region has neither mask nor box")
    x, y, width, height = row["bbox"]
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(row["source_image"]["width"], x + width), min(row["source_image"]["height"], y + height)
    return [left, top, max(0.0, right - left), max(0.0, bottom - top)]


def _check(box: list[float], image: Mapping[str, Any], parameters: GalleryParameters) -> None:
    _, _, width, height = box
    short, long = sorted((width, height))
    if short < parameters.min_side:
        raise RowRejected(
            Reason.REGION_TOO_SMALL, f"{width:.0f}x{height:.0f} pixels, at least {parameters.min_side} a side"
        )
    if long > parameters.max_aspect * short:
        raise RowRejected(
            Reason.REGION_TOO_NARROW, f"sides {width:.0f} and {height:.0f}, at most {parameters.max_aspect:g} to 1"
        )
    share = width * height / (image["width"] * image["height"])
    if share > parameters.max_area_share:
        raise RowRejected(
            Reason.REGION_TOO_LARGE, f"a box of {share:.1%} of the image, at most {parameters.max_area_share:.1%}"
        )


def _with_margin(box: list[float], image: Mapping[str, Any], margin: float) -> list[int]:
    """The box, grown by ``margin`` of its longer side and kept within the image, in whole pixels."""
    x, y, width, height = box
    rim = margin * max(width, height)
    left, top = max(0, int(np.floor(x - rim))), max(0, int(np.floor(y - rim)))
    right = min(image["width"], int(np.ceil(x + width + rim)))
    bottom = min(image["height"], int(np.ceil(y + height + rim)))
    return [left, top, right - left, bottom - top]


def _name(row: Mapping[str, Any]) -> str | None:
    """The object in words that are true of it in any photo, or None where the data set has no class name."""
    if row["label"] is None:
        return None
    lasting = [one for one in row["attributes"] or [] if one.isalpha() and one.lower() not in _RELATIVE]
    return object_name(row["label"], lasting)
