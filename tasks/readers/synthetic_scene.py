"""Rendering of scenes: things as sprites with soft shading and a light shadow, laid over a ground from back to front.

A pixel that a thing's cover and shadow leave alone is computed the same with and without it, so two renderings
differ at most within `support`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.readers.synthetic_canvas import Canvas
from tasks.readers.synthetic_grounds import Picture
from tasks.readers.synthetic_layout import Scene
from tasks.readers.synthetic_person import JOINTS, draw_person, joints_of
from tasks.readers.synthetic_shapes import COLORS, SHAPES
from tasks.readers.synthetic_things import Thing

Mask = NDArray[np.bool_]

_GROUND_PURPOSE = 1
_LIGHT = (-0.55, -0.83)  # towards the light: upper left
_RELIEF = 1.0
_SHADOW_OFFSET = (0.045, 0.06)  # heights
_SHADOW_BLUR = 0.035
_SHADOW_DEPTH = 0.5
_PERSON_ROUNDNESS = 0.035


@dataclass(frozen=True)
class Sprite:
    """One thing, ready to be laid over a picture at (``left``, ``top``)."""

    left: int
    top: int
    color: NDArray[np.float32]
    """(S, S, 3): shaded RGB times cover, 0 to 255."""
    cover: NDArray[np.float32]
    """(S, S, 1): share of each pixel that the thing covers, 0 to 1."""
    shadow: NDArray[np.float32]
    """(S, S, 1): what is left of the light on what lies behind, 0 to 1."""

    def window(self, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part of a size x size picture under the sprite, and the part of the sprite over it."""
        side = self.cover.shape[0]
        inside = [(max(start, 0), min(start + side, size)) for start in (self.top, self.left)]
        over = [(low - start, high - start) for (low, high), start in zip(inside, (self.top, self.left), strict=True)]
        return (slice(*inside[0]), slice(*inside[1])), (slice(*over[0]), slice(*over[1]))


def _height_in_pixels(thing: Thing, size: int) -> int:
    return max(round(thing.height * size), 4)


def _draw(thing: Thing, size: int) -> Canvas:
    reach = 0.525 * float(np.hypot(thing.aspect, 1.0))
    canvas = Canvas(_height_in_pixels(thing, size), reach, thing.angle)
    if thing.pose is not None:
        draw_person(canvas, COLORS[thing.color], thing.pose)
    else:
        SHAPES[thing.kind].draw(canvas, COLORS[thing.color])
    return canvas


@lru_cache(maxsize=64)
def make_sprite(thing: Thing, size: int) -> Sprite:
    """Draw, shade and give a shadow to one thing of a size x size picture."""
    pixels = _height_in_pixels(thing, size)
    canvas = _draw(thing, size)
    margin = int(np.ceil(0.2 * pixels)) + 1
    flat, cover = (np.pad(part, [(margin, margin)] * 2 + [(0, 0)] * (part.ndim - 2)) for part in canvas.picture())
    roundness = SHAPES[thing.kind].roundness if thing.pose is None else _PERSON_ROUNDNESS
    shade = _relief(cover, max(roundness * pixels, 0.8))
    color = np.minimum(flat * shade[:, :, None], cover[:, :, None]).astype(np.float32)
    radius = canvas.radius + margin
    return Sprite(
        left=round(thing.x * size) - radius,
        top=round(thing.y * size) - radius,
        color=color,
        cover=np.asarray(cover / 255, np.float32)[:, :, None],
        shadow=_shadow(cover, pixels)[:, :, None],
    )


def _relief(cover: NDArray[np.uint8], blur: float) -> NDArray[np.float32]:
    """Brightness of a puffed-up surface with this outline, lit from `_LIGHT`: about 1, (S, S)."""
    hill = cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), blur)
    across, down = cv2.Sobel(hill, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(hill, cv2.CV_32F, 0, 1, scale=0.125)
    slope = across * _LIGHT[0] + down * _LIGHT[1]
    return np.asarray(1.0 - _RELIEF * blur * slope, np.float32)


def _shadow(cover: NDArray[np.uint8], pixels: int) -> NDArray[np.float32]:
    """Light left behind a thing with this cover, (S, S)."""
    moved = np.zeros_like(cover)
    right, down = (max(round(offset * pixels), 1) for offset in _SHADOW_OFFSET)
    moved[down:, right:] = cover[:-down, :-right]
    soft = cv2.GaussianBlur(moved, (0, 0), max(_SHADOW_BLUR * pixels, 0.8))
    return np.asarray(1.0 - soft.astype(np.float32) * (_SHADOW_DEPTH / 255), np.float32)


@lru_cache(maxsize=4)
def paint_ground(scene: Scene, size: int) -> Picture:
    """The scene without a thing."""
    return scene.ground.paint(scene.generator(_GROUND_PURPOSE), size)


def render(scene: Scene, things: Sequence[Thing], size: int) -> Picture:
    """The scene's ground with these things: uint8 (size, size, 3) RGB."""
    picture = paint_ground(scene, size).copy()
    for thing in things:
        lay_over(picture, make_sprite(thing, size))
    return picture


def lay_over(picture: Picture, sprite: Sprite) -> None:
    """Darken a picture by a sprite's shadow and lay the sprite on it, in place."""
    under, over = sprite.window(len(picture))
    lit = picture[under] * sprite.shadow[over]
    picture[under] = np.rint(lit * (1 - sprite.cover[over]) + sprite.color[over]).astype(np.uint8)


def visible_masks(things: Sequence[Thing], size: int) -> list[Mask]:
    """Per thing, the pixels of which more than half is this thing, as seen: bool (size, size)."""
    free = np.ones((size, size), np.float32)  # share of each pixel that nearer things leave
    masks = []
    for thing in reversed(things):
        sprite = make_sprite(thing, size)
        under, over = sprite.window(size)
        share = free[under] * sprite.cover[over][:, :, 0]
        mask = np.zeros((size, size), np.bool_)
        mask[under] = share > 0.5
        free[under] *= 1 - sprite.cover[over][:, :, 0]
        masks.append(mask)
    return masks[::-1]


def support(things: Sequence[Thing], nearer: Sequence[Thing], size: int) -> Mask:
    """Pixels that can change when any of these things comes or goes: bool (size, size).

    That is what they cover or shade at all, less what ``nearer`` things hide wholly.
    """
    mask = np.zeros((size, size), np.bool_)
    for sprite in (make_sprite(thing, size) for thing in things):
        under, over = sprite.window(size)
        mask[under] |= ((sprite.cover[over] > 0) | (sprite.shadow[over] < 1))[:, :, 0]
    for sprite in (make_sprite(thing, size) for thing in nearer):
        under, over = sprite.window(size)
        mask[under] &= sprite.cover[over][:, :, 0] < 1
    return mask


def locate_joints(thing: Thing, size: int) -> list[tuple[str, float, float]]:
    """(name, x, y) of a person's joints in COCO's order: pixel coordinates, 0 at the first pixel's middle."""
    assert thing.pose is not None
    canvas = Canvas(_height_in_pixels(thing, size), 0.1, thing.angle)
    found, pixels = joints_of(thing.pose), _height_in_pixels(thing, size)
    middle = np.array([round(thing.x * size), round(thing.y * size)]) - 0.5
    places = {name: middle + canvas.turned(found[name][None])[0] * pixels for name in JOINTS}
    return [(name, round(float(x), 2), round(float(y), 2)) for name, (x, y) in places.items()]
