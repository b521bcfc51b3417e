"""One reference of the RefCOCO family as regions: a region per sentence, the shape of all objects that it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.readers.coco_index import RecordId, record_id
from tasks.readers.coco_region import Category, annotation_region
from tasks.readers.records import SourceRegion
from tasks.readers.segmentations import join_shapes

_NO_TARGET = -1


@dataclass(frozen=True)
class Reference:
    """A record of refs(...).p and its place in the file."""

    number: int
    fields: Mapping[str, Any]


def reference_regions(
    references: Sequence[Reference],
    annotations: Sequence[Any],
    categories: Mapping[RecordId | None, Category],
    image: Mapping[str, Any],
) -> tuple[SourceRegion, ...]:
    """The regions of one image's references, in file order.

    Args:
        references: those of the image.
        annotations: its objects, COCO records.
        categories: classes by id.
        image: its record, with width and height.
    """
    objects: dict[RecordId, list[SourceRegion]] = {}
    for annotation in annotations:
        if isinstance(annotation, dict) and (identity := record_id(annotation.get("id"))) is not None:
            category = categories.get(record_id(annotation.get("category_id")))
            objects[identity] = _object_parts(annotation, category)
    return tuple(
        replace(region, annotation_id=f"{identity}/{number}", phrase=phrase)
        for reference in references
        for identity, region in [_meant(reference, objects, image)]
        for number, phrase in _sentences(reference.fields.get("sentences"))
    )


def _object_parts(annotation: Mapping[str, Any], category: Category | None) -> list[SourceRegion]:
    """An object as regions to join. RefClef's segmentation is a list of run-length codes."""
    shapes = annotation.get("segmentation")
    if isinstance(shapes, list) and shapes and all(isinstance(shape, dict) for shape in shapes):
        return [annotation_region({**annotation, "segmentation": shape}, category, None) for shape in shapes]
    return [annotation_region(annotation, category, None)]


def _meant(
    reference: Reference, objects: Mapping[RecordId, list[SourceRegion]], image: Mapping[str, Any]
) -> tuple[RecordId, SourceRegion]:
    """The reference's id, and the region of what it means; without a shape where an object is not listed."""
    fields = reference.fields
    identity = record_id(fields.get("ref_id"))
    identity = f"~{reference.number}" if identity is None else identity
    meant = fields.get("ann_id")
    ids = [record_id(one) for one in (meant if isinstance(meant, list) else [meant])]
    if ids == [_NO_TARGET]:
        return identity, _no_target(image.get("width"), image.get("height"))
    known = [objects[one] for one in ids if one is not None and one in objects]
    if len(known) != len(ids) or not known:
        return identity, SourceRegion(annotation_id="", mask=f"no object {meant!r:.80} in instances.json")
    # A crowd is never referred to; among several objects it is left out, as in the gRefCOCO toolkit.
    single = [parts for parts in known if not parts[0].is_crowd] or known
    parts = [part for each in single for part in each]
    polygons, mask = join_shapes(parts, image.get("width"), image.get("height"))
    labels = {part.label for part in parts}
    region = SourceRegion(
        annotation_id="",
        label=labels.pop() if len(labels) == 1 else None,
        polygons=polygons,
        mask=mask,
        box=parts[0].box if len(single) == 1 else None,
        num_instances=len(single),
        is_crowd=parts[0].is_crowd,
    )
    return identity, region


def _no_target(width: Any, height: Any) -> SourceRegion:
    """Nothing is meant: no object, and a mask without a pixel."""
    is_known = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (width, height))
    mask = {"size": [height, width], "counts": [height * width]} if is_known else "the image's size is not given"
    return SourceRegion(annotation_id="", mask=mask, num_instances=0)


def _sentences(value: Any) -> list[tuple[Any, Any]]:
    """(number, sentence) of a reference; one without a sentence has one region without a phrase."""
    entries = value if isinstance(value, list) else []
    found = []
    for place, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        number, text = record_id(fields.get("sent_id")), fields.get("sent")
        # Other types are named, not carried: a pickle can nest one value into itself without end.
        phrase = text if text is None or isinstance(text, str) else [type(text).__name__]
        found.append((f"~{place}" if number is None else number, phrase))
    return found or [("~0", None)]
