"""Decoded images of rows, each decoded once while its neighbours need it; batches of rows that fit into memory."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from catalog.images import decode_image
from catalog.roots import Roots, read_image_bytes

_MAX_BYTES = 2**29
"""Decoded images kept beside the one in use: a photo may have 64 million pixels, 192 MiB."""
_BATCH_PIXELS = 2**25
"""Pixels of a batch's photos together: 128 photos of 512 x 512, or two of 16 million."""


def batches(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Rows with a ``source_image``, in order: at most ``size`` at a time, fewer where their photos are large."""
    batch: list[dict[str, Any]] = []
    pixels = 0
    for row in rows:
        image = row["source_image"]
        of_row = image["width"] * image["height"] if image else 0
        if batch and (len(batch) == size or pixels + of_row > _BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(dict(row))
        pixels += of_row
    if batch:
        yield batch


class RowImages:
    """A small cache over `read_image_bytes` and `decode_image`: rows of one photo stand together."""

    def __init__(self, roots: Roots, capacity: int = 8) -> None:
        self._roots = roots
        self._capacity = capacity
        self._images: OrderedDict[str, np.ndarray] = OrderedDict()
        self._bytes = 0

    def read(self, image: Mapping[str, Any]) -> np.ndarray:
        """The pixels behind a `columns.IMAGE` value: uint8 (H, W, 3), not to be written to.

        Raises:
            RowRejected: gone, changed or undecodable since the row was made.
        """
        key = image["sha256"]
        if key not in self._images:
            pixels = decode_image(read_image_bytes(self._roots, image))
            pixels.flags.writeable = False
            self._images[key] = pixels
            self._bytes += pixels.nbytes
            while len(self._images) > self._capacity or (self._bytes > _MAX_BYTES and len(self._images) > 1):
                self._bytes -= self._images.popitem(last=False)[1].nbytes
        self._images.move_to_end(key)
        return self._images[key]
