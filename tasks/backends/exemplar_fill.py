"""Fills a hole with pieces of the rest of the picture, so that texture and edges go on instead of smearing.

Every 7x7 window that touches the hole gets the most similar window that does not (its *exemplar*); the hole's
pixels are the weighted mean of what their windows' exemplars say; repeat, from coarse to fine. After Wexler,
Shechtman and Irani, "Space-Time Completion of Video" (PAMI 2007), with the randomised search of Barnes et al.,
"PatchMatch" (SIGGRAPH 2009). Distances are sums of integers below 2^24, exact in float32 on any machine.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.backends.membranes import stretch_membrane

_RADIUS = 3
_SIDE = 2 * _RADIUS + 1
_WINDOW = np.ones((_SIDE, _SIDE), np.uint8)
_SMALLEST_SIDE = 24  # pixels; a coarser picture has too few windows to choose from
_THIN_HOLE = 4  # pixels from rim to middle: what one window bridges
_COARSE_ROUNDS = 8
_SEARCHED = 9000  # windows; finer levels keep the coarser level's choice, which bounds time and memory
_NEARNESS = 11_000.0  # cost of an exemplar a diagonal away, in summed squared differences of 7-bit values

_Points = tuple[np.ndarray, np.ndarray]
_Picture = np.ndarray  # float32 (H, W, 3)


@dataclass(frozen=True)
class _Level:
    """One resolution: a picture of whole numbers 0-255, its hole, and where windows are centred."""

    picture: _Picture
    hole: NDArray[np.bool_]
    targets: _Points
    """Windows that touch the hole."""
    intact: NDArray[np.bool_]
    """Where a window touches neither hole nor border."""
    confidence: NDArray[np.float32]
    """Of each target: the deeper in the hole, the less its content says."""


def fill_from_exemplars(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill ``hole`` of ``image``.

    Args:
        image: uint8 (H, W, 3).
        hole: bool (H, W), at least one pixel False.

    Returns:
        uint8 (H, W, 3), equal to ``image`` outside the hole. Where no whole window is left to copy from (tiny
        pictures, scattered holes), the fill is the smooth membrane that the search would have started from.
    """
    picture = image.astype(np.float32)
    levels = _pyramid(picture, hole)
    if not levels:
        picture = _with_membrane(picture, hole)
    random = np.random.default_rng(0)
    exemplars: np.ndarray | None = None
    for level in levels:
        if exemplars is None:
            picture, chosen = _search_all(level)
        else:
            picture, chosen = _search_near(level, _doubled(exemplars, level), random)
        exemplars = _as_map(level, chosen)
    result = image.copy()
    result[hole] = picture[hole].astype(np.uint8)
    return result


def _pyramid(picture: _Picture, hole: NDArray[np.bool_]) -> list[_Level]:
    """Levels from coarse to fine, the coarsest with a hole thin enough for one window to bridge.

    A level without an intact window ends the pyramid: the levels above it make do, or there are none.
    """
    levels: list[_Level] = []
    level = _level(picture, hole)
    while level.intact.any():
        levels.append(level)
        if min(level.hole.shape) < 2 * _SMALLEST_SIDE or _depth(np.pad(level.hole, 1)).max() <= _THIN_HOLE:
            break
        level = _halved(level)
    return levels[::-1]


