"""Paint-by-Example: a diffusion model paints an exemplar's object into a region.

Yang et al., "Paint by Example: Exemplar-based Image Editing with Diffusion Models" (CVPR 2023). Diffusers keeps
the pipeline among its deprecated ones and no longer loads it whole, so it is put together from its parts here,
and nowhere else.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from tasks.backends.batches import run_in_batches
from tasks.backends.protocols import Image, Mask, library_revision
from tasks.backends.square_crops import SquareCrop, resize_mask, resize_picture, square_around
from tasks.backends.weights import check_device, first_line, load_network, resolve_weights, weights_digest

_WHAT = "replacer 'paint-by-example'"
_CONFIGS = (
    "vae/config.json",
    "unet/config.json",
    "image_encoder/config.json",
    "scheduler/scheduler_config.json",
    "feature_extractor/preprocessor_config.json",
)
_STEMS = {"vae": "diffusion_pytorch_model", "unet": "diffusion_pytorch_model", "image_encoder": "model"}
_TORCH_STEMS = _STEMS | {"image_encoder": "pytorch_model"}
_DTYPES = ("float32", "float16", "bfloat16")
_BLACK = 2  # grey levels


class PaintByExampleReplacer:
    """Paint-by-Example at 512 pixels: 50 steps, guidance 5, the exemplar squeezed to 224 pixels as in its training.

    The model sees a square around the region, twice as long as the region's box where the image allows, so that
    small objects keep their detail; where the square leaves the image, the image is mirrored. Only the masked
    pixels of the answer are pasted back, because the autoencoder changes all others a little. The noise of an
    item comes from its own content, so that it does not depend on the batch.
    """

    name = "paint-by-example"

    def __init__(
        self,
        weights: str = "",
        device: str = "cpu",
        dtype: str = "float32",
        steps: int = 50,
        guidance_scale: float = 5.0,
        batch_size: int = 4,
        seed: int = 0,
        size: int = 512,
        use_safetensors: bool = True,
    ) -> None:
        """Load the parts from ``weights``: a folder in the diffusers layout or a hub id.

        Raises:
            BackendError: an option out of range, or weights that are missing, torn or not of this model.
        """
        _check_options(dtype, steps, guidance_scale, batch_size, seed, size)
        self.device = check_device(device, what=_WHAT)
        if device == "cpu" and dtype == "float16":
            raise BackendError(f"{_WHAT}: float16 is for CUDA: use dtype = 'float32' on a CPU")
        patterns = _weight_patterns(use_safetensors)
        folder = resolve_weights(weights, what=_WHAT, files=_CONFIGS, optional=patterns)
        self._pipeline = _assemble(folder, device, dtype, use_safetensors)
        _check_size(size, self._pipeline.vae_scale_factor)
        self._steps, self._guidance_scale = steps, float(guidance_scale)
        self._batch_size, self._seed, self._size = batch_size, seed, size
        self._lock = threading.Lock()  # the scheduler counts its steps: one call at a time
        options: dict[str, Any] = {
            "steps": steps,
            "guidance": float(guidance_scale),
            "seed": seed,
            "size": size,
            "dtype": dtype,
            "device": device,
        }
        options |= {"batch": batch_size} if device == "cuda" else {}
        self.revision = _revision(options, weights_digest(folder, [*_CONFIGS, *patterns]))

    def replace(self, images: Sequence[Image], masks: Sequence[Mask], exemplars: Sequence[Image]) -> list[Image]:
        """See `protocols.Replacer`. An empty mask changes nothing.

        Raises:
            RowRejected: BAD_OUTPUT for values that are not finite or an image that is all black.
        """
        results = [image.copy() for image in images]
        jobs = []
        for index, (image, mask, exemplar) in enumerate(zip(images, masks, exemplars, strict=True)):
            if image.shape[:2] != mask.shape:
                raise ValueError(f"image and mask must have one size. Got {image.shape[:2]} and {mask.shape}")
            if mask.any():
                jobs.append((index, _make_job(image, mask, exemplar, self._seed, self._size, self._exemplar_size())))
        with self._lock:
            painted = run_in_batches(self._paint, [job for _, job in jobs], self._batch_size, self.device)
        for (index, job), crop in zip(jobs, painted, strict=True):
            job.square.paste(results[index], masks[index], crop)
        return results

    def _exemplar_size(self) -> int:
        return int(self._pipeline.image_encoder.config.image_size)

    def _paint(self, jobs: Sequence["_Job"]) -> list[Image]:
        import torch
        from PIL import Image as pillow

        pipeline = self._pipeline
        latents = pipeline(
            image=[pillow.fromarray(job.image) for job in jobs],
            mask_image=[pillow.fromarray(job.mask.astype(np.uint8) * 255) for job in jobs],  # white: repaint
            example_image=[pillow.fromarray(job.exemplar) for job in jobs],
            num_inference_steps=self._steps,
            guidance_scale=self._guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
            output_type="latent",
        ).images
        with torch.inference_mode():
            decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
        pixels = decoded.float().permute(0, 2, 3, 1).cpu().numpy()  # (B, S, S, 3) in about [-1, 1]
        return [_as_image(values, job) for values, job in zip(pixels, jobs, strict=True)]


@dataclass(frozen=True)
class _Job:
    """One item as the model sees it."""

    square: SquareCrop
    image: Image  # (S, S, 3)
    mask: Mask  # (S, S)
    exemplar: Image  # (E, E, 3)
    seed: int


def _make_job(image: Image, mask: Mask, exemplar: Image, seed: int, size: int, exemplar_size: int) -> _Job:
    if exemplar.ndim != 3 or exemplar.shape[2] != 3 or 0 in exemplar.shape:
        raise ValueError(f"an exemplar must be (H, W, 3) and hold a pixel. Got shape {exemplar.shape}")
    square = square_around(mask, size)
    return _Job(
        square=square,
        image=resize_picture(square.cut(image), size),
        mask=resize_mask(square.cut(mask), size),
        exemplar=resize_picture(exemplar, exemplar_size),
        seed=_content_seed(seed, image, mask, exemplar),
    )


def _content_seed(seed: int, *arrays: NDArray[Any]) -> int:
    """63 bits from the option and an item's pixels: the same wherever and with whomever it is painted."""
    digest = hashlib.sha256(str(seed).encode())
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def _as_image(values: NDArray[np.float32], job: _Job) -> Image:
    """(S, S, 3) in about [-1, 1] -> uint8, unless half precision overflowed on the way."""
    if not np.isfinite(values).all():
        raise RowRejected(Reason.BAD_OUTPUT, "the painted image is not finite; half precision overflows: use float32")
    image: Image = np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)
    if image.max() <= _BLACK < job.image.max():
        raise RowRejected(Reason.BAD_OUTPUT, "the painted image is black; half precision overflows: use float32")
    return image


