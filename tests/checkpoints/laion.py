"""Random heads of LAION's aesthetic predictors, in their published forms."""

import itertools
from pathlib import Path

import torch

from tasks.backends.laion_heads import MLP_WIDTHS

from .files import seeded


def save_linear_head(path: Path, width: int, seed: int = 0) -> Path:
    """The linear head's state dictionary."""
    with seeded(seed):
        torch.save(torch.nn.Linear(width, 1).state_dict(), path)
    return path


def save_mlp_head(path: Path, width: int, seed: int = 0) -> Path:
    """The improved predictor's state dictionary: five layers without activations between."""
    with seeded(seed):
        sides = itertools.pairwise((width, *MLP_WIDTHS))
        layers = dict(zip((0, 2, 4, 6, 7), (torch.nn.Linear(*shape).state_dict() for shape in sides), strict=True))
    torch.save({f"layers.{place}.{name}": value for place, one in layers.items() for name, value in one.items()}, path)
    return path
