"""A tiny open_clip model: vision and text transformers with CLIP's own vocabulary and preprocessing."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from .files import seeded

WIDTH = 32
WEIGHTS = "open_clip_model.safetensors"


def tiny_config(image_size: int, quick_gelu: bool = False) -> dict[str, Any]:
    """open_clip's ``model_cfg``."""
    vision = {"image_size": image_size, "layers": 2, "width": WIDTH, "patch_size": image_size // 4, "head_width": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 4, "layers": 2}
    return {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick_gelu}


def save_open_clip(folder: Path, seed: int = 0, image_size: int = 32, quick_gelu: bool = False) -> Path:
    """Write configuration and weights as the hub's open_clip repositories hold them; returns ``folder``."""
    import open_clip

    config = tiny_config(image_size, quick_gelu)
    with seeded(seed):
        network = open_clip.model.CLIP(**config)
    folder.mkdir(parents=True)
    preprocess = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    return folder
