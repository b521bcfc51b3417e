"""open_clip backends on a tiny model: against open_clip called by hand, golden tensors, and by what must be refused."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from checkpoints.files import cache_as_hub_repository, drop_tensor, rename_tensor, truncate
from checkpoints.open_clip import WEIGHTS, save_open_clip, tiny_config
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file

from catalog.errors import BackendError
from tasks.backends.open_clip_loading import load_clip
from tasks.backends.open_clip_models import OpenClipEmbedder, OpenClipSimilarity
from tasks.backends.protocols import PAIR_SIMILARITIES

WHAT = "embedder 'open-clip'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_open_clip(tmp_path_factory.mktemp("weights") / "clip")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def reference(folder: Path) -> tuple[Any, Any, Any]:
    """Network, preprocessing and tokenizer as open_clip's own functions load them."""
    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return network.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{folder}")


@pytest.fixture
def tiny_model(tmp_path: Path) -> str:
    """A model name of open_clip's, forgotten afterwards."""
    (tmp_path / "ViT-tiny-test.json").write_text(json.dumps(tiny_config(32)))
    open_clip.add_model_config(tmp_path)
    yield "ViT-tiny-test"
    open_clip.factory._MODEL_CONFIG_PATHS.remove(tmp_path)
    del open_clip.factory._MODEL_CONFIGS["ViT-tiny-test"]


def _images(count: int = 3, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (40 + 9 * index, 70, 3), dtype=np.uint8) for index in range(count)]


def test_features_are_open_clips_own(folder: Path, reference: tuple[Any, Any, Any]) -> None:
    network, preprocess, _ = reference
    images = _images()
    with torch.inference_mode():
        expected = network.encode_image(
            torch.stack([preprocess(Image.fromarray(image)) for image in images]), normalize=True
        )
    got = OpenClipEmbedder(weights=str(folder)).embed(images)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_similarities_are_instruct_pix2pixs(folder: Path, reference: tuple[Any, Any, Any]) -> None:
    """Written out as its official code has them: squeezed bicubic, normalized features, cosine_similarity."""
    network, _, tokenize = reference
    sources, targets = _images(2), _images(2, seed=1)
    captions = [["a dog", "a red car " * 60], ["a cat", "a tree"]]
    mean, std = (
        torch.tensor(value)[:, None, None] for value in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    cosine = torch.nn.functional.cosine_similarity

    def image_features(images: list[np.ndarray]) -> torch.Tensor:
        rows = []
        for image in images:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
            small = torch.nn.functional.interpolate(pixels, size=32, mode="bicubic", align_corners=False)
            rows.append(network.encode_image((small - mean) / std, normalize=True))
        return torch.cat(rows)

    with torch.inference_mode():
        before, after = image_features(sources), image_features(targets)
        words_before, words_after = (network.encode_text(tokenize(texts), normalize=True) for texts in captions)
        expected = (
            cosine(before, after),
            cosine(before, words_before),
            cosine(after, words_after),
            cosine(after - before, words_after - words_before),
        )
    got = OpenClipSimilarity(weights=str(folder)).similarity(sources, targets, *captions)
    assert tuple(got) == PAIR_SIMILARITIES
    for values, wanted in zip(got.values(), expected, strict=True):
        np.testing.assert_allclose(values, wanted.numpy(), atol=2e-5)


def test_a_missing_caption_is_not_measured_and_no_change_has_no_direction(folder: Path) -> None:
    images = _images(3)
    got = OpenClipSimilarity(weights=str(folder)).similarity(images, images, ["a", None, "a"], ["b", "c", " "])
    np.testing.assert_allclose(got["image_similarity"], 1)
    assert np.isnan(got["source_text_similarity"]).tolist() == [False, True, False]
    assert np.isnan(got["target_text_similarity"]).tolist() == [False, False, True]
    np.testing.assert_array_equal(got["direction_similarity"], [0, np.nan, np.nan])


def test_words_beyond_the_context_are_cut_off(folder: Path) -> None:
    similarity = OpenClipSimilarity(weights=str(folder))
    image = _images(1)
    long = "dog " * 80
    first, second = (similarity.similarity(image, image, ["a"], [text]) for text in (long, long + "and a cat"))
    np.testing.assert_array_equal(first["target_text_similarity"], second["target_text_similarity"])


def test_the_models_own_preprocessing_is_a_choice(folder: Path) -> None:
    images = _images(2)
    whole, central = (OpenClipSimilarity(weights=str(folder), fit=fit) for fit in ("instruct-pix2pix", "model"))
    results = [backend.similarity(images, images[::-1], ["a", "b"], ["c", "d"]) for backend in (whole, central)]
    assert (results[0]["source_text_similarity"] != results[1]["source_text_similarity"]).any()
    assert whole.revision != central.revision


def test_preprocessing_equals_the_golden_tensors(shared_data: Path, tmp_path: Path) -> None:
    fixtures = shared_data / "clip_retrieval_fixtures"
    clip = load_clip(str(save_open_clip(tmp_path / "clip", image_size=224)), "", None, "cpu", what=WHAT)
    with np.load(fixtures / "clip_vit_b32_reference.npz") as golden:
        names, tensors = golden["filenames"], golden["image_tensor"]
    photos = {}
    for path in sorted((fixtures / "test_tars").glob("*.tar")):
        with tarfile.open(path) as tar:
            photos |= {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
    assert len(names) == 7
    for name, tensor in zip(names, tensors, strict=True):
        with Image.open(io.BytesIO(photos[f"{name}.jpg"])) as photo:
            image = np.asarray(photo.convert("RGB"))
        np.testing.assert_allclose(clip.preprocess(image), tensor, atol=1e-5)


def test_both_roles_share_one_copy_of_the_weights(folder: Path) -> None:
    embedder, similarity = OpenClipEmbedder(weights=str(folder)), OpenClipSimilarity(weights=f"local-dir:{folder}")
    assert embedder._clip.network is similarity._clip.network


def test_every_tensor_is_the_files(folder: Path) -> None:
    stored = load_file(folder / WEIGHTS)
    loaded = load_clip(str(folder), "", None, "cpu", what=WHAT).network.state_dict()
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], stored[name]) for name in stored)


