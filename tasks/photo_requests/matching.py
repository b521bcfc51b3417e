"""Is a result an edit of a photo? If so, both in their common frame; if not, the reason."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.errors import RowRejected
from catalog.image_headers import MIN_SIDE
from catalog.reasons import Reason
from tasks.photo_requests.alignment import Frame, Picture, find_frame
from tasks.photo_requests.crawl_settings import MatchParameters
from tasks.photo_requests.registration import Features, Registration, find_features, plain_scaling, register

_LOOK_SIDE = 512  # pixels of the longer side at which two pictures are compared
_BLOCK = 16  # pixels of a block of the comparison
_TEXTURE = 4.0  # grey levels (standard deviation) from which a block has something to compare
_ALIKE = 0.6  # correlation from which two blocks look the same
_FLAT_ALIKE = 0.5  # alike blocks that a result needs which no feature places


@dataclass(frozen=True)
class Match:
    """An edit of a photo."""

    photo: int
    """Which of the photos."""
    registration: Registration
    alike_share: float
    frame: Frame


class RequestPhotos:
    """The photos of one request, whose features are found once however many results there are."""

    def __init__(self, photos: Sequence[Picture]) -> None:
        self._photos = photos
        self._features = [find_features(photo) for photo in photos]

    def match(self, result: Picture, parameters: MatchParameters) -> Match:
        """Hold a result against every photo and take the one that it fits best.

        Raises:
            RowRejected: unrelated_result, mirrored_result, distorted_result, small_common_frame, no_change.
        """
        features = find_features(result)
        found = self._best(features, parameters)
        if found is None:
            found = self._by_size(result, features)
        if found is None:
            raise self._refusal(result, parameters)
        index, registration = found
        if registration.stretch > parameters.max_stretch:
            raise RowRejected(Reason.DISTORTED_RESULT, f"stretched {registration.stretch:.2f} times")
        photo = self._photos[index]
        frame = find_frame(photo, result, registration)
        if frame is None or frame.share < parameters.min_frame_share or min(frame.source.shape[:2]) < MIN_SIDE:
            share = 0.0 if frame is None else frame.share
            raise RowRejected(Reason.SMALL_COMMON_FRAME, f"{share:.1%} of the photo")
        alike = alike_share(frame.source, frame.target)
        if alike < parameters.min_alike_share:
            raise RowRejected(Reason.UNRELATED_RESULT, f"{alike:.0%} of the picture still looks like the photo")
        change, detail = largest_change(frame.source, frame.target), detail_change(frame.source, frame.target)
        if change < parameters.min_change and detail < parameters.min_detail_change:
            raise RowRejected(
                Reason.NO_CHANGE, f"no part differs by more than {change:.1f} levels, edges {detail:.2f}x"
            )
        return Match(index, registration, alike, frame)

    def _best(self, result: Features, parameters: MatchParameters) -> tuple[int, Registration] | None:
        """The photo that most features agree on, if enough do."""
        best: tuple[int, Registration] | None = None
        for index, photo in enumerate(self._features):
            found = register(photo, result)
            if found is None or found.num_inliers < parameters.min_inliers:
                continue
            if found.num_inliers < parameters.min_inlier_share * found.num_matches:
                continue
            if best is None or found.num_inliers > best[1].num_inliers:
                best = index, found
        return best

    def _by_size(self, result: Picture, features: Features) -> tuple[int, Registration] | None:
        """A result of the photo's shape whose features say nothing (blurred, restored, coloured anew)."""
        for index, photo in enumerate(self._features):
            if abs(features.width * photo.height / (features.height * photo.width) - 1) < 0.01:
                registration = plain_scaling(photo, features)
                frame = find_frame(self._photos[index], result, registration)
                if frame is not None and alike_share(frame.source, frame.target) >= _FLAT_ALIKE:
                    return index, registration
        return None

    def _refusal(self, result: Picture, parameters: MatchParameters) -> RowRejected:
        """Why a result that registers nowhere is refused."""
        mirrored = self._best(find_features(np.ascontiguousarray(result[:, ::-1])), parameters)
        if mirrored is None:
            return RowRejected(Reason.UNRELATED_RESULT, f"fewer than {parameters.min_inliers} features agree")
        detail = f"{mirrored[1].num_inliers} features agree once left and right are swapped"
        return RowRejected(Reason.MIRRORED_RESULT, detail)


def alike_share(one: Picture, two: Picture) -> float:
    """Of the blocks with texture in both pictures (equal sizes): the share whose grey levels correlate."""
    first, second = (_blocks(_small_grey(picture), _BLOCK) for picture in (one, two))
    textured = (first.std(axis=1) >= _TEXTURE) | (second.std(axis=1) >= _TEXTURE)
    if not textured.any():
        return 1.0 if np.abs(first.mean() - second.mean()) < 64 else 0.0
    first, second = (blocks[textured] - blocks[textured].mean(axis=1, keepdims=True) for blocks in (first, second))
    norms = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return float(np.mean((first * second).sum(axis=1) >= _ALIKE * np.maximum(norms, 1e-6)))


def largest_change(one: Picture, two: Picture) -> float:
    """Levels by which the mean of some block and channel differs: what compression does to pixels averages out."""
    difference = _small(one).astype(np.float32) - _small(two)
    return max(float(np.abs(_blocks(difference[..., channel], _BLOCK).mean(axis=1)).max()) for channel in range(3))


def detail_change(one: Picture, two: Picture) -> float:
    """Ratio, at least 1, of the mean strength of edges (Laplacian) in the two pictures."""
    strengths = [float(np.abs(cv2.Laplacian(_small_grey(picture), cv2.CV_32F)).mean()) for picture in (one, two)]
    return max(strengths) / max(min(strengths), 0.1)


def _small(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    scale = max(1.0, max(height, width) / _LOOK_SIDE)
    size = (max(_BLOCK, round(width / scale)), max(_BLOCK, round(height / scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _small_grey(picture: Picture) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(_small(picture), cv2.COLOR_RGB2GRAY), np.float32)


def _blocks(grey: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(H, W) as blocks (N, side * side); what is left over at the right and below is not looked at."""
    rows, columns = grey.shape[0] // side, grey.shape[1] // side
    cut = grey[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(cut.transpose(0, 2, 1, 3).reshape(rows * columns, side * side))
