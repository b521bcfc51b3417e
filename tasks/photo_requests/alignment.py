"""One frame for photo and result: cropped to what both show, on the coarser of the two grids.

On the coarser grid no detail is invented: its picture stays as it is, pixel for pixel, and the finer one is brought
down to it. Where the result lies on the photo by a whole number of pixels, both are cut out unchanged.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.photo_requests.registration import Matrix, Registration, apply, corners, invert

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

_WHOLE = 0.35
"""Pixels by which corners may miss whole numbers: nearer than that, registration does not see."""
_UPRIGHT = 0.5  # pixels by which an edge may slope and count as upright
_FINER = 1.02  # the photo's grid is kept up to this scale: it would be less than a pixel in fifty
_GRID = 256  # cells of the longer side where a turned frame is measured


@dataclass(frozen=True)
class Frame:
    """Photo and result in their common frame, equal in size."""

    source: Picture
    target: Picture
    source_is_whole: bool
    """The source is the photo as it was, uncropped."""
    target_is_whole: bool
    share: float
    """Of the photo that the frame shows."""


def find_frame(photo: Picture, result: Picture, registration: Registration) -> Frame | None:
    """Bring photo and result into one frame, None where they share none."""
    if registration.scale <= _FINER:
        cut = _cut(photo, result, registration.matrix)
        if cut is None:
            return None
        source, target, box = cut
        share = box[2] * box[3] / (photo.shape[0] * photo.shape[1])
    else:
        cut = _cut(result, photo, invert(registration.matrix))
        if cut is None:
            return None
        target, source, box = cut
        share = box[2] * box[3] * registration.scale**2 / (photo.shape[0] * photo.shape[1])
    wholes = [
        cut_out.shape == picture.shape and np.array_equal(cut_out, picture)
        for cut_out, picture in ((source, photo), (target, result))
    ]
    return Frame(source, target, wholes[0], wholes[1], min(share, 1.0))


def _cut(fixed: Picture, moving: Picture, matrix: Matrix) -> tuple[Picture, Picture, Box] | None:
    """Both pictures on the grid of ``fixed``, in the largest upright box that both cover."""
    shape = (fixed.shape[1], fixed.shape[0])
    size = (moving.shape[1], moving.shape[0])
    outline = apply(matrix, corners(*size))
    shift = _whole_shift(outline, size)
    if shift is not None:
        box = _meet((shift[0], shift[1], *size), (0, 0, *shape))
        if box is None:
            return None
        x, y, width, height = box
        inside = moving[y - shift[1] : y - shift[1] + height, x - shift[0] : x - shift[0] + width]
        return fixed[y : y + height, x : x + width].copy(), inside.copy(), box
    box = _common_box(outline, shape)
    if box is None:
        return None
    x, y, width, height = box
    return fixed[y : y + height, x : x + width].copy(), _warp(moving, matrix, box), box


def _whole_shift(outline: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int] | None:
    """The shift in whole pixels, if the transform is nothing else."""
    shift = np.rint((outline - corners(*size)).mean(axis=0))
    if np.abs(outline - corners(*size) - shift).max() > _WHOLE:
        return None
    return int(shift[0]), int(shift[1])


def _common_box(outline: NDArray[np.float64], shape: tuple[int, int]) -> Box | None:
    """The largest upright box of whole pixels inside both the outline (4, 2) and a picture of ``shape``."""
    edges = np.roll(outline, -1, axis=0) - outline
    if np.abs(edges).min(axis=1).max() <= _UPRIGHT:  # each edge runs along an axis
        xs, ys = np.sort(outline[:, 0]), np.sort(outline[:, 1])
        low = np.ceil(np.array([xs[1], ys[1]]) + 0.5 - _WHOLE)
        high = np.floor(np.array([xs[2], ys[2]]) + 0.5 + _WHOLE)
        (x, y), (right, bottom) = low.astype(int), high.astype(int)
        return _meet((int(x), int(y), int(right - x), int(bottom - y)), (0, 0, *shape))
    return _turned_box(outline, shape)


def _meet(one: Box, two: Box) -> Box | None:
    x, y = max(one[0], two[0]), max(one[1], two[1])
    width = min(one[0] + one[2], two[0] + two[2]) - x
    height = min(one[1] + one[3], two[1] + two[3]) - y
    return (x, y, width, height) if width > 0 and height > 0 else None


def _turned_box(outline: NDArray[np.float64], shape: tuple[int, int]) -> Box | None:
    """The same for a turned outline, measured in cells that lie inside it whole."""
    cell = max(1, -(-max(shape) // _GRID))
    columns, rows = shape[0] // cell, shape[1] // cell
    xs, ys = (np.arange(count + 1, dtype=np.float64) * cell - 0.5 for count in (columns, rows))
    inside = _inside(outline, xs[None, :], ys[:, None])
    whole = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:] & inside[1:, 1:]
    box = _largest_box(whole)
    return None if box is None else (box[0] * cell, box[1] * cell, box[2] * cell, box[3] * cell)


def _inside(outline: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie inside a convex outline."""
    edges = np.roll(outline, -1, axis=0) - outline
    turn = np.sign(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0])
    inside = np.ones(np.broadcast_shapes(x.shape, y.shape), bool)
    for start, edge in zip(outline, edges, strict=True):
        inside &= turn * (edge[0] * (y - start[1]) - edge[1] * (x - start[0])) >= 0
    return inside


def _largest_box(cells: NDArray[np.bool_]) -> Box | None:
    """The largest box of true cells: for each row the heights of true columns above it, and a stack of them."""
    best, found = 0, None
    heights = np.zeros(cells.shape[1] + 1, int)
    for row, line in enumerate(cells):
        heights[:-1] = np.where(line, heights[:-1] + 1, 0)
        stack: list[int] = []
        for column, height in enumerate(heights):
            while stack and heights[stack[-1]] >= height:
                top = heights[stack.pop()]
                left = stack[-1] + 1 if stack else 0
                if top * (column - left) > best:
                    best = int(top * (column - left))
                    found = (left, row + 1 - int(top), column - left, int(top))
            stack.append(column)
    return found


def _warp(moving: Picture, matrix: Matrix, box: Box) -> Picture:
    """A picture on another grid, inside a box: shrunk by area means first, so that nothing aliases."""
    shrink = 1 / float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink > 1:
        size = (max(1, round(moving.shape[1] / shrink)), max(1, round(moving.shape[0] / shrink)))
        factors = np.array([moving.shape[1] / size[0], moving.shape[0] / size[1]])
        moving = np.asarray(cv2.resize(moving, size, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = np.column_stack([matrix[:, :2] * factors, matrix[:, 2] + matrix[:, :2] @ ((factors - 1) / 2)])
    shifted = matrix - np.array([[0, 0, box[0]], [0, 0, box[1]]])
    return np.asarray(
        cv2.warpAffine(moving, shifted, (box[2], box[3]), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )
