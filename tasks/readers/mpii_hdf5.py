"""MPII in the form of the stacked hourglass code (train.h5, valid.h5) as people of HRNet's JSON form.

Arrays over all people: ``imgname`` (bytes), ``center`` (N, 2), ``scale`` (N), ``part`` (N, 16, 2), ``visible`` (N, 16).
Centre and scale were moved already (down by 15 x scale, then 1.25 times as large), which is taken back here. A joint
that was not annotated is at (0, 0); one that something hides has ``visible`` 0 and a place.

The format is read by h5py, which only users of these files need. HDF5 may refer to other files: such arrays are
refused, and so are arrays of another size before anything of them is read.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import SourceError
from tasks.readers.mpii_release import HIDDEN, VISIBLE

ENLARGED, SHIFT = 1.25, 15.0
"""What the hourglass code did to scale and, in pixels per scale, to centre."""
_MAX_PEOPLE = 1_000_000
_MAX_NAME = 256  # bytes
_WHAT = "MPII's HDF5 file"


def read_hourglass(path: Path, num_joints: int) -> Iterator[dict[str, Any]]:
    """Every person of the file, in its order; fields as in `mpii_release.read_people`.

    Raises:
        SourceError: h5py is not installed, or the file is not of this form.
    """
    names, centers, scales, parts, visible = _arrays(path, num_joints)
    for name, center, scale, points, codes in zip(names, centers, scales, parts, visible, strict=True):
        given = scale > 0 and center[0] != -1
        scale = float(scale) / ENLARGED
        annotated = points.any(axis=1)
        yield {
            "image": name.decode("utf-8", "backslashreplace").rstrip("\0"),
            "center": [float(center[0]), float(center[1]) - SHIFT * scale] if given else None,
            "scale": scale if given else None,
            "joints": [point if has else [-1.0, -1.0] for point, has in zip(points.tolist(), annotated, strict=True)],
            "joints_vis": [
                (VISIBLE if code else HIDDEN) if has else 0 for code, has in zip(codes, annotated, strict=True)
            ],
        }


def _arrays(path: Path, num_joints: int) -> list[np.ndarray]:
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise SourceError(
            f"{_WHAT} needs the package h5py ({path}): pip install h5py, or give annot/*.json or the official .mat."
        ) from error
    shapes: dict[str, tuple[int, ...]] = {
        "imgname": (),
        "center": (2,),
        "scale": (),
        "part": (num_joints, 2),
        "visible": (num_joints,),
    }
    try:
        with h5py.File(path, "r") as file:
            return [_array(h5py, file, name, shape, path) for name, shape in shapes.items()]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise SourceError(f"{_WHAT} must be whole; {path} is not ({error}); fetch it again.") from error


def _array(h5py: Any, file: Any, name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    link = file.get(name, getlink=True)
    array = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
        raise SourceError(f"{_WHAT} must hold the array {name} itself; {path} does not.")
    is_name = name == "imgname"
    fits = array.dtype.kind == "S" and array.dtype.itemsize <= _MAX_NAME if is_name else array.dtype.kind in "iuf"
    people = array.shape[0] if array.shape else 0
    if not fits or array.shape != (people, *shape) or not 0 < people <= _MAX_PEOPLE:
        raise SourceError(
            f"{_WHAT} must hold {name} of (people, {', '.join(map(str, shape))}), at most {_MAX_PEOPLE} of them; "
            f"{path} has {array.shape} of {array.dtype}."
        )
    values = np.asarray(array[()])
    if not is_name and not np.isfinite(values).all():
        raise SourceError(f"{_WHAT} must hold finite numbers; {name} of {path} does not.")
    return values
