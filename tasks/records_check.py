"""Checks of what an annotation says: types, text, joints. Each failure is a `RowRejected` with its reason."""

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from catalog.errors import RowRejected
from catalog.reasons import Reason

MAX_KEYPOINTS = 256
_MARKUP = re.compile(r"</?[A-Za-z!][^>]*>?|https?://\S*")
_JOINT_MARGIN = 1.0  # pixels that a labelled joint may lie outside its image: rounding in the datasets


def object_name(label: str, attributes: list[str]) -> str:
    """What an object is called in a caption: its first attribute and its class, "pink hat"."""
    return " ".join([*attributes[:1], label])


def finite_numbers(values: Any) -> list[float] | None:
    """A list of numbers as floats; None where it holds anything else, what is not finite or beyond a float."""
    if not isinstance(values, list | tuple):
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    try:
        numbers = [float(value) for value in values]
    except OverflowError:  # JSON has whole numbers of any size
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def require_text(record: Mapping[str, Any], name: str) -> str:
    """A field that must be text. Raises malformed_record or bad_encoding."""
    text = optional_text(record, name)
    if text is None:
        raise RowRejected(Reason.MALFORMED_RECORD, f"{name} is missing")
    return text


def optional_text(record: Mapping[str, Any], name: str) -> str | None:
    """A field that may be absent; text is normalised to NFC with single spaces."""
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowRejected(Reason.MALFORMED_RECORD, f"{name} must be text, got {type(value).__name__}")
    return clean_text(value, name)


def plain_words(record: Mapping[str, Any], name: str) -> str | None:
    """Words about a picture that become part of an instruction; None where the field is absent or empty.

    Raises bad_encoding for markup, addresses and format characters, too: those hide words or turn their order around.
    """
    text = optional_text(record, name)
    if not text:
        return None
    if found := _MARKUP.search(text):
        raise RowRejected(Reason.BAD_ENCODING, f"{name} holds {found[0]!r:.40}, which is no word")
    if hidden := next((character for character in text if unicodedata.category(character) == "Cf"), None):
        raise RowRejected(Reason.BAD_ENCODING, f"{name} holds U+{ord(hidden):04X}, which cannot be seen")
    return text


def clean_text(value: str, name: str) -> str:
    """NFC, one space between words. Raises bad_encoding for surrogates, control and replacement characters."""
    text = " ".join(unicodedata.normalize("NFC", value).split())
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") or character == "\N{REPLACEMENT CHARACTER}":
            raise RowRejected(Reason.BAD_ENCODING, f"{name} holds U+{ord(character):04X}")
    return text


def texts(record: Mapping[str, Any], name: str) -> list[str]:
    """A field that is a list of texts; absent is empty."""
    value = record.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RowRejected(Reason.MALFORMED_RECORD, f"{name} must be a list of texts")
    return [clean_text(item, name) for item in value]


def relations(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """The (predicate, object) pairs of a region as `columns.RELATION` values."""
    value = record.get("relations") or []
    if not isinstance(value, list):
        raise RowRejected(Reason.MALFORMED_RECORD, "relations must be a list of [predicate, object]")
    found = []
    for item in value:
        if not (isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item)):
            raise RowRejected(Reason.MALFORMED_RECORD, "relations must be a list of [predicate, object]")
        found.append({"predicate": clean_text(item[0], "relations"), "object": clean_text(item[1], "relations")})
    return found


def count(record: Mapping[str, Any], name: str, least: int) -> int | None:
    """A whole number of at least ``least``, or None where absent."""
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise RowRejected(Reason.MALFORMED_RECORD, f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def keypoints(record: Mapping[str, Any], width: int, height: int) -> list[dict[str, Any]] | None:
    """Joints as `columns.KEYPOINT` values; None where the record has none.

    Raises:
        RowRejected: malformed; a labelled joint that is not finite or outside the image; none labelled.
    """
    value = record.get("keypoints")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MAX_KEYPOINTS:
        raise RowRejected(Reason.MALFORMED_RECORD, f"keypoints must be a list of at most {MAX_KEYPOINTS} joints")
    joints = [_joint(item, width, height) for item in value]
    if not any(joint["visibility"] for joint in joints):
        raise RowRejected(Reason.NO_KEYPOINTS, f"none of {len(joints)} joints is labelled")
    return joints


def _joint(item: Any, width: int, height: int) -> dict[str, Any]:
    if not (isinstance(item, list) and len(item) == 4 and isinstance(item[0], str)):
        raise RowRejected(Reason.MALFORMED_RECORD, f"a joint must be [name, x, y, visibility], got {item!r:.80}")
    name, *numbers = item
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise RowRejected(Reason.MALFORMED_RECORD, f"joint {name!r:.40} has a coordinate that is not a number")
    *_, visibility = numbers
    place = finite_numbers(numbers[:2])
    if place is None:
        raise RowRejected(Reason.NOT_FINITE, f"joint {name!r:.40} is at ({numbers[0]!r:.40}, {numbers[1]!r:.40})")
    x, y = place
    if visibility not in (0, 1, 2):
        raise RowRejected(Reason.MALFORMED_RECORD, f"joint {name!r:.40} has visibility {visibility}, not 0, 1 or 2")
    margin = _JOINT_MARGIN
    if visibility and not (-margin <= x <= width - 1 + margin and -margin <= y <= height - 1 + margin):
        raise RowRejected(Reason.OUT_OF_RANGE, f"joint {name!r:.40} at ({x:g}, {y:g}) is outside {width}x{height}")
    return {"name": clean_text(name, "joint"), "x": float(x), "y": float(y), "visibility": int(visibility)}
