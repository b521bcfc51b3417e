"""Perceptual distance and feature similarity: LPIPS beside torchmetrics', DINO beside transformers by hand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from checkpoints.dino import save_dino
from checkpoints.files import truncate
from checkpoints.lpips import HEADS, features_of, save_lpips
from safetensors.torch import load_file, save_file
from skimage import data
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision import transforms
from transformers import ViTModel

from catalog.errors import BackendError
from tasks.backends.dino import DinoSimilarity, preprocess
from tasks.backends.lpips import BACKBONES, LpipsDistance
from tasks.backends.perceptual import LaplacianPyramidDistance
from tasks.backends.weights import weights_digest


def photo(name: str, height: int, width: int) -> np.ndarray:
    whole = np.ascontiguousarray(getattr(data, name)()[..., :3])
    return np.asarray(transforms.functional.to_pil_image(whole).resize((width, height)))


PHOTO, OTHER = photo("chelsea", 72, 96), photo("coffee", 72, 96)


def noisy(image: np.ndarray, levels: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, levels, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("network", BACKBONES)
def test_lpips_is_that_of_torchmetrics_on_the_same_weights(
    tmp_path: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchmetrics.functional.image.lpips, "_get_tv_model_features", lambda *_: features_of(network))
    options = save_lpips(tmp_path, network)
    found = LpipsDistance(**options).distance([PHOTO, PHOTO, PHOTO], [PHOTO, noisy(PHOTO, 12), OTHER])
    reference = _LPIPS(pnet_rand=True, net=network, model_path=options["heads"])
    # There the layers lie in slices: "slice1.0.weight", "slices.0.0.weight".
    own = {re.sub(r"^slices?\.?\d+\.", "", name): value for name, value in reference.net.named_parameters()}
    for name, value in load_file(options["weights"]).items():
        own[name.removeprefix("features.")].data.copy_(value)
    sides = [PHOTO, PHOTO, PHOTO], [PHOTO, noisy(PHOTO, 12), OTHER]
    pixels = [torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2) / 127.5 - 1 for side in sides]
    expected = reference(*pixels).flatten().detach().numpy()
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[0] == 0 < found[1] < found[2]


@pytest.mark.parametrize("distance", ["lpips", "pyramid"])
def test_distances_rise_with_the_harm_and_do_not_care_for_the_order(tmp_path: Path, distance: str) -> None:
    backend: Any = LpipsDistance(**save_lpips(tmp_path)) if distance == "lpips" else LaplacianPyramidDistance()
    worse = [noisy(PHOTO, levels) for levels in (0, 4, 16, 64)]
    found = backend.distance([PHOTO] * 4, worse)
    assert found[0] == 0 and (np.diff(found) > 0).all()
    assert backend.distance(worse, [PHOTO] * 4) == pytest.approx(found, abs=1e-7)


def test_the_pyramid_sees_blur_and_moves_that_pixels_hardly_show() -> None:
    """A brighter picture and a shifted one of equal mean error: the first looks more alike."""
    backend = LaplacianPyramidDistance()
    shifted = np.roll(PHOTO, 3, axis=1)
    levels = round(np.abs(shifted.astype(float) - PHOTO).mean())
    brighter = np.clip(PHOTO.astype(int) + levels, 0, 255).astype(np.uint8)
    close, far = backend.distance([PHOTO, PHOTO], [brighter, shifted])
    assert close < 0.5 * far
    with pytest.raises(ValueError, match="one size"):
        backend.distance([PHOTO], [PHOTO[:50]])


def lpips_problem(tmp_path: Path, **options: Any) -> str:
    with pytest.raises(BackendError) as caught:
        LpipsDistance(**(save_lpips(tmp_path) | options))
    return str(caught.value)


def test_files_of_lpips_that_are_not_right_are_one_sentence(tmp_path: Path) -> None:
    options = save_lpips(tmp_path)
    file = Path(options["weights"])
    assert "missing keys: 10.bias and 7 more" in lpips_problem(tmp_path, network="alex")
    assert "missing keys: lin5.model.1.weight" in lpips_problem(tmp_path, heads=str(HEADS / "vgg.pth"))
    assert "must have SHA-256 " + "0" * 64 in lpips_problem(tmp_path, sha256="0" * 64)
    assert "must have SHA-256" in lpips_problem(tmp_path, heads_sha256="1" * 64)
    LpipsDistance(**options, sha256=weights_digest(file), heads_sha256=weights_digest(Path(options["heads"])))
    tensors = load_file(file)
    broken = tmp_path / "broken.safetensors"
    save_file(tensors | {"features.0.bias": torch.full_like(tensors["features.0.bias"], np.nan)}, broken)
    assert "must hold finite numbers" in lpips_problem(tmp_path, weights=str(broken))
    save_file({name: value for name, value in tensors.items() if name != "features.0.bias"}, broken)
    assert "missing keys: 0.bias" in lpips_problem(tmp_path, weights=str(broken))
    truncate(broken)
    assert "must be a safetensors file" in lpips_problem(tmp_path, weights=str(broken))
    assert "must hold one weight file. Got broken.safetensors, squeeze.safetensors" in lpips_problem(
        tmp_path, weights=str(tmp_path)
    )
    negative = {name: -value for name, value in torch.load(options["heads"], map_location="cpu").items()}
    torch.save(negative, tmp_path / "heads.pth")
    assert "weights of 0 or more" in lpips_problem(tmp_path, heads=str(tmp_path / "heads.pth"))
    with pytest.raises(ValueError, match="sides of at least 31 pixels"):
        LpipsDistance(**options).distance([PHOTO[:20]], [PHOTO[:20]])


@pytest.mark.parametrize(("height", "width"), [(300, 451), (451, 300), (256, 256), (97, 640), (224, 224)])
def test_dino_sees_what_the_official_transforms_give(height: int, width: int) -> None:
    image = photo("astronaut", height, width)
    official = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = official(transforms.functional.to_pil_image(image)).numpy()
    np.testing.assert_allclose(preprocess(image), expected, atol=1e-6)


def test_dino_compares_class_tokens(tmp_path: Path) -> None:
    folder = save_dino(tmp_path / "dino")
    network = ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        tokens = [
            network(torch.from_numpy(preprocess(image, 32))[None]).last_hidden_state[0, 0] for image in (PHOTO, OTHER)
        ]
    expected = torch.nn.functional.cosine_similarity(*tokens, dim=0).item()
    found = DinoSimilarity(str(folder)).compare([PHOTO, PHOTO], [OTHER, PHOTO])
    assert found == pytest.approx([expected, 1.0], abs=1e-6)


def test_dinov2_and_what_is_no_dino(tmp_path: Path) -> None:
    second = DinoSimilarity(str(save_dino(tmp_path / "two", kind="dinov2")))
    assert second.compare([PHOTO], [PHOTO]) == pytest.approx([1.0])
    folder = save_dino(tmp_path / "dino")
    other = save_dino(tmp_path / "other", seed=1)
    assert DinoSimilarity(str(folder)).revision != DinoSimilarity(str(other)).revision
    config = (folder / "config.json").read_text()
    for text, sentence in (
        (config.replace('"vit"', '"bert"'), "model_type vit or dinov2. Got 'bert'"),
        ("[", "must be a"),
    ):
        (folder / "config.json").write_text(text)
        with pytest.raises(BackendError, match=sentence):
            DinoSimilarity(str(folder))
    (folder / "config.json").write_text(config)
    truncate(folder / "model.safetensors")
    with pytest.raises(BackendError, match="must hold a whole ViTModel"):
        DinoSimilarity(str(folder))
