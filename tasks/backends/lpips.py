"""LPIPS: how unlike two pictures look, by the features of a classifier and weights learned from people's judgements.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018), section 3: features
of each tapped layer are brought to length 1 over their channels, their squared difference is weighted by channel and
averaged over places, and the layers are summed (version 0.1 of its weights).

``weights`` is the classifier as torchvision publishes it (alexnet, vgg16, squeezenet1_1; its ``features.*`` tensors),
``heads`` the file of channel weights (``lin0.model.1.weight``, ...; alex.pth, vgg.pth, squeeze.pth).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError
from tasks.backends.batches import run_in_batches
from tasks.backends.protocols import Image, library_revision
from tasks.backends.weights import check_device, check_loaded, first_line, resolve_weights, weights_digest

_WHAT = "perceptual_distance 'lpips'"
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's mean and deviation for values in [-1, 1], as the authors round them."""
_EPSILON = 1e-10
LEAST_SIDE = 31
"""Pixels: below, AlexNet's last layers have nothing to look at."""


@dataclass(frozen=True)
class Backbone:
    """A classifier's features: its layers by torchvision's numbers, and those whose outputs are compared."""

    layers: tuple[tuple[Any, ...], ...]
    """("conv", inputs, outputs, kernel, stride, padding), ("relu",), ("pool", kernel, whether it rounds up), ("fire",
    inputs, squeezed, expanded)."""
    taps: tuple[int, ...]
    widths: tuple[int, ...]
    """Channels at the taps."""


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> tuple[Any, ...]:
    return "conv", inputs, outputs, kernel, stride, padding


def _vgg16() -> Backbone:
    layers: list[tuple[Any, ...]] = []
    inputs = 3
    for width, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(times):
            layers += [_conv(inputs, width), ("relu",)]
            inputs = width
        layers.append(("pool", 2, False))
    return Backbone(tuple(layers), (3, 8, 15, 22, 29), (64, 128, 256, 512, 512))


_RELU, _POOL = ("relu",), ("pool", 3, False)
BACKBONES: Mapping[str, Backbone] = {
    "alex": Backbone(
        (
            *(_conv(3, 64, 11, 4, 2), _RELU, _POOL),
            *(_conv(64, 192, 5, 1, 2), _RELU, _POOL),
            *(_conv(192, 384), _RELU, _conv(384, 256), _RELU, _conv(256, 256), _RELU, _POOL),
        ),
        (1, 4, 7, 9, 11),
        (64, 192, 384, 256, 256),
    ),
    "vgg": _vgg16(),
    "squeeze": Backbone(
        (
            *(_conv(3, 64, 3, 2, 0), _RELU, ("pool", 3, True)),
            *(("fire", 64, 16, 64), ("fire", 128, 16, 64), ("pool", 3, True)),
            *(("fire", 128, 32, 128), ("fire", 256, 32, 128), ("pool", 3, True)),
            *(("fire", 256, 48, 192), ("fire", 384, 48, 192), ("fire", 384, 64, 256), ("fire", 512, 64, 256)),
        ),
        (1, 4, 7, 9, 10, 11, 12),
        (64, 128, 256, 384, 384, 512, 512),
    ),
}
"""Krizhevsky's, Simonyan's and Iandola's networks as torchvision has them, tapped as the paper's code taps them."""


class LpipsDistance:
    """LPIPS 0.1 with the AlexNet, VGG or SqueezeNet backbone; 0 for equal pictures, rarely above 1."""

    name = "lpips"

    def __init__(
        self,
        weights: str = "",
        heads: str = "",
        network: Literal["alex", "vgg", "squeeze"] = "alex",
        device: str = "cpu",
        batch_size: int = 32,
        sha256: str = "",
        heads_sha256: str = "",
    ) -> None:
        """Load backbone and heads.

        Args:
            weights: file of torchvision's classifier (safetensors or PyTorch state dictionary), or a hub id or folder
                that holds one such file.
            heads: file of the channel weights, likewise.
            network: which backbone. The authors compare pictures with "alex".
            device: "cpu" or "cuda".
            batch_size: pairs at once on CUDA.
            sha256: of ``weights``, where it must be a certain file.
            heads_sha256: of ``heads``.

        Raises:
            BackendError: an option out of range; files that are missing, torn, of another network or another digest.
        """
        import torch

        if network not in BACKBONES:
            raise BackendError(f"{_WHAT}: network must be one of {', '.join(BACKBONES)}. Got {network!r}")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= 65536:
            raise BackendError(f"{_WHAT}: batch_size must be a whole number from 1 to 65536. Got {batch_size!r}")
        self.device, self._batch_size = check_device(device, what=_WHAT), batch_size
        backbone = BACKBONES[network]
        files = [_find(weights, "weights", sha256), _find(heads, "heads", heads_sha256)]
        self._layers = _load_layers(backbone, files[0]).to(device)
        self._taps = backbone.taps
        self._heads = [head.to(device) for head in _load_heads(backbone, files[1])]
        batch = {"batch": batch_size} if device == "cuda" else {}
        self.revision = library_revision(
            1,
            {"network": network, "device": device, **batch},
            torch=torch.__version__.replace("+", "."),
            weights=weights_digest(files[0])[:16],
            heads=weights_digest(files[1])[:16],
        )

    def distance(self, images: Sequence[Image], others: Sequence[Image]) -> NDArray[np.float64]:
        """See `protocols.PerceptualDistance`. Pictures are compared at their own size, from `LEAST_SIDE` pixels on."""
        pairs = list(zip(images, others, strict=True))
        for image, other in pairs:
            if image.shape != other.shape or min(image.shape[:2]) < LEAST_SIDE:
                raise ValueError(
                    f"LPIPS compares pictures of one size with sides of at least {LEAST_SIDE} pixels. "
                    f"Got {image.shape} and {other.shape}"
                )
        # One by one also on CUDA where sizes differ: a batch has one shape.
        size = self._batch_size if len({image.shape for image, _ in pairs}) == 1 else 1
        return np.array(run_in_batches(self._forward, pairs, size, self.device), np.float64)

    def _forward(self, pairs: Sequence[tuple[Image, Image]]) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            first, second = (
                self._features(torch.from_numpy(np.stack([pair[side] for pair in pairs]))) for side in (0, 1)
            )
            parts = [
                (torch.square(one - other) * head).sum(dim=1).mean(dim=(1, 2))
                for one, other, head in zip(first, second, self._heads, strict=True)
            ]
            total: NDArray[np.float64] = torch.stack(parts).double().sum(dim=0).cpu().numpy()
        return total

    def _features(self, pixels: Any) -> list[Any]:
        """(N, H, W, 3) uint8 -> features of each tap, of length 1 over their channels."""
        import torch

        shift, scale = (torch.tensor(values, device=self.device)[:, None, None] for values in (_SHIFT, _SCALE))
        values = pixels.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        values = (values - shift) / scale
        found = []
        for place, layer in enumerate(self._layers[: self._taps[-1] + 1]):
            values = layer(values)
            if place in self._taps:
                length = torch.sqrt(torch.square(values).sum(dim=1, keepdim=True))
                found.append(values / (length + _EPSILON))
        return found


