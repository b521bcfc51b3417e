"""Targets drawn from annotations, and read back from a model's output: each drawing and its reading are a pair.

``render_mask`` / ``decode_mask_target``: a half-transparent colour over the region (paper sections 3.1 and 4.1).
``render_keypoints`` / ``decode_keypoints``: a disc of its own colour on each joint (paper section 4.1).

Images are uint8 HWC RGB, masks bool HW, points float64 N x 2 as (x, y) in pixels, colours N x 3 from 0 to 255.
A reading takes the source image beside the output, so that what was there before the model drew is not taken for a
drawing. The paper reads outputs by a small U-Net (section 4.2) whose weights and training were never published; these
readings need no training. (`evaluation.postprocessor` is such a U-Net.)
"""

from collections.abc import Sequence

import cv2
import numpy as np

ALPHA = 0.5
"""Share of the colour in a mask's pixels (paper section 4.1: transparency of 0.5)."""

RADIUS = 10.0
"""Radius of a disc in pixels at 256 x 256 (official code; the paper says "small circles")."""

MIN_MASK_SHIFT = 8.0
"""Smallest step from source to full mask colour, in levels of RGB distance, from which a pixel is decided alone."""

MIN_DISC_SHIFT = 32.0
"""The same for discs, which are opaque: their step is longer, and so is what a model's noise must not imitate."""

MIN_CONFIDENCE = 0.5
"""A disc with less of its pixels in its colour counts as absent."""

MIN_VISIBLE_SHARE = 0.05
"""A disc of which less than this share can be seen (border, other discs, like-coloured ground) counts as absent."""

Color = tuple[int, int, int]


def render_mask(image: np.ndarray, mask: np.ndarray, color: Color, alpha: float = ALPHA) -> np.ndarray:
    """Blend ``color`` over the region: ``(1 - alpha) * image + alpha * color``, rounded (halves to even)."""
    target = image.copy()
    target[mask] = np.rint((1 - alpha) * image[mask] + alpha * np.asarray(color, np.float64)).astype(np.uint8)
    return target


def decode_mask_target(source: np.ndarray, output: np.ndarray, color: Color, alpha: float = ALPHA) -> np.ndarray:
    """Read a mask back: a pixel belongs to it if the output went more than half of the way to the blended colour.

    Args and way: see `mask_progress`. Returns a mask, bool HW; empty if no pixel can tell.
    """
    return np.asarray(mask_progress(source, output, color, alpha) > 0.5)


