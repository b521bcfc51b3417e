"""Decoded images of rows, each decoded once while its neighbours need it."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from catalog.images import decode_image
from catalog.roots import Roots, read_image_bytes


class RowImages:
    """A small cache over `read_image_bytes` and `decode_image`: rows of one photo stand together."""

    def __init__(self, roots: Roots, capacity: int = 8) -> None:
        self._roots = roots
        self._capacity = capacity
        self._images: OrderedDict[str, np.ndarray] = OrderedDict()

    def read(self, image: Mapping[str, Any]) -> np.ndarray:
        """The pixels behind a `schema.IMAGE` value: uint8 (H, W, 3), not to be written to.

        Raises:
            RowRejected: gone, changed or undecodable since the row was made.
        """
        key = image["sha256"]
        if key not in self._images:
            pixels = decode_image(read_image_bytes(self._roots, image))
            pixels.flags.writeable = False
            self._images[key] = pixels
            if len(self._images) > self._capacity:
                self._images.popitem(last=False)
        self._images.move_to_end(key)
        return self._images[key]
