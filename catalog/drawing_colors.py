"""Colours of masks and discs, by the names that instructions use."""

from typing import Literal, get_args

from catalog.digests import bytes_digest
from catalog.errors import ConfigError

Rgb = tuple[int, int, int]
ColorRule = Literal["corrected", "official", "fixed"]

COLORS: dict[str, Rgb] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "purple": (128, 0, 128),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
}
"""One meaning per name, for both drawn tasks (``corrected``).

The official code has two greens, (0, 255, 0) for joints and (0, 128, 0) for masks, so the word means two things to
the model. The pure one is kept: it is further from the greens of photos, hence easier to read back."""

_OFFICIAL_COLORS: dict[str, dict[str, Rgb]] = {
    "keypoint_detection": {name: rgb for name, rgb in COLORS.items() if name != "purple"},
    "segmentation": {
        "red": (255, 0, 0),
        "purple": (128, 0, 128),
        "blue": (0, 0, 255),
        "green": (0, 128, 0),
        "yellow": (255, 255, 0),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "gray": (128, 128, 128),
    },
}

_NUM_FIXED = 255
"""Colours of names that no list orders."""


def color_table(vision_task: str, rule: ColorRule = "corrected") -> dict[str, Rgb]:
    """Colours by name that a drawn task draws from: the ``official`` code's own list, else `COLORS`.

    Raises:
        ConfigError: for an unknown rule.
    """
    if rule not in get_args(ColorRule):
        raise ConfigError(f"colors must be one of {', '.join(get_args(ColorRule))}. Got {rule!r}")
    return _OFFICIAL_COLORS[vision_task] if rule == "official" else COLORS


def fixed_color(name: str, names: list[str] | tuple[str, ...] | None) -> Rgb:
    """The one colour of a joint or class, whatever the sample (paper section 4.6: fixed colours, for Table 6).

    Args:
        name: of the joint or class.
        names: all of its dataset, in order: the place decides, so colours differ. None, or a list without the name:
            its digest decides, and two names may share a colour.

    Returns:
        Colour number place + 1 of PASCAL VOC's map (its number 0, black, is the background there).
    """
    if names is not None and name in names:
        number = names.index(name) + 1
    else:
        number = int(bytes_digest(name.encode())[:8], 16) % _NUM_FIXED + 1
    rgb = [0, 0, 0]
    for bit in range(7, -1, -1):  # VOC's map deals the bits of the number out to the channels, high bits first
        for channel in range(3):
            rgb[channel] |= (number >> channel & 1) << bit
        number >>= 3
    return rgb[0], rgb[1], rgb[2]
