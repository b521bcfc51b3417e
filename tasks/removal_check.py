"""A second pair of eyes on a removal: is the object gone, and is the fill of these surroundings?

The first question is asked of an embedder, so that it sees objects and not pixels. Three pictures of the object's
box, which differ in its silhouette alone, are compared: with the object (before), with the fill (after), and with
pieces of the surroundings pasted in. How far *after* stands on the way from the surroundings (0) to the object (1)
is a projection in the embedding's space; whatever the embedder's scale, half-way is half-way, and background that
looks like the object shortens the way instead of counting as the object.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.errors import RowRejected
from catalog.reasons import Reason
from tasks.backends.protocols import Image, Mask

NUM_SURROUNDINGS = 4
"""Pieces of the surroundings that are pasted into the silhouette, at most."""

_MAX_OVERLAP = 0.1  # share of a piece that may come from the hole itself
_SHORTEST_WAY = 0.01  # squared distance from surroundings to object, below which the two look alike
_STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # sides of the box

_FLAT_SPREAD = 2  # grey levels around the median, per channel, for a fill to count as one colour
_FLAT_SHARE = 0.98  # of the fill's pixels
_SAME_COLOUR = 8  # grey levels, per channel
_MIN_LIKE_FILL = 0.2  # share of the surroundings that must have the fill's colour


class _Box(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int

    def cut(self, values: NDArray, down: int = 0, right: int = 0) -> NDArray:
        """The box's part of an image or mask, moved by so many pixels."""
        return values[self.top + down : self.bottom + down, self.left + right : self.right + right]


def removal_crops(source: Image, target: Image, mask: Mask, hole: Mask) -> list[Image]:
    """What the embedder is to look at.

    Args:
        source: uint8 (H, W, 3), with the object.
        target: uint8 (H, W, 3), the composited removal.
        mask: bool (H, W), the object; not empty.
        hole: bool (H, W), every pixel that the removal could change; holds ``mask``, and is not everything.

    Returns:
        The object's box before, after, and one to `NUM_SURROUNDINGS` times with surroundings in the silhouette.
    """
    box = _bounding_box(mask)
    silhouette = box.cut(mask)[..., None]
    before, after = box.cut(source), box.cut(target)
    pieces = [box.cut(source, *shift) for shift in _free_places(mask, hole, box)]
    if not pieces:  # an object too large to have its like beside it
        pieces = [np.broadcast_to(_mean_colour(source, _ring(hole)), before.shape)]
    return [before.copy(), after.copy(), *(np.where(silhouette, piece, before) for piece in pieces)]


def check_gone(embeddings: Sequence[NDArray[np.float32]], max_remaining: float) -> None:
    """Reject a removal after which the object is still seen.

    Args:
        embeddings: of `removal_crops`, in order: float32 (D,), length 1.
        max_remaining: largest share of the way from the surroundings to the object.

    Raises:
        RowRejected: OBJECT_REMAINS.
    """
    before, after, *others = (embedding.astype(np.float64) for embedding in embeddings)
    surroundings = np.mean(others, axis=0)
    way = before - surroundings
    length = float(way @ way)
    if length < _SHORTEST_WAY:
        return  # the object looks like its surroundings: gone or not cannot be told
    remaining = float((after - surroundings) @ way) / length
    if remaining > max_remaining:
        raise RowRejected(
            Reason.OBJECT_REMAINS,
            f"{remaining:.2f} of the way from surroundings to object, at most {max_remaining:.2f}; similarity to the "
            f"object {after @ before:.3f}, to the surroundings {max(after @ other for other in others):.3f}",
        )


def check_fill(source: Image, target: Image, filled: Mask, hole: Mask) -> None:
    """Reject a fill of one colour, black or any other, that its surroundings do not have.

    Args:
        source: uint8 (H, W, 3).
        target: uint8 (H, W, 3), the composited removal.
        filled: bool (H, W), where the target is the fill alone; not empty.
        hole: bool (H, W), every pixel that the removal could change; holds ``filled``.

    Raises:
        RowRejected: CONSTANT_FILL.
    """
    fill = target[filled].astype(np.int16)
    colour = np.median(fill, axis=0)
    flat = _share_within(fill, colour, _FLAT_SPREAD)
    if flat < _FLAT_SHARE:
        return
    like_fill = _share_within(source[_ring(hole)].astype(np.int16), colour, _SAME_COLOUR)
    if like_fill < _MIN_LIKE_FILL:
        raise RowRejected(
            Reason.CONSTANT_FILL,
            f"{flat:.1%} of the fill is one colour, RGB {', '.join(f'{value:.0f}' for value in colour)}, which "
            f"{like_fill:.1%} of its surroundings have, at least {_MIN_LIKE_FILL:.0%}",
        )


def _bounding_box(mask: Mask) -> _Box:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return _Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _free_places(mask: Mask, hole: Mask, box: _Box) -> list[tuple[int, int]]:
    """(down, right): nearest moves of the silhouette to where it lies in the image and beside the hole."""
    silhouette = box.cut(mask)
    area = int(silhouette.sum())
    places: list[tuple[int, int]] = []
    for down, right in _moves(mask.shape, box):
        overlap = int((box.cut(hole, down, right) & silhouette).sum())
        if overlap <= _MAX_OVERLAP * area:
            places.append((down, right))
            if len(places) == NUM_SURROUNDINGS:
                break
    return places


def _moves(shape: tuple[int, ...], box: _Box) -> Iterator[tuple[int, int]]:
    """Moves by half and whole sides of the box, and to the borders of the image, that stay inside; nearest first."""
    along = [
        sorted({-start, extent - end, *(round(step * (end - start)) for step in _STEPS)})
        for start, end, extent in ((box.top, box.bottom, shape[0]), (box.left, box.right, shape[1]))
    ]
    moves = [
        (down, right)
        for down in along[0]
        for right in along[1]
        if 0 <= box.top + down <= shape[0] - (box.bottom - box.top)
        and 0 <= box.left + right <= shape[1] - (box.right - box.left)
    ]
    yield from sorted(moves, key=lambda move: (move[0] ** 2 + move[1] ** 2, move))


def _ring(hole: Mask) -> Mask:
    """Pixels beside the hole: as many away as a quarter of its width, at least 8; all others where there are none."""
    width = max(8, round(float(np.sqrt(hole.sum())) / 4))
    size = 2 * width + 1
    grown = cv2.boxFilter(hole.astype(np.float32), -1, (size, size), normalize=False, borderType=cv2.BORDER_CONSTANT)
    ring: Mask = (grown > 0.5) & ~hole
    return ring if ring.any() else ~hole


def _mean_colour(image: Image, where: Mask) -> Image:
    colour: Image = np.rint(image[where].mean(axis=0)).astype(np.uint8)
    return colour


def _share_within(pixels: NDArray[np.int16], colour: NDArray[np.float64], levels: int) -> float:
    """Share of (N, 3) pixels that are so near a colour in every channel."""
    return float((np.abs(pixels - colour) <= levels).all(axis=1).mean())
