"""Annotated shapes of several objects as one region: polygons, run-length codes, or both."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from catalog.errors import RowRejected
from catalog.masks import decode_mask, region_mask
from catalog.reasons import Reason
from tasks.readers.records import SourceRegion
from tasks.readers.run_length import encode_run_length


def join_shapes(parts: Sequence[SourceRegion], width: Any, height: Any) -> tuple[Any, Any]:
    """(polygons, mask) of the union; one of them is None. A malformed shape is handed on, to be refused.

    Args:
        parts: regions with polygons or a run-length code each.
        width: of the image, pixels; needed only where the kinds are mixed.
        height: likewise.
    """
    polygons = [part.polygons for part in parts if part.polygons is not None]
    codes = [part.mask for part in parts if part.mask is not None]
    if not codes:
        if not all(isinstance(shape, list) for shape in polygons):
            return next(shape for shape in polygons if not isinstance(shape, list)), None
        return [polygon for shape in polygons for polygon in shape] or None, None
    if len(codes) == 1 and not polygons:
        return None, codes[0]
    try:
        masks = [decode_mask(code) for code in codes]
        height, width = masks[0].shape if not isinstance(height, int) or not isinstance(width, int) else (height, width)
        masks += [region_mask(shape, height=height, width=width, rule="coco") for shape in polygons]
        return None, encode_run_length(np.logical_or.reduce([_of_size(mask, height, width) for mask in masks]))
    except RowRejected as rejected:
        return None, f"the shapes cannot be joined: {rejected}"


def _of_size(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    if mask.shape != (height, width):
        sizes = f"{mask.shape[0]} x {mask.shape[1]} for {height} x {width}"
        raise RowRejected(Reason.MASK_SIZE_MISMATCH, f"mask of {sizes} (height x width)")
    return mask
