"""Editing images by instruction: sampling with text and image guidance.

Two rules combine the network's predictions, e(image, text):

``ip2p``      e(-, -) + s_t (e(i, c) - e(i, -)) + s_i (e(i, -) - e(-, -))         InstructPix2Pix, equation 3
``official``  (e(i, -) + e(-, c)) / 2 + s_t (e(i, c) - e(i, -)) + s_i (e(i, c) - e(-, c))    official code

The second never asks for e(-, -), which is not trained under conditioning dropout "official".
"""

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from catalog.errors import ConfigError, PredictionError
from trainer.config import LATENT_STRIDE
from trainer.diffusion import NUM_TIMESTEPS, SCHEDULE
from trainer.models import Models

Guidance = Literal["ip2p", "official"]
SamplerName = Literal["euler_ancestral", "ddim", "dpm_solver"]

NUM_STEPS = 100
"""Sampling steps (official code, edit_cli.py)."""
TEXT_GUIDANCE = 7.5
IMAGE_GUIDANCE = 1.5
"""InstructPix2Pix's scales. Official code: 5.0 and 1.25 for editing, 7.5 and 1.5 for segmentation, 6.0 and
0.5 for keypoints, 1.0 and 1.0 for watermarks, all with guidance "official"."""


def edit(
    models: Models,
    images: Sequence[np.ndarray],
    instructions: Sequence[str],
    *,
    num_steps: int = NUM_STEPS,
    text_guidance: float | Sequence[float] = TEXT_GUIDANCE,
    image_guidance: float | Sequence[float] = IMAGE_GUIDANCE,
    guidance: Guidance = "ip2p",
    sampler: SamplerName = "euler_ancestral",
    seed: int | Sequence[int] = 0,
) -> list[np.ndarray]:
    """Edit a batch of images of one size.

    Args:
        models: from `trainer.models.load_models`, on the device to use.
        images: uint8 (H, W, 3) RGB; H and W multiples of 8.
        instructions: one per image.
        num_steps: sampling steps, 1 to 1000.
        text_guidance: s_t, how far to go in the direction of the instruction; one for all, or one per image.
        image_guidance: s_i, how far to go in the direction of the source image; likewise.
        guidance: rule that combines the predictions; see the module.
        sampler: "euler_ancestral" adds noise in each step; "ddim" and "dpm_solver" do not, the latter is good with 20.
        seed: of the noise, one per image; a single number n stands for n, n + 1, ... So an image's noise
            does not depend on the batch it is in.

    Returns:
        One uint8 (H, W, 3) RGB image per source.

    Raises:
        ConfigError: sizes that differ or are no multiple of 8, counts that differ, or a value out of range.
        PredictionError: pixels that are not finite, before they become black ones.
    """
    seeds = list(range(seed, seed + len(images))) if isinstance(seed, int) else list(seed)
    _check(images, instructions, seeds, num_steps)
    scales = [_scale(value, len(images), models.device) for value in (text_guidance, image_guidance)]
    if guidance not in get_args(Guidance):
        raise ConfigError(f"guidance must be ip2p or official, got {guidance!r}: choose one of them")
    if models.unet.config.in_channels != 8:
        raise ConfigError(
            "edits need a network that takes the source image, but this one is of stage pretraining_adaptation: "
            "give a checkpoint of task_training or human_alignment"
        )
    if not len(images):
        return []
    scheduler = _make_scheduler(sampler)
    generators = [torch.Generator().manual_seed(value) for value in seeds]
    with torch.no_grad():
        latents = _sample(
            models,
            _to_tensor(images).to(models.device),
            instructions,
            scheduler,
            num_steps,
            (scales[0], scales[1]),
            guidance,
            generators,
        )
        pictures = models.decode(latents)
    _check_finite(pictures, instructions)
    return _to_images(pictures)


