"""Backgrounds of rendered scenes: packaged photos, packaged textures and procedural noise."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.errors import SourceError

Picture = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

_PACKAGES = {"skimage": "data", "sklearn": "datasets/images"}
_GENERATED = "generated"
_PUBLIC = "generated; ground: scikit-image sample data"
_CC_BY = "generated; ground: CC BY 2.0 photo packaged with scikit-learn"


@dataclass(frozen=True)
class Ground:
    """One background."""

    place: str
    """Ends a caption: "on a brick wall"."""
    paint: Callable[[np.random.Generator, int], Picture]
    licence: str = _GENERATED
    rivals: frozenset[str] = frozenset()
    """Kinds of things that the picture itself shows, so that no phrase may name them."""


@cache
def _packaged(package: str, file: str) -> Picture:
    """A photo of an installed wheel, found without importing the package."""
    spec = find_spec(package)
    path = Path(spec.origin).parent / _PACKAGES[package] / file if spec and spec.origin else None
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path and path.is_file() else None
    if image is None:
        raise SourceError(
            f"Reader synthetic needs {_PACKAGES[package]}/{file} of the package {package}; install it again."
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _crop(rng: np.random.Generator, image: Picture, size: int, least: float) -> Picture:
    """A random square of at least ``least`` of the shorter side, perhaps mirrored, at size x size."""
    height, width = image.shape[:2]
    side = int(min(height, width) * rng.uniform(least, 1.0))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    square = image[top : top + side, left : left + side]
    if rng.random() < 0.5:
        square = np.ascontiguousarray(square[:, ::-1])
    method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=method), np.uint8)


def _photo(package: str, file: str, least: float = 0.75) -> Callable[[np.random.Generator, int], Picture]:
    return lambda rng, size: _crop(rng, _packaged(package, file), size, least)


def _texture(file: str, tints: tuple[tuple[int, int, int], ...]) -> Callable[[np.random.Generator, int], Picture]:
    def paint(rng: np.random.Generator, size: int) -> Picture:
        grey = _crop(rng, _packaged("skimage", file), size, 0.5)[:, :, 0].astype(np.float32)
        grey = (grey - grey.mean()) / max(float(grey.std()), 1.0)
        tint = np.array(tints[int(rng.integers(len(tints)))], np.float32)
        return _to_picture(tint * (1.0 + 0.2 * grey[:, :, None]))

    return paint


def _to_picture(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> NDArray[np.float32]:
    """Smooth noise of about unit variance with ``cells`` (rows, columns) lumps."""
    rows, columns = (min(count, size) for count in cells)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _paint_sand(rng: np.random.Generator, size: int) -> Picture:
    waves = _noise(rng, size, (14, 5)) * 6 + _noise(rng, size, (256, 256)) * 9
    return _to_picture(np.array([222, 196, 150], np.float32) + waves[:, :, None])


def _paint_wood(rng: np.random.Generator, size: int) -> Picture:
    grain = _noise(rng, size, (4, 90)) * 11 + _noise(rng, size, (10, 220)) * 7
    planks = np.arange(size) * 4 // size
    lightness = rng.uniform(-16, 16, 4).astype(np.float32)[planks]
    seam = np.zeros(size, np.float32)
    seam[np.flatnonzero(np.diff(planks)) + 1] = -70
    values = np.array([176, 122, 74], np.float32) + (grain + lightness + seam)[:, :, None]
    return _to_picture(values)


def _paint_wall(rng: np.random.Generator, size: int) -> Picture:
    paints = ((206, 216, 212), (226, 214, 196), (190, 202, 220), (216, 200, 210))
    color = np.array(paints[int(rng.integers(len(paints)))], np.float32)
    light = np.linspace(14, -22, size, dtype=np.float32)[:, None] + np.linspace(8, -8, size, dtype=np.float32)
    plaster = _noise(rng, size, (3, 3)) * 4 + _noise(rng, size, (170, 170)) * 3
    return _to_picture(color + (light + plaster)[:, :, None])


def _paint_tiles(rng: np.random.Generator, size: int) -> Picture:
    count = int(rng.integers(4, 7))
    position = np.arange(size) * count / size
    row = position.astype(int)
    checker = (row[:, None] + row) % 2
    shades = np.array([[214, 208, 198], [132, 146, 152]], np.float32)[checker]
    joint = (position % 1.0 < 0.04).astype(np.float32)
    values = shades + (_noise(rng, size, (40, 40)) * 5)[:, :, None]
    return _to_picture(values - 46 * np.maximum(joint[:, None], joint)[:, :, None])


def _paint_carpet(rng: np.random.Generator, size: int) -> Picture:
    dyes = ((96, 112, 146), (134, 98, 96), (104, 126, 104), (150, 138, 120))
    color = np.array(dyes[int(rng.integers(len(dyes)))], np.float32)
    pile = _noise(rng, size, (size, size)) * 13 + _noise(rng, size, (6, 6)) * 6
    return _to_picture(color + pile[:, :, None])


GROUNDS: tuple[Ground, ...] = (
    Ground("on a brick wall", _texture("brick.png", ((168, 92, 70), (150, 132, 118), (186, 120, 92))), _PUBLIC),
    Ground("on grass", _texture("grass.png", ((96, 134, 62), (122, 146, 74))), _PUBLIC),
    Ground("on gravel", _texture("gravel.png", ((142, 136, 128), (158, 142, 118))), _PUBLIC),
    Ground("on the moon", _photo("skimage", "moon.png", 0.5), _PUBLIC),
    Ground("in front of a cat", _photo("skimage", "chelsea.png"), _PUBLIC),
    Ground("in front of a rocket", _photo("skimage", "rocket.jpg"), _PUBLIC),
    Ground("in front of a motorcycle", _photo("skimage", "motorcycle_left.png"), _PUBLIC, frozenset({"box"})),
    Ground("in front of a starry sky", _photo("skimage", "hubble_deep_field.jpg", 0.4), _PUBLIC, frozenset({"star"})),
    Ground("in front of a cup of coffee", _photo("skimage", "coffee.png"), _PUBLIC, frozenset({"cup"})),
    Ground("in front of a temple", _photo("sklearn", "china.jpg"), _CC_BY),
    Ground("in front of a dahlia", _photo("sklearn", "flower.jpg"), _CC_BY, frozenset({"flower"})),
    Ground("on sand", _paint_sand),
    Ground("on a wooden floor", _paint_wood),
    Ground("in front of a plain wall", _paint_wall),
    Ground("on a tiled floor", _paint_tiles),
    Ground("on a carpet", _paint_carpet),
)
