"""LAION's aesthetic predictors: an affine map from CLIP features of length 1 to a rating.

Both were trained on people's ratings from 1 to 10, on features of OpenAI's CLIP with QuickGELU; other features give
numbers that mean nothing. Real photos lie between about 3 and 7.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError
from tasks.backends.open_clip_models import OpenClipEmbedder
from tasks.backends.protocols import Image, library_revision
from tasks.backends.weights import check_loaded, first_line, resolve_weights, weights_digest

MLP_WIDTHS = (1024, 128, 64, 16, 1)
_MLP_LAYERS = (0, 2, 4, 6, 7)  # places in the Sequential whose others are dropouts
_FILES = ("*.safetensors", "*.pth", "*.pt")


@dataclass(frozen=True)
class AffineHead:
    """``score = features @ weight + bias``, in float64."""

    weight: NDArray[np.float64]
    """(D,)"""
    bias: float
    digest: str
    """SHA-256 of the file."""

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features (N, D) of length 1 -> ratings (N,), each the same in any batch."""
        scores: NDArray[np.float64] = (features.astype(np.float64) * self.weight).sum(axis=1) + self.bias
        return scores


def read_linear_head(path: Path, *, what: str) -> AffineHead:
    """LAION-AI/aesthetic-predictor: one linear layer, tensors ``weight`` (1, D) and ``bias`` (1,).

    Raises:
        BackendError: not readable, or other tensors.
    """
    tensors = _read_tensors(path, what)
    width = tensors["weight"].shape[-1] if "weight" in tensors and tensors["weight"].ndim else 0
    _check_tensors(tensors, {"weight": (1, width), "bias": (1,)}, path, what)
    return AffineHead(tensors["weight"][0], float(tensors["bias"][0]), weights_digest(path))


def read_mlp_head(path: Path, *, what: str) -> AffineHead:
    """christophschuhmann/improved-aesthetic-predictor: five linear layers and nothing but dropout between them.

    So the chain is one affine map, worked out here in float64. Files of the variant that was trained with ReLU hold
    the same tensors and cannot be told apart: they do not belong here.

    Raises:
        BackendError: not readable, or other tensors.
    """
    tensors = _read_tensors(path, what)
    first = tensors.get("layers.0.weight")
    width = first.shape[-1] if first is not None and first.ndim else 0
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, outputs, inputs in zip(_MLP_LAYERS, MLP_WIDTHS, (width, *MLP_WIDTHS), strict=False):
        shapes |= {f"layers.{layer}.weight": (outputs, inputs), f"layers.{layer}.bias": (outputs,)}
    _check_tensors(tensors, shapes, path, what)
    weight, bias = np.eye(width), np.zeros(width)
    for layer in _MLP_LAYERS:
        matrix = tensors[f"layers.{layer}.weight"]
        weight, bias = matrix @ weight, matrix @ bias + tensors[f"layers.{layer}.bias"]
    return AffineHead(weight[0], float(bias[0]), weights_digest(path))


class _ClipAesthetics:
    """CLIP features by open_clip, rated by a head."""

    name: str
    _read: Callable[..., AffineHead]

    def __init__(
        self,
        weights: str = "",
        head: str = "",
        model: str = "",
        device: str = "cpu",
        batch_size: int = 32,
        quick_gelu: bool | None = None,
    ) -> None:
        """Load the model and the head.

        Args:
            weights: of the CLIP model, see `open_clip_loading.load_clip`; so for the next ones but ``head``.
            head: file of the head (safetensors, or a PyTorch state dictionary), or a folder or hub id that holds
                one such file.
            model: open_clip's name of the architecture, "ViT-L-14-quickgelu" for OpenAI's weights.
            device: "cpu" or "cuda".
            batch_size: images at once on CUDA.
            quick_gelu: whether the activation is QuickGELU.

        Raises:
            BackendError: an option out of range; weights that are missing, torn, or of another width than the head.
        """
        what = f"aesthetic_scorer {self.name!r}"
        path = _head_file(head, what)
        self._head = type(self)._read(path, what=what)
        try:
            self._embedder = OpenClipEmbedder(weights, model, device, batch_size, quick_gelu)
        except BackendError as error:
            raise BackendError(f"{what}, its {error}") from error
        self._check_width(path, what)
        self.device = device
        self.revision = library_revision(1, head=self._head.digest[:16], clip=self._embedder.revision)

    def score(self, images: Sequence[Image]) -> NDArray[np.float64]:
        """See `protocols.AestheticScorer`; about 1 to 10, not clipped."""
        return self._head.score(self._embedder.embed(images))

    def _check_width(self, path: Path, what: str) -> None:
        width = self._embedder.embed([]).shape[1]
        if width != len(self._head.weight):
            raise BackendError(
                f"{what}: the head {path.name} is for {len(self._head.weight)} features, the CLIP model gives {width}: "
                "give the head of the same model (ViT-L/14: 768, ViT-B/32 and B/16: 512)"
            )


class LaionLinearScorer(_ClipAesthetics):
    """LAION's aesthetics predictor, version 1: a linear layer on CLIP features (``sa_0_4_vit_l_14_linear.pth``)."""

    name = "laion-linear"
    _read = staticmethod(read_linear_head)


class LaionMlpScorer(_ClipAesthetics):
    """LAION's improved predictor, "CLIP+MLP", the AP of the paper's table 5 (``sac+logos+ava1-l14-linearMSE.pth``)."""

    name = "laion-mlp"
    _read = staticmethod(read_mlp_head)


def _head_file(head: str, what: str) -> Path:
    if not head:
        raise BackendError(f"{what} needs the option head: the file of its head, or a folder or hub id that holds it")
    place = resolve_weights(head, what=f"{what} (option head)", files=None)
    if place.is_file():
        return place
    files = sorted({path for pattern in _FILES for path in place.rglob(pattern) if path.is_file()})
    if len(files) != 1:
        names = ", ".join(path.relative_to(place).as_posix() for path in files[:5]) or "none"
        raise BackendError(f"{what}: {place} must hold one head ({', '.join(_FILES)}). Got {names}: name the file")
    return files[0]


def _read_tensors(path: Path, what: str) -> dict[str, NDArray[np.float64]]:
    """The file's tensors in float64, by name; nothing is unpickled."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the libraries raise nearly anything for a file that is not right
        raise BackendError(
            f"{what}: {path} must be a safetensors file or PyTorch state dictionary: {first_line(error)}"
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(value, torch.Tensor) and value.is_floating_point() for value in state.values()
    ):
        raise BackendError(f"{what}: {path} must hold a dictionary of floating-point tensors: give the head's own file")
    return {str(name): value.detach().to(torch.float64).numpy() for name, value in state.items()}


def _check_tensors(
    tensors: Mapping[str, NDArray[np.float64]], shapes: Mapping[str, tuple[int, ...]], path: Path, what: str
) -> None:
    common = shapes.keys() & tensors.keys()
    report = {
        "missing_keys": shapes.keys() - tensors.keys(),
        "unexpected_keys": tensors.keys() - shapes.keys(),
        "mismatched_keys": {name for name in common if tensors[name].shape != shapes[name]},
    }
    check_loaded(report, path, what=what)
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise BackendError(f"{what}: {path} must hold finite numbers, but does not: download it again")
