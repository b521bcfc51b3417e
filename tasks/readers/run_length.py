"""Masks as COCO's compressed run-length code, as records carry them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


def encode_run_length(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A bool mask (H, W) as {"size": [height, width], "counts": str} (pycocotools)."""
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}
