"""Embedded perceptual distance: how far two pictures are apart on each scale, seen against their own contrast."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.backends.protocols import Image, library_revision

_LEVELS = 5
"""Scales, each half of the one before; fewer where a picture is too small for them."""
_LEAST = 4  # pixels of the coarsest scale's shorter side
_CONTRAST = 0.17
"""Amplitude that everywhere counts as there, of pixels in [0, 1]: faint texture is not divided by nothing
(Laparra et al., 2016, table 1, constant of the band-pass levels)."""
_SURROUND = 2.0  # sigma in pixels of each scale


class LaplacianPyramidDistance:
    """Normalised Laplacian pyramid distance, embedded: contrasts of both pictures, scale by scale, without a network.

    Laparra et al., "Perceptual image quality assessment using a normalized Laplacian pyramid" (HVEI 2016): each band
    is divided by the amplitude around it; the distance is the mean over bands of the root of the mean square
    difference. Here of each colour channel and with Gaussian surrounds. 0 for equal pictures; about 1 for pictures
    that share nothing. Not comparable with LPIPS.
    """

    name = "laplacian-pyramid"
    device = "cpu"

    def __init__(self) -> None:
        self.revision = library_revision(1, opencv=cv2.__version__, numpy=np.__version__)

    def distance(self, images: Sequence[Image], others: Sequence[Image]) -> NDArray[np.float64]:
        """See `protocols.PerceptualDistance`."""
        return np.array([_distance(*pair) for pair in zip(images, others, strict=True)], np.float64)


def _distance(image: Image, other: Image) -> float:
    if image.shape != other.shape:
        raise ValueError(f"both pictures must have one size. Got {image.shape} and {other.shape}")
    bands = zip(_normalised_bands(image), _normalised_bands(other), strict=True)
    return float(np.mean([np.sqrt(np.mean(np.square(first - second))) for first, second in bands]))


def _normalised_bands(image: Image) -> list[NDArray[np.float64]]:
    """Band-pass levels and the rest, float64 (h, w, 3), each divided by its local amplitude."""
    rest = image.astype(np.float64) / 255
    bands = []
    for _ in range(_LEVELS - 1):
        if min(rest.shape[:2]) < 2 * _LEAST:
            break
        coarse = cv2.pyrDown(rest)
        bands.append(_normalised(rest - cv2.pyrUp(coarse, dstsize=(rest.shape[1], rest.shape[0]))))
        rest = np.asarray(coarse, np.float64)
    return [*bands, rest]


def _normalised(band: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(band / (_CONTRAST + cv2.GaussianBlur(np.abs(band), (0, 0), _SURROUND)), np.float64)
