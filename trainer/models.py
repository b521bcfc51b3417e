"""The networks: Stable Diffusion's UNet, autoencoder and text encoder, and how they are loaded and used.

Images are float32 (B, 3, S, S) in [-1, 1]; latents float32 (B, 4, S/8, S/8); text states (B, 77, C). Only the
UNet is trained. Every tensor must arrive, and nothing in a file is run (`trainer.plain_checkpoints`).
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
from trainer.checkpoint import check_tensors, read_averages
from trainer.config import LATENT_STRIDE, TOKENIZER
from trainer.diffusion import schedule_differences
from trainer.single_file import read_single_file
from trainer.starting_points import find_start

_HARMLESS = frozenset({"text_model.embeddings.position_ids", "embeddings.position_ids"})
"""Constant counters that older files store and newer text encoders compute."""


@dataclass
class Models:
    """Everything that turns images and instructions into predictions of noise."""

    unet: Any
    """diffusers UNet2DConditionModel: 4 noisy latent channels, then 4 of the source image (none in stage 1)."""
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
        return self.draw_targets(*self.encode_posteriors(images), noise)

    def draw_targets(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Scaled latents out of a posterior."""
        return (mean + std * noise) * self.latent_scale

    @torch.no_grad()
    def encode_posteriors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the autoencoder's posterior, not scaled."""
        posterior = self.autoencoder.encode(images).latent_dist
        return posterior.mean, posterior.std

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


def load_models(place: str | Path, *, image_condition: bool | None = True, tokenizer: str = TOKENIZER) -> Models:
    """Load a text-to-image or image-editing checkpoint.

    Args:
        place: folder, file, run, checkpoint of a run, or hub id: see `trainer.starting_points`.
        image_condition: True: give the UNet 8 input channels where it has 4; False: it must have 4; None: as it is.
        tokenizer: folder or hub id of the tokenizer of a single file, which has none of its own.

    Raises:
        CheckpointError: not found, a tensor missing, left over or of another shape, or another kind of model than
            Stable Diffusion v1.
    """
    hide_progress_bars()
    start = find_start(str(place))
    if start.file is not None:
        unet, vae, text_encoder = read_single_file(start.file)
        models = Models(unet, vae, text_encoder, _load_tokenizer(tokenizer))
    else:
        assert start.folder is not None
        models = _load_folder(start.folder)
    name = start.file or start.folder
    _check_shapes(models, name)
    if start.checkpoint is not None:
        _replace_weights(models.unet, start.checkpoint)
    if image_condition and models.unet.config.in_channels == 4:
        add_image_channels(models.unet)
    if image_condition is False and models.unet.config.in_channels != 4:
        raise CheckpointError(
            f"{name} must be a text-to-image checkpoint, but its UNet takes the source image too: "
            "start stage pretraining_adaptation from Stable Diffusion v1"
        )
    for network in (models.autoencoder, models.text_encoder):
        network.requires_grad_(False).eval()
    models.unet.requires_grad_(True)
    return models


def _load_folder(folder: Path) -> Models:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel

    _check_schedule(folder)
    return Models(
        unet=_load(UNet2DConditionModel, folder, "unet", torch_dtype=torch.float32, low_cpu_mem_usage=False),
        autoencoder=_load(AutoencoderKL, folder, "vae", torch_dtype=torch.float32, low_cpu_mem_usage=False),
        text_encoder=_load(CLIPTextModel, folder, "text_encoder", dtype=torch.float32),
        tokenizer=_load_tokenizer(str(folder / "tokenizer")),
    )


def _load_tokenizer(place: str) -> Any:
    """A folder, the folder ``tokenizer`` in it, or a hub id."""
    from transformers import CLIPTokenizer

    folder = Path(place)
    folder = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
    try:
        if not folder.is_dir():
            return CLIPTokenizer.from_pretrained(place)
        if not any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json")):
            raise OSError("there is neither vocab.json nor tokenizer.json")  # the library would make an empty one
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{place} must be a CLIP tokenizer ({_first_line(error)}): give the folder of one; where the model is a "
            "single file, with --set tokenizer= or --tokenizer"
        ) from error


def _replace_weights(unet: Any, checkpoint: Path) -> None:
    """The moving average of a run's checkpoint for the UNet; it gets the input channels of that run first."""
    weights = read_averages(checkpoint)
    first = weights.get("conv_in.weight")
    if first is not None and first.shape[1] == 2 * unet.config.in_channels == 8:
        add_image_channels(unet)
    check_tensors(checkpoint, weights, dict(unet.named_parameters()))
    unet.load_state_dict(weights)


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
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


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


def _check_shapes(models: Models, folder: Path | None) -> None:
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
