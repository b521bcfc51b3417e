"""A trained U-Net as a decoder, and its checkpoint: one safetensors file that says how it was made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from catalog.digests import canonical_json, file_digest
from catalog.drawing_colors import Rgb
from catalog.durable import write_file
from catalog.errors import CheckpointError
from catalog.samples import Sample
from catalog.targets import ALPHA, RADIUS, disc_radius
from evaluation.decoders import Points, Scores
from evaluation.heatmaps import find_peak
from evaluation.metrics import Image
from evaluation.postprocessor import STRIDE, Postprocessor, network_inputs

_KIND = "ieiw-postprocessor"
SIGMA_SHARE = 0.5
"""Sigma of the heatmaps over the radius of the discs: the peak is narrow enough to tell neighbours apart."""


class NetworkDecoder:
    """Reads masks and discs by a trained `Postprocessor`. See `evaluation.decoders.Decoder`."""

    def __init__(self, network: Postprocessor, identity: str, alpha: float = ALPHA, radius: float = RADIUS) -> None:
        """Take a network; ``alpha`` and ``radius`` are those of the drawings that it learned to read."""
        self._network = network.eval()
        self._alpha, self._radius = alpha, radius
        self.id = f"u-net@1+{identity}+alpha-{alpha:g}+radius-{radius:g}"

    def read_mask(self, sample: Sample, prediction: Image) -> Scores:
        """See `Decoder`."""
        mask: Scores = self._maps(sample, prediction, [sample.colors[0][1]])[0, 0]
        return mask

    def read_keypoints(self, sample: Sample, prediction: Image) -> tuple[Points, Points]:
        """See `Decoder`: one heatmap per joint; the confidence is the height of its peak."""
        heatmaps = self._maps(sample, prediction, [rgb for _, rgb in sample.colors])[:, 1]
        points, heights = np.full((len(heatmaps), 2), np.nan), np.zeros(len(heatmaps))
        sigma = SIGMA_SHARE * disc_radius(sample.view.size, self._radius)
        for place, heatmap in enumerate(heatmaps):
            peak, heights[place] = find_peak(heatmap, sigma)
            if peak is not None:
                points[place] = peak
        return points, heights

    def _maps(self, sample: Sample, prediction: Image, colors: list[Rgb]) -> Scores:
        """Float32 (colours, 2, H, W) in [0, 1]."""
        height, width = prediction.shape[:2]
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        radius = disc_radius(sample.view.size, self._radius)
        inputs = network_inputs(sample.source, prediction, colors, self._alpha, radius)
        with torch.no_grad():
            logits: Tensor = self._network(torch.nn.functional.pad(inputs, padding, mode="replicate"))
        return np.asarray(logits[..., :height, :width].sigmoid().numpy())


def save_network(path: Path, network: Postprocessor, facts: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; ``facts`` are JSON values about how it was made."""
    header = {
        _KIND: canonical_json({**facts, "width": network.width})
    }  # one key: the library does not keep their order
    write_file(path, [save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, header)])


def load_network_decoder(path: Path) -> NetworkDecoder:
    """The decoder that a checkpoint holds.

    Raises:
        CheckpointError: not there, torn, or not written by `save_network`.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if _KIND not in header:
                raise CheckpointError(
                    f"{path} must be a post-processor as `python -m evaluation train-decoder` writes it, but is "
                    "another model's file: give that one"
                )
            facts = json.loads(header[_KIND])
            network = Postprocessor(int(facts["width"]))
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} must be a whole post-processor file ({first}): train or copy it again"
        ) from error
    return NetworkDecoder(network, file_digest(path)[:16], facts["alpha"], facts["radius"])
