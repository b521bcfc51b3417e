"""Loading networks: the tiny checkpoint runs through the real code, and every tensor must arrive."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.errors import CheckpointError
from trainer.models import frozen_digest, load_models
from trainer.pipeline_folder import write_pipeline
from trainer.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    make_tiny_checkpoint(folder, seed=0)
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_tiny_checkpoint_is_the_same_bytes_for_the_same_seed(tiny: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)
    state = torch.get_rng_state()
    make_tiny_checkpoint(tmp_path / "again", seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    make_tiny_checkpoint(tmp_path / "other", seed=1)
    assert digests(tmp_path / "again") == digests(tiny)
    assert digests(tmp_path / "other") != digests(tiny)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_tiny_latents_vary_as_a_trained_autoencoders(tiny: Path) -> None:
    models = load_models(tiny)
    torch.manual_seed(1)
    flat = torch.rand(8, 3, 8, 8) * 2 - 1
    images = torch.nn.functional.interpolate(flat, size=64, mode="bilinear")
    latents = models.encode_sources(images) * models.latent_scale
    assert latents.shape == (8, 4, 8, 8)
    assert 0.2 < float(latents.std()) < 2
    assert abs(float(latents.mean())) < 1


def test_four_new_input_channels_change_nothing_at_first(tiny: Path) -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    plain = UNet2DConditionModel.from_pretrained(str(tiny / "unet"), low_cpu_mem_usage=False)
    models = load_models(tiny)
    assert models.unet.config.in_channels == 8
    torch.manual_seed(0)
    noisy, condition, timesteps = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([3, 700])
    texts = models.encode_texts(["remove the red bird", ""])
    with torch.no_grad():
        before = plain(noisy, timesteps, encoder_hidden_states=texts).sample
        after = models.unet(torch.cat([noisy, condition], 1), timesteps, encoder_hidden_states=texts).sample
    torch.testing.assert_close(after, before)
    assert models.unet.conv_in.weight[:, 4:].abs().max() == 0
    assert models.unet.conv_in.weight.requires_grad


def test_only_the_unet_is_trained(tiny: Path) -> None:
    models = load_models(tiny)
    assert all(p.requires_grad for p in models.unet.parameters())
    frozen = [*models.autoencoder.parameters(), *models.text_encoder.parameters()]
    assert not any(p.requires_grad for p in frozen)
    assert not models.autoencoder.training
    assert not models.text_encoder.training


def test_targets_are_drawn_from_the_posterior_and_scaled(tiny: Path) -> None:
    models = load_models(tiny)
    torch.manual_seed(0)
    images, noise = torch.rand(2, 3, 64, 64) * 2 - 1, torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        posterior = models.autoencoder.encode(images).latent_dist
    naive = 0.18215 * (posterior.mean + torch.exp(0.5 * posterior.logvar) * noise)
    torch.testing.assert_close(models.encode_targets(images, noise), naive)
    torch.testing.assert_close(models.encode_sources(images), posterior.mean)


def test_text_states_equal_the_text_encoders_last_hidden_states(tiny: Path) -> None:
    models = load_models(tiny)
    ids = models.tokenizer("a red bird", padding="max_length", max_length=77, return_tensors="pt").input_ids
    states = models.encode_texts(["a red bird", "word " * 200])
    assert states.shape == (2, 77, 32)
    with torch.no_grad():
        torch.testing.assert_close(states[:1], models.text_encoder(ids)[0])


def test_an_editing_checkpoint_with_eight_channels_loads_as_it_is(tiny: Path, tmp_path: Path) -> None:
    models = load_models(tiny)
    with torch.no_grad():
        models.unet.conv_in.weight[:, 4:] = 0.25
    write_pipeline(tmp_path / "editing", models)
    again = load_models(tmp_path / "editing")
    for name, weight in models.unet.state_dict().items():
        assert torch.equal(again.unet.state_dict()[name], weight)
    assert frozen_digest(again) == frozen_digest(models)


def test_the_frozen_digest_sees_one_changed_number(tiny: Path) -> None:
    models = load_models(tiny)
    before = frozen_digest(models)
    next(iter(models.text_encoder.parameters())).data.view(-1)[0] += 1e-3
    assert frozen_digest(models) != before


PARTS = [
    ("unet", "diffusion_pytorch_model.safetensors"),
    ("vae", "diffusion_pytorch_model.safetensors"),
    ("text_encoder", "model.safetensors"),
]


@pytest.mark.parametrize(("part", "name"), PARTS)
@pytest.mark.parametrize("problem", ["missing", "left over", "other shape", "torn", "absent", "pickled"])
def test_each_tensor_must_arrive(copy: Path, part: str, name: str, problem: str) -> None:
    file = copy / part / name
    tensors = load_file(file)
    victim = sorted(tensors)[len(tensors) // 2]
    if problem == "missing":
        del tensors[victim]
    elif problem == "left over":
        tensors["something.else"] = torch.zeros(3)
    elif problem == "other shape":
        tensors[victim] = torch.zeros(7, 7)
    if problem == "torn":
        file.write_bytes(file.read_bytes()[:-1000])
    elif problem == "absent":
        file.unlink()
    elif problem == "pickled":
        file.unlink()
        torch.save(tensors, file.with_suffix(".bin"))
    else:
        save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=part) as caught:
        load_models(copy)
    assert "\n" not in str(caught.value)


def test_text_encoders_of_older_libraries_load_whole(copy: Path, tiny: Path) -> None:
    file = copy / "text_encoder" / "model.safetensors"
    tensors = {name.removeprefix("text_model."): t for name, t in load_file(file).items()}
    older = {f"text_model.{name}": tensor for name, tensor in tensors.items()}
    older["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(older, file, metadata={"format": "pt"})
    assert frozen_digest(load_models(copy)) == frozen_digest(load_models(tiny))


def test_another_noise_schedule_is_refused(copy: Path) -> None:
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "v_prediction"}))
    with pytest.raises(CheckpointError, match="prediction_type = 'v_prediction'"):
        load_models(copy)


def test_another_kind_of_model_is_refused(copy: Path) -> None:
    path = copy / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "in_channels": 9}))
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.weight"] = torch.zeros(32, 9, 3, 3)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="input channels of the UNet must be 4 or 8, got 9"):
        load_models(copy)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no unet/"):
        load_models(tmp_path)


@pytest.mark.parametrize("place", ["./not/there", "no-such-owner/no-such-model"])
def test_a_model_that_cannot_be_found_is_one_sentence(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="diffusers folder, a checkpoint file, a run, or a hub id") as caught:
        load_models(place)
    assert "\n" not in str(caught.value)