def _build(layer: tuple[Any, ...]) -> Any:
    """A layer of torch."""
    from torch import nn

    kind, *numbers = layer
    if kind == "conv":
        inputs, outputs, kernel, stride, padding = numbers
        return nn.Conv2d(inputs, outputs, kernel, stride, padding)
    if kind == "pool":
        return nn.MaxPool2d(numbers[0], stride=2, ceil_mode=numbers[1])
    return _make_fire(*numbers) if kind == "fire" else nn.ReLU()


def _make_fire(inputs: int, squeezed: int, expanded: int) -> Any:
    """SqueezeNet's module: a narrow 1 x 1 convolution, then 1 x 1 and 3 x 3 beside each other."""
    import torch
    from torch import nn

    class Fire(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze = nn.Conv2d(inputs, squeezed, 1)
            self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
            self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

        def forward(self, values: Any) -> Any:
            narrow = torch.relu(self.squeeze(values))
            return torch.relu(torch.cat([self.expand1x1(narrow), self.expand3x3(narrow)], dim=1))

    return Fire()


def _load_layers(backbone: Backbone, file: Path) -> Any:
    from torch import nn

    layers = nn.Sequential(*map(_build, backbone.layers)).eval()
    prefix = "features."
    tensors = {name.removeprefix(prefix): value for name, value in _read(file).items() if name.startswith(prefix)}
    _check(tensors, {name: tuple(value.shape) for name, value in layers.state_dict().items()}, file)
    layers.load_state_dict(tensors)
    return layers


def _load_heads(backbone: Backbone, file: Path) -> list[Any]:
    """Weights by channel of each tap, (channels, 1, 1)."""
    shapes = {f"lin{place}.model.1.weight": (1, width, 1, 1) for place, width in enumerate(backbone.widths)}
    tensors = _read(file)
    _check(tensors, shapes, file)
    heads = [tensors[name][0] for name in shapes]
    if any(bool((head < 0).any()) for head in heads):
        raise BackendError(f"{_WHAT}: {file} must hold weights of 0 or more, or it measures no distance")
    return heads


def _find(place: str, option: str, sha256: str) -> Path:
    """The one weight file behind an option, of the digest that was asked for."""
    what = f"{_WHAT} (option {option})"
    path = resolve_weights(place, what=what)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (".safetensors", ".pth", ".pt", ".bin"))
        if len(files) != 1:
            names = ", ".join(file.name for file in files[:5]) or "none"
            raise BackendError(f"{what}: {path} must hold one weight file. Got {names}: name the file")
        path = files[0]
    if sha256 and weights_digest(path) != sha256.lower():
        raise BackendError(
            f"{what}: {path} must have SHA-256 {sha256}, but has {weights_digest(path)}: download it again"
        )
    return path


def _read(file: Path) -> dict[str, Any]:
    """A file's tensors as float32, by name; nothing is unpickled."""
    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        return {str(name): value.detach().float().clone() for name, value in state.items()}
    except Exception as error:  # the libraries raise nearly anything for a file that is not right
        raise BackendError(
            f"{_WHAT}: {file} must be a safetensors file or PyTorch state dictionary: {first_line(error)}"
        ) from error


def _check(tensors: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Every tensor there, none left over, all finite."""
    common = shapes.keys() & tensors.keys()
    report = {
        "missing_keys": shapes.keys() - tensors.keys(),
        "unexpected_keys": tensors.keys() - shapes.keys(),
        "mismatched_keys": {name for name in common if tuple(tensors[name].shape) != shapes[name]},
    }
    check_loaded(report, file, what=_WHAT)
    if not all(bool(tensors[name].isfinite().all()) for name in shapes):
        raise BackendError(f"{_WHAT}: {file} must hold finite numbers, but does not: download it again")
