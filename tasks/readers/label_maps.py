"""Label maps: one value per pixel, read without their palette, and the regions of the classes that they show.

A class is one region, all its pixels together, and its name refers to it: that is how the paper asks for classes
(section 4.1, one prompt and one mask per class that is present). Void pixels belong to no region.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catalog.errors import RowRejected
from catalog.images import probe_image
from catalog.reasons import Reason
from catalog.source_files import read_source_file
from tasks.readers.records import SourceRegion
from tasks.readers.run_length import encode_run_length

_INDEXED = ("L", "P", "1", "I;16", "I;16B", "I")


def read_label_map(root: Path, file: str) -> np.ndarray:
    """The values of an indexed or grey picture: int32 (H, W), never its palette's colours.

    Raises:
        RowRejected: the file is not there, breaks a limit, is damaged or a colour picture.
    """
    image = _open(root, file)
    if image.mode not in _INDEXED:
        raise RowRejected(Reason.UNSUPPORTED_FORMAT, f"label map {file!r} is of mode {image.mode}, not one value each")
    return np.asarray(image).astype(np.int32)


def read_colours(root: Path, file: str) -> np.ndarray:
    """The channels of a colour picture that holds numbers: int32 (H, W, 3), RGB. Raises RowRejected as above."""
    image = _open(root, file)
    if image.mode != "RGB":
        raise RowRejected(Reason.UNSUPPORTED_FORMAT, f"label map {file!r} is of mode {image.mode}, not RGB")
    return np.asarray(image).astype(np.int32)


def _open(root: Path, file: str) -> Image.Image:
    data = read_source_file(root, file)
    probe_image(data)  # every limit, before a pixel is decoded
    image = Image.open(BytesIO(data), formats=["PNG", "TIFF"]) if data[:3] != b"\xff\xd8\xff" else None
    if image is None:
        raise RowRejected(Reason.UNSUPPORTED_FORMAT, f"label map {file!r} is a JPEG, whose values are not exact")
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise RowRejected(Reason.TRUNCATED_IMAGE, f"label map {file!r}: {error}") from error
    return image


def class_regions(values: np.ndarray, names: Mapping[int, str], void: frozenset[int]) -> tuple[SourceRegion, ...]:
    """One region per value present, in order; the value is its annotation id.

    Args:
        values: int (H, W).
        names: plain class name by value.
        void: values that belong to no class. Any other value without a name is a region without one, and refused.
    """
    regions = []
    for value in np.unique(values):
        if int(value) not in void:
            name = names.get(int(value))
            mask = encode_run_length(values == value)
            regions.append(SourceRegion(annotation_id=str(value), phrase=name, label=name, mask=mask))
    return tuple(regions)


def unreadable(rejected: RowRejected) -> tuple[SourceRegion, ...]:
    """In place of the regions of a map that cannot be read: one that says so, and is refused."""
    no_identity: Any = None
    return (SourceRegion(annotation_id=no_identity, mask=rejected.args[0]),)
