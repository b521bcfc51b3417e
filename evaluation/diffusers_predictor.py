"""Any diffusers pipeline that edits a picture by an instruction, as a predictor: InstructPix2Pix, MagicBrush.

The pipeline runs as its authors wrote it, scheduler and guidance included, so that its numbers are its own. (A
checkpoint of Stable Diffusion's layout can also be sampled by our own code: `evaluation.checkpoints`.)
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import CheckpointError, ConfigError, PredictionError
from catalog.samples import Sample
from evaluation.checkpoints import SamplingOptions, checkpoint_digest, library_versions
from evaluation.metrics import Image

_NEEDED = ("prompt", "image", "num_inference_steps", "generator", "output_type")


class PipelinePredictor:
    """Calls a diffusers pipeline. It is loaded when the first prediction is asked for."""

    def __init__(self, folder: Path, sampling: SamplingOptions, device: str = "cpu") -> None:
        """Digest the pipeline's files.

        Args:
            folder: pipeline folder with ``model_index.json``, weights as safetensors.
            sampling: steps and guidance scales; scales that the pipeline does not take are left out. ``guidance`` is
                the pipeline's own.
            device: "cpu" or "cuda".

        Raises:
            CheckpointError: not a pipeline folder.
        """
        self._folder, self._sampling, self._device = folder, sampling, device
        self._pipeline: Any = None
        self.checkpoint_sha256: str | None = checkpoint_digest(folder)
        self.options: Mapping[str, Any] = {
            "pipeline": _read_index(folder)["_class_name"],
            "num_steps": sampling.num_steps,
            "text_guidance": sampling.text_guidance,
            "image_guidance": sampling.image_guidance,
            "device": device,
            "libraries": library_versions(),
        }

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Image]:
        """The edited sources, each with noise from its own seed."""
        import torch
        from PIL import Image as PillowImage

        pipeline = self._load()
        arguments: dict[str, Any] = {
            "prompt": [sample.instruction for sample in samples],
            "image": [PillowImage.fromarray(sample.source) for sample in samples],
            "num_inference_steps": self._sampling.num_steps,
            "guidance_scale": self._sampling.text_guidance,
            "image_guidance_scale": self._sampling.image_guidance,
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "output_type": "np",
        }
        known = inspect.signature(type(pipeline).__call__).parameters
        pictures = pipeline(**{name: value for name, value in arguments.items() if name in known}).images
        return [_to_image(picture, sample) for picture, sample in zip(pictures, samples, strict=True)]

    def _load(self) -> Any:
        if self._pipeline is None:
            self._pipeline = _load_pipeline(self._folder, self._device)
        return self._pipeline


def _load_pipeline(folder: Path, device: str) -> Any:
    import torch
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda needs a CUDA GPU and there is none here: use --device cpu")
    index = _read_index(folder)
    # A safety checker answers with black pictures: what is measured is the editor.
    off = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, **off
        )
    except Exception as error:  # the library raises nearly anything for a folder that is not right
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{folder} must be a whole diffusers pipeline: {first}") from error
    missing = sorted(set(_NEEDED) - set(inspect.signature(type(pipeline).__call__).parameters))
    if missing:
        raise CheckpointError(
            f"{folder} must edit a picture by an instruction, but a {type(pipeline).__name__} takes no {missing[0]!r}: "
            "give an instruction-editing pipeline"
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a pipeline's index: {error}") from error
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise CheckpointError(f"{path} must name the pipeline's class under _class_name: download the folder again")
    return index


def _to_image(picture: Any, sample: Sample) -> Image:
    values = np.asarray(picture, np.float32)
    if not np.isfinite(values).all():
        raise PredictionError(
            f"a pipeline must predict finite pixels, but gives NaN or infinity for {sample.instruction!r}: "
            "lower the guidance scales, or take another checkpoint"
        )
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
