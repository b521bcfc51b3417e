"""Which joints of a person a sample asks for."""

from collections.abc import Mapping, Sequence

import numpy as np

from catalog.errors import RowRejected
from catalog.reasons import Reason

Asked = dict[str, np.ndarray]
"""Place in shown pixels, (x, y), by joint, in the order of the instruction; NaN: asked for, but not drawn."""


def ask_joints(
    shown: Mapping[str, np.ndarray],
    size: int,
    joints: Sequence[str] | None,
    rng: np.random.Generator,
    most: int,
    radius: float,
    everything: bool = False,
) -> Asked:
    """Labelled joints in view: 1 to ``most`` at random (paper section 4.1), or the given ones as far as they are there.

    Of those drawn at random none lies within ``radius`` of another: a later disc would cover its centre, and the
    sentence would name a colour that the picture hardly shows (both eyes of a face that is seen from the side).

    Args:
        shown: places in shown pixels by joint; NaN where not labelled.
        size: of the view, pixels.
        joints: names in the wanted order; None: draw some.
        rng: of the sample.
        most: joints of one sample.
        radius: of the discs, shown pixels.
        everything: all that are in view, in their own order; nothing is drawn.

    Raises:
        RowRejected: no_keypoints.
    """
    in_view = {name: place for name, place in shown.items() if _is_inside(place, size, 0.5)}
    if joints is not None:
        chosen = [joint for joint in joints if joint in in_view]
    elif everything:
        chosen = list(in_view)
    else:
        names = list(in_view)
        order = rng.permutation(len(names)).tolist()
        count = int(rng.integers(1, min(most, len(names)) + 1)) if names else 0
        chosen = _apart([names[place] for place in order], in_view, radius)[:count]
    if not chosen:
        raise RowRejected(Reason.NO_KEYPOINTS, f"no joint to ask for in view (in view: {', '.join(in_view) or 'none'})")
    return {joint: in_view[joint] for joint in chosen}


def ask_any_joints(
    shown: Mapping[str, np.ndarray], size: int, radius: float, rng: np.random.Generator, most: int
) -> Asked:
    """As the official code asks: any joint of the dataset's list, labelled or not.

    An unlabelled joint lies at (0, 0) there, in the frame: it is named, and no disc is drawn. A joint is left out
    where its whole disc is outside the frame; the list may so become empty, and with it the instruction.
    """
    names = list(shown)
    count = int(rng.integers(1, most + 1))
    chosen = [names[place] for place in rng.permutation(len(names))[:count].tolist()]
    asked = [name for name in chosen if np.isnan(shown[name]).any() or _is_inside(shown[name], size, radius)]
    return {name: shown[name] for name in asked}


def _apart(names: Sequence[str], places: Mapping[str, np.ndarray], radius: float) -> list[str]:
    """Those names that lie farther than ``radius`` from every one before them."""
    kept: list[str] = []
    for name in names:
        if all(np.hypot(*(places[name] - places[other])) > radius for other in kept):
            kept.append(name)
    return kept


def _is_inside(place: np.ndarray, size: int, margin: float) -> bool:
    """Whether a place lies in the frame or at most ``margin`` outside its pixels' centres; False for NaN."""
    return bool(((place >= -margin) & (place < size - 1 + margin)).all())
