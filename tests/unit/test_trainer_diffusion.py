"""Schedule and noising against diffusers; loss, dropout and moving average against naive re-implementations."""

import numpy as np
import pytest
import torch

from trainer.diffusion import (
    CONDITIONING_DROPOUT,
    SCHEDULE,
    WeightAverage,
    add_noise,
    noise_losses,
    schedule_differences,
    signal_levels,
)


@pytest.fixture(scope="module")
def reference_scheduler():
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def test_schedule_equals_diffusers(reference_scheduler) -> None:
    difference = (signal_levels() - reference_scheduler.alphas_cumprod).abs().max()
    assert difference < 1e-7


def test_noisy_latents_equal_diffusers(reference_scheduler) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(6, 4, 3, 5, generator=generator)
    noise = torch.randn(6, 4, 3, 5, generator=generator)
    timesteps = torch.tensor([0, 1, 250, 500, 998, 999])
    ours = add_noise(latents, noise, timesteps, signal_levels())
    theirs = reference_scheduler.add_noise(latents, noise, timesteps)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_loss_is_equation_1_per_sample() -> None:
    rng = np.random.default_rng(0)
    predicted, noise = rng.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    naive = [np.mean([(noise[b].flat[i] - predicted[b].flat[i]) ** 2 for i in range(noise[b].size)]) for b in range(3)]
    ours = noise_losses(torch.from_numpy(predicted), torch.from_numpy(noise))
    np.testing.assert_allclose(ours.numpy(), naive, rtol=1e-5)


def test_loss_of_half_precision_predictions_is_float32() -> None:
    assert noise_losses(torch.zeros(1, 4, 2, 2, dtype=torch.bfloat16), torch.ones(1, 4, 2, 2)).dtype == torch.float32


def instruct_pix2pix_dropout(uniform: float) -> tuple[bool, bool]:
    """As InstructPix2Pix's get_input writes it, for its uncond = 0.05."""
    uncond = 0.05
    prompt_dropped = uniform < 2 * uncond
    image_kept = 1 - float(uniform >= uncond) * float(uniform < 3 * uncond)
    return prompt_dropped, image_kept == 0


def official_dropout(uniform: float) -> tuple[bool, bool]:
    """As the official code's ddpm_edit.py writes it."""
    return uniform < 0.075, 0.075 <= uniform < 0.15


@pytest.mark.parametrize(("name", "naive"), [("paper", instruct_pix2pix_dropout), ("official", official_dropout)])
def test_dropout_equals_the_published_rules(name: str, naive) -> None:
    for uniform in (np.arange(20_000) + 0.5) / 20_000:
        assert CONDITIONING_DROPOUT[name].draw(uniform) == naive(uniform)


@pytest.mark.parametrize(
    ("name", "text_only", "image_only", "both"), [("paper", 0.05, 0.05, 0.05), ("official", 0.075, 0.075, 0.0)]
)
def test_dropout_shares(name: str, text_only: float, image_only: float, both: float) -> None:
    drawn = [CONDITIONING_DROPOUT[name].draw(u) for u in np.random.default_rng(0).random(40_000)]
    shares = {case: drawn.count(case) / len(drawn) for case in [(True, False), (False, True), (True, True)]}
    assert shares[True, False] == pytest.approx(text_only, abs=0.005)
    assert shares[False, True] == pytest.approx(image_only, abs=0.005)
    assert shares[True, True] == pytest.approx(both, abs=0.005 if both else 0)


def test_moving_average_equals_litema() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 2)).astype(np.float32)
    average = WeightAverage({"w": torch.from_numpy(weight)}, decay=0.5)
    shadow = weight.astype(np.float64)
    for num_updates in range(1, 40):
        weight = rng.normal(size=(3, 2)).astype(np.float32)
        average.update({"w": torch.from_numpy(weight)}, num_updates)
        decay = min(0.5, (1 + num_updates) / (10 + num_updates))
        shadow -= (1 - decay) * (shadow - weight)
    np.testing.assert_allclose(average.averages["w"].numpy(), shadow, atol=1e-6)


def test_moving_average_is_a_copy() -> None:
    weight = torch.ones(2, requires_grad=True)
    average = WeightAverage({"w": weight}, decay=0.9)
    with torch.no_grad():
        weight.fill_(5)
    assert average.averages["w"].tolist() == [1, 1]
    assert not average.averages["w"].requires_grad


def test_a_foreign_schedule_is_found() -> None:
    assert schedule_differences(dict(SCHEDULE)) == []
    assert schedule_differences({k: v for k, v in SCHEDULE.items() if k != "prediction_type"}) == []
    different = {**SCHEDULE, "prediction_type": "v_prediction", "beta_end": 0.02}
    assert [text.split()[0] for text in schedule_differences(different)] == ["beta_end", "prediction_type"]
