"""DINO features through transformers: what MagicBrush's evaluation calls "DINO".

A vision transformer trained without labels tells one dog from another where CLIP sees two dogs, so its cosine says
whether a picture kept what it shows (Caron et al., ICCV 2021; MagicBrush, NeurIPS 2023, section 4: dino_vits16).
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from catalog.errors import BackendError
from tasks.backends.batches import run_in_batches
from tasks.backends.feature_cosines import row_cosines
from tasks.backends.protocols import Image, library_revision
from tasks.backends.weights import check_device, load_network, resolve_weights, weights_digest

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet: DINO's own normalisation."""
_RESIZED = 256 / 224
"""Shorter side before the central square is cut out, over that square's side."""
_WHAT = "feature_similarity 'dino'"
_FILES = ("config.json", "*.safetensors", "*.bin")
_MAX_CONFIG = 1 << 20  # bytes


class DinoSimilarity:
    """Cosine of DINO's class tokens: ``facebook/dino-vits16`` or any ViT or DINOv2 of transformers."""

    name = "dino"

    def __init__(
        self, weights: str = "", device: str = "cpu", batch_size: int = 32, use_safetensors: bool = True
    ) -> None:
        """Load the network.

        Args:
            weights: a folder in the layout of transformers, or a hub id.
            device: "cpu" or "cuda".
            batch_size: pictures at once on CUDA.
            use_safetensors: False takes pytorch_model.bin, by ``torch.load(weights_only=True)``.

        Raises:
            BackendError: an option out of range, or weights that are missing, torn or of another architecture.
        """
        import torch

        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= 65536:
            raise BackendError(f"{_WHAT}: batch_size must be a whole number from 1 to 65536. Got {batch_size!r}")
        self.device, self._batch_size = check_device(device, what=_WHAT), batch_size
        folder = resolve_weights(weights, what=_WHAT, files=["config.json"], optional=_FILES[1:])
        kind, options = _architecture(folder)
        network = load_network(kind, folder, what=_WHAT, use_safetensors=use_safetensors, **options)
        self._network = network.to(device).eval()
        self._side = int(network.config.image_size)
        batch = {"batch": batch_size} if device == "cuda" else {}
        versions = {"torch": torch.__version__.replace("+", "."), "transformers": version("transformers")}
        self.revision = library_revision(
            1,
            {"device": device, "side": self._side, **batch},
            **versions,
            pillow=version("pillow"),
            weights=weights_digest(folder, _FILES)[:16],
        )

    def compare(self, images: Sequence[Image], others: Sequence[Image]) -> NDArray[np.float64]:
        """See `protocols.FeatureSimilarity`."""
        return row_cosines(self._features(images), self._features(others))

    def _features(self, images: Sequence[Image]) -> NDArray[np.float32]:
        rows = run_in_batches(self._forward, images, self._batch_size, self.device)
        return np.array(rows, np.float32).reshape(len(images), -1)

    def _forward(self, images: Sequence[Image]) -> NDArray[np.float32]:
        import torch

        pixels = np.stack([preprocess(image, self._side) for image in images])
        with torch.inference_mode():
            states = self._network(torch.from_numpy(pixels).to(self.device)).last_hidden_state
        features: NDArray[np.float32] = states[:, 0].float().cpu().numpy()
        return features


def preprocess(image: Image, side: int = 224) -> NDArray[np.float32]:
    """What MagicBrush's evaluation does to a picture before DINO sees it: float32 (3, side, side).

    The shorter side becomes 256/224 of ``side`` by Pillow's bicubic filter, the longer one in proportion, rounded
    down; the central square is cut out; values in [0, 1] are normalised by ImageNet's mean and deviation.
    """
    height, width = image.shape[:2]
    short = round(side * _RESIZED)
    longer = int(short * max(height, width) / min(height, width))
    size = (short, longer) if width <= height else (longer, short)
    resized = np.asarray(PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BICUBIC))
    top, left = (round((length - side) / 2) for length in resized.shape[:2])
    square = resized[top : top + side, left : left + side].astype(np.float32) / 255
    normalised = (square - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def _architecture(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The class of transformers that the configuration names, and how it is made without what is not used."""
    from transformers import Dinov2Model, ViTModel

    kinds: dict[Any, tuple[Any, dict[str, Any]]]
    kinds = {"vit": (ViTModel, {"add_pooling_layer": False}), "dinov2": (Dinov2Model, {})}
    try:
        config = json.loads((folder / "config.json").read_bytes()[:_MAX_CONFIG])
        kind = config.get("model_type")
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise BackendError(f"{_WHAT}: {folder / 'config.json'} must be a JSON object: download it again") from error
    if not isinstance(kind, str) or kind not in kinds:
        raise BackendError(f"{_WHAT}: {folder / 'config.json'} must be of model_type vit or dinov2. Got {kind!r:.40}")
    return kinds[kind]