def _halved(level: _Level) -> _Level:
    """The level at half the resolution, of known pixels only; a pixel is hole where most of it was."""
    picture, hole = level.picture, level.hole
    height, width = (side + side % 2 for side in hole.shape)
    padding = ((0, height - hole.shape[0]), (0, width - hole.shape[1]))
    size = (width // 2, height // 2)
    known = np.pad(~hole, padding, mode="edge").astype(np.float32)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    total = np.pad(picture, (*padding, (0, 0)), mode="edge") * known[..., None]
    colour = cv2.resize(total, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 0.25)[..., None]
    hole = share < 0.5
    return _level(np.rint(colour), hole)


def _level(picture: _Picture, hole: NDArray[np.bool_]) -> _Level:
    touching = cv2.dilate(hole.astype(np.uint8), _WINDOW) > 0
    inner = np.zeros_like(hole)
    inner[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS] = True
    targets = _points(touching & inner)
    confidence = np.float32(1.3) ** -np.minimum(_depth(hole)[targets], 24)
    return _Level(picture, hole, targets, inner & ~touching, confidence)


def _with_membrane(picture: _Picture, hole: NDArray[np.bool_]) -> _Picture:
    """The picture with its hole filled by whole numbers of a membrane; unchanged where nothing is hole."""
    if not hole.any():
        return picture
    return np.where(hole[..., None], np.rint(stretch_membrane(picture, ~hole)), picture)


def _depth(hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    distance: NDArray[np.float32] = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    return distance


def _search_all(level: _Level) -> tuple[_Picture, _Points]:
    """Compare every target with every intact window: for the coarsest level."""
    sources = _points(level.intact)
    picture = _with_membrane(level.picture, level.hole)
    height, width = level.hole.shape
    nearness = np.float32(_NEARNESS / (height**2 + width**2))
    for _ in range(_COARSE_ROUNDS):
        windows = _windows(np.floor(picture / 2))  # 7 bits keep the products below exact in float32
        wanted, offered = _flat(windows, level.targets), _flat(windows, sources)
        norms = np.einsum("ij,ij->i", offered, offered)
        best = np.empty(len(wanted), np.intp)
        for start in range(0, len(wanted), 256):
            rows = slice(start, start + 256)
            apart = sum((a[rows, None] - b) ** 2 for a, b in zip(level.targets, sources, strict=True))
            best[rows] = np.argmin(norms - 2 * (wanted[rows] @ offered.T) + np.rint(nearness * apart), axis=1)
        chosen = (sources[0][best], sources[1][best])
        picture = _vote(level, picture, chosen)
    return picture, chosen


def _search_near(level: _Level, chosen: _Points, random: np.random.Generator) -> tuple[_Picture, _Points]:
    """Better the coarser level's choice: try the neighbours' exemplars and random ones around."""
    picture = _vote(level, level.picture, chosen)
    count = len(chosen[0])
    for _ in range(4 if 3 * count < _SEARCHED else 2 if count < _SEARCHED else 0):
        windows = _windows(picture.astype(np.int16))
        choice = _Choice(level, windows, _flat(windows, level.targets), chosen)
        for step, reach in ((1, max(level.hole.shape) // 4), (2, max(level.hole.shape) // 8)):
            for down, right in ((0, step), (step, 0), (0, -step), (-step, 0)):
                choice.propagate(down, right)
            choice.guess(reach, random)
            choice.guess(4, random)
        chosen = choice.chosen
        picture = _vote(level, picture, chosen)
    return picture, chosen


class _Choice:
    """The exemplar of each target and how far it is from it."""

    def __init__(self, level: _Level, windows: np.ndarray, wanted: np.ndarray, chosen: _Points) -> None:
        self.level, self.windows, self.wanted = level, windows, wanted
        self.chosen = (chosen[0].copy(), chosen[1].copy())
        self.cost = self._distance(slice(None), chosen)

    def propagate(self, down: int, right: int) -> None:
        """Offer each target the exemplar beside that of the neighbour at (down, right)."""
        exemplars = _as_map(self.level, self.chosen)
        height, width = self.level.hole.shape
        y = np.clip(self.level.targets[0] + down, 0, height - 1)
        x = np.clip(self.level.targets[1] + right, 0, width - 1)
        self.offer(exemplars[y, x, 0] - down, exemplars[y, x, 1] - right)

    def guess(self, reach: int, random: np.random.Generator) -> None:
        """Offer each target a random window within ``reach`` pixels of its exemplar."""
        y, x = (axis + random.integers(-reach, reach + 1, len(axis)) for axis in self.chosen)
        self.offer(y, x)

    def offer(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> None:
        """Take the windows at (y, x) where they are intact and nearer than what was chosen."""
        height, width = self.level.hole.shape
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        rows = np.nonzero(inside)[0]
        rows = rows[self.level.intact[y[rows], x[rows]]]
        cost = self._distance(rows, (y[rows], x[rows]))
        better = cost < self.cost[rows]
        rows = rows[better]
        self.cost[rows] = cost[better]
        self.chosen[0][rows] = y[rows]
        self.chosen[1][rows] = x[rows]

    def _distance(self, rows: slice | NDArray[np.intp], points: _Points) -> NDArray[np.float32]:
        difference = (_flat(self.windows, points) - self.wanted[rows]).astype(np.float32)
        distance: NDArray[np.float32] = np.einsum("ij,ij->i", difference, difference)
        return distance


def _vote(level: _Level, picture: _Picture, chosen: _Points) -> _Picture:
    """The hole as its windows' exemplars say it, with the mismatch along the rim spread over the hole."""
    height, width = level.hole.shape
    pixels = np.dstack([picture, np.ones_like(picture[..., :1])]).reshape(-1, 4)  # the ones add up the weights
    total = np.zeros_like(pixels)
    at = level.targets[0] * width + level.targets[1]
    origin = chosen[0] * width + chosen[1]
    for down in range(-_RADIUS, _RADIUS + 1):
        for right in range(-_RADIUS, _RADIUS + 1):
            share = level.confidence * np.float32(0.85 ** (down * down + right * right))
            shift = down * width + right
            # No index occurs twice: one shift, distinct targets.
            total[at + shift] += pixels.take(origin + shift, axis=0) * share[:, None]
    weight = total[:, 3].reshape(height, width)
    voted = weight > 0
    told = total[:, :3].reshape(picture.shape) / np.maximum(weight, 1e-12)[..., None]
    rim = (cv2.dilate(level.hole.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & voted & ~level.hole
    filled = level.hole & voted
    result = picture.copy()
    if rim.any():
        told += _spread(picture - told, rim, filled)
    result[filled] = np.clip(np.rint(told[filled]), 0, 255)
    return result


def _spread(mismatch: _Picture, rim: NDArray[np.bool_], filled: NDArray[np.bool_]) -> _Picture:
    """A membrane through the rim's mismatch, over the box that holds rim and hole; zero elsewhere."""
    rows, columns = (np.nonzero((rim | filled).any(axis=axis))[0] for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    correction = np.zeros_like(mismatch)
    correction[box] = stretch_membrane(mismatch[box], rim[box])
    return correction


def _as_map(level: _Level, chosen: _Points) -> np.ndarray:
    """(H, W, 2): the exemplar of each pixel's window; a window that is no target is its own."""
    exemplars: np.ndarray = np.moveaxis(np.indices(level.hole.shape), 0, -1).copy()
    exemplars[level.targets] = np.stack(chosen, axis=-1)
    return exemplars


def _doubled(exemplars: np.ndarray, level: _Level) -> _Points:
    """The coarser level's choice at this level, moved to the nearest intact window where it is not intact."""
    height, width = level.hole.shape
    parents = tuple(
        np.clip(axis // 2, _RADIUS, side - 1 - _RADIUS)
        for axis, side in zip(level.targets, exemplars.shape, strict=False)
    )
    found = 2 * exemplars[parents] + np.stack(level.targets, axis=-1) - 2 * np.stack(parents, axis=-1)
    y, x = np.clip(found[:, 0], 0, height - 1), np.clip(found[:, 1], 0, width - 1)
    _, labels = cv2.distanceTransformWithLabels(
        (~level.intact).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    sources = _points(level.intact)
    order = np.zeros(labels.max() + 1, np.intp)
    order[labels[sources]] = np.arange(len(sources[0]))
    nearest = order[labels[y, x]]
    return sources[0][nearest], sources[1][nearest]


def _points(mask: np.ndarray) -> _Points:
    y, x = np.nonzero(mask)
    return y, x


def _windows(picture: np.ndarray) -> np.ndarray:
    """(H - 6, W - 6, C, 7, 7): a view of every window."""
    windows: np.ndarray = np.lib.stride_tricks.sliding_window_view(picture, (_SIDE, _SIDE), axis=(0, 1))
    return windows


def _flat(windows: np.ndarray, centres: _Points) -> np.ndarray:
    """(N, 147): the windows around ``centres``."""
    content: np.ndarray = windows[centres[0] - _RADIUS, centres[1] - _RADIUS]
    return content.reshape(len(centres[0]), windows[0, 0].size)
