"""Embedded replacer: an exemplar pasted into a region."""

from collections.abc import Sequence

import cv2
import numpy as np

from tasks.backends.membranes import stretch_membrane
from tasks.backends.protocols import Image, Mask, library_revision


class GradientPasteReplacer:
    """Pastes the exemplar, scaled to the region's box, keeping its gradients and the picture's rim.

    Perez, Gangnet and Blake, "Poisson Image Editing" (SIGGRAPH 2003), section 2: seamless cloning is the
    exemplar plus the membrane through the mismatch along the rim.
    """

    name = "gradient-paste"
    device = "cpu"

    def __init__(self) -> None:
        self.revision = library_revision(1, opencv=cv2.__version__)

    def replace(self, images: Sequence[Image], masks: Sequence[Mask], exemplars: Sequence[Image]) -> list[Image]:
        """See `protocols.Replacer`. A mask that covers the whole image takes the exemplar's own colours."""
        return [_paste(image, mask, exemplar) for image, mask, exemplar in zip(images, masks, exemplars, strict=True)]


def _paste(image: Image, mask: Mask, exemplar: Image) -> Image:
    if image.shape[:2] != mask.shape:
        raise ValueError(f"image and mask must have one size. Got {image.shape[:2]} and {mask.shape}")
    if not mask.any():
        return image.copy()
    box = _box_with_rim(mask)
    region, hole = image[box].astype(np.float32), mask[box]
    height, width = hole.shape
    smaller = exemplar.shape[0] * exemplar.shape[1] > height * width
    pasted = cv2.resize(exemplar, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC).astype(
        np.float32
    )
    if not hole.all():
        pasted += stretch_membrane(region - pasted, ~hole)
    result = image.copy()
    result[mask] = np.clip(np.rint(pasted[hole]), 0, 255).astype(np.uint8)
    return result


def _box_with_rim(mask: Mask) -> tuple[slice, slice]:
    """The mask's bounding box and one pixel around it, within the image."""
    rows, columns = (np.nonzero(mask.any(axis=axis))[0] for axis in (1, 0))
    return (
        slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2),
        slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2),
    )
