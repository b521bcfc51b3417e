"""The networks in training: forward, backward, update, and the state that a checkpoint holds."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from trainer.checkpoint import TrainingState, check_tensors
from trainer.config import TrainingConfig
from trainer.data import Batch
from trainer.diffusion import WeightAverage, add_noise, noise_losses, signal_levels
from trainer.models import Models
from trainer.ranks import Ranks

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Learner:
    """UNet, AdamW and moving average of one run, on one rank."""

    def __init__(self, models: Models, config: TrainingConfig, ranks: Ranks) -> None:
        self.models = models
        self._config = config
        self._ranks = ranks
        self._levels = signal_levels().to(ranks.device)
        models.unet.train()
        self._weights: dict[str, Tensor] = dict(models.unet.named_parameters())
        self._optimizer = torch.optim.AdamW(
            self._weights.values(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
        )
        self._average = WeightAverage(self._weights, config.ema_decay)
        self._unet: Any = models.unet
        if ranks.size > 1:
            self._unet = DistributedDataParallel(models.unet)

    def accumulate(self, batch: Batch, *, is_last: bool) -> Tensor:
        """Add one micro-batch to the gradient of equation 1; returns its losses, float32 (B,).

        After the last micro-batch of a step, the gradient is that of the mean over the global batch.
        """
        with self._local_gradient(is_last):
            losses = self.losses(batch)
            total = (losses * batch.weights.to(losses.device)).sum()
            # DistributedDataParallel averages over ranks; the mean is over the samples of all of them.
            (total * self._ranks.size / self._config.global_batch_size).backward()
        return losses.detach()

    def losses(self, batch: Batch) -> Tensor:
        """Equation 1 for each sample of ``batch``, float32 (B,)."""
        device = self._ranks.device
        noise, timesteps = batch.noise.to(device), batch.timesteps.to(device)
        with self._precision():
            latents = self.models.encode_targets(_scale(batch.targets, device), batch.target_noise.to(device))
            texts = self.models.encode_texts(batch.instructions)  # (B, 77, C)
            inputs = add_noise(latents.float(), noise, timesteps, self._levels)
            if self._config.image_condition:
                condition = self.models.encode_sources(_scale(batch.sources, device))
                condition = condition * batch.keep_image.to(device).view(-1, 1, 1, 1)
                inputs = torch.cat([inputs, condition.float()], dim=1)  # (B, 8, h, w)
            predicted = self._unet(inputs, timesteps, encoder_hidden_states=texts).sample
        return noise_losses(predicted, noise)

    def clip(self) -> Tensor:
        """Scale the gradient down to ``max_grad_norm`` where that is set; returns its norm before."""
        limit = self._config.max_grad_norm or float("inf")
        return torch.nn.utils.clip_grad_norm_(self._weights.values(), limit)

    def update(self, step: int) -> None:
        """One optimizer step, number ``step`` from 1, then the moving average."""
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._average.update(self._weights, step)

    @property
    def averages(self) -> Mapping[str, Tensor]:
        """Moving average of the weights, by parameter."""
        return self._average.averages

    def state(self, samples_seen: int) -> TrainingState:
        """Everything that training needs to go on."""
        moments = {
            f"{name}/{moment}": self._optimizer.state[weight][moment]
            for name, weight in self._weights.items()
            for moment in _MOMENTS
        }
        return TrainingState(samples_seen, self._weights, self._average.averages, moments)

    @torch.no_grad()
    def restore(self, state: TrainingState, path: Path) -> None:
        """Go on from ``state``, read from ``path``.

        Raises:
            CheckpointError: the state of a network of other shapes.
        """
        for found in (state.unet, state.averages):
            check_tensors(path, found, self._weights)
        for name, weight in self._weights.items():
            weight.copy_(state.unet[name])
            moments = {moment: state.optimizer[f"{name}/{moment}"] for moment in _MOMENTS}
            self._optimizer.state[weight] = {  # AdamW counts steps on the CPU
                moment: value if moment == "step" else value.to(weight.device) for moment, value in moments.items()
            }
        self._average.load(state.averages)

    def _local_gradient(self, is_last: bool) -> AbstractContextManager[None]:
        """Ranks exchange gradients once per step, with its last micro-batch."""
        if self._ranks.size == 1 or is_last:
            return nullcontext()
        synchronize_later: AbstractContextManager[None] = self._unet.no_sync()
        return synchronize_later

    def _precision(self) -> AbstractContextManager[Any]:
        if self._config.precision == "float32":
            return nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=torch.bfloat16)


def _scale(images: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, S, S, 3) to float32 (B, 3, S, S) in [-1, 1]."""
    return images.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
