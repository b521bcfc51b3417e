"""Editing: equal to diffusers' InstructPix2Pix pipeline on the same weights, seeds and steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catalog.errors import ConfigError, PredictionError
from trainer.inference import combine, edit
from trainer.models import Models, load_models
from trainer.pipeline_folder import write_pipeline
from trainer.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported pipeline whose image channels matter, as after training."""
    home = tmp_path_factory.mktemp("pipeline")
    make_tiny_checkpoint(home / "tiny", seed=0)
    models = load_models(home / "tiny")
    torch.manual_seed(0)
    with torch.no_grad():
        models.unet.conv_in.weight[:, 4:] = 0.05 * torch.randn(32, 4, 3, 3)
    write_pipeline(home / "pipeline", models)
    return home / "pipeline"


@pytest.fixture(scope="module")
def models(folder: Path) -> Models:
    return load_models(folder)


@pytest.fixture(scope="module")
def pipeline(folder: Path):
    from diffusers import StableDiffusionInstructPix2PixPipeline

    loaded = StableDiffusionInstructPix2PixPipeline.from_pretrained(str(folder), low_cpu_mem_usage=False)
    loaded.set_progress_bar_config(disable=True)
    return loaded


IMAGES = list(np.random.default_rng(0).integers(0, 256, (3, 64, 48, 3), dtype=np.uint8))
TEXTS = ["remove the red bird", "add a cat", "mark the dog in blue"]


def test_each_image_may_have_its_own_scales(models: Models) -> None:
    texts, images = [2.0, 4.0, 9.0], [1.0, 1.5, 0.5]
    given = {"num_steps": 2, "sampler": "ddim", "seed": [7, 7, 8]}
    together = edit(models, IMAGES, TEXTS, text_guidance=texts, image_guidance=images, **given)
    for n, picture in enumerate(together):
        scales = {"text_guidance": texts[n], "image_guidance": images[n]}
        (alone,) = edit(models, IMAGES[n : n + 1], TEXTS[n : n + 1], **{**given, "seed": [given["seed"][n]]}, **scales)
        assert np.abs(picture.astype(int) - alone).max() <= 1
    same = edit(models, IMAGES, TEXTS, text_guidance=[4.0] * 3, image_guidance=1.5, **given)
    plain = edit(models, IMAGES, TEXTS, text_guidance=4.0, image_guidance=1.5, **given)
    assert all(np.array_equal(one, other) for one, other in zip(same, plain, strict=True))
    with pytest.raises(ConfigError, match="one each of 3, got 2"):
        edit(models, IMAGES, TEXTS, text_guidance=[1.0, 2.0], **given)


def test_the_exported_folder_is_a_pipeline_with_our_weights(pipeline, models: Models) -> None:
    assert type(pipeline.scheduler).__name__ == "EulerAncestralDiscreteScheduler"
    for ours, theirs in [(models.unet, pipeline.unet), (models.autoencoder, pipeline.vae)]:
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())
    assert pipeline.tokenizer("a red bird").input_ids == models.tokenizer("a red bird").input_ids


@pytest.mark.parametrize("sampler", ["euler_ancestral", "ddim", "dpm_solver"])
def test_edits_equal_the_diffusers_pipeline(pipeline, models: Models, sampler: str) -> None:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    pipeline.scheduler = {
        "euler_ancestral": lambda: EulerAncestralDiscreteScheduler(**settings),
        "ddim": lambda: DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        "dpm_solver": lambda: DPMSolverMultistepScheduler(**settings, steps_offset=1),
    }[sampler]()
    ours = edit(models, IMAGES, TEXTS, num_steps=6, text_guidance=4.0, image_guidance=1.3, sampler=sampler, seed=5)
    theirs = pipeline(
        TEXTS,
        image=[Image.fromarray(image) for image in IMAGES],
        num_inference_steps=6,
        guidance_scale=4.0,
        image_guidance_scale=1.3,
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6, 7)],
        output_type="np",
    ).images
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.dtype == np.uint8
        assert mine.shape == (64, 48, 3)
        # Both are rounded to 8 bits from float32 pictures that differ by less than one part in 10,000.
        assert np.abs(mine.astype(float) - reference * 255).max() < 0.5 + 255e-4
    assert len({image.tobytes() for image in ours}) == 3