def mask_progress(source: np.ndarray, output: np.ndarray, color: Color, alpha: float = ALPHA) -> np.ndarray:
    """How much of the way from the source pixel to its blend with ``color`` the output went, in [0, 1].

    The way is a line in RGB; what the output changed across it does not count. Where source and colour are so alike
    that the way is under `MIN_MASK_SHIFT`, the pixel cannot tell, and follows the nearest pixel that can: a white
    cloud under a white mask is decided by its surroundings. If no pixel can tell, all are 0.

    Args:
        source: uint8 HWC, what the model was given.
        output: uint8 HWC of the same size, what it drew.
        color: RGB that the instruction asked for.
        alpha: share of the colour in the blend.

    Returns:
        Shares of the way, float32 HW.
    """
    way = alpha * (np.asarray(color, np.float32) - source.astype(np.float32))  # (H, W, 3)
    squared = np.square(way).sum(axis=2)
    going = (way * (output.astype(np.float32) - source)).sum(axis=2)
    decided = squared >= MIN_MASK_SHIFT**2
    progress: np.ndarray = np.clip(np.divide(going, squared, out=np.zeros_like(going), where=decided), 0, 1)
    if decided.all() or not decided.any():
        return progress
    # Each label stands for one decided pixel, the nearest one: look its progress up there.
    _, labels = cv2.distanceTransformWithLabels(
        (~decided).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    found = np.zeros(labels.max() + 1, np.float32)
    found[labels[decided]] = progress[decided]
    return np.asarray(found[labels])


def disc_radius(size: int, radius: float = RADIUS) -> float:
    """Radius in pixels for images of ``size`` x ``size``, from the radius at 256."""
    return radius * size / 256


def render_keypoints(
    image: np.ndarray, points: np.ndarray, colors: Sequence[Color], radius: float = RADIUS
) -> np.ndarray:
    """Draw opaque discs in the given order; a later disc covers an earlier one.

    A pixel (x, y) is in the disc of point p where (x - p.x)^2 + (y - p.y)^2 <= radius^2 + 1 (official code; there
    the centre is a whole number, here it is not rounded). Points may lie outside the image.
    """
    target = image.copy()
    height, width = image.shape[:2]
    reach = np.sqrt(radius**2 + 1)
    for (x, y), color in zip(np.asarray(points, np.float64).reshape(-1, 2), colors, strict=True):
        left, top = max(0, int(np.ceil(x - reach))), max(0, int(np.ceil(y - reach)))
        columns = np.arange(left, min(width, int(np.floor(x + reach)) + 1))
        rows = np.arange(top, min(height, int(np.floor(y + reach)) + 1))
        disc = np.square(columns - x) + np.square(rows - y)[:, None] <= radius**2 + 1
        target[top : top + rows.size, left : left + columns.size][disc] = color
    return target


def decode_keypoints(
    source: np.ndarray, output: np.ndarray, colors: Sequence[Color], radius: float = RADIUS
) -> tuple[np.ndarray, np.ndarray]:
    """Find the disc of each colour, to a fraction of a pixel.

    Each pixel votes for a colour from +1 (fully that colour) to -1 (not at all); it abstains where the source had the
    colour already and where another asked colour lies on top. A disc's score is the sum of the votes inside it, so
    its place is also found where the border cuts it or another disc covers part of it.

    Args:
        source: uint8 HWC, what the model was given.
        output: uint8 HWC of the same size, what it drew.
        colors: the RGB of each joint, distinct.
        radius: of the discs, pixels.

    Returns:
        Points, float64 N x 2, NaN where a disc is absent; and the confidence of each, float64 N in [0, 1]: the mean
        of its visible pixels' likeness to the colour.
    """
    palette = np.asarray(colors, np.float32).reshape(-1, 3)
    points = np.full((len(palette), 2), np.nan)
    confidences = np.zeros(len(palette))
    if not len(palette):
        return points, confidences
    likeness, seen = _disc_votes(source.astype(np.float32), output.astype(np.float32), palette)
    for place in range(len(palette)):
        votes = np.where(seen[place], 2 * likeness[place] - 1, 0).astype(np.float32)
        x, y = _best_center(votes, radius)
        inside = _disc(votes.shape, x, y, radius) & seen[place]
        if inside.sum() < max(1.0, MIN_VISIBLE_SHARE * np.pi * radius**2):
            continue
        confidences[place] = likeness[place][inside].mean()
        if confidences[place] >= MIN_CONFIDENCE:
            points[place] = x, y
    return points, confidences


def disc_scores(source: np.ndarray, output: np.ndarray, colors: Sequence[Color], radius: float) -> np.ndarray:
    """How well a disc of each colour around each pixel fits, float32 N x H x W in [0, 1]: 1 is a whole, pure disc.

    The sum of the votes in the disc over its area, as `decode_keypoints` counts them; what is against it counts 0.
    """
    palette = np.asarray(colors, np.float32).reshape(-1, 3)
    scores = np.zeros((len(palette), *source.shape[:2]), np.float32)
    if not len(palette):
        return scores
    likeness, seen = _disc_votes(source.astype(np.float32), output.astype(np.float32), palette)
    kernel = _disc_kernel(radius)
    for place, score in enumerate(scores):
        votes = np.where(seen[place], 2 * likeness[place] - 1, 0).astype(np.float32)
        score[:] = cv2.filter2D(votes, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_CONSTANT)
    return np.clip(scores, 0, 1)


def _disc_votes(source: np.ndarray, output: np.ndarray, palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Likeness of each output pixel to each colour, N x H x W in [0, 1], and where it says anything."""
    before = np.stack([np.linalg.norm(source - color, axis=2) for color in palette])  # (N, H, W)
    after = np.stack([np.linalg.norm(output - color, axis=2) for color in palette])
    likeness = np.clip(1 - after / np.maximum(before, 1), 0, 1)
    closest = after.argmin(axis=0)  # (H, W)
    changed = np.linalg.norm(output - source, axis=2) > after.min(axis=0)  # nearer to a colour than to the source
    covered = changed & (closest != np.arange(len(palette))[:, None, None])
    return likeness, (before >= MIN_DISC_SHIFT) & ~covered


def _disc(shape: tuple[int, ...], x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.square(columns - x) + np.square(rows - y) <= radius**2 + 1)


def _disc_kernel(radius: float) -> np.ndarray:
    reach = int(np.sqrt(radius**2 + 1))
    return _disc((2 * reach + 1, 2 * reach + 1), reach, reach, radius).astype(np.float32)


def _best_center(votes: np.ndarray, radius: float) -> tuple[float, float]:
    """Centre (x, y) inside the image whose disc holds the largest sum of votes."""
    reach = int(np.sqrt(radius**2 + 1))
    scores = cv2.filter2D(votes, cv2.CV_32F, _disc_kernel(radius), borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    # Then a quarter of a pixel at a time. Neighbouring centres hold the same pixels: the mean of the best is taken.
    steps = np.arange(-6, 7) / 4
    centers = np.stack(np.meshgrid(column + steps, row + steps), axis=-1).reshape(-1, 2)
    top, left = max(0, row - reach - 3), max(0, column - reach - 3)
    window = votes[top : row + reach + 4, left : column + reach + 4]
    rows, columns = np.indices(window.shape) + np.array([top, left])[:, None, None]
    squares = np.square(columns.ravel() - centers[:, :1]) + np.square(rows.ravel() - centers[:, 1:])
    sums = (squares <= radius**2 + 1) @ window.ravel().astype(np.float64)
    x, y = centers[sums >= sums.max() - 1e-6].mean(axis=0)
    return float(x), float(y)
