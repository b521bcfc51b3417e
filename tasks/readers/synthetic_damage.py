"""Damage done to a clean picture, for enhancement pairs: blur, sensor noise, a watermark.

Strengths are for a picture of 256 pixels and grow with it.
"""

import cv2
import numpy as np

from tasks.readers.synthetic_grounds import Picture

_REFERENCE_SIZE = 256
_TEXTS = ("SAMPLE", "PREVIEW", "COPYRIGHT", "DRAFT", "PROOF", "DO NOT COPY", "STOCK PHOTO")


def blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Out of focus (Gaussian, sigma 1.5 to 3 pixels) or shaken (a straight stroke of 9 to 19 pixels)."""
    scale = len(picture) / _REFERENCE_SIZE
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(1.5, 3.0)) * scale), np.uint8)
    length, angle = float(rng.uniform(9, 19)) * scale, float(rng.uniform(0, np.pi))
    radius = int(np.ceil(length / 2)) + 1
    stroke = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = np.rint((radius + np.stack([-stroke, stroke])) * 16).astype(int)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.uint8)
    cv2.line(kernel, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 255, 1, cv2.LINE_AA, 4)
    weights = kernel.astype(np.float32) / kernel.sum(dtype=np.float32)
    return np.asarray(cv2.filter2D(picture, -1, weights, borderType=cv2.BORDER_REFLECT), np.uint8)


def add_noise(picture: Picture, rng: np.random.Generator) -> Picture:
    """Gaussian noise (standard deviation 12 to 35 of 255) or photon noise (white is 15 to 60 photons)."""
    if rng.random() < 0.5:
        noisy = picture + rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(rng.uniform(12, 35))
    else:
        photons = float(rng.uniform(15, 60)) / 255
        noisy = rng.poisson(picture * photons).astype(np.float32) / np.float32(photons)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def draw_watermark(size: int, rng: np.random.Generator) -> Picture:
    """A text across the picture, the text in rows, or a logo in a corner: uint8 (size, size), 255 is full ink."""
    ink = np.zeros((size, size), np.uint8)
    (_stamp_text, _stamp_rows, _stamp_logo)[int(rng.integers(3))](ink, rng)
    return ink


def add_watermark(picture: Picture, rng: np.random.Generator) -> Picture:
    """`draw_watermark` laid on half-transparently: pale, or dark on a bright picture."""
    ink = draw_watermark(len(picture), rng)
    opacity = float(rng.uniform(0.3, 0.55))
    is_bright = picture[ink > 0].mean() > 150
    level = 20.0 if is_bright and rng.random() < 0.7 else 255.0
    share = (ink.astype(np.float32) * (opacity / 255))[:, :, None]
    return np.asarray(np.rint(picture * (1 - share) + level * share), np.uint8)


def _write(ink: Picture, text: str, middle: tuple[float, float], width: float) -> None:
    """Text of a given width around a point."""
    font = cv2.FONT_HERSHEY_DUPLEX
    (base, height), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = width / base
    origin = (round(middle[0] - width / 2), round(middle[1] + height * scale / 2))
    cv2.putText(ink, text, origin, font, scale, 255, max(round(1.6 * scale), 1), cv2.LINE_AA)


def _turn(ink: Picture, angle: float) -> None:
    size = len(ink)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1.0)
    ink[:] = cv2.warpAffine(ink, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _stamp_text(ink: Picture, rng: np.random.Generator) -> None:
    size = len(ink)
    text = _TEXTS[int(rng.integers(len(_TEXTS)))]
    _write(ink, text, (size / 2, size * float(rng.uniform(0.4, 0.6))), size * 0.8)
    _turn(ink, float(rng.uniform(-40, 40)))


def _stamp_rows(ink: Picture, rng: np.random.Generator) -> None:
    size = len(ink)
    text = _TEXTS[int(rng.integers(len(_TEXTS)))]
    for row in range(5):
        for column in range(3):
            shift = 0.5 * (row % 2)
            _write(ink, text, (size * (column + shift) / 2.4, size * (row + 0.5) / 5), size * 0.3)
    _turn(ink, float(rng.uniform(10, 35)))


def _stamp_logo(ink: Picture, rng: np.random.Generator) -> None:
    """A ring with a peak in it and a line of text below, in a corner."""
    size = len(ink)
    radius = size * float(rng.uniform(0.1, 0.15))
    right, low = rng.integers(0, 2, 2)
    x = radius * 1.5 + right * (size - 3.0 * radius)
    y = radius * 1.3 + low * (size - 3.1 * radius)
    center = (round(x), round(y))
    cv2.circle(ink, center, round(radius), 255, max(round(radius / 8), 1), cv2.LINE_AA)
    peak = np.array([[x - 0.6 * radius, y + 0.4 * radius], [x, y - 0.5 * radius], [x + 0.6 * radius, y + 0.4 * radius]])
    cv2.fillPoly(ink, [np.rint(peak).astype(np.int32)], 255, cv2.LINE_AA)
    _write(ink, "STUDIO", (x, y + 1.3 * radius), radius * 1.8)
