"""Single-file checkpoints in the original layout, on tiny networks with every name of Stable Diffusion v1's own."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.errors import CheckpointError
from trainer.export import main
from trainer.models import Models, load_models
from trainer.original_layout import average_name, unet_name
from trainer.pipeline_folder import write_pipeline
from trainer.plain_checkpoints import Unknown, read_pickled
from trainer.single_file import read_single_file, write_single_file
from trainer.tiny_tokenizer import make_tokenizer

UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def models() -> Models:
    """Stable Diffusion v1's depth, heads and group norms, a tenth of its width."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 64, 64), cross_attention_dim=64, attention_head_dim=8, sample_size=8
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 32, 32), layers_per_block=2, latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=1, projection_dim=64,
        )
    )  # fmt: skip
    return Models(unet.eval(), vae.eval(), text.eval(), tokenizer)


def networks(models: Models) -> tuple[Any, Any, Any]:
    return models.unet, models.autoencoder, models.text_encoder


@pytest.fixture(scope="module")
def folder(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folder") / "pipeline"
    write_pipeline(path, models)
    return path


@pytest.fixture(scope="module")
def file(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As others write it: no configurations inside."""
    path = tmp_path_factory.mktemp("file") / "model.safetensors"
    write_single_file(path, networks(models))
    save_file(load_file(path), path)
    return path


def assert_equal(ours: tuple[Any, Any, Any], theirs: tuple[Any, Any, Any]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        first, second = mine.state_dict(), other.state_dict()
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_names_are_stable_diffusions_own(file: Path) -> None:
    names = load_file(file)
    for name in (
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.input_blocks.3.0.op.weight",
        "model.diffusion_model.output_blocks.2.1.conv.weight",
        "model.diffusion_model.output_blocks.5.2.conv.bias",
        "model.diffusion_model.middle_block.2.out_layers.3.weight",
        "first_stage_model.encoder.mid.attn_1.q.weight",
        "first_stage_model.decoder.up.3.upsample.conv.weight",
        "first_stage_model.quant_conv.bias",
        "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight",
    ):
        assert name in names, name
    assert names["first_stage_model.encoder.mid.attn_1.q.weight"].shape == (32, 32, 1, 1)


def test_diffusers_own_conversion_gives_the_same_networks(file: Path, models: Models) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    tensors = load_file(file)
    theirs = convert_ldm_unet_checkpoint(dict(tensors), dict(models.unet.config))
    ours = models.unet.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    theirs = convert_ldm_vae_checkpoint(dict(tensors), dict(models.autoencoder.config))
    ours = models.autoencoder.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name].reshape(ours[name].shape), ours[name]) for name in ours)


def test_a_file_without_configurations_gives_the_same_networks_and_pictures(file: Path, models: Models) -> None:
    read = read_single_file(file)
    assert_equal(read, networks(models))
    for name in ("block_out_channels", "down_block_types", "up_block_types"):
        assert list(read[0].config[name]) == list(models.unet.config[name])
    noisy, steps = torch.randn(2, 4, 8, 8), torch.tensor([5, 900])
    ids = torch.randint(0, 400, (2, 77))
    with torch.no_grad():
        texts = [text(ids).last_hidden_state for text in (read[2].eval(), models.text_encoder)]
        assert torch.equal(*texts)
        outputs = [unet(noisy, steps, texts[0]).sample for unet in (read[0].eval(), models.unet)]
        assert torch.equal(*outputs)
        assert torch.equal(*[vae.decode(noisy).sample for vae in (read[1].eval(), models.autoencoder)])


def test_folder_to_file_to_folder_is_a_round_trip(folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert main([str(folder), str(tmp_path / "one.safetensors")]) == 0
    assert main([str(tmp_path / "one.safetensors"), str(tmp_path / "again"), "--tokenizer", str(folder)]) == 0
    assert "4 input channels (text to image)" in capsys.readouterr().out
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = (next((place / part).glob("*.safetensors")) for place in (tmp_path / "again", folder))
        assert ours.read_bytes() == theirs.read_bytes()
        first, again = (
            json.loads((place / part / "config.json").read_text()) for place in (folder, tmp_path / "again")
        )
        assert {name: again.get(name) for name in first} == first
        assert str(folder) not in json.dumps(again)


def test_half_precision_is_exact_for_what_fits(folder: Path, tmp_path: Path) -> None:
    assert main([str(folder), str(tmp_path / "half.safetensors"), "--half"]) == 0
    read, whole = read_single_file(tmp_path / "half.safetensors"), load_models(folder, image_condition=None)
    for name, tensor in whole.unet.state_dict().items():
        assert torch.equal(read[0].state_dict()[name], tensor.half().float())


def official(models: Models, *, averages: bool, channels: int = 8) -> dict[str, Any]:
    """A checkpoint as the official code saves it: Lightning's wrapping, schedule buffers, EMA names without dots."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    tensors: dict[str, torch.Tensor] = {}
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    for name, tensor in models.unet.state_dict().items():
        original = unet_name(name, models.unet.config)
        if original == "input_blocks.0.0.weight" and channels == 8:
            tensor = torch.cat([tensor, torch.full_like(tensor, 0.5)], 1)
        tensors[UNET + original] = tensor
        if averages:
            tensors[average_name(original)] = tensor + 1
    tensors |= {"betas": schedule.betas, "alphas_cumprod": schedule.alphas_cumprod, "scale_factor": torch.tensor(0.18)}
    tensors |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)}
    return tensors


