"""The networks: Stable Diffusion's UNet, autoencoder and text encoder, from a diffusers folder or hub id.

Images are float32 (B, 3, S, S) in [-1, 1]; latents float32 (B, 4, S/8, S/8); text states (B, 77, C). Only the
UNet is trained. Nothing is unpickled: weights come from safetensors, and every tensor must arrive.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from catalog.errors import CheckpointError
from trainer.config import LATENT_STRIDE
from trainer.diffusion import schedule_differences

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}

_HARMLESS = frozenset({"text_model.embeddings.position_ids", "embeddings.position_ids"})
"""Constant counters that older files store and newer text encoders compute."""


@dataclass
class Models:
    """Everything that turns images and instructions into predictions of noise."""

    unet: Any
    """diffusers UNet2DConditionModel: 4 noisy latent channels, then 4 of the source image."""
    autoencoder: Any
    """diffusers AutoencoderKL, frozen."""
    text_encoder: Any
    """transformers CLIPTextModel, frozen."""
    tokenizer: Any
    """transformers CLIPTokenizer."""

    @property
    def latent_scale(self) -> float:
        """Factor that gives target latents about unit variance (Stable Diffusion v1: 0.18215)."""
        return float(self.autoencoder.config.scaling_factor)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        device: torch.device = next(iter(self.unet.parameters())).device
        return device

    def to(self, device: torch.device) -> "Models":
        """Move all networks."""
        for network in (self.unet, self.autoencoder, self.text_encoder):
            network.to(device)
        return self

    @torch.no_grad()
    def encode_targets(self, images: Tensor, noise: Tensor) -> Tensor:
        """Target latents z = E(t_i), drawn from the posterior with ``noise`` (standard normal) and scaled."""
        posterior = self.autoencoder.encode(images).latent_dist
        latents: Tensor = (posterior.mean + posterior.std * noise) * self.latent_scale
        return latents

    @torch.no_grad()
    def encode_sources(self, images: Tensor) -> Tensor:
        """The image condition: mode of the posterior, not scaled (InstructPix2Pix and the official code)."""
        latents: Tensor = self.autoencoder.encode(images).latent_dist.mode()
        return latents

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """The text condition: last hidden states of all 77 tokens; longer texts are cut."""
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )
        states: Tensor = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
        return states

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images of scaled latents, not clipped."""
        images: Tensor = self.autoencoder.decode(latents / self.latent_scale).sample
        return images


