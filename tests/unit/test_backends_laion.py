"""LAION's heads: the real ones on their reference features, tiny ones on a tiny CLIP, and what must be refused."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints.open_clip import save_open_clip
from safetensors.torch import save_file

from catalog.errors import BackendError
from tasks.backends.calls import call_batch
from tasks.backends.laion_heads import LaionLinearScorer, LaionMlpScorer, read_linear_head, read_mlp_head
from tasks.backends.open_clip_models import OpenClipEmbedder
from tasks.backends.registry import load_backend

WIDTH = 32  # of the tiny CLIP
RATINGS = {
    "b_32": (-1.470, 0.273, 1.990, 3.611, 5.087, 6.393, 7.668, 8.915, 9.917, 11.006),
    "l_14": (-2.458, -0.138, 1.895, 3.585, 5.100, 6.470, 7.787, 9.048, 10.226, 11.304),
    "mlp": (1.655, 2.359, 3.070, 3.672, 4.238, 4.701, 5.073, 5.365, 5.577, 5.747),
}
"""What the published heads gave on LAION's mean features of ratings 0 to 9, worked out when they were downloaded."""


@pytest.fixture(scope="module")
def real() -> Path:
    """Folder of the published heads: IEIW_WEIGHTS, or beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "weights"
    folder = Path(os.environ.get("IEIW_WEIGHTS", beside))
    if not (folder / "aesthetic_laion_linear").is_dir():
        pytest.skip("no real heads here: set IEIW_WEIGHTS to their folder")
    return folder


def _mlp(width: int = WIDTH, seed: int = 0) -> torch.nn.Sequential:
    """The published network, layer by layer, dropout included."""
    torch.manual_seed(seed)
    linear, dropout = torch.nn.Linear, torch.nn.Dropout
    return torch.nn.Sequential(
        linear(width, 1024), dropout(0.2), linear(1024, 128), dropout(0.2), linear(128, 64), dropout(0.1),
        linear(64, 16), linear(16, 1),
    ).eval()  # fmt: skip


def _state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {f"layers.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP and one head of either kind."""
    folder = tmp_path_factory.mktemp("laion")
    save_open_clip(folder / "clip", quick_gelu=True)
    random = torch.Generator().manual_seed(0)
    tensors = {"weight": torch.randn((1, WIDTH), generator=random), "bias": torch.randn(1, generator=random)}
    save_file(tensors, folder / "linear.safetensors")
    torch.save(_state(_mlp()), folder / "mlp.pth")
    return folder


def _ratings(real: Path, model: str) -> np.ndarray:
    files = [real / "aesthetic_laion_linear" / f"vit_{model}_embeddings" / f"rating{i}.npy" for i in range(10)]
    return np.concatenate([np.load(file) for file in files])


@pytest.mark.parametrize("model", ["b_32", "l_14"])
def test_real_linear_heads_rise_with_the_rating_and_are_a_matrix_product(real: Path, model: str) -> None:
    path = real / "aesthetic_laion_linear" / f"sa_0_4_vit_{model}_linear.pth"
    features = _ratings(real, model)
    scores = read_linear_head(path, what="test").score(features)
    state = torch.load(path, weights_only=True)
    product = features.astype(np.float64) @ state["weight"].double().numpy().T + state["bias"].double().numpy()
    np.testing.assert_allclose(scores, product[:, 0], atol=1e-6, rtol=0)
    np.testing.assert_allclose(scores, RATINGS[model], atol=6e-4)
    assert (np.diff(scores) > 0).all()


def test_the_real_mlp_rises_with_the_rating_and_is_its_layers(real: Path) -> None:
    path = real / "aesthetic_improved_mlp" / "sac+logos+ava1-l14-linearMSE.pth"
    features = _ratings(real, "l_14")
    scores = read_mlp_head(path, what="test").score(features)
    network = _mlp(768)
    state = torch.load(path, weights_only=True, map_location="cpu")  # it was saved on a GPU
    network.load_state_dict({name.removeprefix("layers."): tensor for name, tensor in state.items()})
    with torch.inference_mode():
        layers = network(torch.from_numpy(features))[:, 0].numpy()
    np.testing.assert_allclose(scores, layers, atol=1e-5, rtol=0)
    np.testing.assert_allclose(scores, RATINGS["mlp"], atol=6e-4)
    assert (np.diff(scores) > 0).all()


def test_real_heads_on_real_features_of_photos(real: Path, shared_data: Path) -> None:
    """Seven photos' published CLIP ViT-B/32 features, float16: the ratings that came with them."""
    found = np.load(shared_data / "clip_retrieval_fixtures" / "clip_vit_b32_reference.npz")
    features = found["image_embs"].astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    head = read_linear_head(real / "aesthetic_laion_linear" / "sa_0_4_vit_b_32_linear.pth", what="test")
    scores = {str(name): score for name, score in zip(found["filenames"], head.score(features), strict=True)}
    known = {"123_456": 4.0085, "208_495": 6.7292, "416_264": 5.1683, "456_123": 3.2372}
    known |= {"321_421": 6.0094, "389_535": 5.6625, "524_316": 5.8890}
    assert len(scores) == len(known)
    for name, value in known.items():
        assert next(score for file, score in scores.items() if name in file) == pytest.approx(value, abs=2e-4)


