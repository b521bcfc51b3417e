"""Predictions, made once: a batch of pairs goes through a predictor and its images are kept as PNG in a tar.

A tar is named by the digest of all that its images depend on: the predictor (weights, sampling options) and,
for each pair in order, instruction, source pixels and seed. So metrics are computed again without sampling,
an interrupted run goes on at the first batch that is missing, and a changed input is another name. The file's
existence is the commit.
"""

import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from catalog.digests import bytes_digest, value_digest
from catalog.durable import write_file
from catalog.errors import PredictionError, ShardError, UserError
from catalog.images import decode_image, encode_png
from catalog.samples import Sample
from evaluation.metrics import Image

_VERSION = 1


class Predictor(Protocol):
    """Anything that answers an instruction with an image."""

    checkpoint_sha256: str | None
    """Digest of the weights; None for what has none."""
    options: Mapping[str, Any]
    """JSON values. Together with the digest they change whenever the images for the same samples would."""

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """One image per sample, uint8 ``HxWx3`` RGB of its source's size; seeds are in [0, 2^63)."""
        ...


class NoOpPredictor:
    """Control: leaves every picture as it is. What a model must beat."""

    checkpoint_sha256: str | None = None
    options: Mapping[str, Any] = MappingProxyType({"control": "no-op"})

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """The sources."""
        return [sample.source for sample in samples]


class OraclePredictor:
    """Control: answers with the target. What rendering and decoding leave possible."""

    checkpoint_sha256: str | None = None
    options: Mapping[str, Any] = MappingProxyType({"control": "oracle"})

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """The targets."""
        return [sample.target for sample in samples]


class ShuffledOraclePredictor:
    """Control: answers with the target of the next sample of the batch. A metric that likes it measures nothing."""

    checkpoint_sha256: str | None = None
    options: Mapping[str, Any] = MappingProxyType({"control": "shuffled-oracle"})

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """The targets, each one place further."""
        targets = [sample.target for sample in samples]
        return targets[1:] + targets[:1]


class OverEditPredictor:
    """Control of edits: the target, mirrored. It shows what was asked for and keeps nothing where it was.

    A text's similarity hardly notices; whatever measures what an edit left alone must. What is symmetric it cannot
    tell.
    """

    checkpoint_sha256: str | None = None
    options: Mapping[str, Any] = MappingProxyType({"control": "over-edit"})

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """The targets, left and right exchanged."""
        return [np.ascontiguousarray(sample.target[:, ::-1]) for sample in samples]


@runtime_checkable
class Reconstructor(Protocol):
    """A predictor that sends pictures through its autoencoder."""

    checkpoint_sha256: str | None
    autoencoder: Mapping[str, Any]
    """Options that the reconstruction depends on, beside the digest of the weights."""

    def reconstruct(self, images: Sequence[Image]) -> list[Image]:
        """Each image encoded and decoded again, uint8 of the same size."""
        ...


class AutoencoderPredictor:
    """Control: the target, sent through the checkpoint's autoencoder. The paper's bound in parentheses (Table 5)."""

    def __init__(self, reconstructor: Reconstructor, identity: Mapping[str, Any]) -> None:
        """Take a predictor's autoencoder; ``identity`` names it beside the weights' digest."""
        self._reconstructor = reconstructor
        self.checkpoint_sha256: str | None = reconstructor.checkpoint_sha256
        self.options: Mapping[str, Any] = {"control": "autoencoder", **identity}

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """The targets as the autoencoder gives them back."""
        return self._reconstructor.reconstruct([sample.target for sample in samples])


CONTROLS: Mapping[str, Callable[[], Predictor]] = MappingProxyType(
    {
        "no-op": NoOpPredictor,
        "over-edit": OverEditPredictor,
        "oracle": OraclePredictor,
        "shuffled-oracle": ShuffledOraclePredictor,
    }
)
"""Predictors that need no weights, by name."""


def denoising_seed(seed: int, pair_id: str) -> int:
    """A seed of its own for each pair, in [0, 2^63): independent of order, batch and the other pairs."""
    return int(bytes_digest(f"{seed}/{pair_id}".encode())[:16], 16) >> 1


def predict(predictor: Predictor, samples: Sequence[Sample], seed: int) -> list[Image]:
    """One checked prediction per sample.

    Raises:
        PredictionError: a prediction is missing, of another size or type than its source, or not finite.
    """
    seeds = [denoising_seed(seed, sample.pair_id) for sample in samples]
    images = predictor.predict(samples, seeds)
    if len(images) != len(samples):
        raise PredictionError(f"{len(samples)} pairs need as many predictions. Got {len(images)}")
    for sample, image in zip(samples, images, strict=True):
        _check(sample, image)
    return images


def stored_predictions(predictor: Predictor, samples: Sequence[Sample], seed: int, folder: Path) -> list[Image]:
    """As `predict`, but read from ``folder`` where this very batch was predicted before.

    Raises:
        PredictionError: as `predict`.
        ShardError: a stored batch is torn or foreign.
    """
    path = folder / f"{_batch_key(predictor, samples, seed)}.tar"
    if not path.exists():
        write_file(path, [_pack(samples, predict(predictor, samples, seed))])
    return _unpack(path, samples)


def _batch_key(predictor: Predictor, samples: Sequence[Sample], seed: int) -> str:
    inputs = [
        [
            sample.pair_id,
            sample.instruction,
            denoising_seed(seed, sample.pair_id),
            list(sample.source.shape),
            bytes_digest(np.ascontiguousarray(sample.source).tobytes()),
        ]
        for sample in samples
    ]
    return value_digest([_VERSION, predictor.checkpoint_sha256, dict(predictor.options), inputs])[:32]


def _member_name(place: int, sample: Sample) -> str:
    return f"{place:03d}-{bytes_digest(sample.pair_id.encode())[:16]}.png"


def _pack(samples: Sequence[Sample], images: Sequence[Image]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for place, (sample, image) in enumerate(zip(samples, images, strict=True)):
            data = encode_png(image)
            info = tarfile.TarInfo(_member_name(place, sample))
            info.size, info.mode, info.mtime = len(data), 0o644, 0
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _unpack(path: Path, samples: Sequence[Sample]) -> list[Image]:
    images = []
    try:
        with tarfile.open(path, "r:") as tar:
            for place, sample in enumerate(samples):
                member = tar.extractfile(_member_name(place, sample))
                if member is None:
                    raise KeyError(place)
                image = decode_image(member.read())
                _check(sample, image)
                images.append(image)
    except (tarfile.TarError, KeyError, EOFError, UserError) as error:
        raise ShardError(
            f"{path} is torn or foreign ({error}): delete it, and the next run predicts that batch again"
        ) from error
    return images


def _check(sample: Sample, image: Image) -> None:
    if image.dtype == np.uint8 and image.shape == sample.source.shape:
        return
    finite = "" if image.dtype.kind != "f" or np.isfinite(image).all() else " with values that are not finite"
    raise PredictionError(
        f"the prediction for pair {sample.pair_id} must be uint8 of shape {sample.source.shape}, as its "
        f"source. Got {image.dtype} of shape {image.shape}{finite}"
    )
