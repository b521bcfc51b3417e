"""One optimizer step: loss and gradient against naive re-implementations, figures, errors that name pairs."""

import math
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from catalog.errors import MixError, TrainingError
from catalog.roots import Roots
from trainer.batches import Batch, MicroBatches, collate, make_loader
from trainer.config import TrainingConfig
from trainer.data import TrainingSamples
from trainer.learner import Learner
from trainer.models import load_models
from trainer.plan import TrainingPlan
from trainer.ranks import Ranks
from trainer.recipes import make_config
from trainer.step_tally import Leaps, StepTally, check_fault
from trainer.tiny import make_tiny_checkpoint

_HELPERS = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))
make_mix, damage = _HELPERS["make_mix"], _HELPERS["damage"]
ALONE = Ranks(0, 1, torch.device("cpu"))
CONFIG = replace(make_config("demo"), global_batch_size=12, micro_batch_size=12, max_grad_norm=0.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    make_tiny_checkpoint(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mix(tmp_path_factory.mktemp("home"))


def open_samples(mix: Path, config: TrainingConfig = CONFIG) -> TrainingSamples:
    return TrainingSamples(TrainingPlan(mix), Roots.read(mix.parent / "roots.json"), config)


def batches(mix: Path, config: TrainingConfig) -> list[Batch]:
    plan = MicroBatches(0, 1, config.global_batch_size, config.micro_batch_size, 0, 1)
    return list(make_loader(open_samples(mix, config), plan, 0))


def gradient(learner: Learner, step: list[Batch]) -> dict[str, torch.Tensor]:
    for number, batch in enumerate(step):
        learner.accumulate(batch, is_last=number + 1 == len(step))
    return {name: weight.grad.clone() for name, weight in learner.models.unet.named_parameters()}


def test_loss_equals_a_plain_script(tiny: Path, mix: Path) -> None:
    samples = [open_samples(mix)[index] for index in range(24)]
    learner = Learner(load_models(tiny), CONFIG, ALONE)
    with torch.no_grad():
        losses = learner.losses(collate(samples))

    models = load_models(tiny)
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    for sample, loss in zip(samples, losses.tolist(), strict=True):
        image, target = (torch.tensor(x).permute(2, 0, 1)[None] / 127.5 - 1 for x in (sample.source, sample.target))
        ids = models.tokenizer(sample.instruction, padding="max_length", max_length=77, return_tensors="pt")
        noise, t = torch.tensor(sample.draw.noise)[None], torch.tensor([sample.draw.timestep])
        with torch.no_grad():
            posterior = models.autoencoder.encode(target).latent_dist
            z = 0.18215 * (posterior.mean + posterior.std * torch.tensor(sample.draw.target_noise))
            condition = models.autoencoder.encode(image).latent_dist.mode() * (not sample.draw.drop_image)
            noisy = torch.cat([scheduler.add_noise(z, noise, t), condition], 1)
            predicted = models.unet(noisy, t, models.text_encoder(ids.input_ids)[0]).sample
        assert loss == pytest.approx(float(torch.nn.functional.mse_loss(predicted, noise)), rel=1e-4)


def test_accumulation_changes_the_gradient_by_rounding_only(tiny: Path, mix: Path) -> None:
    whole = gradient(Learner(load_models(tiny), CONFIG, ALONE), batches(mix, CONFIG))
    parts = replace(CONFIG, micro_batch_size=5)
    accumulated = gradient(Learner(load_models(tiny), parts, ALONE), batches(mix, parts))
    for name, grad in whole.items():
        torch.testing.assert_close(accumulated[name], grad, rtol=1e-4, atol=1e-6)


def test_update_is_adamw_and_moves_the_average(tiny: Path, mix: Path) -> None:
    config = replace(CONFIG, max_grad_norm=0.01)
    learner = Learner(load_models(tiny), config, ALONE)
    before = {n: w.detach().clone() for n, w in learner.models.unet.named_parameters()}
    grads = gradient(learner, batches(mix, config))
    norm = math.sqrt(sum(float(g.square().sum()) for g in grads.values()))
    assert float(learner.clip()) == pytest.approx(norm, rel=1e-5)
    learner.update(1)
    name = "conv_out.weight"
    grad = grads[name] * 0.01 / (norm + 1e-6)
    mean, var = 0.1 * grad / (1 - 0.9), 0.001 * grad**2 / (1 - 0.999)
    expected = before[name] * (1 - 1e-3 * 0.01) - 1e-3 * mean / (var.sqrt() + 1e-8)
    after = dict(learner.models.unet.named_parameters())[name].detach()
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-6)
    decay = 2 / 11  # (1 + n) / (10 + n) for n = 1
    torch.testing.assert_close(learner.averages()[name], decay * before[name] + (1 - decay) * after)
    assert all(weight.grad is None for weight in learner.models.unet.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_restored_learner_goes_on_bit_for_bit(tiny: Path, mix: Path, precision: str) -> None:
    config = CONFIG.with_overrides([f"precision={precision}"])

    def step(learner: Learner, number: int) -> None:
        gradient(learner, batches(mix, config))
        learner.update(number)

    straight = Learner(load_models(tiny), config, ALONE)
    step(straight, 1)
    saved = straight.state(12)
    copies = {name: {n: t.clone() for n, t in tensors.items()} for name, tensors in saved.files.items()}
    restored = Learner(load_models(tiny), config, ALONE)
    restored.restore(replace(saved, **copies), Path("checkpoint"))
    for learner in (straight, restored):
        step(learner, 2)
    for name, tensors in straight.state(24).files.items():
        for key, tensor in tensors.items():
            assert torch.equal(restored.state(24).files[name][key], tensor), (name, key)


def tally(learner: Learner, step: list[Batch]) -> StepTally:
    result = StepTally(ALONE, CONFIG.global_batch_size)
    for batch in step:
        result.add(batch, learner.accumulate(batch, is_last=True))
    return result


def test_figures_of_a_step(tiny: Path, mix: Path) -> None:
    learner = Learner(load_models(tiny), CONFIG, ALONE)
    (batch,) = batches(mix, CONFIG)
    figures = tally(learner, [batch]).reduce(wait_share=0.25, stop=False)
    losses = learner.losses(batch).tolist()
    assert figures.loss == pytest.approx(sum(losses) / 12, rel=1e-5)
    for task in ("image_enhancement", "image_editing"):
        own = [loss for loss, name in zip(losses, batch.vision_tasks, strict=True) if name == task]
        assert figures.task_losses[task] == pytest.approx(sum(own) / len(own), rel=1e-5)
    assert figures.task_losses["segmentation"] is None
    assert (figures.num_rejected, figures.data_wait_share, figures.stop) == (0, 0.25, False)
    assert figures.samples_digest == f"{sum(batch.digests) % 2**64:016x}"


def test_a_skipped_row_weighs_nothing(tiny: Path, tmp_path: Path) -> None:
    mix = make_mix(tmp_path)
    whole = gradient(Learner(load_models(tiny), CONFIG, ALONE), [collate([open_samples(mix)[i] for i in (0, 2)])])
    damage(mix, 1)
    samples = open_samples(mix)
    learner = Learner(load_models(tiny), CONFIG, ALONE)
    batch = collate([samples[i] for i in (0, 1, 2)])
    for name, grad in gradient(learner, [batch]).items():
        torch.testing.assert_close(grad, whole[name], rtol=1e-4, atol=1e-6)
    result = tally(learner, [batch])
    assert result.reduce(wait_share=0.0, stop=False).num_rejected == 1
    result.check_rejected(result.rejected_rows(), "skip")
    with pytest.raises(MixError, match=r"pair pair-001 at position 1 is changed_file .*on_bad_row=skip"):
        result.check_rejected(result.rejected_rows(), "stop")


def test_a_loss_that_is_not_finite_names_its_pairs(tiny: Path, mix: Path) -> None:
    learner = Learner(load_models(tiny), CONFIG, ALONE)
    (batch,) = batches(mix, CONFIG)
    batch.noise[3] = float("nan")
    batch.noise[7] = float("inf")
    result = tally(learner, [batch])
    figures = result.reduce(wait_share=0.0, stop=False)
    fault = result.find_fault(5, figures, 1.0, Leaps(0, []))
    assert fault == "the loss of step 5 must be finite, but is not for pairs pair-003, pair-007 (samples 3 to 7)"
    check_fault(fault, "skip")
    with pytest.raises(TrainingError, match=r"samples 3 to 7\): look at these pairs, .*on_bad_step=skip"):
        check_fault(fault, "stop")


def test_a_gradient_that_is_not_finite_names_the_step(tiny: Path, mix: Path) -> None:
    result = tally(Learner(load_models(tiny), CONFIG, ALONE), batches(mix, CONFIG))
    figures = result.reduce(wait_share=0.0, stop=False)
    assert result.find_fault(5, figures, 1.0, Leaps(0, [])) is None
    fault = result.find_fault(5, figures, math.inf, Leaps(0, []))
    assert fault is not None
    assert re.search(r"gradient of step 5 .* and 4 more samples \(samples 0 to 11\)", fault)


def test_a_step_that_leaps_names_its_largest_losses(tiny: Path, mix: Path) -> None:
    learner = Learner(load_models(tiny), CONFIG, ALONE)
    (batch,) = batches(mix, CONFIG)
    batch.noise[3] *= 100
    result = tally(learner, [batch])
    figures = result.reduce(wait_share=0.0, stop=False)
    history = [(figures.loss / 10, 1.0)] * 30
    assert result.find_fault(5, figures, 1.0, Leaps(0, history)) is None
    assert result.find_fault(5, figures, 1.0, Leaps(11, history)) is None
    assert result.find_fault(5, figures, 1.0, Leaps(5, history[:9])) is None  # too few to judge by
    fault = result.find_fault(5, figures, 1.0, Leaps(5, history))
    assert fault is not None
    assert re.search(r"loss of step 5 must be at most .*; the largest losses are those of pairs pair-003, ", fault)
    fault = result.find_fault(5, figures, 7.0, Leaps(5, [(figures.loss, 1.0)] * 30))
    assert fault is not None
    assert "the gradient norm of step 5 must be at most 5, but is 7;" in fault


def test_leaps_are_measured_against_the_last_fifty_steps() -> None:
    leaps = Leaps(2, [(100.0, 1.0)] * 60)
    for _ in range(26):
        leaps.note(1.0, 1.0)
    assert leaps.find(2.5, 1.0) is not None
    assert leaps.find(1.9, 1.9) is None


def test_losses_by_timestep(tiny: Path, mix: Path) -> None:
    learner = Learner(load_models(tiny), CONFIG, ALONE)
    (batch,) = batches(mix, CONFIG)
    batch.timesteps[:] = torch.tensor([0, 99, 100, 250, 999, 999, 500, 501, 502, 503, 504, 505])
    figures = tally(learner, [batch]).reduce(wait_share=0.0, stop=False)
    losses = learner.losses(batch).tolist()
    assert figures.bin_losses[0] == pytest.approx(sum(losses[:2]) / 2, rel=1e-5)
    assert figures.bin_losses[1] == pytest.approx(losses[2], rel=1e-5)
    assert figures.bin_losses[5] == pytest.approx(sum(losses[6:]) / 6, rel=1e-5)
    assert figures.bin_losses[9] == pytest.approx(sum(losses[4:6]) / 2, rel=1e-5)
    assert [number for number, loss in enumerate(figures.bin_losses) if loss is None] == [3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    "changes", [{"activation_checkpointing": True}, {"channels_last": True}, {"fused_optimizer": True}], ids=str
)
def test_options_for_speed_and_memory_change_rounding_only(tiny: Path, mix: Path, changes: dict) -> None:
    def learn(config: TrainingConfig) -> tuple[Learner, dict[str, torch.Tensor]]:
        learner = Learner(load_models(tiny), config, ALONE)
        grads = gradient(learner, batches(mix, config))
        learner.update(1)
        return learner, grads

    learner, grads = learn(replace(CONFIG, **changes))
    plain, expected = learn(CONFIG)
    for name, grad in expected.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(learner.averages(), plain.averages(), rtol=1e-3, atol=2.5e-3)
    saved = learner.state(12)
    copies = {name: {n: t.clone() for n, t in tensors.items()} for name, tensors in saved.files.items()}
    again = Learner(load_models(tiny), replace(CONFIG, **changes), ALONE)
    again.restore(replace(saved, **copies), Path("checkpoint"))
    for one in (learner, again):
        gradient(one, batches(mix, CONFIG))
        one.update(2)
    for name, weight in again.state(24).unet.items():
        assert torch.equal(weight, learner.state(24).unet[name])


def test_sampling_with_the_average_leaves_the_weights_as_they_are(tiny: Path, mix: Path) -> None:
    learner = Learner(load_models(tiny), CONFIG, ALONE)
    gradient(learner, batches(mix, CONFIG))
    learner.update(1)
    before = {name: weight.detach().clone() for name, weight in learner.models.unet.named_parameters()}
    with learner.averaged() as models:
        averages = learner.averages()
        assert all(torch.equal(weight, averages[name]) for name, weight in models.unet.named_parameters())
        assert not all(torch.equal(averages[name], before[name]) for name in before)
    assert all(torch.equal(weight, before[name]) for name, weight in learner.models.unet.named_parameters())


def test_half_precision_losses_are_near(tiny: Path, mix: Path) -> None:
    (batch,) = batches(mix, CONFIG)
    with torch.no_grad():
        full = Learner(load_models(tiny), CONFIG, ALONE).losses(batch)
        half = Learner(load_models(tiny), replace(CONFIG, precision="bfloat16"), ALONE).losses(batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.02)