def rest(file: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in load_file(file).items() if not name.startswith(UNET)}


def test_official_checkpoints_load_by_their_moving_average(
    models: Models, file: Path, folder: Path, tmp_path: Path
) -> None:
    tensors = official(models, averages=True) | rest(file)
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    path = tmp_path / "instruct-pix2pix.ckpt"
    torch.save({"state_dict": tensors, "global_step": 22000, "epoch": 3}, path)
    loaded = load_models(path, tokenizer=str(folder))
    assert loaded.unet.config.in_channels == 8
    name = "mid_block.resnets.1.conv2.weight"
    assert torch.equal(loaded.unet.state_dict()[name], models.unet.state_dict()[name] + 1)
    assert (loaded.unet.conv_in.weight[:, 4:] == 1.5).all()
    assert_equal((loaded.autoencoder, loaded.text_encoder), (models.autoencoder, models.text_encoder))  # type: ignore[arg-type]
    assert loaded.encode_texts(["a red bird"]).shape == (1, 77, 64)

    del tensors[average_name("out.2.bias")]
    torch.save({"state_dict": tensors}, path)
    with pytest.raises(CheckpointError, match=r"has no model_ema.diffusion_modelout2bias"):
        load_models(path, tokenizer=str(folder))


def test_a_deepspeed_states_average_is_read(models: Models, file: Path, folder: Path, tmp_path: Path) -> None:
    tensors = official(models, averages=True) | rest(file)
    averages = {name.removeprefix("model_ema."): tensors.pop(name) for name in list(tensors) if "model_ema" in name}
    path = tmp_path / "state.pth"
    torch.save({"module": tensors, "model_ema": averages}, path)
    loaded = load_models(path, tokenizer=str(folder))
    assert torch.equal(loaded.unet.conv_out.bias, models.unet.conv_out.bias + 1)


class ModelCheckpoint:
    """A stranger's class, as Lightning leaves them in its checkpoints."""

    def __init__(self) -> None:
        self.best = {"score": [1, 2]}


class Harmful:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_classes_in_a_pickle_become_inert(models: Models, file: Path, folder: Path, tmp_path: Path) -> None:
    tensors, path = official(models, averages=False, channels=4) | rest(file), tmp_path / "lightning.ckpt"
    callbacks = {ModelCheckpoint: ModelCheckpoint(), "harm": Harmful(tmp_path / "harmed")}
    torch.save({"state_dict": tensors, "callbacks": callbacks, "optimizer_states": []}, path)
    read = read_pickled(path)
    assert all(isinstance(value, Unknown) for value in read["callbacks"].values())
    assert not (tmp_path / "harmed").exists()
    loaded = load_models(path, tokenizer=str(folder), image_condition=False)
    assert torch.equal(loaded.unet.conv_out.bias, models.unet.conv_out.bias)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.pop("first_stage_model.quant_conv.bias"), "has no first_stage_model.quant_conv.bias"),
        (lambda t: t.update({"something.else": torch.zeros(1)}), "also has something.else"),
        (lambda t: t.update({UNET + "out.2.bias": torch.zeros(7)}), r"must have the shape \(4,\), got \(7,\)"),
        (lambda t: t.update(betas=torch.linspace(1e-4, 0.02, 1000)), "noise schedule"),
        (lambda t: [t.pop(name) for name in list(t) if name.startswith(UNET)], "convert_ckpt"),
        (lambda t: t.pop(UNET + "input_blocks.0.0.weight"), "lacks a part"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(file: Path, tmp_path: Path, spoil: Any, sentence: str) -> None:
    tensors = load_file(file)
    spoil(tensors)
    save_file(tensors, tmp_path / "spoiled.safetensors")
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_single_file(tmp_path / "spoiled.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_torn_file_is_one_sentence(file: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"torn{suffix}"
    if suffix == ".ckpt":
        torch.save(load_file(file), path)
        path.write_bytes(path.read_bytes()[:-5000])
    else:
        path.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="must be a whole") as caught:
        read_single_file(path)
    assert "\n" not in str(caught.value)


def test_a_pickle_of_something_else_is_one_sentence(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="mapping of tensors, got list"):
        read_pickled(tmp_path / "list.pt")
    torch.save({"state_dict": 3}, tmp_path / "number.pt")
    with pytest.raises(CheckpointError, match="under state_dict, got int"):
        read_single_file(tmp_path / "number.pt")


def test_other_files_and_missing_tokenizers_are_one_sentence(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "model.txt").write_text("no")
    with pytest.raises(CheckpointError, match=r"named .safetensors, .ckpt"):
        load_models(tmp_path / "model.txt")
    with pytest.raises(CheckpointError, match="must be a CLIP tokenizer"):
        load_models(file, tokenizer=str(tmp_path))


def test_export_refuses_what_it_cannot_write(folder: Path, tmp_path: Path) -> None:
    taken = Path(shutil.copytree(folder, tmp_path / "taken"))
    for arguments, sentence in (
        ([str(folder), str(taken)], "must not exist yet"),
        ([str(folder), str(tmp_path / "x.ckpt")], "pickles are not written"),
        ([str(folder), str(tmp_path / "x"), "--half"], "--half is for"),
    ):
        with pytest.raises(ValueError, match=sentence):
            main(arguments)