def test_folder_file_and_hub_id_give_the_same_features(
    folder: Path, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_as_hub_repository(folder, tmp_path / "hub", "owner/clip")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    torch.save(load_file(folder / WEIGHTS), tmp_path / "tiny.pt")
    images = _images()
    expected = OpenClipEmbedder(weights=str(folder)).embed(images)
    for options in (
        {"weights": "hf-hub:owner/clip"},
        {"weights": "owner/clip"},
        {"weights": str(folder / WEIGHTS), "model": tiny_model},
        {"weights": str(tmp_path / "tiny.pt"), "model": tiny_model},
    ):
        np.testing.assert_array_equal(OpenClipEmbedder(**options).embed(images), expected)


def test_a_tag_is_looked_up_on_the_hub(
    folder: Path, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_as_hub_repository(folder, tmp_path / "hub", "owner/clip")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    entry = {"hf_hub": "owner/clip/", "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic"}
    tags = {"openai": {**entry, "quick_gelu": True}, "laion": {**entry, "quick_gelu": False}, "far": {"url": "x"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, tiny_model, tags)
    got = OpenClipEmbedder(weights="laion", model=tiny_model)
    assert got._clip.network.visual.preprocess_cfg["mean"] == (0.5,) * 3
    with pytest.raises(BackendError, match=r"trained with QuickGELU, .* without it: set quick_gelu = true"):
        OpenClipEmbedder(weights="openai", model=tiny_model)
    OpenClipEmbedder(weights="openai", model=tiny_model, quick_gelu=True)
    with pytest.raises(BackendError, match=r"trained without QuickGELU, .* with it: set quick_gelu = false"):
        OpenClipEmbedder(weights="laion", model=tiny_model, quick_gelu=True)
    with pytest.raises(BackendError, match="by an address only"):
        OpenClipEmbedder(weights="far", model=tiny_model)


def test_openai_weights_need_quick_gelu(folder: Path, tmp_path: Path) -> None:
    plain = shutil.copytree(folder, tmp_path / "vit_large_patch14_clip_224.openai")
    with pytest.raises(BackendError, match="set quick_gelu = true"):
        OpenClipEmbedder(weights=str(plain))
    switched = OpenClipEmbedder(weights=str(plain), quick_gelu=True)
    saved = OpenClipEmbedder(weights=str(save_open_clip(tmp_path / "quick.openai", quick_gelu=True)))
    images = _images()
    np.testing.assert_array_equal(switched.embed(images), saved.embed(images))
    usual = OpenClipEmbedder(weights=str(folder))
    assert np.abs(usual.embed(images) - saved.embed(images)).max() > 1e-4
    assert len({usual.revision, switched.revision, saved.revision}) == 3
    with pytest.raises(BackendError, match="with QuickGELU"):
        OpenClipEmbedder(weights="openai", model="ViT-L-14")


def test_a_tensor_that_is_missing_or_renamed_is_refused(copy: Path) -> None:
    name = "visual.transformer.resblocks.0.mlp.c_fc.weight"
    rename_tensor(copy / WEIGHTS, name, "visual.old")
    with pytest.raises(BackendError, match=f"missing keys: {name}"):
        OpenClipEmbedder(weights=str(copy))
    drop_tensor(copy / WEIGHTS, "visual.old")
    with pytest.raises(BackendError, match=f"missing keys: {name}"):
        OpenClipEmbedder(weights=str(copy))


def test_a_left_over_tensor_is_refused(copy: Path) -> None:
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["layers"] = 1
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match=r"unexpected keys: transformer\.resblocks\.1"):
        OpenClipEmbedder(weights=str(copy))


def test_weights_of_another_image_size_are_refused(copy: Path) -> None:
    """open_clip's own loading would stretch the position embeddings without a word."""
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 64
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match=r"mismatched keys: visual\.positional_embedding"):
        OpenClipEmbedder(weights=str(copy))


def test_a_torn_file_is_refused(copy: Path) -> None:
    truncate(copy / WEIGHTS)
    with pytest.raises(BackendError, match="must be a whole safetensors file") as caught:
        OpenClipEmbedder(weights=str(copy))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_cfg": 3}', '{"model_cfg": {"embed_dim": 4}}'])
def test_a_broken_configuration_is_refused(copy: Path, content: str) -> None:
    (copy / "open_clip_config.json").write_text(content)
    with pytest.raises(BackendError, match="embedder 'open-clip'") as caught:
        OpenClipEmbedder(weights=str(copy))
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_is_refused(copy: Path) -> None:
    (copy / WEIGHTS).unlink()
    with pytest.raises(BackendError, match=r"must hold the weights as one of open_clip_model.safetensors"):
        OpenClipEmbedder(weights=str(copy))


def test_options_out_of_range_are_refused(folder: Path) -> None:
    file = str(folder / WEIGHTS)
    for options, message in (
        ({}, "needs the option weights"),
        ({"weights": file}, "is a file"),
        ({"weights": file, "model": "ViT-nothing"}, "model must be one of open_clip's names"),
        ({"weights": str(folder), "model": "ViT-L-14"}, "leave out the option model"),
        ({"weights": str(folder), "batch_size": 0}, "batch_size must be"),
        ({"weights": str(folder), "quick_gelu": 1}, "quick_gelu must be true or false"),
        ({"weights": str(folder), "device": "tpu"}, "device must be"),
    ):
        with pytest.raises(BackendError, match=f"embedder 'open-clip'.*{message}"):
            OpenClipEmbedder(**options)
    with pytest.raises(BackendError, match="pair_similarity 'open-clip': fit must be one of"):
        OpenClipSimilarity(weights=str(folder), fit="crop")
