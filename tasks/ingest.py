"""Step ``ingest``: check every listed region against its image.

Each listed region becomes one row: usable, or with the reason why not. An image that cannot be read rejects all of
its regions with the image's reason, so that nothing listed is lost from the counts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from catalog.errors import RowRejected
from catalog.masks import decode_mask, encode_mask, mask_box, region_mask
from catalog.reasons import Reason
from catalog.store import ShardWriter
from tasks import records_check as check
from tasks.listing import open_source
from tasks.parameters import IngestParameters
from tasks.readers.classes import NamesClasses
from tasks.readers.records import Reader
from tasks.source_images import SourceFile, check_size, parse_record, provenance, read_source
from tasks.steps import Row, StepContext


def ingest(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield the regions of each listed image, in listing order."""
    assert context.source is not None
    reader = open_source(context.source)
    class_names = reader.class_names() if isinstance(reader, NamesClasses) else None
    for row in context.rows:
        if row["kind"] == "image":
            yield from _image_rows(context, reader, class_names, row, writer)


def _image_rows(
    context: StepContext, reader: Reader, class_names: list[str] | None, row: Row, writer: ShardWriter
) -> Iterator[Row]:
    dataset, source_id = row["dataset"], row["source_id"]
    base: Row = {"dataset": dataset, "source_id": source_id}
    regions: list[Any] = []
    try:
        record = parse_record(row)
        regions = record["regions"] if isinstance(record["regions"], list) else []
        file = check.require_text(record, "file")
        stored = reader.counts_stored_pixels
        found, _ = read_source(reader, dataset, file, writer, owner=source_id, stored_pixels=stored)
        base["source_image"] = found.image
        base |= provenance(record, dataset, found.sha256, context.profile.split)
        check_size(record, found)
        base |= {"captions": check.texts(record, "captions"), "image_labels": _labels(regions)}
        if class_names is not None:
            shown = {region.get("label") for region in regions if isinstance(region, Mapping)}
            base |= {"class_names": class_names, "present_classes": [name for name in class_names if name in shown]}
        if not regions:
            raise RowRejected(Reason.NO_REGION, "the image has no annotated region")
    except RowRejected as rejected:
        for region_id, _ in _identify(dataset, source_id, regions or [{}]):
            yield base | {"region_id": region_id, "reason": str(rejected.reason), "detail": rejected.detail}
        return
    for (region_id, fault), region in zip(_identify(dataset, source_id, regions), regions, strict=True):
        try:
            if fault is not None:
                raise fault
            facts = _facts(region, found, reader, context.profile.ingest)
        except RowRejected as rejected:
            facts = {"reason": str(rejected.reason), "detail": rejected.detail}
        yield base | {"region_id": region_id} | facts


def _identify(dataset: str, source_id: str, regions: list[Any]) -> Iterator[tuple[str, RowRejected | None]]:
    """A unique id for each region, and what is wrong with its own: a position replaces an id that cannot serve."""
    seen: set[str] = set()
    for position, region in enumerate(regions):
        fault = None
        try:
            identity = check.require_text(region, "annotation_id")
            if identity in seen:
                fault = RowRejected(Reason.DUPLICATE_ID, f"annotation {identity!r} occurs twice in the image")
                identity += f"~{position}"
        except RowRejected as rejected:
            identity, fault = f"~{position}", rejected
        seen.add(identity)
        yield f"{dataset}/{source_id}/{identity}", fault


