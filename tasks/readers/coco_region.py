"""One COCO annotation as a region: polygons or run-length code, box, named joints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.readers.phrases import joint_name, plain_name
from tasks.readers.records import SourceRegion


@dataclass(frozen=True)
class Category:
    """A class: its name, and the names of its joints in file order."""

    label: str | None
    joints: tuple[str, ...] | None
    frequency: str | None = None
    """LVIS: r, c or f, for rare, common and frequent."""


def read_category(entry: Mapping[str, Any]) -> Category:
    """A record of ``categories``. Names that are no text are left out, so that their regions have no label."""
    name, joints, frequency = entry.get("name"), entry.get("keypoints"), entry.get("frequency")
    named = isinstance(joints, list) and all(isinstance(joint, str) for joint in joints)
    return Category(
        label=plain_name(name) if isinstance(name, str) else None,
        joints=tuple(joint_name(joint) for joint in joints) if isinstance(joints, list) and named else None,
        frequency=frequency if isinstance(frequency, str) else None,
    )


def annotation_region(annotation: Mapping[str, Any], category: Category | None, phrase: str | None) -> SourceRegion:
    """One annotation as a region; a malformed value is handed on as it is.

    ``segmentation`` as a list is flat polygons, as an object a run-length code, compressed or not.
    """
    segmentation = annotation.get("segmentation")
    is_code = isinstance(segmentation, dict)
    identity: Any = annotation.get("id")
    return SourceRegion(
        annotation_id=str(identity) if isinstance(identity, int) else identity,
        phrase=phrase,
        label=category.label if category else None,
        polygons=None if is_code or segmentation in (None, []) else _points_of_all(segmentation),
        mask=segmentation if is_code else None,
        box=annotation.get("bbox"),
        keypoints=_joints(annotation.get("keypoints"), category),
        is_crowd=bool(annotation.get("iscrowd")),
    )


def _points_of_all(polygons: Any) -> Any:
    return [_points(polygon) for polygon in polygons] if isinstance(polygons, list) else polygons


def _points(polygon: Any) -> Any:
    """[x1, y1, x2, y2, ...] -> [[x1, y1], [x2, y2], ...]."""
    if not isinstance(polygon, list) or len(polygon) % 2:
        return polygon
    return [list(point) for point in zip(polygon[::2], polygon[1::2], strict=True)]


def _joints(values: Any, category: Category | None) -> Any:
    """[x1, y1, v1, ...] -> [[name, x1, y1, v1], ...]; None where no joint is labelled.

    HumanArt names 21 joints and gives the first 17 here: fewer triples than names are taken in order.
    """
    if values is None or values == []:
        return None
    names = category.joints if category else None
    if not isinstance(values, list) or len(values) % 3 or names is None or len(values) > 3 * len(names):
        return values
    if all(visibility == 0 for visibility in values[2::3]):
        return None
    triples = zip(names, values[::3], values[1::3], values[2::3], strict=False)
    return [list(joint) for joint in triples]
