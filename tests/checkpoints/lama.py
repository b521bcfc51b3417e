"""A tiny stand-in for big-lama.pt: the same TorchScript interface, three random convolutions inside."""

import hashlib
import warnings
from pathlib import Path

import torch
from torch import nn


class TinyLama(nn.Module):
    """Images (N, 3, H, W) in [0, 1] and masks (N, 1, H, W) -> images in [0, 1]; outside the mask they stay.

    Like the published export it composites inside, and sees the far border of the image: the mean over everything
    stands for LaMa's Fourier convolutions. A ripple stands for texture: a fill of one colour is rejected.
    """

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(4, 8, 5, padding=2, padding_mode="reflect")
        self.far = nn.Conv2d(4, 8, 1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hole = mask.to(image.dtype)
        seen = torch.cat([image * (1 - hole), hole], dim=1)
        features = torch.relu(self.near(seen) + self.far(seen.mean(dim=[2, 3], keepdim=True)))
        columns = torch.arange(image.shape[3], device=image.device, dtype=image.dtype)
        fill = torch.sigmoid(2 * self.last(features) + torch.sin(columns))
        return hole * fill + (1 - hole) * image


def save_script(module: nn.Module, path: Path) -> str:
    """Save a module as TorchScript and return the file's MD5."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, but it is LaMa's form
        torch.jit.save(torch.jit.script(module.eval()), str(path))
    return file_md5(path)


def save_tiny_lama(path: Path, seed: int = 0) -> str:
    """Save a random `TinyLama` and return the file's MD5, which the backend wants to be told."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = TinyLama()
    return save_script(module, path)


def file_md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
