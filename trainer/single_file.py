"""Stable Diffusion v1 checkpoints in one file, in the original layout: read and written.

Read are ``.safetensors`` and pickled ``.ckpt``, ``.pt``, ``.pth``, ``.bin`` files: Stable Diffusion v1.5, and the
official InstructPix2Pix and InstructDiffusion checkpoints. Where a file holds a moving average of the UNet, whole, that
is taken. A file holds no tokenizer. Files written here carry their networks' configurations as metadata; of others,
the configurations are told from the shapes, with Stable Diffusion v1's eight heads.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from catalog.durable import TEMPORARY_SUFFIX, sync_folder
from catalog.errors import CheckpointError
from trainer.diffusion import BETA_END, BETA_START, NUM_TIMESTEPS
from trainer.original_layout import (
    AUTOENCODER,
    AVERAGE,
    TEXT_ENCODER,
    UNET,
    autoencoder_config,
    autoencoder_name,
    average_name,
    text_encoder_config,
    text_encoder_name,
    unet_config,
    unet_name,
)
from trainer.plain_checkpoints import read_pickled

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_CONFIGS = "configurations"
_BUFFERS = re.compile(
    r"(betas|.*alphas_cumprod(_prev)?|posterior_.*|lvlb_weights|logvar|scale_factor|global_step|null_token"
    r"|model_ema\.(decay|num_updates)|first_stage_model\.loss\..*"
    r"|cond_stage_model\.transformer\.text_model\.embeddings\.position_ids)"
)
"""What the original code stores beside the networks: its schedule, counters and the autoencoder's training losses."""

Networks = tuple[Any, Any, Any]
"""UNet, autoencoder, text encoder."""


def read_single_file(path: Path) -> Networks:
    """The three networks, float32, with proof that each tensor came from the file and none is left over.

    Raises:
        CheckpointError: torn, not Stable Diffusion v1, or a tensor missing, left over or of another shape.
    """
    tensors, configs = _read(path)
    _check_betas(path, tensors)
    used: set[str] = set()
    averaged = any(name.startswith(AVERAGE + "diffusion_model") for name in tensors)

    def unet_source(name: str, config: Mapping[str, Any]) -> str:
        original = unet_name(name, config)
        return average_name(original) if averaged else UNET + original

    plan: list[tuple[str, Callable[..., Any], Callable[..., dict[str, Any]], Callable[..., str]]] = [
        (UNET, _make_unet, unet_config, unet_source),
        (AUTOENCODER, _make_autoencoder, autoencoder_config, lambda n, c: AUTOENCODER + autoencoder_name(n, c)),
        (TEXT_ENCODER, _make_text_encoder, text_encoder_config, lambda n, _: TEXT_ENCODER + text_encoder_name(n)),
    ]
    networks = []
    for prefix, make, tell, source in plan:
        config = configs.get(prefix) or _tell(path, prefix, tensors, tell)
        networks.append(_fill(path, make, config, tensors, source, used))
    left = [n for n in tensors if n not in used and not (averaged and n.startswith(UNET)) and not _BUFFERS.match(n)]
    if left:
        raise CheckpointError(
            f"{path} must hold the networks of Stable Diffusion v1 alone, but also has {left[0]} and "
            f"{len(left) - 1} more tensors: start from another checkpoint"
        )
    return networks[0], networks[1], networks[2]


