"""Instructions for GQA-Inpaint's objects, from its scene graphs: "remove the red cup on the table".

An object is named by one of its attributes and its name. A name that the scene has once says enough; else a relation
to an object whose own name the scene has once singles it out, or, of two, the third of the picture that it is in.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from catalog.digests import bytes_digest
from tasks.nouns import article_for

RELATIONS = frozenset(
    (
        *("above", "at", "behind", "below", "beneath", "beside", "by", "in", "in front of", "inside", "near"),
        *("next to", "on", "on the back of", "on the front of", "on the side of", "on top of", "to the left of"),
        *("to the right of", "under", "underneath"),
    )
)
"""Predicates that say where an object is; others ("wearing", "holding") say what it does."""

_MAX_SAME = 2


def object_words(scene: Mapping[str, Any], object_id: str) -> tuple[str, str] | None:
    """(name, place) of an object: ("red cup", "on the table"); the place is empty where the name is enough.

    Args:
        scene: one image of ``*_scenes.json``, whose values may be of any type.
        object_id: a key of its ``objects``.

    Returns:
        None where no words are certain to mean this object alone.
    """
    objects = scene["objects"]
    name = _name(objects, object_id)
    if name is None:
        return None
    counts = Counter(_name(objects, other) for other in objects)
    full = _with_attribute(objects[object_id], name, object_id)
    if counts[name] == 1:
        return full, ""
    for relation in _relations(objects[object_id]):
        other = _name(objects, relation.get("object"))
        if relation.get("name") in RELATIONS and other is not None and other != name and counts[other] == 1:
            return full, f"{relation['name']} the {other}"
    place = _picture_third(scene, object_id)
    rivals = [other for other in objects if other != object_id and _name(objects, other) == name]
    if place is not None and counts[name] == _MAX_SAME and place != _picture_third(scene, rivals[0]):
        return full, place
    return None


def removal_words(name: str, place: str) -> str:
    """The instruction to take an object away."""
    at = place.replace("to the ", "at the ", 1) if place.startswith("to the ") else place
    return f"remove the {name} {at}".strip()


def addition_words(name: str, place: str) -> str:
    """The instruction to put it there."""
    return f"add {article_for(name)} {name} {place}".strip()


def _name(objects: Mapping[str, Any], object_id: Any) -> str | None:
    entry = objects.get(object_id) if isinstance(object_id, str) else None
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) and name.strip() else None


def _with_attribute(entry: Mapping[str, Any], name: str, object_id: str) -> str:
    """An attribute of the object's, drawn by its id, before its name."""
    given = entry.get("attributes")
    attributes = [one for one in given if isinstance(one, str) and one.strip()] if isinstance(given, list) else []
    if not attributes:
        return name
    return f"{attributes[int(bytes_digest(object_id.encode())[:12], 16) % len(attributes)]} {name}"


def _relations(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = entry.get("relations")
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _picture_third(scene: Mapping[str, Any], object_id: str) -> str | None:
    """The dataset's own "to the left", "to the center" or "to the right"; null for an object that spans thirds."""
    places = scene.get("image_relative_positions")
    place = places.get(object_id) if isinstance(places, dict) else None
    return place if isinstance(place, str) and place.startswith("to the ") else None
