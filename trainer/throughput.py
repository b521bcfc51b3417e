"""How much of the devices' arithmetic training uses: MFU, model FLOPs utilisation.

Counted are the UNet's matrix products and convolutions, forward once and backward twice; not the frozen networks, not
what activation checkpointing computes again. So a faster run has a higher figure, however it got there.
"""

from typing import Any

import torch

from trainer.config import LATENT_STRIDE, TrainingConfig
from trainer.models import Models

_PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "A10G": 70, "A10": 125, "V100": 125, "B200": 2250}
"""By name of the GPU: dense bfloat16 (V100: float16) operations of the data sheets, 10^12/s, without sparsity."""


class Throughput:
    """Turns samples per second into MFU."""

    def __init__(self, models: Models, config: TrainingConfig) -> None:
        """Count once what a sample costs, where the peak is known at all."""
        self._peak = config.peak_tflops or _known_peak(models.device, config)
        self._flops = 3 * forward_flops(models, config.image_size) if self._peak else 0

    def mfu(self, samples_per_s: float, num_devices: int) -> float | None:
        """Share of ``num_devices`` devices' peak, [0, 1]; None where the peak is not known."""
        return self._flops * samples_per_s / (self._peak * 1e12 * num_devices) if self._peak else None


def forward_flops(models: Models, image_size: int) -> int:
    """Operations (a multiplication and an addition are two) of the UNet's forward pass for one sample."""
    from torch.utils.flop_counter import FlopCounterMode

    unet, side = models.unet, image_size // LATENT_STRIDE
    width = unet.config.cross_attention_dim
    texts = torch.zeros(1, models.tokenizer.model_max_length, width, device=models.device)
    latents = torch.zeros(1, unet.config.in_channels, side, side, device=models.device)
    counter: Any = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        unet.forward(latents, torch.zeros(1, dtype=torch.long, device=models.device), encoder_hidden_states=texts)
    return int(counter.get_total_flops())


def _known_peak(device: torch.device, config: TrainingConfig) -> float:
    if device.type != "cuda" or config.precision != "bfloat16":
        return 0.0
    name = torch.cuda.get_device_name(device)
    return float(next((peak for key, peak in _PEAK_TFLOPS.items() if key in name), 0))