def write_single_file(path: Path, networks: Networks, *, dtype: torch.dtype = torch.float32) -> None:
    """Write the networks in the original layout as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    unet, autoencoder, text_encoder = networks
    tensors = {UNET + unet_name(name, unet.config): value for name, value in unet.state_dict().items()}
    for name, value in autoencoder.state_dict().items():
        original = AUTOENCODER + autoencoder_name(name, autoencoder.config)
        tensors[original] = _as_convolution(original, value)
    for name, value in text_encoder.state_dict().items():
        tensors[TEXT_ENCODER + text_encoder_name(name)] = value
    stored = {name: value.detach().to("cpu", dtype).contiguous() for name, value in tensors.items()}
    configs = {
        UNET: _plain(unet.config),
        AUTOENCODER: _plain(autoencoder.config),
        TEXT_ENCODER: _plain(text_encoder.config.to_dict()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    save_file(stored, temporary, metadata={"format": "pt", _CONFIGS: json.dumps(configs, default=str)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.chmod(0o644)
    temporary.rename(path)
    sync_folder(path.parent)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by original name, and the configurations of the networks where the file has them."""
    if path.suffix != ".safetensors":
        return _flatten(path, read_pickled(path)), {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            configs = json.loads((file.metadata() or {}).get(_CONFIGS, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a whole safetensors file: {error}") from error
    if not (isinstance(configs, dict) and all(isinstance(config, dict) for config in configs.values())):
        raise CheckpointError(f"{path} must hold its configurations as JSON objects: export it anew")
    return tensors, configs


def _flatten(path: Path, value: dict[str, Any]) -> dict[str, Tensor]:
    """Lightning keeps tensors under ``state_dict``; DeepSpeed runs keep the average under ``model_ema``."""
    inner = value.get("state_dict", value.get("module", value))
    if not isinstance(inner, Mapping):
        raise CheckpointError(f"{path} must hold its tensors under state_dict, got {type(inner).__name__}")
    averages = value.get("model_ema") if isinstance(value.get("model_ema"), Mapping) else {}
    everything = {**inner, **{AVERAGE + str(name): tensor for name, tensor in (averages or {}).items()}}
    return {str(name): tensor for name, tensor in everything.items() if isinstance(tensor, Tensor)}


def _tell(path: Path, prefix: str, tensors: Mapping[str, Tensor], tell: Callable[..., dict[str, Any]]) -> Any:
    part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if prefix == UNET and not part:  # the average alone, its names without dots: no architecture can be told
        raise CheckpointError(
            f"{path} must hold tensors named {prefix}..., but has none: convert it with the official code's "
            "scripts/convert_ckpt.py first"
        )
    try:
        return tell(part)
    except (KeyError, ValueError, IndexError, StopIteration) as error:
        raise CheckpointError(
            f"{path} must hold a Stable Diffusion v1 network under {prefix}, but lacks a part of it ({error}): "
            "start from another checkpoint"
        ) from error


def _fill(
    path: Path,
    make: Callable[..., Any],
    config: dict[str, Any],
    tensors: Mapping[str, Tensor],
    source: Callable[..., str],
    used: set[str],
) -> Any:
    """One network with the file's tensors. Memory is taken only after all names and shapes were compared."""
    try:
        with torch.device("meta"):
            network = make(config)
    except Exception as error:  # a configuration that the library refuses
        raise CheckpointError(f"{path} must describe a Stable Diffusion v1 network: {error}") from error
    arrived = {}
    for name, wanted in network.state_dict().items():
        original = source(name, config)
        found = tensors.get(original)
        if found is None:
            raise CheckpointError(f"{path} must hold every tensor of its networks, but has no {original}")
        if found.dim() == 4 and wanted.dim() == 2 and found.shape[2:] == (1, 1):  # attention as 1 x 1 convolution
            found = found[:, :, 0, 0]
        if found.shape != wanted.shape:
            raise CheckpointError(
                f"{path}: {original} must have the shape {tuple(wanted.shape)}, got {tuple(found.shape)}"
            )
        # copied: matrix products round by the address's alignment, and a tensor in a mapped file has any
        arrived[name] = found.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        used.add(original)
    network.load_state_dict(arrived, assign=True)
    for name, buffer in network.named_buffers():  # constant counters of the text encoder, not stored
        if buffer.is_meta:
            module = network.get_submodule(name.rpartition(".")[0])
            module.register_buffer(name.rpartition(".")[2], torch.arange(buffer.shape[-1])[None], persistent=False)
    return network


def _check_betas(path: Path, tensors: Mapping[str, Tensor]) -> None:
    betas = tensors.get("betas")
    if betas is None:
        return
    ours = torch.linspace(BETA_START**0.5, BETA_END**0.5, NUM_TIMESTEPS, dtype=torch.float64) ** 2
    if betas.shape != ours.shape or not torch.allclose(betas.double(), ours, rtol=2e-3, atol=0):  # may be float16
        raise CheckpointError(
            f"{path} must have Stable Diffusion v1's noise schedule, but its betas differ: start from another one"
        )


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without the libraries' own notes, such as the folder that the network was read from."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _as_convolution(name: str, tensor: Tensor) -> Tensor:
    is_attention = ".attn_1." in name and name.endswith(".weight") and tensor.dim() == 2
    return tensor[:, :, None, None] if is_attention else tensor


def _make_unet(config: dict[str, Any]) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return UNet2DConditionModel.from_config(config)


def _make_autoencoder(config: dict[str, Any]) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL.from_config(config)


def _make_text_encoder(config: dict[str, Any]) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig.from_dict(config))
