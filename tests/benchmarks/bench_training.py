"""A training step against a plain loop in the manner of diffusers' InstructPix2Pix example, in the same run.

The plain loop does in each step what that example does: both images through the autoencoder, the instructions and the
empty one through the text encoder, noise, conditioning dropout, the UNet, clipping, AdamW, moving average. Both loops
start from the same networks and take the same pictures; rendering is not part of either. On a GPU the networks have
Stable Diffusion v1.5's shapes with random weights, 256 x 256, bfloat16. On the CPU they are tiny, with a wider
autoencoder than the demo's: what a cache saves depends on the share of the frozen networks, and theirs is as there.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from benchmark_record import CannotRunHere, Record
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trainer.batches import Batch, BatchStates
from trainer.config import TrainingConfig
from trainer.learner import Learner
from trainer.models import Models, add_image_channels, load_models
from trainer.ranks import Ranks
from trainer.recipes import make_config
from trainer.step_tally import StepTally
from trainer.throughput import Throughput, forward_flops
from trainer.tiny import make_tiny_checkpoint
from trainer.tiny_tokenizer import make_tokenizer

ROUNDS = 15
WARM_UP = 3
GPU_BATCH = 96
SHARE = 1.06
"""`frozen_share` of Stable Diffusion v1.5 at 256 pixels."""
GOAL_GPU = 215.0
GOAL_RATIO_GPU = 2.5


class PlainLoop:
    """One step after the other, everything online."""

    def __init__(self, models: Models, config: TrainingConfig, device: torch.device) -> None:
        self._models = models
        self._config = config
        self._device = device
        self._scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self._optimizer = torch.optim.AdamW(models.unet.parameters(), lr=config.learning_rate)
        self._schedule = torch.optim.lr_scheduler.ConstantLR(self._optimizer, factor=1.0)
        self._average = EMAModel(models.unet.parameters(), decay=config.ema_decay)
        self._average.to(device)

    def step(self, pictures: "Pictures") -> float:
        """Returns the loss."""
        models, device = self._models, self._device
        precision = (
            torch.autocast(device.type, torch.bfloat16) if self._config.precision == "bfloat16" else nullcontext()
        )
        with precision:
            latents = models.autoencoder.encode(pictures.scaled_targets.to(device)).latent_dist.sample() * 0.18215
            noise = torch.randn_like(latents)
            timesteps = torch.randint(0, 1000, (len(latents),), device=device)
            noisy = self._scheduler.add_noise(latents, noise, timesteps)
            texts = models.text_encoder(pictures.tokens.to(device))[0]
            condition = models.autoencoder.encode(pictures.scaled_sources.to(device)).latent_dist.mode()
            chance = torch.rand(len(latents), device=device)
            nothing = models.text_encoder(pictures.no_tokens.to(device))[0]
            texts = torch.where((chance < 0.1).view(-1, 1, 1), nothing, texts)
            keep = 1 - ((chance >= 0.05) & (chance < 0.15)).float()
            inputs = torch.cat([noisy, keep.view(-1, 1, 1, 1) * condition], dim=1)
            predicted = models.unet(inputs, timesteps, texts).sample
            loss = F.mse_loss(predicted.float(), noise.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(models.unet.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()
        self._average.step(models.unet.parameters())
        return loss.item()


class OurLoop:
    """The trainer's step, as `trainer.loop` takes it."""

    def __init__(self, models: Models, config: TrainingConfig, device: torch.device) -> None:
        self._config = config
        self._ranks = Ranks(0, 1, device)
        self._learner = Learner(models, config, self._ranks)
        self._step = 0

    def step(self, batch: Batch) -> float:
        """Returns the loss."""
        self._step += 1
        tally = StepTally(self._ranks, self._config.global_batch_size)
        tally.add(batch, self._learner.accumulate(batch, is_last=True))
        float(self._learner.clip())
        figures = tally.reduce(wait_share=0.0, stop=False)
        self._learner.update(self._step)
        return figures.loss


