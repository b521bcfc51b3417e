"""A tiny checkpoint in Stable Diffusion's own layout, randomly initialised: the demo trains it offline.

Same classes, same files and same loading code as the real one: a text-to-image UNet with 4 input channels, an
autoencoder that shrinks each side 8 times, a CLIP text encoder and tokenizer.
"""

from pathlib import Path
from typing import Any

import torch

from trainer.models import Models
from trainer.pipeline_folder import write_pipeline
from trainer.tiny_tokenizer import make_tokenizer

_WIDTH = 32


def make_tiny_checkpoint(folder: Path, seed: int) -> None:
    """Write the checkpoint to ``folder``, whole or not at all; the same bytes for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tokenizer()
        autoencoder = _make_autoencoder()
        models = Models(
            unet=_make_unet(),
            autoencoder=autoencoder,
            text_encoder=_make_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id),
            tokenizer=tokenizer,
        )
        _spread_latents(models)
    write_pipeline(folder, models)


def _make_unet() -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(_WIDTH, 2 * _WIDTH),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=_WIDTH,
        attention_head_dim=2,  # the number of heads, in Stable Diffusion v1's configuration too
        norm_num_groups=8,
    ).eval()


def _make_autoencoder() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[8, 8, 16, 16],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.18215,
    ).eval()


def _make_text_encoder(num_tokens: int, start_token: int, end_token: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=num_tokens,
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        projection_dim=_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=start_token,
        eos_token_id=end_token,
        pad_token_id=end_token,
    )
    return CLIPTextModel(config).eval()


@torch.no_grad()
def _spread_latents(models: Models) -> None:
    """Scale the last layer of the encoder so that scaled latents vary as a trained autoencoder's: about 1."""
    images = torch.rand(16, 3, 1, 1) * 2 - 1 + 0.5 * torch.randn(16, 3, 64, 64)
    latents = models.encode_sources(images.clamp(-1, 1)) * models.latent_scale
    mean = models.autoencoder.quant_conv
    mean.weight[:4] /= latents.std()
    mean.bias[:4] = (mean.bias[:4] - latents.mean() / models.latent_scale) / latents.std()
