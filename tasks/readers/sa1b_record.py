"""One SA-1B record: the JSON beside a photo, checked as far as it must be to be handed on."""

import json
from pathlib import PurePosixPath
from typing import Any

from tasks.readers.records import SourceImage, SourceRegion

LICENCE = "SA-1B Dataset Research License"

MAX_RECORD_BYTES = 16 << 20
"""Largest record, several times the largest that a photo of some hundred masks makes; beyond it nothing is parsed."""


def parse_record(data: bytes) -> tuple[dict[str, Any], list[Any], str | None]:
    """(image, annotations, problem) of a record; the problem is a sentence where there is one."""
    try:
        value = json.loads(data)
    except UnicodeDecodeError as error:
        return {}, [], f"the record must be UTF-8 (byte {error.start})"
    except RecursionError:
        return {}, [], "the record is nested too deeply"
    except ValueError as error:  # not JSON, or an integer of more digits than Python converts
        return {}, [], f"the record must be JSON ({error})"
    image = value.get("image") if isinstance(value, dict) else None
    if not isinstance(image, dict):
        return {}, [], "the record must hold an image"
    annotations = value.get("annotations")
    if not isinstance(annotations, list):
        return image, [], "the record must list its annotations"
    return image, annotations, None


def record_image(record_file: PurePosixPath, data: bytes | str, file: str | None = None) -> SourceImage:
    """A record as a source image.

    Args:
        record_file: path of the JSON, relative to the root.
        data: its bytes, or why there are none.
        file: where the photo is; None: beside the record, under the name that it gives.
    """
    image, annotations, problem = parse_record(data) if isinstance(data, bytes) else ({}, [], data)
    image_id, name = image.get("image_id"), image.get("file_name", f"{record_file.stem}.jpg")
    is_number = isinstance(image_id, int) and not isinstance(image_id, bool)
    if file is None:
        file = (record_file.parent / name).as_posix() if isinstance(name, str) and name else name
    return SourceImage(
        source_id=str(image_id) if is_number else record_file.stem,
        file=file,
        width=image.get("width"),
        height=image.get("height"),
        licence=LICENCE,
        regions=(_unreadable(problem),) if problem else tuple(_region(entry) for entry in annotations),
    )


def _unreadable(problem: str) -> SourceRegion:
    """A region without an identity: refused, with the problem where the mask would be."""
    no_identity: Any = None
    return SourceRegion(annotation_id=no_identity, mask=problem)


def _region(entry: Any) -> SourceRegion:
    """One mask: no class and no words, which is how the dataset is; a malformed value is handed on as it is."""
    if not isinstance(entry, dict):
        return _unreadable("an annotation must be an object")
    identity: Any = entry.get("id")
    return SourceRegion(
        annotation_id=str(identity) if isinstance(identity, int) else identity,
        mask=entry.get("segmentation"),
        box=entry.get("bbox"),
    )