def test_the_unet_call_equals_the_pipelines(pipeline, models: Models) -> None:
    torch.manual_seed(0)
    inputs, timestep = torch.randn(2, 8, 8, 8), torch.tensor(321)
    texts = models.encode_texts(TEXTS[:2])
    with torch.no_grad():
        ours = models.unet(inputs, timestep, encoder_hidden_states=texts).sample
        theirs = pipeline.unet(inputs, timestep, encoder_hidden_states=texts, return_dict=False)[0]
    assert torch.equal(ours, theirs)


def test_guidance_formulas() -> None:
    rng = np.random.default_rng(0)
    full, image_only, third = (torch.tensor(rng.normal(size=(2, 4, 3, 3))) for _ in range(3))
    s_t, s_i = 5.0, 1.25
    ip2p = third + s_t * (full - image_only) + s_i * (image_only - third)
    official = 0.5 * (image_only + third) + s_t * (full - image_only) + s_i * (full - third)
    torch.testing.assert_close(combine([full, image_only, third], s_t, s_i, "ip2p"), ip2p)
    torch.testing.assert_close(combine([full, image_only, third], s_t, s_i, "official"), official)
    torch.testing.assert_close(combine([full, image_only, third], 1.0, 1.0, "ip2p"), full)


def test_the_two_rules_ask_for_different_conditions(models: Models) -> None:
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = models.unet.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args[0][:, 4:], kwargs["encoder_hidden_states"])), with_kwargs=True
    )
    for guidance in ("ip2p", "official"):
        edit(models, IMAGES[:1], TEXTS[:1], num_steps=1, guidance=guidance)
    handle.remove()
    text, nothing = models.encode_texts([TEXTS[0], ""])
    for (images, texts), third in zip(calls, (nothing, text), strict=True):
        assert torch.equal(images[0], images[1])
        assert images[0].abs().max() > 0
        assert images[2].abs().max() == 0
        torch.testing.assert_close(texts, torch.stack([text, nothing, third]))


@pytest.mark.parametrize("sampler", ["euler_ancestral", "ddim"])
@pytest.mark.parametrize("guidance", ["ip2p", "official"])
def test_an_image_does_not_depend_on_its_batch(models: Models, sampler: str, guidance: str) -> None:
    options = {"num_steps": 3, "sampler": sampler, "guidance": guidance}
    together = edit(models, IMAGES, TEXTS, seed=[3, 9, 4], **options)
    alone = edit(models, IMAGES[1:2], TEXTS[1:2], seed=9, **options)
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 1
    assert np.array_equal(together[0], edit(models, IMAGES, TEXTS, seed=[3, 9, 4], **options)[0])


def test_sampling_leaves_the_network_as_it_was(models: Models) -> None:
    models.unet.train()
    edit(models, IMAGES[:1], TEXTS[:1], num_steps=1)
    assert models.unet.training
    assert all(p.grad is None for p in models.unet.parameters())
    assert edit(models, [], []) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"instructions": ["one"]}, "must be as many, got 2, 1 and 2"),
        ({"seed": [1]}, "2, 2 and 1"),
        ({"num_steps": 0}, "from 1 to 1000, got 0"),
        ({"sampler": "plms"}, "euler_ancestral, ddim, dpm_solver, got 'plms'"),
        ({"guidance": "both"}, "ip2p or official, got 'both'"),
        ({"images": [IMAGES[0], IMAGES[1][:32]]}, "of one size"),
        ({"images": [image.astype(np.float32) for image in IMAGES[:2]]}, "uint8"),
        ({"images": [image[:63] for image in IMAGES[:2]]}, r"multiples of 8, got \(63, 48\)"),
    ],
)
def test_wrong_arguments_are_one_sentence(models: Models, changes: dict, sentence: str) -> None:
    arguments = {"images": IMAGES[:2], "instructions": TEXTS[:2], "num_steps": 2, **changes}
    with pytest.raises(ConfigError, match=sentence) as caught:
        edit(models, arguments.pop("images"), arguments.pop("instructions"), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_are_refused_with_the_instruction(folder: Path, value: float) -> None:
    models = load_models(folder)

    def spoil(decoder: object, inputs: object, pictures: torch.Tensor) -> torch.Tensor:
        spoiled = pictures.clone()
        spoiled[1, 0, 3, 5] = value
        return spoiled

    models.autoencoder.decoder.register_forward_hook(spoil)
    with pytest.raises(PredictionError, match="finite pixels, but gives NaN or infinity for 'add a cat'") as caught:
        edit(models, IMAGES, TEXTS, num_steps=1)
    assert "\n" not in str(caught.value)
