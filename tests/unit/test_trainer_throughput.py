"""Counting operations and searching the micro-batch, against hand counts and a memory of known size."""

import pytest
import torch
from torch import nn

from trainer.micro_batch import Trial, search
from trainer.models import Models
from trainer.throughput import forward_flops


class OneLayer(nn.Module):
    """A convolution and a projection of the text, nothing else."""

    class config:
        in_channels = 8
        cross_attention_dim = 16

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(8, 4, 3, padding=1)
        self.projection = nn.Linear(16, 5)

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> object:
        return self.convolution(latents), self.projection(encoder_hidden_states), timesteps


def test_operations_are_two_per_multiplication() -> None:
    class Tokenizer:
        model_max_length = 77

    count = forward_flops(Models(OneLayer(), None, None, Tokenizer()), image_size=64)
    assert count == 2 * (8 * 8 * 4 * 8 * 3 * 3) + 2 * (77 * 16 * 5)


def sizes_tried(per_sample: int, largest: int, limit: int, breaks_at: int = 1 << 30) -> tuple[list[int], int, str]:
    tried: list[int] = []

    def attempt(size: int) -> Trial | None:
        tried.append(size)
        return None if size >= breaks_at else Trial(size, size * per_sample)

    size, why = search(attempt, largest, limit)
    return tried, size, why


@pytest.mark.parametrize(
    ("per_sample", "largest", "limit", "found", "reason"),
    [
        (1, 64, 1000, 64, "a rank has 64 samples per step"),
        (10, 64, 100, 8, "twice as many would not fit"),
        (10, 12, 1000, 8, "a rank has 12 samples per step"),
        (1000, 64, 10, 1, "twice as many would not fit"),
    ],
)
def test_the_largest_power_of_two_that_fits(per_sample: int, largest: int, limit: int, found: int, reason: str) -> None:
    tried, size, why = sizes_tried(per_sample, largest, limit)
    assert (size, tried[-1]) == (found, found)
    assert reason in why


def test_running_out_of_memory_ends_the_search() -> None:
    tried, size, why = sizes_tried(10, 64, 10_000, breaks_at=16)
    assert (tried, size) == ([1, 2, 4, 8, 16], 8)
    assert "16 do not fit" in why
    _, size, why = sizes_tried(10, 64, 10_000, breaks_at=1)
    assert size == 1
    assert "not even one sample fits" in why
