"""Trains the post-processor: on drawings that were spoiled as a diffusion model spoils them, and on real outputs.

Source pictures, regions and joints are those of a mix's training rows; what is drawn, how it is spoiled and which
colour is asked for come from (seed, number of the example), so the same command gives the same weights on the same
machine.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from catalog.durable import write_file
from catalog.errors import ConfigError
from catalog.parquet_streams import mix_digest
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from evaluation.code_version import code_version
from evaluation.decoder_examples import ExampleSource, GeneratedOutput, read_rows
from evaluation.network_decoder import save_network
from evaluation.postprocessor import STRIDE, Postprocessor

Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss)."""


@dataclass(frozen=True, kw_only=True)
class DecoderTraining:
    """How the post-processor is trained. The paper gives nothing; these are ours."""

    num_steps: int = 4000
    batch_size: int = 8
    """Examples per step."""
    learning_rate: float = 1e-3
    """Of AdamW, falling to 0 along a half cosine."""
    width: int = 16
    """Channels on the finest level."""
    size: int = 256
    """Side of the pictures in pixels."""
    strength: float = 1.0
    """How much drawings are spoiled at most, in [0, 1]."""
    generated_share: float = 0.5
    """Share of the examples whose output is a checkpoint's, where its outputs are given."""
    seed: int = 0

    def __post_init__(self) -> None:
        rules = [
            (self.num_steps >= 1, "steps must be at least 1", self.num_steps),
            (self.batch_size >= 1, "batch size must be at least 1", self.batch_size),
            (0 < self.learning_rate <= 1, "learning rate must be in (0, 1]", self.learning_rate),
            (self.width >= 4 and self.width % 4 == 0, "width must be a multiple of 4", self.width),
            (self.size >= 32 and self.size % STRIDE == 0, f"size must be a multiple of {STRIDE} from 32", self.size),
            (0 <= self.strength <= 1, "strength must be in [0, 1]", self.strength),
            (0 <= self.generated_share <= 1, "generated share must be in [0, 1]", self.generated_share),
            (self.seed >= 0, "seed must not be negative", self.seed),
        ]
        for holds, rule, value in rules:
            if not holds:
                raise ConfigError(f"{rule}. Got {value!r}")


def train_decoder(
    mix: Path,
    output: Path,
    options: DecoderTraining,
    style: RenderStyle,
    progress: Progress = lambda done, total, loss: None,
    generated: Sequence[GeneratedOutput] = (),
) -> list[float]:
    """Train on a mix's training rows and write the checkpoint.

    Args:
        mix: its segmentation and keypoint rows are used; ``roots.json`` beside it.
        output: the safetensors file; ``.json`` beside it keeps options and losses.
        options: see there.
        style: how targets are drawn: as the model was trained.
        progress: called after each step.
        generated: a checkpoint's answers to samples of the mix, see `evaluation.generated_outputs`.

    Returns:
        The loss of each step.

    Raises:
        MixError: no mix, or no row to draw from.
    """
    source = ExampleSource(
        rows=read_rows(mix),
        roots=Roots.read(mix.parent / "roots.json"),
        style=style,
        size=options.size,
        strength=options.strength,
        seed=options.seed,
        generated=generated,
        generated_share=options.generated_share if generated else 0.0,
    )
    torch.manual_seed(options.seed)
    network = Postprocessor(options.width).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.num_steps)
    losses = []
    for step in range(options.num_steps):
        first = step * options.batch_size
        examples = [source.example(first + place) for place in range(options.batch_size)]
        inputs, targets, weights = (torch.cat(parts) for parts in zip(*examples, strict=True))
        loss = _loss(network(inputs), targets, weights)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        progress(step + 1, options.num_steps, losses[-1])
    facts = {**asdict(options), "alpha": style.alpha, "radius": style.radius, "mix_sha256": mix_digest(mix)}
    facts |= {"num_generated": len(generated), "generated_share": source.generated_share}
    save_network(output, network, {**facts, "code_version": code_version()})
    write_file(output.with_suffix(".json"), [json.dumps({**facts, "losses": losses}, indent=1).encode()])
    return losses


def _loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted binary cross entropy of both maps, (B, 2, H, W) each."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (each * weights).sum() / weights.sum()