def _facts(region: Mapping[str, Any], found: SourceFile, reader: Reader, parameters: IngestParameters) -> Row:
    """The columns of a usable region."""
    if region.get("is_crowd"):
        raise RowRejected(Reason.CROWD_REGION, "the region is a crowd, which no phrase refers to")
    joints = check.keypoints(region, found.width, found.height)
    phrase = check.plain_words(region, "phrase")
    label = check.plain_words(region, "label")
    if label is not None and len(label) > parameters.max_phrase_length:
        raise RowRejected(
            Reason.LONG_PHRASE, f"label of {len(label)} characters, at most {parameters.max_phrase_length}"
        )
    if phrase is None and joints is None and parameters.require_phrase:
        if label is None:
            raise RowRejected(Reason.EMPTY_PHRASE, "neither phrase nor label")
        raise RowRejected(Reason.AMBIGUOUS_LABEL, f"no phrase, and {label!r} is not certain to mean this region alone")
    if phrase is not None and len(phrase) > parameters.max_phrase_length:
        raise RowRejected(Reason.LONG_PHRASE, f"{len(phrase)} characters, at most {parameters.max_phrase_length}")
    num_instances = check.count(region, "num_instances", 0)
    refers_to_nothing = num_instances == 0 and region.get("mask") is not None
    mask = _no_target(region, found) if refers_to_nothing else _mask(region, found, reader, joints is not None)
    return {
        "phrase": phrase,
        "label": label,
        "attributes": check.texts(region, "attributes"),
        "relations": check.relations(region),
        "num_instances": 1 if num_instances is None else num_instances,
        "keypoints": joints,
        "mask": None if mask is None else encode_mask(mask),
        "area": None if mask is None else int(mask.sum()),
        "bbox": _box(region, found, mask),
    }


def _no_target(region: Mapping[str, Any], found: SourceFile) -> np.ndarray:
    """The mask of an expression that refers to nothing: of the image's size, without a pixel."""
    mask = decode_mask(region.get("mask"))
    if mask.shape != (found.height, found.width):
        sizes = f"{mask.shape[0]} x {mask.shape[1]} for an image of {found.height} x {found.width}"
        raise RowRejected(Reason.MASK_SIZE_MISMATCH, f"mask of {sizes} (height x width)")
    if mask.any():
        raise RowRejected(Reason.MALFORMED_RECORD, f"refers to no object, but has a mask of {mask.sum()} pixels")
    return mask


def _mask(region: Mapping[str, Any], found: SourceFile, reader: Reader, optional: bool) -> np.ndarray | None:
    shapes = {name: region.get(name) for name in ("polygons", "mask", "box")}
    if optional and shapes["polygons"] is None and shapes["mask"] is None:
        return None  # joints with a box: the box bounds the person, it is not the person
    return region_mask(**shapes, height=found.height, width=found.width, rule=reader.polygon_rule)


def _box(region: Mapping[str, Any], found: SourceFile, mask: np.ndarray | None) -> list[float] | None:
    """The annotated box where there is a sound one (joints need it), else the mask's."""
    box = region.get("box")
    numbers = check.finite_numbers(box) if isinstance(box, list) and len(box) == 4 else None
    if numbers is not None and _meets(numbers, found):
        return numbers
    if box is not None and region.get("keypoints") is not None and mask is None:
        raise RowRejected(Reason.OUT_OF_RANGE, f"the box {box!r:.80} shows nothing of {found.width}x{found.height}")
    return None if mask is None or not mask.any() else [float(number) for number in mask_box(mask)]


def _meets(box: list[float], found: SourceFile) -> bool:
    """Whether a box (x, y, width, height) shows at least a pixel of its image, and is no larger than it may be."""
    x, y, width, height = box
    across = min(x + width, found.width) - max(x, 0)
    down = min(y + height, found.height) - max(y, 0)
    return bool(across >= 1 and down >= 1 and width <= 4 * found.width and height <= 4 * found.height)


def _labels(regions: list[Any]) -> list[str]:
    """Names of the objects of an image. Phrases for one and the same object (equal label and box) count once."""
    names: dict[tuple[str, str], str] = {}
    for region in regions:
        try:
            label = check.optional_text(region, "label")
            name = check.object_name(label, check.texts(region, "attributes")) if label else None
        except (RowRejected, AttributeError):
            continue  # the region's own row says what is wrong with it
        if name is not None and label is not None:
            place = region.get("box") or region.get("annotation_id")
            names.setdefault((label, str(place)), name)
    return list(names.values())
