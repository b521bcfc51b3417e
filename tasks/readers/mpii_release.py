"""MPII's official release as people of HRNet's JSON form: {image, center, scale, joints, joints_vis}.

``RELEASE`` holds one entry per image. A person may lack its joints, its scale or its centre; its points are those
that were annotated, in any order, each with its joint's number; ``is_visible`` may be empty (then nothing hides the
joint), a number or a text. Coordinates stay as they are there, from 1.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import SourceError
from tasks.readers.matlab_files import read_variable

_WHAT = "MPII's release"
HIDDEN, VISIBLE = 1, 2
"""COCO's visibility of an annotated joint."""


def read_people(path: Path, num_joints: int) -> Iterator[dict[str, Any]]:
    """Every annotated person of a training image (``img_train`` 1; the others were never published).

    Yields:
        ``image`` (file name), ``center`` ([x, y] or None), ``scale`` (float or None), ``joints`` (``num_joints`` of
        [x, y], unannotated [-1, -1]) and ``joints_vis`` (COCO's visibility, which the JSON form does not have).

    Raises:
        SourceError: the file is not the release.
    """
    release = read_variable(path, "RELEASE", _WHAT, nested=True)
    try:
        images, is_train = release["annolist"].flat[0].ravel(), release["img_train"].flat[0].ravel()
        entries = list(zip(images["image"], images["annorect"], is_train, strict=True))
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise SourceError(f"{_WHAT} must hold annolist and img_train of one length; {path} does not.") from error
    for image, people, train in entries:
        if train != 1:
            continue
        name = _text(_field(_first(image), "name"))
        for person in np.ravel(people):
            if (points := _field(_first(_field(person, "annopoints")), "point")) is not None:
                yield {"image": name, **_body(person), **_joints(points, num_joints)}


def _body(person: Any) -> dict[str, Any]:
    place = _first(_field(person, "objpos"))
    center = [_number(_field(place, axis)) for axis in "xy"]
    return {"center": None if None in center else center, "scale": _number(_field(person, "scale"))}


def _joints(points: Any, num_joints: int) -> dict[str, Any]:
    joints: list[list[Any]] = [[-1.0, -1.0] for _ in range(num_joints)]
    visibility = [0] * num_joints
    for point in np.ravel(points):
        number, x, y = (_number(_field(point, name)) for name in ("id", "x", "y"))
        if number is None or x is None or y is None or number not in range(num_joints):
            continue  # a point that says neither which joint nor where annotates nothing
        joints[int(number)] = [x, y]
        visibility[int(number)] = HIDDEN if _text(_field(point, "is_visible")) == "0" else VISIBLE
    return {"joints": joints, "joints_vis": visibility}


def _first(value: Any) -> Any:
    """The struct in a 1 x 1 array; None where it is empty."""
    return value.flat[0] if isinstance(value, np.ndarray) and value.size else None


def _field(struct: Any, name: str) -> Any:
    """A field of a struct; None where the struct or the field is not there, or empty."""
    names = getattr(getattr(struct, "dtype", None), "names", None)
    if not names or name not in names:
        return None
    value = struct[name]
    return value if isinstance(value, np.ndarray) and value.size else None


def _number(value: Any) -> float | None:
    item = _first(value)
    return float(item) if isinstance(item, np.number) else None


def _text(value: Any) -> str | None:
    """A name or a number as text, however deep the arrays: "0" of '0', [0] and [['0']]."""
    item = _first(value)
    return None if item is None else str(item)
