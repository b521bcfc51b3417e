"""CLIP models through open_clip: an embedder and a pair similarity that share one copy of the weights.

``weights`` names a model in one of three ways: a folder or hub id with open_clip_config.json and its weights, a
weight file together with ``model``, or one of open_clip's own tags together with ``model``.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError
from tasks.backends.batches import run_in_batches
from tasks.backends.open_clip_loading import Clip, load_clip
from tasks.backends.protocols import PAIR_SIMILARITIES, Image, library_revision

_EMBEDDER = "embedder 'open-clip'"
_SIMILARITY = "pair_similarity 'open-clip'"
_EPSILON = 1e-8  # of torch.nn.functional.cosine_similarity, which InstructPix2Pix calls
_FITS = ("instruct-pix2pix", "model")


class OpenClipEmbedder:
    """CLIP image features of any open_clip model, float32 of length 1."""

    name = "open-clip"

    def __init__(
        self,
        weights: str = "",
        model: str = "",
        device: str = "cpu",
        batch_size: int = 32,
        quick_gelu: bool | None = None,
    ) -> None:
        """Load a model; see `open_clip_loading.load_clip` for the options.

        Raises:
            BackendError: an option out of range, or weights that are missing, torn or of another model.
        """
        _check_batch_size(batch_size, _EMBEDDER)
        self._clip = load_clip(weights, model, quick_gelu, device, what=_EMBEDDER)
        self.device, self._batch_size = device, batch_size
        self.revision = _revision(self._clip, device, batch_size)

    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """See `protocols.Embedder`; D is the model's embed_dim, 768 of ViT-L/14."""
        rows = run_in_batches(self._forward, images, self._batch_size, self.device)
        return np.stack(rows) if rows else np.empty((0, self._clip.num_features), np.float32)

    def _forward(self, images: Sequence[Image]) -> NDArray[np.float32]:
        return self._clip.encode_images(np.stack([self._clip.preprocess(image) for image in images]))


class OpenClipSimilarity:
    """InstructPix2Pix's CLIP similarities of any open_clip model: cosines between images, texts and their changes.

    Brooks et al., "InstructPix2Pix" (CVPR 2023), section 3.1.2, as its official code has it: with unit features I
    of the images and T of the captions, cos(I0, I1), cos(I0, T0), cos(I1, T1) and cos(I1 - I0, T1 - T0), which is 0
    where either difference is. A similarity with a caption that is missing is NaN.
    """

    name = "open-clip"

    def __init__(
        self,
        weights: str = "",
        model: str = "",
        device: str = "cpu",
        batch_size: int = 32,
        quick_gelu: bool | None = None,
        fit: str = "instruct-pix2pix",
    ) -> None:
        """Load a model.

        Args:
            weights: see `open_clip_loading.load_clip`.
            model: likewise.
            device: "cpu" or "cuda".
            batch_size: images or captions at once on CUDA.
            quick_gelu: see `open_clip_loading.load_clip`.
            fit: how images become the model's size. "instruct-pix2pix": the whole image squeezed into the square,
                bicubic without anti-aliasing, as its code does. "model": the model's own preprocessing, which cuts
                off what is outside the central square.

        Raises:
            BackendError: an option out of range, or weights that are missing, torn or of another model.
        """
        _check_batch_size(batch_size, _SIMILARITY)
        if fit not in _FITS:
            raise BackendError(f"{_SIMILARITY}: fit must be one of {', '.join(_FITS)}. Got {fit!r}")
        self._clip = load_clip(weights, model, quick_gelu, device, what=_SIMILARITY)
        self._tokenize = self._clip.load_tokenizer(what=_SIMILARITY)
        self._prepare = self._clip.squeeze if fit == "instruct-pix2pix" else self._clip.preprocess
        self.device, self._batch_size = device, batch_size
        self.revision = _revision(self._clip, device, batch_size, fit=fit)

    def similarity(
        self,
        sources: Sequence[Image],
        targets: Sequence[Image],
        source_captions: Sequence[str | None],
        target_captions: Sequence[str | None],
    ) -> Mapping[str, NDArray[np.float64]]:
        """See `protocols.PairSimilarity`. Captions are cut off at the model's context length, 77 tokens."""
        before, after = self._features(sources), self._features(targets)
        words_before, words_after = self._text_features(source_captions), self._text_features(target_captions)
        columns = (
            _cosines(before, after),
            _cosines(before, words_before),
            _cosines(after, words_after),
            _cosines(after - before, words_after - words_before),
        )
        return dict(zip(PAIR_SIMILARITIES, columns, strict=True))

    def _features(self, images: Sequence[Image]) -> NDArray[np.float64]:
        rows = run_in_batches(
            lambda part: self._clip.encode_images(np.stack([self._prepare(image) for image in part])),
            images,
            self._batch_size,
            self.device,
        )
        return np.array(rows, np.float64).reshape(-1, self._clip.num_features)

    def _text_features(self, captions: Sequence[str | None]) -> NDArray[np.float64]:
        """(N, D); NaN in the rows of captions that are missing or blank."""
        given = [index for index, caption in enumerate(captions) if caption and caption.strip()]
        rows = run_in_batches(
            lambda part: self._clip.encode_tokens(np.asarray(self._tokenize(list(part)))),
            [str(captions[index]) for index in given],
            self._batch_size,
            self.device,
        )
        features = np.full((len(captions), self._clip.num_features), np.nan)
        features[given] = np.array(rows, np.float64).reshape(-1, self._clip.num_features)
        return features


def _cosines(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Float64 (N,) in [-1, 1]; NaN where a row is NaN, 0 where a row is zero."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines: NDArray[np.float64] = np.clip((first * second).sum(axis=1) / np.maximum(lengths, _EPSILON), -1, 1)
    return cosines


def _check_batch_size(batch_size: int, what: str) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= 65536:
        raise BackendError(f"{what}: batch_size must be a whole number from 1 to 65536. Got {batch_size!r}")


def _revision(clip: Clip, device: str, batch_size: int, **options: str) -> str:
    import torch

    options |= {"device": device, **({"batch": str(batch_size)} if device == "cuda" else {})}
    packages = {"open_clip": "open_clip_torch", "torchvision": "torchvision", "pillow": "pillow"}
    versions = {"torch": str(torch.__version__), **{name: version(package) for name, package in packages.items()}}
    return library_revision(1, {**clip.options, **options}, **versions, weights=clip.digest[:16])
