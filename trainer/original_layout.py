"""Names of tensors in Stable Diffusion v1's original files, and the architecture that their shapes tell.

A network's tensors have diffusers' names in this project; single-file checkpoints have those of the CompVis code::

    model.diffusion_model.                   the UNet
    model_ema.                               its moving average: the same names without their dots (LitEma)
    first_stage_model.                       the autoencoder
    cond_stage_model.transformer.            the text encoder

Each function here gives the original name of one tensor, so reading and writing use the same rule.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

UNET = "model.diffusion_model."
AVERAGE = "model_ema."
AUTOENCODER = "first_stage_model."
TEXT_ENCODER = "cond_stage_model.transformer.text_model."

_NUM_HEADS = 8  # of every attention layer of Stable Diffusion v1; no shape tells it
_HEAD_WIDTH = 64  # of CLIP's text encoders
_NUM_GROUPS = 32  # of every group norm

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}


def unet_name(name: str, config: Mapping[str, Any]) -> str:
    """Original name of a tensor of the UNet, without its prefix.

    Args:
        name: diffusers' name.
        config: the network's configuration: ``layers_per_block`` and ``up_block_types`` are used.
    """
    layers = int(config["layers_per_block"])
    match name.split("."):
        case ["down_blocks", block, "resnets", layer, part, kind]:
            return f"input_blocks.{int(block) * (layers + 1) + int(layer) + 1}.0.{_RESNET[part]}.{kind}"
        case ["down_blocks", block, "attentions", layer, *rest]:
            return f"input_blocks.{int(block) * (layers + 1) + int(layer) + 1}.1.{'.'.join(rest)}"
        case ["down_blocks", block, "downsamplers", "0", "conv", kind]:
            return f"input_blocks.{(int(block) + 1) * (layers + 1)}.0.op.{kind}"
        case ["mid_block", "resnets", layer, part, kind]:
            return f"middle_block.{2 * int(layer)}.{_RESNET[part]}.{kind}"
        case ["mid_block", "attentions", "0", *rest]:
            return f"middle_block.1.{'.'.join(rest)}"
        case ["up_blocks", block, "resnets", layer, part, kind]:
            return f"output_blocks.{int(block) * (layers + 1) + int(layer)}.0.{_RESNET[part]}.{kind}"
        case ["up_blocks", block, "attentions", layer, *rest]:
            return f"output_blocks.{int(block) * (layers + 1) + int(layer)}.1.{'.'.join(rest)}"
        case ["up_blocks", block, "upsamplers", "0", "conv", kind]:
            place = 2 if "CrossAttn" in config["up_block_types"][int(block)] else 1
            return f"output_blocks.{int(block) * (layers + 1) + layers}.{place}.conv.{kind}"
        case [*module, kind]:
            return f"{_ENDS['.'.join(module)]}.{kind}"
    raise AssertionError(name)


def average_name(name: str) -> str:
    """Name of a UNet tensor's moving average, from its original name: LitEma leaves the dots out."""
    return AVERAGE + f"diffusion_model.{name}".replace(".", "")


def autoencoder_name(name: str, config: Mapping[str, Any]) -> str:
    """Original name of a tensor of the autoencoder, without its prefix; ``config`` as above."""
    levels = len(config["block_out_channels"])
    match name.split("."):
        case [side, "down_blocks", block, "resnets", layer, part, kind]:
            return f"{side}.down.{block}.block.{layer}.{_shortcut(part)}.{kind}"
        case [side, "down_blocks", block, "downsamplers", "0", "conv", kind]:
            return f"{side}.down.{block}.downsample.conv.{kind}"
        case [side, "up_blocks", block, "resnets", layer, part, kind]:
            return f"{side}.up.{levels - 1 - int(block)}.block.{layer}.{_shortcut(part)}.{kind}"
        case [side, "up_blocks", block, "upsamplers", "0", "conv", kind]:
            return f"{side}.up.{levels - 1 - int(block)}.upsample.conv.{kind}"
        case [side, "mid_block", "resnets", layer, part, kind]:
            return f"{side}.mid.block_{int(layer) + 1}.{_shortcut(part)}.{kind}"
        case [side, "mid_block", "attentions", "0", part, *_, kind]:
            return f"{side}.mid.attn_1.{_ATTENTION[part]}.{kind}"
        case [side, "conv_norm_out", kind]:
            return f"{side}.norm_out.{kind}"
    return name


def text_encoder_name(name: str) -> str:
    """Original name of a tensor of the text encoder, without its prefix; libraries differ in ``text_model.``."""
    return name.removeprefix("text_model.")


def unet_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration of the UNet whose tensors have these original names (prefix left out).

    Raises:
        KeyError: a tensor is missing from which it must be told.
    """
    starts = sorted(int(found[1]) for name in tensors if (found := re.match(r"input_blocks\.(\d+)\.0\.op\.bias", name)))
    layers = (starts[0] if starts else 1 + max(int(n.split(".")[1]) for n in tensors if "input_blocks" in n)) - 1
    firsts = [level * (layers + 1) + 1 for level in range(len(starts) + 1)]
    crossed = [f"input_blocks.{first}.1.proj_in.weight" in tensors for first in firsts]
    keys = next(tensor for name, tensor in tensors.items() if name.endswith("attn2.to_k.weight"))
    return {
        "in_channels": tensors["input_blocks.0.0.weight"].shape[1],
        "out_channels": tensors["out.2.weight"].shape[0],
        "block_out_channels": [tensors[f"input_blocks.{n}.0.out_layers.3.weight"].shape[0] for n in firsts],
        "down_block_types": ["CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crossed],
        "up_block_types": ["CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(crossed)],
        "layers_per_block": layers,
        "cross_attention_dim": keys.shape[1],
        "attention_head_dim": _NUM_HEADS,  # diffusers' name for the number of heads in Stable Diffusion v1
        "norm_num_groups": _NUM_GROUPS,
        "sample_size": 64,
    }


def autoencoder_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration of the autoencoder, as for `unet_config`."""
    levels = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.down."))
    layers = len({name.split(".")[4] for name in tensors if name.startswith("encoder.down.0.block.")})
    return {
        "block_out_channels": [tensors[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": layers,
        "latent_channels": tensors["decoder.conv_in.weight"].shape[1],
        "norm_num_groups": _NUM_GROUPS,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    }


def text_encoder_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Configuration of the text encoder, as for `unet_config`."""
    vocabulary, width = tensors["embeddings.token_embedding.weight"].shape
    layers = {name.split(".")[2] for name in tensors if name.startswith("encoder.layers.")}
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": tensors["encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, width // _HEAD_WIDTH),
        "max_position_embeddings": tensors["embeddings.position_embedding.weight"].shape[0],
        "projection_dim": width,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def _shortcut(part: str) -> str:
    return "nin_shortcut" if part == "conv_shortcut" else part
