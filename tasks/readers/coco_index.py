"""Where everything is in a COCO-format file: one walk, no annotation kept in memory."""

import re
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import SourceError
from tasks.readers.coco_region import Category, read_category
from tasks.readers.json_records import JsonRecords, Span

_STREAMED = frozenset({"images", "annotations", "categories", "licenses"})
_IMAGE_FIELDS = ("file_name", "width", "height", "license")
_OBJECT = re.compile(r"[ \t\r\n]*\{")

RecordId = int | str


@dataclass
class CocoIndex:
    """The images by id, the spans of their annotations, and what could not be joined."""

    images: list[tuple[RecordId, dict[str, Any]]] = field(default_factory=list)
    spans: dict[RecordId, list[Span]] = field(default_factory=dict)
    strays: list[Span] = field(default_factory=list)
    """Annotations that name no image, or none that is listed."""
    num_nameless: int = 0
    """Images without an id."""
    categories: dict[RecordId | None, Category] = field(default_factory=dict)
    licences: dict[RecordId | None, str] = field(default_factory=dict)


def record_id(value: Any) -> RecordId | None:
    """An id that can join records, a whole number or a text; None for anything else."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def build_index(records: JsonRecords, image_fields: tuple[str, ...] = _IMAGE_FIELDS) -> CocoIndex:
    """Walks the file.

    Args:
        records: the annotation file.
        image_fields: what is kept of each image.

    Raises:
        SourceError: the file is empty, not JSON or no object, one of its lists is none, it lists no image or is in
            the panoptic format.
    """
    _require_object(records)
    index = CocoIndex()
    for key, span, value in records.members(_STREAMED):
        if key in _STREAMED and not _is_element(records.text, span):
            raise SourceError(
                f"{records.path} must hold {key} as a list, as COCO files do; got {_kind(value)}; name another file."
            )
        entry = value if isinstance(value, dict) else {}
        if key == "images":
            _add_image(index, entry, image_fields)
        elif key == "annotations":
            if "segments_info" in entry:
                raise SourceError(
                    f"{records.path} is in COCO's panoptic format; reader coco reads the detection format: "
                    "convert it with panopticapi's panoptic2detection_coco_format."
                )
            _add_annotation(index, entry, span)
        elif key == "categories":
            index.categories[record_id(entry.get("id"))] = read_category(entry)
        elif key == "licenses" and isinstance(entry.get("name"), str) and entry["name"]:
            index.licences[record_id(entry.get("id"))] = entry["name"]
    if not index.images and not index.num_nameless:
        raise SourceError(f"{records.path} must hold a COCO list of images; got none; name another file.")
    index.images.sort(key=_image_order)
    listed = {image_id for image_id, _ in index.images}
    for image_id in [image_id for image_id in index.spans if image_id not in listed]:
        index.strays.extend(index.spans.pop(image_id))
    index.strays.sort()
    index.categories.pop(None, None)
    index.licences.pop(None, None)
    return index


def _require_object(records: JsonRecords) -> None:
    if not _OBJECT.match(records.text):
        start = records.text[:64].strip()
        found = f"it starts with {start[:16]!r}" if start else "it is empty"
        raise SourceError(
            f"{records.path} must be a COCO annotation file, an object with images, annotations and categories; "
            f"{found}; name another file, or fetch it again."
        )


def _is_element(text: str, span: Span) -> bool:
    """Whether a record stands in a list; one that does not stands behind its name's colon."""
    position = span[0] - 1
    while text[position] in " \t\r\n":
        position -= 1
    return text[position] != ":"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def _add_image(index: CocoIndex, entry: dict[str, Any], fields: tuple[str, ...]) -> None:
    image_id = record_id(entry.get("id"))
    if image_id is None:
        index.num_nameless += 1
    else:
        index.images.append((image_id, {name: entry.get(name) for name in fields}))


def _add_annotation(index: CocoIndex, entry: dict[str, Any], span: Span) -> None:
    image_id = record_id(entry.get("image_id"))
    if image_id is None:
        index.strays.append(span)
    else:
        index.spans.setdefault(image_id, []).append(span)


def _image_order(item: tuple[RecordId, dict[str, Any]]) -> tuple[bool, int, str]:
    """Numbers first and as numbers; then names."""
    image_id = item[0]
    return isinstance(image_id, str), 0 if isinstance(image_id, str) else image_id, str(image_id)
