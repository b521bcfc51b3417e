"""Classes that a photo does not show, and that a sample asks for in vain: the picture then stays as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from catalog.render_styles import RenderOptions


def draw_absent_class(row: Mapping[str, Any], rng: np.random.Generator, options: RenderOptions) -> str | None:
    """A class to ask for in vain, or None: ask for the row's. Draws only for datasets that list their classes."""
    if options.absent_classes == "paper" or not row["class_names"]:
        return None
    coin, place = rng.random(2)
    absent = absent_classes(row["class_names"], row["present_classes"] or (), options.absent_classes == "official")
    if coin >= options.absent_probability or not absent:
        return None
    return absent[int(place * len(absent))]


def absent_classes(names: Sequence[str], present: Sequence[str], official: bool = False) -> list[str]:
    """The classes that a photo does not show, in order.

    Args:
        names: all classes, in the order of their values.
        present: those that the photo shows.
        official: keep the present ones that the official code keeps: it removes from the list that it goes through
            (``coco_stuff.py``), and so passes over the class after each one that it removed.
    """
    shown, left, passed_over = set(present), [], False
    for name in names:
        removed = name in shown and not (official and passed_over)
        passed_over = removed
        if not removed:
            left.append(name)
    return left