def _images(count: int = 4) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (40 + 9 * index, 70, 3), dtype=np.uint8) for index in range(count)]


def test_a_scorer_is_its_embedder_and_its_head(folder: Path) -> None:
    images, clip = _images(), str(folder / "clip")
    features = OpenClipEmbedder(clip).embed(images)
    linear = load_backend("aesthetic_scorer", "laion-linear", weights=clip, head=str(folder / "linear.safetensors"))
    mlp = load_backend("aesthetic_scorer", "laion-mlp", weights=clip, head=str(folder / "mlp.pth"))
    with torch.inference_mode():
        layers = _mlp()(torch.from_numpy(features))[:, 0].numpy()
    head = read_linear_head(folder / "linear.safetensors", what="test")
    np.testing.assert_allclose(linear.score(images), features @ head.weight + head.bias, atol=1e-6, rtol=0)
    np.testing.assert_allclose(mlp.score(images), layers, atol=1e-5, rtol=0)
    for scorer in (linear, mlp):
        assert scorer.score([]).shape == (0,) and scorer.score(images).dtype == np.float64
        together = call_batch("aesthetic_scorer", scorer, images)
        assert together == [call_batch("aesthetic_scorer", scorer, [image])[0] for image in images]


def test_the_revision_follows_head_and_model(folder: Path, tmp_path: Path) -> None:
    clip = str(folder / "clip")
    torch.save(_state(_mlp(seed=1)), tmp_path / "mlp.pth")
    save_open_clip(tmp_path / "clip", seed=1, quick_gelu=True)
    revisions = {
        LaionMlpScorer(clip, str(folder / "mlp.pth")).revision,
        LaionMlpScorer(clip, str(tmp_path / "mlp.pth")).revision,
        LaionMlpScorer(str(tmp_path / "clip"), str(folder / "mlp.pth")).revision,
    }
    assert len(revisions) == 3
    assert LaionMlpScorer(clip, str(folder / "mlp.pth")).revision in revisions
    assert not set("".join(revisions)) & set(" @=")


def _damaged(kind: str) -> dict[str, Any]:
    state: dict[str, Any] = _state(_mlp())
    if kind == "missing":
        del state["layers.6.bias"]
    if kind == "unexpected":
        state["layers.9.weight"] = torch.zeros(1)
    if kind == "mismatched":
        state["layers.2.weight"] = torch.zeros(128, 1000)
    if kind == "finite":
        state["layers.4.bias"][3] = torch.nan
    if kind == "floating-point":
        state["layers.4.bias"] = torch.zeros(64, dtype=torch.int64)
    return state


@pytest.mark.parametrize("kind", ["missing", "unexpected", "mismatched", "finite", "floating-point"])
def test_a_head_of_other_tensors_is_refused(kind: str, tmp_path: Path) -> None:
    torch.save(_damaged(kind), tmp_path / "mlp.pth")
    with pytest.raises(BackendError, match=kind):
        read_mlp_head(tmp_path / "mlp.pth", what="test")


def test_heads_are_not_mistaken_for_each_other(folder: Path) -> None:
    with pytest.raises(BackendError, match="missing keys"):
        read_linear_head(folder / "mlp.pth", what="test")
    with pytest.raises(BackendError, match="missing keys"):
        read_mlp_head(folder / "linear.safetensors", what="test")


class _Harmful:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("never"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Harmful(), "bias": torch.zeros(1)}, "linear.pth")
    with pytest.raises(BackendError, match="safetensors file or PyTorch state dictionary"):
        read_linear_head(Path("linear.pth"), what="test")
    assert not Path("never").exists()


def test_wrong_options_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    clip = str(folder / "clip")
    with pytest.raises(BackendError, match="'laion-linear' needs the option head"):
        LaionLinearScorer(clip)
    with pytest.raises(BackendError, match=r"there is no .*absent.pth"):
        LaionLinearScorer(clip, str(tmp_path / "absent.pth"))
    with pytest.raises(BackendError, match="'laion-mlp', its embedder"):
        LaionMlpScorer(str(tmp_path / "absent"), str(folder / "mlp.pth"))
    save_file({"weight": torch.zeros(1, 7), "bias": torch.zeros(1)}, tmp_path / "narrow.safetensors")
    with pytest.raises(BackendError, match="for 7 features, the CLIP model gives 32"):
        LaionLinearScorer(clip, str(tmp_path / "narrow.safetensors"))
    (tmp_path / "torn.safetensors").write_bytes((folder / "linear.safetensors").read_bytes()[:50])
    with pytest.raises(BackendError, match="safetensors file or PyTorch"):
        LaionLinearScorer(clip, str(tmp_path / "torn.safetensors"))
    with pytest.raises(BackendError, match=r"must hold one head .*narrow.safetensors, torn.safetensors"):
        LaionLinearScorer(clip, str(tmp_path))
