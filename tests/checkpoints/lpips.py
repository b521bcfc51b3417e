"""LPIPS without its published classifier: random features as torchvision lays them out, and real channel weights."""

from pathlib import Path

import torch
import torchmetrics
import torchvision
from safetensors.torch import save_file

from .files import seeded

HEADS = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
"""The authors' channel weights, which torchmetrics brings along."""


def features_of(network: str) -> torch.nn.Sequential:
    """The ``features`` of torchvision's classifier, without the wide layers after them, which take seconds to make."""
    models = torchvision.models
    if network == "vgg":
        return models.vgg.make_layers(models.vgg.cfgs["D"])
    return (models.alexnet if network == "alex" else models.squeezenet1_1)(weights=None).features


def save_backbone(file: Path, network: str = "squeeze", seed: int = 0) -> Path:
    """Random weights under torchvision's names."""
    with seeded(seed):
        tensors = {f"features.{name}": value for name, value in features_of(network).state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def save_lpips(folder: Path, network: str = "squeeze", seed: int = 0) -> dict[str, str]:
    """Backbone and heads; returns the options that load them."""
    file = save_backbone(folder / f"{network}.safetensors", network, seed)
    heads = HEADS / f"{network}.pth"
    return {"weights": str(file), "heads": str(heads), "network": network}