def _assemble(folder: Path, device: str, dtype: str, use_safetensors: bool) -> Any:
    """The pipeline from its parts, without a safety checker; every tensor accounted for."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPImageProcessor, CLIPVisionConfig

    pipeline_class, encoder_class = _deprecated_classes()
    numbers = getattr(torch, dtype)
    given: dict[str, Any] = {"what": _WHAT, "use_safetensors": use_safetensors}
    diffusers_given = {**given, "torch_dtype": numbers, "low_cpu_mem_usage": False}
    try:
        # Left to itself, the encoder's class reads its configuration as that of a whole CLIP.
        encoder_config = CLIPVisionConfig.from_pretrained(str(folder / "image_encoder"), local_files_only=True)
        scheduler = PNDMScheduler.from_pretrained(str(folder / "scheduler"), local_files_only=True)
        extractor = CLIPImageProcessor.from_pretrained(str(folder / "feature_extractor"), local_files_only=True)
    except Exception as error:  # the libraries raise nearly anything for a file that is not right
        raise BackendError(
            f"{_WHAT}: the configurations of image_encoder/, scheduler/ and feature_extractor/ in {folder} must be "
            f"whole: {first_line(error)}"
        ) from error
    parts = {
        "vae": load_network(AutoencoderKL, folder / "vae", **diffusers_given),
        "unet": load_network(UNet2DConditionModel, folder / "unet", **diffusers_given),
        "image_encoder": load_network(
            encoder_class, folder / "image_encoder", **given, dtype=numbers, config=encoder_config
        ),
    }
    _check_parts(folder, **parts)
    with _without_deprecation():
        pipeline = pipeline_class(**parts, scheduler=scheduler, feature_extractor=extractor, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _deprecated_classes() -> tuple[Any, Any]:
    import diffusers

    try:
        from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
        from diffusers.pipelines.deprecated.paint_by_example.pipeline_paint_by_example import PaintByExamplePipeline
    except ImportError as error:
        raise BackendError(
            f"{_WHAT} needs a diffusers that still has Paint-by-Example, such as 0.42; "
            f"{diffusers.__version__} has not: {first_line(error)}"
        ) from error
    return PaintByExamplePipeline, PaintByExampleImageEncoder


@contextmanager
def _without_deprecation() -> Iterator[None]:
    """Diffusers logs at each construction that the pipeline is deprecated; that is why this module exists."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _check_parts(folder: Path, vae: Any, unet: Any, image_encoder: Any) -> None:
    """Refuse parts of other models."""
    channels = 2 * vae.config.latent_channels + 1  # noisy latents, masked image, mask
    if unet.config.in_channels != channels:
        raise BackendError(
            f"{_WHAT}: {folder}/unet must have {channels} input channels, got {unet.config.in_channels}: "
            "give a Paint-by-Example checkpoint"
        )
    if image_encoder.proj_size != unet.config.cross_attention_dim:
        raise BackendError(
            f"{_WHAT}: {folder}/image_encoder gives {image_encoder.proj_size} numbers, but unet/ takes "
            f"{unet.config.cross_attention_dim}: give the parts of one checkpoint"
        )