def reconstruct(models: Models, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images of one size through the autoencoder and back: what no edit can be better than.

    Args:
        models: from `trainer.models.load_models`.
        images: uint8 (H, W, 3) RGB; H and W multiples of 8.

    Returns:
        One uint8 (H, W, 3) RGB image each, decoded from the posterior's mode.

    Raises:
        ConfigError: sizes that differ or are no multiple of 8.
        PredictionError: pixels that are not finite.
    """
    names = ["the autoencoder"] * len(images)
    _check(images, names, [0] * len(images), 1)
    if not len(images):
        return []
    with torch.no_grad():
        latents = models.encode_sources(_to_tensor(images).to(models.device)) * models.latent_scale
        pictures = models.decode(latents)
    _check_finite(pictures, names)
    return _to_images(pictures)


def combine(
    predictions: Sequence[Tensor], text_guidance: float | Tensor, image_guidance: float | Tensor, guidance: Guidance
) -> Tensor:
    """One prediction out of three: e(i, c), e(i, -) and then e(-, -) for "ip2p" or e(-, c) for "official".

    The scales are numbers, or tensors (B, 1, 1, 1) with one for each image.
    """
    full, image_only, third = predictions
    if guidance == "ip2p":
        return third + text_guidance * (full - image_only) + image_guidance * (image_only - third)
    middle = 0.5 * (image_only + third)
    return middle + text_guidance * (full - image_only) + image_guidance * (full - third)


def _sample(
    models: Models,
    images: Tensor,
    instructions: Sequence[str],
    scheduler: Any,
    num_steps: int,
    scales: tuple[float | Tensor, float | Tensor],
    guidance: Guidance,
    generators: list[torch.Generator],
) -> Tensor:
    """Scaled latents of the edited images, (B, 4, h, w)."""
    count = len(instructions)
    condition = models.encode_sources(images)
    condition = torch.cat([condition, condition, torch.zeros_like(condition)])  # (3B, 4, h, w)
    nothing = [""] * count
    third = nothing if guidance == "ip2p" else list(instructions)
    texts = models.encode_texts([*instructions, *nothing, *third])  # (3B, 77, C)

    scheduler.set_timesteps(num_steps, device=models.device)
    shape = (1, *condition.shape[1:])
    noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
    latents = noise.to(models.device) * scheduler.init_noise_sigma
    was_training = models.unet.training
    models.unet.eval()
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(torch.cat([latents] * 3), timestep)
        inputs = torch.cat([scaled, condition], dim=1)  # (3B, 8, h, w)
        predicted = models.unet(inputs, timestep, encoder_hidden_states=texts).sample
        combined = combine(predicted.chunk(3), *scales, guidance)
        latents = scheduler.step(combined, timestep, latents, generator=generators).prev_sample
    models.unet.train(was_training)
    return cast(Tensor, latents)


def _scale(value: float | Sequence[float], count: int, device: torch.device) -> float | Tensor:
    """A guidance scale for all images, or one each as (B, 1, 1, 1)."""
    if not isinstance(value, Sequence):
        return value
    if len(value) != count:
        raise ConfigError(f"guidance scales must be one for all images or one each of {count}, got {len(value)}")
    return torch.tensor(value, dtype=torch.float32, device=device)[:, None, None, None]


def _make_scheduler(sampler: SamplerName) -> Any:
    if sampler == "euler_ancestral":
        from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler

        return EulerAncestralDiscreteScheduler(**SCHEDULE)
    if sampler == "ddim":
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        # As Stable Diffusion v1 sets it: latents are not clipped, and the last step goes to t = 0.
        return DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    if sampler == "dpm_solver":
        from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

        return DPMSolverMultistepScheduler(**SCHEDULE, steps_offset=1)  # second order, "DPM-Solver++"
    raise ConfigError(f"sampler must be {', '.join(get_args(SamplerName))}, got {sampler!r}: choose one of them")


def _check(images: Sequence[np.ndarray], instructions: Sequence[str], seeds: Sequence[int], num_steps: int) -> None:
    if not len(images) == len(instructions) == len(seeds):
        raise ConfigError(
            "images, instructions and seeds must be as many, "
            f"got {len(images)}, {len(instructions)} and {len(seeds)}: give one of each per image"
        )
    if not 1 <= num_steps <= NUM_TIMESTEPS:
        raise ConfigError(
            f"num_steps must be from 1 to {NUM_TIMESTEPS}, got {num_steps}: the usual value is {NUM_STEPS}"
        )
    for image in images:
        if image.shape != images[0].shape or image.ndim != 3 or image.dtype != np.uint8:
            raise ConfigError(
                f"images of a batch must be uint8 (H, W, 3) of one size, got {image.dtype} {image.shape}: "
                "resize them, or edit them one by one"
            )
        if image.shape[0] % LATENT_STRIDE or image.shape[1] % LATENT_STRIDE:
            raise ConfigError(
                f"height and width must be multiples of {LATENT_STRIDE}, got {image.shape[:2]}: resize the image"
            )


def _check_finite(pictures: Tensor, instructions: Sequence[str]) -> None:
    finite = pictures.isfinite().flatten(1).all(dim=1).tolist()
    if not all(finite):
        raise PredictionError(
            f"a model must predict finite pixels, but gives NaN or infinity for {instructions[finite.index(False)]!r}: "
            "take an earlier checkpoint of that run, or lower the guidance scales"
        )


def _to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """uint8 (H, W, 3) each to float32 (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _to_images(pictures: Tensor) -> list[np.ndarray]:
    """float32 (B, 3, H, W) to uint8 (H, W, 3) each; values beyond [-1, 1] are clipped."""
    scaled = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return list(scaled.permute(0, 2, 3, 1).cpu().numpy())
