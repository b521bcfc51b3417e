"""A tiny DINO: a vision transformer of two layers, saved as transformers writes it."""

from pathlib import Path

from .files import seeded


def save_dino(folder: Path, seed: int = 0, kind: str = "vit", image_size: int = 32) -> Path:
    """Write configuration and weights; ``kind`` is vit or dinov2. Returns ``folder``."""
    from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": image_size}
    with seeded(seed):
        if kind == "vit":
            network = ViTModel(ViTConfig(**size, intermediate_size=64, patch_size=8), add_pooling_layer=False)
        else:
            network = Dinov2Model(Dinov2Config(**size, mlp_ratio=2, patch_size=8))
    network.eval().save_pretrained(folder)
    return folder
