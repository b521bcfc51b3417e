"""The real TAESD, an autoencoder for Stable Diffusion's latents, from its two published files."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file


def load_taesd(folder: Path) -> Any:
    """diffusers' AutoencoderTiny with the weights in ``folder``, frozen."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    weights = {}
    for part, shift in (("encoder", 0), ("decoder", 1)):  # the published decoder counts its first function as a layer
        for name, tensor in load_file(folder / f"taesd_{part}.safetensors").items():
            number, _, rest = name.partition(".")
            weights[f"{part}.layers.{int(number) - shift}.{rest}"] = tensor.float()
    network = AutoencoderTiny().eval().requires_grad_(False)
    network.load_state_dict(weights)
    return network