def load_models(place: str | Path) -> Models:
    """Load a text-to-image or image-editing checkpoint and give its UNet 8 input channels.

    Args:
        place: diffusers folder (``unet/``, ``vae/``, ``text_encoder/``, ``tokenizer/``, ``scheduler/``) or hub id.

    Raises:
        CheckpointError: not found, not safetensors, a tensor missing, left over or of another shape, or
            another kind of model than Stable Diffusion v1.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    folder = _find_folder(str(place))
    hide_progress_bars()
    _check_schedule(folder)
    unet = _load(UNet2DConditionModel, folder, "unet", torch_dtype=torch.float32, low_cpu_mem_usage=False)
    vae = _load(AutoencoderKL, folder, "vae", torch_dtype=torch.float32, low_cpu_mem_usage=False)
    text_encoder = _load(CLIPTextModel, folder, "text_encoder", dtype=torch.float32)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}/tokenizer must be a CLIP tokenizer: {_first_line(error)}") from error
    models = Models(unet=unet, autoencoder=vae, text_encoder=text_encoder, tokenizer=tokenizer)
    _check_shapes(models, folder)
    if unet.config.in_channels == 4:
        add_image_channels(unet)
    for network in (vae, text_encoder):
        network.requires_grad_(False).eval()
    unet.requires_grad_(True)
    return models


@torch.no_grad()
def add_image_channels(unet: Any) -> None:
    """4 -> 8 input channels; the new four start at zero, so that nothing changes yet (paper section 3.3)."""
    old = unet.conv_in
    new = nn.Conv2d(
        2 * old.in_channels, old.out_channels, old.kernel_size, padding=old.padding, device=old.weight.device
    )
    new.weight.zero_()
    new.weight[:, : old.in_channels] = old.weight
    new.bias.copy_(old.bias)  # type: ignore[union-attr]
    unet.conv_in = new
    unet.register_to_config(in_channels=2 * old.in_channels)


def hide_progress_bars() -> None:
    """Of transformers, which draws one per file that it reads or writes; downloads keep theirs."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def frozen_digest(models: Models) -> str:
    """SHA-256 over the frozen networks' tensors: a checkpoint of the UNet only fits to these."""
    digest = hashlib.sha256()
    for network in (models.autoencoder, models.text_encoder):
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _find_folder(place: str) -> Path:
    """The local folder behind ``place``; a hub id is downloaded, or taken from the cache when offline."""
    folder = Path(place)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        patterns = ["model_index.json", "tokenizer/*", "scheduler/*.json"]
        for part, stem in _WEIGHTS.items():  # not the variants (fp16, non_ema) and not the pickled copies
            patterns += [f"{part}/*.json", f"{part}/{stem}.safetensors", f"{part}/{stem}-*-of-*.safetensors"]
        try:
            folder = Path(snapshot_download(place, allow_patterns=patterns))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"model must be a diffusers folder or a hub id that can be reached or is cached, got {place!r}: "
                f"give the path of a downloaded checkpoint ({_first_line(error)})"
            ) from error
    for part in _PARTS:
        if not (folder / part).is_dir():
            raise CheckpointError(
                f"{folder} must be a checkpoint in the diffusers layout, but has no {part}/: "
                "give the folder that holds model_index.json"
            )
    return folder


def _load(kind: Any, folder: Path, part: str, **options: Any) -> Any:
    """One network, with proof that each of its tensors came from the file and the file holds no other."""
    try:
        network, report = kind.from_pretrained(
            str(folder / part), use_safetensors=True, local_files_only=True, output_loading_info=True, **options
        )
    except Exception as error:  # the libraries raise nearly anything for a file that is not right
        raise CheckpointError(
            f"{folder / part} must hold a whole {kind.__name__} as safetensors: {_first_line(error)}"
        ) from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = sorted(str(name) for name in set(report.get(problem) or ()) - _HARMLESS)
        if names:
            raise CheckpointError(
                f"{folder / part} must hold exactly the tensors of its config.json, but has "
                f"{problem.replace('_', ' ')}: {names[0]} and {len(names) - 1} more; download it again"
            )
    return network


def _check_schedule(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        config: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a diffusers scheduler configuration: {error}") from error
    if differences := schedule_differences(config):
        raise CheckpointError(
            f"{path} must be Stable Diffusion v1's noise schedule, but has {differences[0]}: "
            "start from a Stable Diffusion v1 checkpoint"
        )


def _check_shapes(models: Models, folder: Path) -> None:
    unet, vae, text = models.unet.config, models.autoencoder.config, models.text_encoder.config
    rules = [
        ("input channels of the UNet", unet.in_channels, (4, 8)),
        ("output channels of the UNet", unet.out_channels, (4,)),
        ("latent channels", vae.latent_channels, (4,)),
        ("pixels per latent pixel", 2 ** (len(vae.block_out_channels) - 1), (LATENT_STRIDE,)),
        ("text states", unet.cross_attention_dim, (text.hidden_size,)),
        ("text positions", models.tokenizer.model_max_length, (text.max_position_embeddings,)),
        ("tokens", max(len(models.tokenizer), text.vocab_size), (text.vocab_size,)),
    ]
    for what, value, allowed in rules:
        if value not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise CheckpointError(
                f"{folder} must be a Stable Diffusion v1 checkpoint: {what} must be {wanted}, got {value}; "
                "start from another checkpoint"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
