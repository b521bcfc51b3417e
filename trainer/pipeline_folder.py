"""Writes networks as a diffusers pipeline folder, for ``DiffusionPipeline.from_pretrained``.

With 8 input channels it is a ``StableDiffusionInstructPix2PixPipeline``; with 4, of stage 1, a
``StableDiffusionPipeline``.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from catalog.durable import TEMPORARY_SUFFIX, publish_folder
from trainer.diffusion import SCHEDULE
from trainer.models import Models, hide_progress_bars

_CLASSES = {
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "EulerAncestralDiscreteScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
}


def write_pipeline(folder: Path, models: Models) -> None:
    """Write ``folder`` whole or not at all, replacing what was there."""
    temporary = folder.with_name(folder.name + TEMPORARY_SUFFIX)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    hide_progress_bars()
    models.unet.save_pretrained(temporary / "unet")
    models.autoencoder.save_pretrained(temporary / "vae")
    models.text_encoder.save_pretrained(temporary / "text_encoder")
    models.tokenizer.save_pretrained(temporary / "tokenizer")
    _write_json(temporary / "scheduler" / "scheduler_config.json", _scheduler_config())
    _write_json(temporary / "model_index.json", _model_index(models.unet.config.in_channels))
    publish_folder(temporary, folder)


def _scheduler_config() -> dict[str, Any]:
    """Euler ancestral, the sampler of the official code, on the schedule that training used."""
    return {"_class_name": "EulerAncestralDiscreteScheduler", "_diffusers_version": _version(), **SCHEDULE}


def _model_index(in_channels: int) -> dict[str, Any]:
    return {
        "_class_name": "StableDiffusionInstructPix2PixPipeline" if in_channels == 8 else "StableDiffusionPipeline",
        "_diffusers_version": _version(),
        "requires_safety_checker": False,
        **_CLASSES,
    }


def _version() -> str:
    import diffusers

    return str(diffusers.__version__)


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
