"""Registration: where a result lies on a photo, found from features that both show.

SIFT features (Lowe 2004) as RootSIFT (Arandjelovic and Zisserman 2012), mutual nearest neighbours that pass the
ratio test, RANSAC over similarity transforms, then least squares over the features that agree. Only if an affine
transform explains them clearly better is it taken, and a plainer one (no turn; no crop) wherever it explains them
about as well: results are cropped, resized (often to a rounded size, which stretches a little), seldom turned or
sheared. Everything is deterministic: OpenCV's RANSAC starts from a fixed seed.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""(2, 3): (x, y) becomes matrix @ (x, y, 1), pixel centres at whole numbers."""

LONG_SIDE = 1024
"""Pixels at which features are found."""
_MAX_FEATURES = 2500
_CONTRASTS = (0.02, 0.004)
"""SIFT's threshold, and the one for pictures that show few features above it: blurred, foggy, faded."""
_FEW_FEATURES = 300
_RATIO = 0.85
_THRESHOLD = 3.0  # pixels at LONG_SIDE
_FINE_THRESHOLD = 1.5
_ROUNDS = 4
_NEARLY, _SLACK = 1.1, 0.05  # a plainer transform may leave residuals a tenth larger, and 0.05 pixel at LONG_SIDE
_AFFINE_GAIN = 0.85  # an affine transform must bring the residual below this share of the similarity's


@dataclass(frozen=True)
class Features:
    """Of one picture."""

    width: int
    height: int
    points: NDArray[np.float64]
    """(N, 2), pixels of the picture itself."""
    descriptors: NDArray[np.float32]
    """(N, 128), unit length."""
    scale: float
    """Pixels of the picture per pixel that features were found at."""


@dataclass(frozen=True)
class Registration:
    """Where a result lies on a photo."""

    matrix: Matrix
    """Result to photo."""
    num_inliers: int
    num_matches: int

    @property
    def stretch(self) -> float:
        """Ratio of the two singular values: 1 where lengths change alike in all directions."""
        values = np.linalg.svd(self.matrix[:, :2], compute_uv=False)
        return float(values[0] / max(values[1], 1e-12))

    @property
    def scale(self) -> float:
        """Pixels of the photo per pixel of the result."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))


def find_features(pixels: NDArray[np.uint8]) -> Features:
    """Features of an RGB picture (H, W, 3)."""
    height, width = pixels.shape[:2]
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = max(1.0, max(height, width) / LONG_SIDE)
    if scale > 1:
        grey = cv2.resize(grey, (round(width / scale), round(height / scale)), interpolation=cv2.INTER_AREA)
    factors = np.array([width / grey.shape[1], height / grey.shape[0]])
    for threshold in _CONTRASTS:
        detector = cv2.SIFT.create(nfeatures=_MAX_FEATURES, contrastThreshold=threshold, enable_precise_upscale=True)
        found, descriptors = detector.detectAndCompute(grey, None)
        if len(found) >= _FEW_FEATURES:
            break
    if descriptors is None:
        return Features(width, height, np.empty((0, 2)), np.empty((0, 128), np.float32), scale)
    points = (np.array([point.pt for point in found], np.float64) + 0.5) * factors - 0.5
    descriptors /= np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-7)
    return Features(width, height, points, np.sqrt(descriptors), scale)


def register(photo: Features, result: Features) -> Registration | None:
    """The transform that most features agree on, None where fewer than four do."""
    here, there = _matches(result.descriptors, photo.descriptors)
    if len(here) < 4:
        return None
    source, target = result.points[here], photo.points[there]
    matrix, _ = cv2.estimateAffinePartial2D(
        source,
        target,
        method=cv2.RANSAC,
        ransacReprojThreshold=_THRESHOLD * photo.scale,
        maxIters=5000,
        confidence=0.9999,
    )
    if matrix is None or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:, :2])) < 1e-6:
        return None
    matrix, inliers = _refine(matrix, source, target, photo.scale)
    if inliers.sum() >= 4:
        matrix = _simplest(matrix, plain_scaling(photo, result).matrix, source[inliers], target[inliers], photo.scale)
    return Registration(matrix, int(inliers.sum()), len(here))


def plain_scaling(photo: Features, result: Features) -> Registration:
    """The transform of a result that is the photo in another size, where no feature says anything."""
    factors = np.array([photo.width / result.width, photo.height / result.height])
    return Registration(np.column_stack([np.diag(factors), (factors - 1) / 2]), 0, 0)


def apply(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) transformed."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def invert(matrix: Matrix) -> Matrix:
    """The transform back."""
    return np.asarray(cv2.invertAffineTransform(matrix))


def corners(width: int, height: int) -> NDArray[np.float64]:
    """Outer corners of a picture (4, 2), half a pixel outside the centres of its corner pixels."""
    right, bottom = width - 0.5, height - 0.5
    return np.array([(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)])


def _matches(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of features that are each other's nearest, and clearly nearer than the second nearest."""
    if len(first) < 2 or len(second) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    cosines = first @ second.T
    best = cosines.argmax(axis=1)
    rows = np.arange(len(first))
    top = cosines[rows, best]
    mutual = cosines.argmax(axis=0)[best] == rows
    cosines[rows, best] = -1
    distance, next_distance = (np.sqrt(np.maximum(2 - 2 * values, 0)) for values in (top, cosines.max(axis=1)))
    kept = np.flatnonzero(mutual & (distance < _RATIO * next_distance))
    return kept, best[kept]


