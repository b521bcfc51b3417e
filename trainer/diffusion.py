"""The mathematics of training: noise schedule, loss, conditioning dropout, moving average.

Shapes: B samples, C = 4 latent channels, H x W latent pixels. Everything here is a pure function of its
arguments; randomness comes in as numbers that the caller drew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NUM_TIMESTEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012

SCHEDULE = {
    "num_train_timesteps": NUM_TIMESTEPS,
    "beta_start": BETA_START,
    "beta_end": BETA_END,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
"""The schedule under diffusers' names (Stable Diffusion v1; official code: linear_start, linear_end)."""


def signal_levels() -> Tensor:
    """Cumulative product of 1 - beta_t: the share of signal variance left at step t. float32, (1000,).

    beta_t grows linearly in its square root ("scaled_linear"). In float32 throughout, as diffusers computes it,
    so that training and sampling agree to the last bit.
    """
    root = torch.linspace(BETA_START**0.5, BETA_END**0.5, NUM_TIMESTEPS)
    return torch.cumprod(1 - root**2, dim=0)


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, levels: Tensor) -> Tensor:
    """z_t = sqrt(a_t) z + sqrt(1 - a_t) epsilon, with a_t from `signal_levels`.

    Args:
        latents: z, scaled latents of the target, float32 (B, C, H, W).
        noise: epsilon, standard normal, the same shape.
        timesteps: t in [0, 1000), int64 (B,).
        levels: `signal_levels` on the same device.
    """
    level = levels[timesteps].view(-1, 1, 1, 1)
    return level.sqrt() * latents + (1 - level).sqrt() * noise


def noise_losses(predicted: Tensor, noise: Tensor) -> Tensor:
    """Equation 1 per sample: mean over C, H and W of (epsilon - epsilon_theta)^2, float32 (B,).

    The paper prints the network's arguments as (z_t, t, s_i, t_i); the last must be the instruction c_i, as
    the text says: given the target t_i there would be nothing left to predict.
    """
    return (predicted.float() - noise.float()).square().mean(dim=(1, 2, 3))


@dataclass(frozen=True)
class ConditioningDropout:
    """Shares of samples that lose their text, their image, or both, for classifier-free guidance."""

    text_only: float
    both: float
    image_only: float

    def draw(self, uniform: float) -> tuple[bool, bool]:
        """(drop the text, drop the image) for a number drawn evenly from [0, 1)."""
        drop_text = uniform < self.text_only + self.both
        drop_image = self.text_only <= uniform < self.text_only + self.both + self.image_only
        return drop_text, drop_image


CONDITIONING_DROPOUT = {
    "paper": ConditioningDropout(text_only=0.05, both=0.05, image_only=0.05),  # InstructPix2Pix, section 3.2.1
    "official": ConditioningDropout(text_only=0.075, both=0.0, image_only=0.075),  # official code: ddpm_edit.py
}


class WeightAverage:
    """Exponential moving average of weights, float32, warmed up as in latent diffusion's LitEma.

    After update number n the decay is min(decay, (1 + n) / (10 + n)), so that the first weights, which are
    the starting point's, are soon forgotten. The state is the averages alone: n is the optimizer step.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.averages = {name: weight.detach().float().clone() for name, weight in weights.items()}

    def update(self, weights: Mapping[str, Tensor], num_updates: int) -> None:
        """Move towards ``weights``; ``num_updates`` counts from 1 and includes this update."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        ours = list(self.averages.values())
        theirs = [weights[name].detach().float() for name in self.averages]
        torch._foreach_lerp_(ours, theirs, 1 - decay)

    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Continue from saved averages of the same names and shapes."""
        assert averages.keys() == self.averages.keys(), "checked by the checkpoint"
        for name, average in self.averages.items():
            average.copy_(averages[name])


def schedule_differences(scheduler_config: Mapping[str, Any]) -> list[str]:
    """How a checkpoint's scheduler differs from ours, as ``name = value (must be ...)``; empty where it agrees."""
    found = {"prediction_type": "epsilon", **scheduler_config}  # the default of every diffusers scheduler
    return [f"{n} = {found.get(n)!r} (must be {v!r})" for n, v in SCHEDULE.items() if found.get(n) != v]
