"""Named training runs: each is a function that returns a full configuration.

==========================  =====================================================  ===============================
recipe                      what it trains                                         where it fits
==========================  =====================================================  ===============================
``demo``                    tiny random networks at 64 pixels, 120 steps           one CPU core, less than a minute
``miniature``               Stable Diffusion v1.5 at 256 pixels, 2,000 steps       one GPU of 24 GB, hours
``pretraining_adaptation``  stage 1: text-to-image with masks and discs drawn in   GPUs
``task_training``           stage 2: all tasks, the paper's main run               GPUs (paper: 48 V100, 4 days)
``human_alignment``         stage 3: images that people chose, after stage 2       one GPU
``paper``                   ``task_training`` under the name of older versions     as above
``h200``                    stage 2 on one node of eight H200                      8 GPUs of 141 GB
==========================  =====================================================  ===============================

Stages follow each other by their run folders: the second takes ``--set model=runs/pretraining_adaptation``, the third
starts from ``runs/task_training`` (paths count from the working directory, then from ``IEIW_HOME``).
"""

from collections.abc import Callable
from dataclasses import replace

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


def miniature() -> TrainingConfig:
    """Task training in the small: real networks and pictures, a batch and a length that one GPU does in hours."""
    return replace(
        task_training(),
        recipe="miniature",
        num_steps=2_000,
        global_batch_size=128,
        micro_batch_size=16,
        ema_decay=0.999,  # 0.9999 would still remember the start after 2,000 steps
        checkpoint_every=250,
    )


def pretraining_adaptation() -> TrainingConfig:
    """Stage 1 (paper section 3.3); the paper gives no schedule, so batch and rate are those of section 4.1.

    10,000 steps at a batch of 256 show 2.6 million pictures: ten epochs of stage 2's masks and joints in Table 1.
    """
    return replace(
        task_training(),
        recipe="pretraining_adaptation",
        stage="pretraining_adaptation",
        num_steps=10_000,
        global_batch_size=256,
    )


def task_training() -> TrainingConfig:
    """Stage 2, task-specific training (paper sections 3.3 and 4.1).

    955k effective samples make 311 steps per epoch at batch 3072; 200 epochs are 62,200 steps.
    """
    return TrainingConfig(
        recipe="task_training",
        model=STABLE_DIFFUSION,
        num_steps=62_200,
        precision="bfloat16",  # official code: float16 with loss scaling
        num_workers=4,  # official code
    )


def human_alignment() -> TrainingConfig:
    """Stage 3 (paper sections 3.3, 4.1 and 4.8): about 10 epochs of 1,000 chosen images, moving average 0.99.

    The paper gives no batch size; at 3072 an epoch would be a third of a step. 64 per step make 157 steps.
    """
    return replace(
        task_training(),
        recipe="human_alignment",
        stage="human_alignment",
        model="runs/task_training",
        num_steps=157,
        global_batch_size=64,
        ema_decay=0.99,
        checkpoint_every=16,  # an epoch: figure 10 looks for the best one
        keep_last=10,
    )


def paper() -> TrainingConfig:
    """The paper's main run, `task_training`."""
    return replace(task_training(), recipe="paper")


def h200() -> TrainingConfig:
    """`task_training` on eight H200: a rank's 384 samples of a step are two micro-batches of 192 (53 GiB)."""
    return replace(
        task_training(),
        recipe="h200",
        micro_batch_size=192,
        num_workers=12,
        deterministic=False,
        channels_last=True,
        compile="default",  # two minutes at the start, then 1.4 times the pace
        fused_optimizer=True,
    )


_RECIPES = (demo, miniature, pretraining_adaptation, task_training, human_alignment, paper, h200)
RECIPES: dict[str, Callable[[], TrainingConfig]] = {recipe.__name__: recipe for recipe in _RECIPES}


def make_config(recipe: str) -> TrainingConfig:
    """The configuration of a named recipe.

    Raises:
        ConfigError: no such recipe.
    """
    if recipe not in RECIPES:
        raise ConfigError(f"--recipe must be one of {', '.join(RECIPES)}, got {recipe!r}: choose one of them")
    return RECIPES[recipe]()
