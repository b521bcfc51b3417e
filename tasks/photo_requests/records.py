"""What a list of photo requests says: pages, photos, results and words, nothing of it fetched or checked yet."""

import json
import math
from dataclasses import dataclass
from typing import Any

from catalog.digests import value_digest
from catalog.reasons import Reason

TABLE = "requests"
"""The table that a crawl makes."""
MAX_LINE = 4 << 20
"""Bytes of a line of a list: a dump's longest are galleries of a few hundred kilobytes."""
MAX_PICTURES = 100
"""Photos or results of one request."""


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """One picture that somebody made of the photo."""

    address: str
    """http or https URL; or path below the folder of the list."""
    author: str | None = None


@dataclass(frozen=True, kw_only=True)
class PhotoRequest:
    """One request. A fault says why it cannot be used; it is carried along, so that nothing listed is lost."""

    request_id: str
    page: str
    photos: tuple[str, ...] = ()
    """Addresses of the pictures that the asker gave: each result is held against all of them."""
    results: tuple[PhotoResult, ...] = ()
    text: str = ""
    licence: str | None = None
    author: str | None = None
    created_utc: int | None = None
    """Seconds since 1970."""
    fault: tuple[Reason, str] | None = None


def make_request_id(page: str, photos: tuple[str, ...]) -> str:
    """An id for a request whose list gives none: 16 hexadecimal digits of page and photos."""
    return value_digest([page, list(photos)])[:16]


def is_url(address: str) -> bool:
    """Whether an address is to be fetched; else it is a path below the list's folder."""
    return "://" in address[:20]


def parse_json(line: bytes) -> dict[str, Any] | None:
    """A line's JSON object, None where it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse_time(value: Any) -> int | None:
    """Seconds since 1970 from a number or, in dumps up to 2014, its digits; None where it is neither."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(seconds) if math.isfinite(seconds) and abs(seconds) < 1e12 else None
