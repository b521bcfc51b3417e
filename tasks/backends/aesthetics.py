"""Embedded aesthetic scorer: how much an image's statistics are those of a good photo."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.backends.protocols import Image, library_revision

_SIDE = 512  # pixels; a longer side is shrunk to it, so that scores depend little on resolution
_BLOCK = 8  # pixels; detail is measured block by block
_SHARP = 0.5  # fine over coarse detail at a photo's sharpest edges; 0.55 to 0.9 in the packaged photos
_NOISY = 6.0  # grey levels of noise that halve the score
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6


class ImageStatisticsScorer:
    """Sharpness, noise, contrast, colour and exposure on a scale of 1 to 10, not comparable with LAION's.

    1 is an image without content; good photos get 6 to 10. Noise, blur, flatness and bad exposure cost points.
    It judges no composition and no meaning.
    """

    name = "image-statistics"
    device = "cpu"

    def __init__(self) -> None:
        self.revision = library_revision(1, opencv=cv2.__version__, numpy=np.__version__)

    def score(self, images: Sequence[Image]) -> NDArray[np.float64]:
        """See `protocols.AestheticScorer`; values in [1, 10]."""
        return np.array([_score(image) for image in images], np.float64)


def _score(image: Image) -> float:
    scale = _SIDE / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    pixels = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image).astype(np.float64)
    luminance = pixels @ (0.299, 0.587, 0.114)
    merits = (_contrast(luminance), _colourfulness(pixels), _exposure(luminance))
    return 1 + 9 * _sharpness(luminance) * _cleanness(luminance) * sum(merits) / len(merits)


def _sharpness(luminance: NDArray[np.float64]) -> float:
    """Detail finer than a pixel or two against detail a few pixels wide, at the strongest twentieth of each."""
    fine_base, coarse_base = (cv2.GaussianBlur(luminance, (0, 0), sigma) for sigma in (1.0, 4.0))
    fine, coarse = (
        float(np.percentile(_block_strength(band), 95)) for band in (luminance - fine_base, fine_base - coarse_base)
    )
    if coarse < 0.5:  # grey levels: rounding alone makes that much
        return 0.0
    return min(fine / coarse / _SHARP, 1.0)


def _cleanness(luminance: NDArray[np.float64]) -> float:
    """Near 1 without noise. Noise is what is left in the smoothest fifth of the image.

    The kernel ignores planes and lines along the axes: Immerkaer, "Fast noise variance estimation" (1996).
    """
    left = cv2.filter2D(luminance, -1, _NOISE_KERNEL, borderType=cv2.BORDER_REFLECT)
    noise = float(np.percentile(_block_strength(left), 20))
    return 1 / (1 + (noise / _NOISY) ** 2)


def _block_strength(band: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of each whole block; of all there is where the image is smaller than a block."""
    rows, columns = (max(side // _BLOCK, 1) for side in band.shape)
    height, width = (min(side, _BLOCK) for side in band.shape)
    blocks = band[: rows * height, : columns * width].reshape(rows, height, columns, width)
    strength: NDArray[np.float64] = np.sqrt((blocks**2).mean(axis=(1, 3)))
    return strength


def _contrast(luminance: NDArray[np.float64]) -> float:
    """Standard deviation of luminance, full marks from a quarter of the range on."""
    return min(float(luminance.std()) / 64, 1.0)


def _colourfulness(pixels: NDArray[np.float64]) -> float:
    """Hasler and Suesstrunk, "Measuring colorfulness in natural images" (2003), equation 8; 60: "quite colourful"."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    first, second = red - green, (red + green) / 2 - blue
    spread = np.hypot(first.std(), second.std())
    offset = np.hypot(first.mean(), second.mean())
    return min(float(spread + 0.3 * offset) / 60, 1.0)


def _exposure(luminance: NDArray[np.float64]) -> float:
    """Share of pixels neither crushed nor burnt out, less for a mean far from the middle."""
    clipped = float(((luminance < 4) | (luminance > 251)).mean())
    off = abs(float(luminance.mean()) - 118) / 137
    return (1 - clipped) * (1 - off**2)
