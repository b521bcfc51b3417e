"""Named training runs: each is a function that returns a full configuration.

==============  =========================================================  ==================================
recipe          what it trains                                             where it fits
==============  =========================================================  ==================================
``demo``        tiny random networks at 64 pixels, 120 steps               one CPU core, less than a minute
``paper``       task-specific training of Stable Diffusion v1.5            GPUs (paper: 48 V100, 4 days)
==============  =========================================================  ==================================
"""

from collections.abc import Callable

from catalog.errors import ConfigError
from trainer.config import TINY_MODEL, TrainingConfig

STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
"""Hub id of Stable Diffusion v1.5 (paper section 4.1) in the diffusers layout."""


def demo() -> TrainingConfig:
    """The whole way on a CPU: small enough to finish in a minute, too small to learn the tasks."""
    return TrainingConfig(
        recipe="demo",
        model=TINY_MODEL,
        image_size=64,
        num_steps=120,
        global_batch_size=16,
        micro_batch_size=8,
        learning_rate=1e-3,
        max_grad_norm=1.0,
        ema_decay=0.99,
        num_workers=1,  # photos are decoded beside the step: a third less time per step on 2 cores
        checkpoint_every=40,
        log_every=20,
    )


def paper() -> TrainingConfig:
    """Task-specific training (paper sections 3.3 and 4.1).

    955k effective samples make 311 steps per epoch at batch 3072; 200 epochs are 62,200 steps.
    """
    return TrainingConfig(
        recipe="paper",
        model=STABLE_DIFFUSION,
        num_steps=62_200,
        precision="bfloat16",  # official code: float16 with loss scaling
        num_workers=4,  # official code
    )


RECIPES: dict[str, Callable[[], TrainingConfig]] = {"demo": demo, "paper": paper}


def make_config(recipe: str) -> TrainingConfig:
    """The configuration of a named recipe.

    Raises:
        ConfigError: no such recipe.
    """
    if recipe not in RECIPES:
        raise ConfigError(f"--recipe must be one of {', '.join(RECIPES)}, got {recipe!r}: choose one of them")
    return RECIPES[recipe]()