def _refine(
    matrix: Matrix, source: NDArray[np.float64], target: NDArray[np.float64], unit: float
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Least squares over the features within the threshold, a few times, similarity or affine by residual."""
    inliers = _residuals(matrix, source, target) < _THRESHOLD * unit
    for round_ in range(_ROUNDS):
        if inliers.sum() < 4:
            break
        similarity = _fit_similarity(source[inliers], target[inliers])
        chosen = similarity
        if inliers.sum() >= 12:
            affine = _fit_affine(source[inliers], target[inliers])
            rms = [_spread(one, source[inliers], target[inliers]) for one in (similarity, affine)]
            chosen = affine if rms[1] < _AFFINE_GAIN * rms[0] else similarity
        matrix = chosen
        limit = _THRESHOLD if round_ == 0 else _FINE_THRESHOLD
        inliers = _residuals(matrix, source, target) < limit * unit
    return matrix, inliers


def _simplest(
    matrix: Matrix, plain: Matrix, source: NDArray[np.float64], target: NDArray[np.float64], unit: float
) -> Matrix:
    """The plainest transform that nearly all features agree on as well: resized, then cropped, then as it was found.

    Most results are not turned, and a few features in one corner say little about the angle.
    """
    spread, moved = source - source.mean(axis=0), target - target.mean(axis=0)
    factor = float((spread * moved).sum() / max(float((spread**2).sum()), 1e-12))
    upright = np.column_stack([np.eye(2) * factor, target.mean(axis=0) - factor * source.mean(axis=0)])
    limit = _NEARLY * _spread(matrix, source, target) + _SLACK * unit
    return next((one for one in (plain, upright) if _spread(one, source, target) <= limit), matrix)


def _spread(matrix: Matrix, source: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Root mean square of the residuals, pixels of the photo."""
    return float(np.sqrt(np.mean(_residuals(matrix, source, target) ** 2)))


def _fit_similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    """Least squares of scale, turn and shift (Umeyama 1991, in complex numbers)."""
    one, two = source @ [1, 1j], target @ [1, 1j]
    spread = one - one.mean()
    factor = np.vdot(spread, two - two.mean()) / max(float(np.vdot(spread, spread).real), 1e-12)
    shift = two.mean() - factor * one.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def _fit_affine(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    design = np.column_stack([source, np.ones(len(source))])
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0].T)


def _residuals(matrix: Matrix, source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(apply(matrix, source) - target, axis=1))