class Pictures:
    """The same pictures and instructions in both loops' forms."""

    def __init__(self, models: Models, config: TrainingConfig) -> None:
        rng = np.random.default_rng(0)
        count, size = config.global_batch_size, config.image_size
        sources, targets = rng.integers(0, 256, (2, count, size, size, 3), dtype=np.uint8)
        texts = [f"remove the red bird, number {number}" for number in range(count)]
        draws = torch.from_numpy(rng.standard_normal((2, count, 4, size // 8, size // 8), dtype=np.float32))
        keep = torch.from_numpy((rng.random(count) > 0.1).astype(np.float32))
        self.online = Batch(
            indices=list(range(count)),
            pair_ids=texts,
            vision_tasks=["image_editing"] * count,
            instructions=["" if number % 10 == 0 else text for number, text in enumerate(texts)],
            sources=torch.from_numpy(sources),
            targets=torch.from_numpy(targets),
            keep_image=keep,
            timesteps=torch.from_numpy(rng.integers(0, 1000, count)),
            target_noise=draws[0],
            noise=draws[1],
            weights=torch.ones(count),
            rejected=[],
            digests=[0] * count,
        )
        self.scaled_sources, self.scaled_targets = (_scale(images) for images in (sources, targets))
        self.tokens, self.no_tokens = (_tokenize(models, words) for words in (texts, [""]))
        none = torch.zeros(0, 0, 0, 3, dtype=torch.uint8)
        self.cached = replace(self.online, sources=none, targets=none, states=self._encode(models, texts))

    def _encode(self, models: Models, texts: list[str]) -> BatchStates:
        parts = []
        for start in range(0, len(texts), 16):
            part = slice(start, start + 16)
            means, stds = models.encode_posteriors(self.scaled_targets[part].to(models.device))
            source = models.encode_sources(self.scaled_sources[part].to(models.device))
            parts.append([source, means, stds, models.encode_texts(texts[part])])
        sources, means, stds, states = (torch.cat(part).cpu().half() for part in zip(*parts, strict=True))
        return BatchStates(list(range(len(texts))), [], sources, means, stds, states)


def bench_train_step_vs_diffusers_cpu() -> Record:
    """Time of the plain loop's step over that of ours, both encoding online."""
    times = cpu_times()
    return _ratio("train_step_vs_diffusers_cpu", times, "online", 1.0)


def bench_train_step_cached_vs_diffusers_cpu() -> Record:
    """The same with every row in the latent cache."""
    return _ratio("train_step_cached_vs_diffusers_cpu", cpu_times(), "cached", 2.0)


def bench_train_samples_per_s_gpu() -> Record:
    """Samples/s with cached latents, Stable Diffusion v1.5's shapes, 256 x 256, bfloat16."""
    times, mfu = gpu_times()
    value = GPU_BATCH / times["cached"]
    what = f"{torch.cuda.get_device_name()}, batch {GPU_BATCH}, random weights, cached latents; MFU {mfu:.0%}"
    return Record(
        name="train_samples_per_s_gpu",
        value=value,
        unit="samples/s",
        against=what,
        goal=f">= {GOAL_GPU:g}",
        holds=value >= GOAL_GPU,
    )


def bench_train_vs_diffusers_gpu() -> Record:
    """Time of the plain loop's step over that of ours with cached latents, on the same GPU."""
    return _ratio("train_vs_diffusers_gpu", gpu_times()[0], "cached", GOAL_RATIO_GPU)


@cache
def cpu_times() -> dict[str, float]:
    """Median seconds of a step: plain, online, cached. Tiny networks on one thread."""
    torch.set_num_threads(1)
    config = replace(make_config("demo"), micro_batch_size=16, fused_optimizer=True)
    with tempfile.TemporaryDirectory() as folder:
        make_tiny_checkpoint(Path(folder) / "tiny", seed=0)
        models = load_models(Path(folder) / "tiny")
    models.autoencoder = AutoencoderKL.from_config(
        {**models.autoencoder.config, "block_out_channels": [16, 16, 28, 24]}
    )
    models.autoencoder.requires_grad_(False).eval()
    share = frozen_share(models, config.image_size)
    assert 0.95 * SHARE < share < 1.05 * SHARE, f"frozen networks have {share:.2f} of the UNet's operations"
    return _compare(models, config, torch.device("cpu"))


def frozen_share(models: Models, size: int) -> float:
    """Operations of encoding two images and two texts over those of the UNet's forward and backward pass."""
    image, tokens = torch.zeros(1, 3, size, size), torch.zeros(1, 77, dtype=torch.long)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        models.autoencoder.encode(image)
        models.text_encoder(tokens)
    return 2 * counter.get_total_flops() / (3 * forward_flops(models, size))


@cache
def gpu_times() -> tuple[dict[str, float], float]:
    """The same on the GPU, and the MFU of the cached step."""
    _need_gpu()
    device = torch.device("cuda")
    config = replace(make_config("h200"), global_batch_size=GPU_BATCH, micro_batch_size=GPU_BATCH, max_grad_norm=1.0)
    models = _stable_diffusion(device)
    times = _compare(models, config, device)
    mfu = Throughput(models, config).mfu(GPU_BATCH / times["cached"], 1)
    return times, mfu or 0.0


def _need_gpu() -> None:
    if not torch.cuda.is_available():
        raise CannotRunHere("it needs a CUDA GPU of 40 GB or more; there, the same command measures it")


def _compare(models: Models, config: TrainingConfig, device: torch.device) -> dict[str, float]:
    pictures = Pictures(models, config)
    others = deepcopy(models)  # networks of its own: ours are laid out and compiled by our options
    plain = PlainLoop(others, replace(config, compile="off"), device)
    ours = OurLoop(models, config, device)
    loops: dict[str, Callable[[], float]] = {
        "plain": lambda: plain.step(pictures),
        "online": lambda: ours.step(pictures.online),
        "cached": lambda: ours.step(pictures.cached),
    }
    times: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(WARM_UP + ROUNDS):
        for name, step in loops.items():  # in turn: whatever else the machine does meets all alike
            seconds = _timed(step, device)
            if number >= WARM_UP:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def _timed(step: Callable[[], float], device: torch.device) -> float:
    """Seconds: on a GPU by the clock, on a CPU of its one thread, whatever else the machine does."""
    if device.type == "cpu":
        start = time.process_time()
        loss = step()
        seconds = time.process_time() - start
    else:
        torch.cuda.synchronize()
        start = time.perf_counter()
        loss = step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    assert np.isfinite(loss)
    return seconds


def _ratio(name: str, times: dict[str, float], ours: str, goal: float) -> Record:
    value = times["plain"] / times[ours]
    shown = ", ".join(f"{loop} {seconds * 1000:.0f} ms" for loop, seconds in times.items())
    return Record(
        name=name, value=value, unit="ratio", against=f"step times: {shown}", goal=f">= {goal:g}", holds=value >= goal
    )


def _scale(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _tokenize(models: Models, texts: list[str]) -> Tensor:
    tokens = models.tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    ids: Tensor = tokens.input_ids
    return ids


def _stable_diffusion(device: torch.device) -> Models:
    """Networks of Stable Diffusion v1.5's shapes, randomly initialised; a small tokenizer of ours."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    with device:
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
        autoencoder = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            latent_channels=4,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )
    add_image_channels(unet)
    for network in (autoencoder, text_encoder):
        network.requires_grad_(False).eval()
    return Models(unet, autoencoder, text_encoder, make_tokenizer())
