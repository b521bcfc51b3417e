"""What a diffusion model does to a drawing, imitated: pairs of a spoiled output and the truth to train a reader on.

A model's outputs are not exact: they pass the autoencoder (blur, shifted colours, patches of eight pixels), sampling
noise, half-hearted strength, specks of the asked colour elsewhere, and often JPEG afterwards. Each is drawn at random
here, on top of a drawing whose truth is known.
"""

import cv2
import numpy as np

from catalog.drawing_colors import Rgb
from evaluation.metrics import Image

MAX_STRENGTH = 1.0


def spoil(output: Image, source: Image, color: Rgb, rng: np.random.Generator, strength: float = MAX_STRENGTH) -> Image:
    """A drawing as a model might have made it, uint8 of the same size.

    Args:
        output: the exact drawing.
        source: what it was drawn on.
        color: the asked colour, for specks.
        rng: decides everything.
        strength: 0 returns the drawing, 1 spoils it as much as the ranges below allow.
    """
    if strength <= 0:
        return output
    drawn = output.astype(np.float32)
    fade = rng.uniform(0, 0.3 * strength)
    drawn = (1 - fade) * drawn + fade * source
    drawn = _add_specks(drawn, color, rng, strength)
    drawn = _pass_autoencoder(drawn, rng, strength)
    gains, offsets = rng.uniform(1 - 0.06 * strength, 1 + 0.06 * strength, 3), rng.uniform(-8, 8, 3) * strength
    noise = rng.normal(0, 6 * strength * rng.random(), drawn.shape)
    spoiled = np.clip(np.rint(drawn * gains + offsets + noise), 0, 255).astype(np.uint8)
    return through_jpeg(spoiled, int(rng.integers(70, 100))) if rng.random() < 0.5 * strength else spoiled


def through_jpeg(image: Image, quality: int) -> Image:
    """An image written as JPEG and read again, colour sampled 4:2:0."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8)


def _pass_autoencoder(drawn: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Blur, and patches of 8 pixels that each lean to a colour of their own, as latents do."""
    height, width = drawn.shape[:2]
    blurred = cv2.GaussianBlur(drawn, (0, 0), 0.3 + 1.2 * strength * rng.random())
    grid = (max(1, height // 8), max(1, width // 8), 3)
    coarse = rng.normal(0, 5 * strength * rng.random(), grid).astype(np.float32)
    return np.asarray(blurred + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _add_specks(drawn: np.ndarray, color: Rgb, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Up to four small stains of the asked colour where nothing was asked for."""
    height, width = drawn.shape[:2]
    stained = drawn.copy()
    for _ in range(rng.integers(0, 1 + round(4 * strength))):
        layer = np.zeros((height, width), np.float32)
        center = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = tuple(int(side) for side in rng.integers(1, max(2, round(0.02 * width)) + 1, 2))
        cv2.ellipse(layer, center, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        layer = (layer * rng.uniform(0.2, 0.6))[..., None]
        stained = (1 - layer) * stained + layer * np.asarray(color, np.float32)
    return stained
