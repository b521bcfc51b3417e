"""Reading a model's drawing back: one interface, without training by colour distance or by a trained U-Net.

Both see the source beside the output, and both are asked for one colour at a time, so they know nothing of classes
or joints: what a colour stands for is the sample's business.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.samples import Sample
from catalog.targets import RADIUS, decode_keypoints, disc_radius, mask_progress
from evaluation.metrics import Image

Scores = NDArray[np.float32]
Points = NDArray[np.float64]


class Decoder(Protocol):
    """Reads masks and discs."""

    id: str
    """Changes whenever its readings could: part of every evaluation's configuration."""

    def read_mask(self, sample: Sample, prediction: Image) -> Scores:
        """How surely each pixel is marked in the sample's colour: float32 (H, W) in [0, 1], above 0.5 is marked."""
        ...

    def read_keypoints(self, sample: Sample, prediction: Image) -> tuple[Points, Points]:
        """Centre of each asked disc in pixels, float64 (N, 2), NaN where absent; and its confidence in [0, 1]."""
        ...


class ColorDecoder:
    """The baseline: distance to the asked colour, without training (`catalog.targets`)."""

    def __init__(self, alpha: float, radius: float = RADIUS) -> None:
        """How the targets were drawn.

        Args:
            alpha: share of the colour in a mask's pixels.
            radius: of discs, pixels at size 256.
        """
        self._alpha, self._radius = alpha, radius
        self.id = f"color-distance@1+alpha-{alpha:g}+radius-{radius:g}"

    def read_mask(self, sample: Sample, prediction: Image) -> Scores:
        """See `Decoder`: how far each pixel went to the blended colour."""
        return mask_progress(sample.source, prediction, sample.colors[0][1], self._alpha)

    def read_keypoints(self, sample: Sample, prediction: Image) -> tuple[Points, Points]:
        """See `Decoder`: the centre whose disc holds most of the colour, to a quarter of a pixel."""
        radius = disc_radius(sample.view.size, self._radius)
        return decode_keypoints(sample.source, prediction, [rgb for _, rgb in sample.colors], radius)
