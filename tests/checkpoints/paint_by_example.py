"""A tiny Paint-by-Example: 9-channel UNet, autoencoder that shrinks 8 times, CLIP vision encoder with its mapper."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .files import seeded

_WIDTH = 32
_EXEMPLAR = 32  # pixels, 224 in the published model


def save_paint_by_example(folder: Path, seed: int = 0) -> Path:
    """Write the parts as today's libraries write them; returns ``folder``."""
    from diffusers import PNDMScheduler
    from transformers import CLIPImageProcessor

    with seeded(seed):
        for name, part in (("unet", _make_unet()), ("vae", _make_autoencoder()), ("image_encoder", _make_encoder())):
            part.eval().save_pretrained(folder / name)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    PNDMScheduler(**schedule, skip_prk_steps=True, steps_offset=1).save_pretrained(folder / "scheduler")
    CLIPImageProcessor(
        size={"shortest_edge": _EXEMPLAR}, crop_size={"height": _EXEMPLAR, "width": _EXEMPLAR}
    ).save_pretrained(folder / "feature_extractor")
    return folder


def publish(folder: Path) -> None:
    """Give a saved checkpoint the form of the published one, which older libraries wrote."""
    file = folder / "image_encoder" / "model.safetensors"
    tensors = load_file(file)
    old = {
        name.replace("model.", "model.vision_model.", 1): tensor for name, tensor in tensors.items() if "model." in name
    }
    old |= {name: tensor for name, tensor in tensors.items() if "model." not in name}
    patches = (_EXEMPLAR // 8) ** 2
    old["model.vision_model.embeddings.position_ids"] = torch.arange(patches + 1)[None]
    save_file(old, file, metadata={"format": "pt"})
    extractor = folder / "feature_extractor" / "preprocessor_config.json"
    extractor.write_text(
        json.dumps(
            {
                "crop_size": _EXEMPLAR,
                "do_center_crop": True,
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_resize": True,
                "feature_extractor_type": "CLIPFeatureExtractor",
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711],
                "resample": 3,
                "size": _EXEMPLAR,
            }
        )
    )


def pickle_weights(folder: Path) -> None:
    """Replace the safetensors files by PyTorch files under their published names."""
    for part, name in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("image_encoder", "model"),
    ):
        file = folder / part / f"{name}.safetensors"
        torch.save(load_file(file), folder / part / f"{name.removeprefix('model') or 'pytorch_model'}.bin")
        file.unlink()


def _make_unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(_WIDTH, 2 * _WIDTH),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_WIDTH,
        attention_head_dim=8,
        norm_num_groups=16,
    )


def _make_autoencoder() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[8, 8, 16, 16],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.18215,
    )


def _make_encoder() -> Any:
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
    from transformers import CLIPVisionConfig

    # The mapper has (layers + 1) // 5 blocks: with fewer than four layers it would be empty.
    config = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=40,
        num_hidden_layers=5,
        num_attention_heads=4,
        image_size=_EXEMPLAR,
        patch_size=8,
        projection_dim=_WIDTH,
    )
    return PaintByExampleImageEncoder(config, proj_size=_WIDTH)
