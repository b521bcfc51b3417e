"""What the networks behind Table 5's metrics are shown of a picture, pinned: by written-down tensors, and by the
official evaluations' own steps written out with their own libraries.

The tensors are `tests/golden/evaluation_preprocessing.json`. After a change that is meant to move them, write them anew
with IEIW_WRITE_GOLDEN=1 and say why in DECISIONS.md: numbers measured before are then others.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints.open_clip import save_open_clip
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from tasks.backends import dino
from tasks.backends.open_clip_loading import load_clip

GOLDEN = Path(__file__).parents[1] / "golden" / "evaluation_preprocessing.json"
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NUM_VALUES = 24


def picture() -> np.ndarray:
    """451 x 300 pixels of waves that are finer to the right: what a filter does to them shows."""
    rows, columns = np.mgrid[:300, :451].astype(np.float64)
    waves = [np.sin(columns**2 / (900 + 300 * channel) + rows / (5 + channel)) for channel in range(3)]
    return np.rint(127.5 + 120 * np.stack(waves, axis=2)).astype(np.uint8)


def magicbrush_clip(image: np.ndarray) -> np.ndarray:
    """MagicBrush evaluation/image_eval.py: the transform of OpenAI's clip."""
    steps = [Resize(224, InterpolationMode.BICUBIC), CenterCrop(224), ToTensor(), Normalize(*CLIP)]
    return Compose(steps)(Image.fromarray(image)).numpy()


def instructpix2pix_clip(image: np.ndarray) -> np.ndarray:
    """InstructPix2Pix metrics/clip_similarity.py, on images in [0, 1]."""
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    resized = torch.nn.functional.interpolate(pixels, size=(224, 224), mode="bicubic", align_corners=False)
    return Normalize(*CLIP)(resized)[0].numpy()


def magicbrush_dino(image: np.ndarray) -> np.ndarray:
    """MagicBrush evaluation/image_eval.py: what dino_vits16 is shown."""
    steps = [Resize(256, InterpolationMode.BICUBIC), CenterCrop(224), ToTensor(), Normalize(dino.MEAN, dino.STD)]
    return Compose(steps)(Image.fromarray(image)).numpy()


OFFICIAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "magicbrush_clip": magicbrush_clip,
    "instructpix2pix_clip": instructpix2pix_clip,
    "magicbrush_dino": magicbrush_dino,
}


def summary(tensor: np.ndarray) -> dict[str, object]:
    """Shape, moments, and values spread over the tensor."""
    flat = tensor.astype(np.float64).ravel()
    places = np.linspace(0, flat.size - 1, NUM_VALUES).astype(int)
    return {
        "shape": list(tensor.shape),
        "mean": round(float(flat.mean()), 5),
        "deviation": round(float(flat.std()), 5),
        "values": [round(value, 5) for value in flat[places].tolist()],
    }


def assert_golden(name: str, tensor: np.ndarray) -> None:
    found, golden = summary(tensor), json.loads(GOLDEN.read_text())[name]
    assert found["shape"] == golden["shape"]
    for what in ("mean", "deviation", "values"):
        assert found[what] == pytest.approx(golden[what], abs=2e-5), what


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    folder = save_open_clip(tmp_path_factory.mktemp("clip") / "model", image_size=224)
    clip = load_clip(str(folder), "", None, "cpu", what="test")
    return {
        "magicbrush_clip": clip.preprocess,
        "instructpix2pix_clip": clip.squeeze,
        "magicbrush_dino": dino.preprocess,
    }


@pytest.mark.parametrize("name", OFFICIAL)
def test_preprocessing_is_the_golden_one(name: str, ours: dict[str, Callable[[np.ndarray], np.ndarray]]) -> None:
    if os.environ.get("IEIW_WRITE_GOLDEN") == "1":
        known = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
        known[name] = summary(OFFICIAL[name](picture()))
        GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    assert_golden(name, OFFICIAL[name](picture()))
    assert_golden(name, ours[name](picture()))
    np.testing.assert_allclose(ours[name](picture()), OFFICIAL[name](picture()), atol=1e-5)
