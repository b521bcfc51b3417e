"""The light U-Net that reads masks and joints from output images (paper sections 4.2 and 4.3; its own is unpublished).

One network for both: it sees source, output and one asked colour, and gives two maps for that colour, a mask and a
heatmap of its disc. A person's joints are a batch of colours, their maps the paper's multi-channel heatmap. Beside the
raw pixels it is given the colour distances of `catalog.targets`, so that it starts from the untrained reading and
learns only what that gets wrong: blur, drifted colours, specks, half-drawn discs.

    input   float32 (B, 11, H, W)   source, output, colour in [-1, 1]; way to the mask's blend; fit of a disc
    output  float32 (B, 2, H, W)    logits of mask and heatmap; H and W multiples of 8
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from catalog.drawing_colors import Rgb
from catalog.targets import disc_scores, mask_progress
from evaluation.metrics import Image

NUM_INPUTS = 11
STRIDE = 8
"""Sides must be multiples of it: the network halves them three times."""


class _Block(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        groups = min(8, outputs)
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.GroupNorm(groups, outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.GroupNorm(groups, outputs),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) => (B, outputs, H, W)."""
        return nn.functional.silu(self.body(features) + self.shortcut(features))


class Postprocessor(nn.Module):
    """U-Net of four levels, ``width`` channels on the finest and doubled on each coarser one."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(
            _Block(inputs, outputs) for inputs, outputs in zip([NUM_INPUTS, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            _Block(coarse + fine, fine) for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, 2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 11, H, W) => logits (B, 2, H, W): an untrained network gives the colour distances themselves."""
        kept, features = [], inputs
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else nn.functional.max_pool2d(features, 2))
            kept.append(features)
        for block, fine in zip(self.up, kept[-2::-1], strict=True):
            coarse = nn.functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([coarse, fine], dim=1))
        # Both in [0, 1]: half of the way is undecided; how well a disc fits is the heatmap itself.
        mask, disc = 8 * (inputs[:, -2:-1] - 0.5), inputs[:, -1:].clamp(0.02, 0.98).logit()
        start = torch.cat([mask, disc], dim=1)
        return cast(Tensor, self.head(features) + start)


def network_inputs(source: Image, output: Image, colors: Sequence[Rgb], alpha: float, radius: float) -> Tensor:
    """Float32 (N, 11, H, W): one entry per colour, of the same pictures.

    Args:
        source: uint8 (H, W, 3).
        output: uint8 (H, W, 3).
        colors: all that were asked for at once: a disc may cover part of another.
        alpha: share of the colour in a mask's pixels.
        radius: of discs in pixels at this size.
    """
    height, width = source.shape[:2]
    pixels = np.concatenate([source, output], axis=2).astype(np.float32) / 127.5 - 1  # (H, W, 6)
    discs = disc_scores(source, output, colors, radius)
    entries = np.zeros((len(colors), height, width, NUM_INPUTS), np.float32)
    for entry, color, disc in zip(entries, colors, discs, strict=True):
        entry[..., :6] = pixels
        entry[..., 6:9] = np.asarray(color, np.float32) / 127.5 - 1
        entry[..., 9] = mask_progress(source, output, color, alpha)
        entry[..., 10] = disc
    return torch.from_numpy(entries.transpose(0, 3, 1, 2).copy())
