"""The networks in training: forward, backward, update, and the state that a checkpoint holds."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from trainer.batches import Batch
from trainer.checkpoint import TrainingState, check_tensors
from trainer.config import TrainingConfig
from trainer.diffusion import WeightAverage, add_noise, noise_losses, signal_levels
from trainer.layout import Layout, WholeLayout
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
        self._empty: Tensor | None = None
        self._layout: Layout = WholeLayout()
        self._unet: Any = self._prepare(models.unet)
        self._weights: dict[str, Tensor] = dict(models.unet.named_parameters())
        self._optimizer = torch.optim.AdamW(
            self._weights.values(),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            fused=config.fused_optimizer or None,
        )
        self._average = WeightAverage(self._local_weights(), config.ema_decay)

    def _prepare(self, unet: Any) -> Any:
        """The UNet as it is called in training: options applied, wrapped or sharded over the ranks."""
        unet.train()
        autoencoder = self.models.autoencoder
        if self._config.channels_last:
            for network in (unet, autoencoder):
                network.to(memory_format=torch.channels_last)
        if self._config.activation_checkpointing:
            unet.enable_gradient_checkpointing()
        if self._config.parallel == "fsdp" and self._ranks.size > 1:
            from trainer.sharded_layout import ShardedLayout  # takes a second to import

            self._layout = ShardedLayout(unet, self._ranks)
        if self._config.compile != "off":
            unet.compile(mode=self._config.compile)
            autoencoder.encoder.compile(mode=self._config.compile)  # of rows drawn anew: more work than the UNet's
        if self._ranks.size > 1 and not self._layout.is_sharded:
            return DistributedDataParallel(unet)
        return unet

    def accumulate(self, batch: Batch, *, is_last: bool) -> Tensor:
        """Add one micro-batch to the gradient of equation 1; returns its losses, float32 (B,).

        After the last micro-batch of a step, the gradient is that of the mean over the global batch.
        """
        with self._local_gradient(is_last):
            losses = self.losses(batch)
            total = (losses * batch.weights.to(losses.device)).sum()
            # Ranks' gradients are averaged; the mean is over the samples of all of them.
            (total * self._ranks.size / self._config.global_batch_size).backward()
        return losses.detach()

    def losses(self, batch: Batch) -> Tensor:
        """Equation 1 for each sample of ``batch``, float32 (B,)."""
        batch = batch.to(self._ranks.device)
        with self._precision():
            latents, condition, texts = self._encode(batch)
            inputs = add_noise(latents.float(), batch.noise, batch.timesteps, self._levels)
            if condition is not None:
                condition = condition * batch.keep_image.view(-1, 1, 1, 1)
                inputs = torch.cat([inputs, condition.float()], dim=1)  # (B, 8, h, w)
            if self._config.channels_last:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            predicted = self._unet(inputs, batch.timesteps, encoder_hidden_states=texts).sample
        return noise_losses(predicted, batch.noise)

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor]:
        """Scaled target latents, source latents (None in stage 1), each (B, 4, h, w), and text states (B, 77, C)."""
        noise, states = batch.target_noise, batch.states
        if states is None:
            latents = self.models.encode_targets(_scale(batch.targets), noise)
            texts = self.models.encode_texts(batch.instructions)
            if not self._config.image_condition:
                return latents, None, texts
            return latents, self.models.encode_sources(_scale(batch.sources)), texts
        places, others = (torch.tensor(numbers, device=noise.device) for numbers in (states.places, states.others))
        latents = torch.empty_like(noise)
        latents[places] = self.models.draw_targets(
            states.target_means.float(), states.target_stds.float(), noise[places]
        )
        sources = torch.empty_like(noise)
        sources[places] = states.sources.float()
        texts = torch.empty(len(noise), *states.texts.shape[1:], device=noise.device)
        texts[places] = states.texts.float()
        for number in states.places:
            if not batch.instructions[number]:
                texts[number] = self._no_text()
        if states.others:
            latents[others] = self.models.encode_targets(_scale(batch.targets), noise[others]).float()
            sources[others] = self.models.encode_sources(_scale(batch.sources)).float()
            texts[others] = self.models.encode_texts([batch.instructions[number] for number in states.others]).float()
        return latents, sources, texts

    def _no_text(self) -> Tensor:
        """States of the empty instruction, (77, C): of samples whose text was dropped."""
        if self._empty is None:
            self._empty = self.models.encode_texts([""])[0].float()
        return self._empty

    def clip(self) -> Tensor:
        """Scale the gradient down to ``max_grad_norm`` where that is set; returns its norm before."""
        limit = self._config.max_grad_norm or float("inf")
        return self._layout.whole(torch.nn.utils.clip_grad_norm_(self._weights.values(), limit))

    def update(self, step: int) -> None:
        """One optimizer step, number ``step`` from 1, then the moving average."""
        self._optimizer.step()
        self.forget_gradient()
        self._average.update(self._local_weights(), step)

    def forget_gradient(self) -> None:
        """Leave a step out: weights, optimizer and moving average stay as they are."""
        self._optimizer.zero_grad(set_to_none=True)

    def averages(self) -> dict[str, Tensor]:
        """Moving average of the weights, by parameter. All ranks must call it."""
        return {name: self._layout.whole(average) for name, average in self._averages().items()}

    @contextmanager
    def averaged(self) -> Iterator[Models]:
        """The networks with the moving average as weights, for sampling; afterwards the weights are as before."""
        own = {name: weight.detach().clone() for name, weight in self._weights.items()}
        try:
            with torch.no_grad():
                for name, weight in self._local_weights().items():
                    weight.copy_(self._average.averages[name])
            yield self.models
        finally:
            with torch.no_grad():
                for name, weight in self._weights.items():
                    weight.copy_(own[name])

    def state(self, samples_seen: int) -> TrainingState:
        """Everything that training needs to go on: whole, or of a sharded run this rank's parts (as DTensors)."""
        moments = {
            f"{name}/{moment}": self._optimizer.state[weight][moment]
            for name, weight in self._weights.items()
            if weight in self._optimizer.state  # none before the first update that was not left out
            for moment in _MOMENTS
        }
        return TrainingState(samples_seen, self._weights, self._averages(), moments, self._layout.is_sharded)

    @torch.no_grad()
    def restore(self, state: TrainingState, path: Path) -> None:
        """Go on from ``state``, read from ``path``.

        Raises:
            CheckpointError: the state of a network of other shapes.
        """
        for found in (state.unet, state.averages):
            check_tensors(path, found, self._weights)
        averages = {}
        for name, weight in self._weights.items():
            weight.copy_(self._layout.like(state.unet[name], weight))
            averages[name] = self._layout.local(self._layout.like(state.averages[name], weight))
            if f"{name}/step" not in state.optimizer:
                continue
            moments = {moment: state.optimizer[f"{name}/{moment}"] for moment in _MOMENTS}
            # AdamW counts steps on the CPU, the fused one beside the weights.
            place = weight.device if self._config.fused_optimizer else torch.device("cpu")
            self._optimizer.state[weight] = {
                moment: value.to(place) if moment == "step" else self._layout.like(value, weight)
                for moment, value in moments.items()
            }
        self._average.load(averages)

    def _local_weights(self) -> dict[str, Tensor]:
        return {name: self._layout.local(weight) for name, weight in self._weights.items()}

    def _averages(self) -> dict[str, Tensor]:
        """The moving average, laid out as the weights are."""
        return {n: self._layout.as_weight(average, self._weights[n]) for n, average in self._average.averages.items()}

    def _local_gradient(self, is_last: bool) -> AbstractContextManager[None]:
        """Ranks exchange gradients once per step, with its last micro-batch."""
        if self._layout.is_sharded:
            self._unet.set_requires_gradient_sync(is_last)
            return nullcontext()
        if self._ranks.size == 1 or is_last:
            return nullcontext()
        synchronize_later: AbstractContextManager[None] = self._unet.no_sync()
        return synchronize_later

    def _precision(self) -> AbstractContextManager[Any]:
        if self._config.precision == "float32":
            return nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=torch.bfloat16)


def _scale(images: Tensor) -> Tensor:
    """uint8 (B, S, S, 3) to float32 (B, 3, S, S) in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1
