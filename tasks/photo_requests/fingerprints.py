"""What is kept of a picture to know it again: size, difference hash and a thumbnail of 32 x 32."""

import base64
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.images import decode_image
from catalog.perceptual_hash import HASH_VERSION, difference_hash

VERSION = HASH_VERSION
SIDE = 32
MAX_DIFFERENCE = 6
"""Grey levels by which the cells of two thumbnails may differ and still show one picture: recompression and resizing
move them by 2 or 3, an edit of a hundredth of the picture moves some cell by more."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Of one decoded picture."""

    width: int
    height: int
    hash: int
    """`perceptual_hash.difference_hash`."""
    thumbnail: str
    """Base64 of uint8 (32, 32, 3), area means."""
    version: int = VERSION

    @classmethod
    def of(cls, data: bytes) -> "Fingerprint":
        """Decode a picture and look at it. Raises RowRejected as `decode_image`."""
        pixels = decode_image(data)
        small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return cls(
            width=pixels.shape[1],
            height=pixels.shape[0],
            hash=difference_hash(pixels),
            thumbnail=base64.b64encode(small.tobytes()).decode(),
        )

    def shows_same(self, other: "Fingerprint") -> bool:
        """Whether no cell of the two thumbnails differs by more than `MAX_DIFFERENCE`."""
        return int(np.abs(self._cells() - other._cells()).max()) <= MAX_DIFFERENCE

    def _cells(self) -> NDArray[np.int16]:
        return np.frombuffer(base64.b64decode(self.thumbnail), np.uint8).astype(np.int16)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values; the hash as text, which no JSON reader rounds."""
        return {**asdict(self), "hash": f"{self.hash:016x}"}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Fingerprint":
        """The inverse of `as_dict`."""
        return cls(**{**value, "hash": int(value["hash"], 16)})
