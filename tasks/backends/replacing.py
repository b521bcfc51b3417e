"""Embedded replacer: an exemplar pasted into a region."""

from collections.abc import Sequence

import cv2
import numpy as np

from catalog.errors import BackendError
from tasks.backends.membranes import stretch_membrane
from tasks.backends.protocols import Image, Mask, library_revision

_FADE = 0.3
"""Share of the hole's shorter side over which the membrane fades."""


class GradientPasteReplacer:
    """Pastes the exemplar, scaled to the region's box, keeping its gradients and the picture's rim.

    Perez, Gangnet and Blake, "Poisson Image Editing" (SIGGRAPH 2003), section 2: seamless cloning is the
    exemplar plus the membrane through the mismatch along the rim. Here the membrane fades towards the middle, so
    that the object keeps most of its own colours.

    Args:
        own_colours: share of the exemplar's own colours that is left in the middle, [0, 1]; 0 is the publication.
    """

    name = "gradient-paste"
    device = "cpu"

    def __init__(self, own_colours: float = 0.7) -> None:
        if not 0 <= own_colours <= 1:
            raise BackendError(f"replacer 'gradient-paste': own_colours must be in [0, 1]. Got {own_colours!r}")
        self._own_colours = float(own_colours)
        self.revision = library_revision(2, {"own_colours": self._own_colours}, opencv=cv2.__version__)

    def replace(self, images: Sequence[Image], masks: Sequence[Mask], exemplars: Sequence[Image]) -> list[Image]:
        """See `protocols.Replacer`. A mask that covers the whole image takes the exemplar's own colours."""
        kept = 1 - self._own_colours
        return [
            _paste(image, mask, exemplar, kept) for image, mask, exemplar in zip(images, masks, exemplars, strict=True)
        ]


def _paste(image: Image, mask: Mask, exemplar: Image, kept: float) -> Image:
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
        pasted += stretch_membrane(region - pasted, ~hole) * _rim_weight(hole, kept)[..., None]
    result = image.copy()
    result[mask] = np.clip(np.rint(pasted[hole]), 0, 255).astype(np.uint8)
    return result


def _rim_weight(hole: Mask, kept: float) -> np.ndarray:
    """How much of the membrane counts: all at the rim, ``kept`` in the middle, where the object is.

    With the whole membrane a yellow hat from a brown desk turns green in front of the night sky.
    """
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = np.clip((distance - 1) / max(_FADE * min(hole.shape), 1), 0, 1)
    weight: np.ndarray = (1 - (1 - kept) * depth).astype(np.float32)
    return weight


def _box_with_rim(mask: Mask) -> tuple[slice, slice]:
    """The mask's bounding box and one pixel around it, within the image."""
    rows, columns = (np.nonzero(mask.any(axis=axis))[0] for axis in (1, 0))
    return (
        slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2),
        slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2),
    )