def _check_options(dtype: str, steps: int, guidance_scale: float, batch_size: int, seed: int, size: int) -> None:
    if dtype not in _DTYPES:
        raise BackendError(f"{_WHAT}: dtype must be one of {', '.join(_DTYPES)}. Got {dtype!r}")
    wholes = (("steps", steps, 2, 1000), ("batch_size", batch_size, 1, 1024), ("size", size, 8, 2048))
    for option, value, low, high in (*wholes, ("seed", seed, 0, 2**63 - 1)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BackendError(f"{_WHAT}: {option} must be a whole number from {low} to {high}. Got {value!r}")
    number = isinstance(guidance_scale, int | float) and not isinstance(guidance_scale, bool)
    if not number or not 1 <= guidance_scale <= 100:
        raise BackendError(f"{_WHAT}: guidance_scale must be a number from 1 to 100. Got {guidance_scale!r}")


def _check_size(size: int, multiple: int) -> None:
    if size % multiple:
        raise BackendError(f"{_WHAT}: size must be a multiple of {multiple}. Got {size}")


def _weight_patterns(use_safetensors: bool) -> list[str]:
    """Weight files of each part, whole or in shards, but no variants (fp16)."""
    stems, suffix = (_STEMS, "safetensors") if use_safetensors else (_TORCH_STEMS, "bin")
    kinds = (f".{suffix}", f"-*-of-*.{suffix}", f".{suffix}.index.json")
    return [f"{part}/{stem}{kind}" for part, stem in stems.items() for kind in kinds]


def _revision(options: dict[str, Any], digest: str) -> str:
    import diffusers
    import torch
    import transformers

    libraries = {"opencv": cv2, "diffusers": diffusers, "transformers": transformers, "torch": torch}
    versions = {name: str(library.__version__) for name, library in libraries.items()}
    return library_revision(1, options, **versions, weights=digest[:16])
