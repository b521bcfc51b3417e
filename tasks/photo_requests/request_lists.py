"""Lists of photo requests: JSON lines, Parquet, or a Reddit dump, each read as a stream.

One row of a list::

    page      URL of the page that the request is on
    before    the photo: a URL, or a path below the list's own folder; or a list of several
    after     what others made of it: the same, any number; or objects {"address": ..., "author": ...}
    text      the request in words
    id, licence, author, created_utc    where they are known

Columns are also found under the names that other lists have for them (`ALIASES`). A row that is not so becomes a
request with a fault, and a row of the table ``requests`` that says what is wrong with it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import bytes_digest
from catalog.errors import SourceError
from catalog.reasons import Reason
from tasks.photo_requests.crawl_settings import CrawlSettings
from tasks.photo_requests.records import (
    MAX_LINE,
    MAX_PICTURES,
    PhotoRequest,
    PhotoResult,
    make_request_id,
    parse_json,
    parse_time,
)
from tasks.photo_requests.reddit_dumps import read_dump
from tasks.readers.parquet_limits import safe_batch_rows

ALIASES = {
    "page": ("page", "page_url", "permalink"),
    "before": ("before", "before_url", "before_urls", "photo", "input"),
    "after": ("after", "after_url", "after_urls", "afters", "results", "output"),
    "text": ("text", "request", "request_text", "instruction"),
    "id": ("id", "request_id", "post_id"),
    "licence": ("licence", "license"),
    "author": ("author",),
    "created_utc": ("created_utc",),
}
MAX_TEXT = 100_000
"""Characters of a request; Reddit's own limit is 40,000."""


def read_list(path: Path, comments: Path | None, settings: CrawlSettings) -> Iterator[PhotoRequest]:
    """Stream the requests of a list, in its order.

    Args:
        path: ``.jsonl``, ``.parquet``, or a dump of submissions (``.zst``).
        comments: of a dump: its comments.
        settings: which communities of a dump are taken.

    Raises:
        SourceError: no such file, or one of another kind.
    """
    if not path.is_file():
        raise SourceError(f"no list of photo requests at {path}: give a .jsonl, .parquet or .zst file")
    if path.suffix == ".zst":
        return read_dump(path, comments, settings)
    if comments is not None:
        raise SourceError(f"comments belong to a Reddit dump (.zst); the list is {path.name}")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix in (".jsonl", ".ndjson", ".json"):
        return _read_json_lines(path)
    raise SourceError(f"a list of photo requests is a .jsonl, .parquet or .zst file. Got {path.name}")


def _read_json_lines(path: Path) -> Iterator[PhotoRequest]:
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE + 1), b""), start=1):
            if len(line) > MAX_LINE:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE)
                yield _faulty(path, number, f"longer than {MAX_LINE} bytes")
            elif line.strip():
                value = parse_json(line)
                yield _faulty(path, number, "no JSON object") if value is None else parse_row(value, path, number)


def _read_parquet(path: Path) -> Iterator[PhotoRequest]:
    try:
        file = pq.ParquetFile(path)
        known = {name for names in ALIASES.values() for name in names}
        columns = [name for name in file.schema_arrow.names if name.lower() in known]
        number = 0
        for batch in file.iter_batches(safe_batch_rows(path, file, columns, 256), columns=columns):
            for value in batch.to_pylist():
                number += 1
                yield parse_row(value, path, number)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is not readable Parquet ({error}): mend it or give another list") from error


def parse_row(value: Mapping[str, Any], path: Path, number: int) -> PhotoRequest:
    """One row of a list as a request; a fault where it is not as described."""
    fields = {str(name).lower(): entry for name, entry in value.items()}
    found = {
        name: next((fields[alias] for alias in aliases if fields.get(alias) is not None), None)
        for name, aliases in ALIASES.items()
    }
    try:
        page = _text(found["page"] or "", "page", 2048)
        photos = tuple(one.address for one in _pictures(found["before"], "before"))
        identity = found["id"]
        if identity is None:
            identity = make_request_id(page, photos)
        request = PhotoRequest(
            request_id=_text(str(identity), "id", 200),
            page=page,
            photos=photos,
            results=tuple(_pictures(found["after"], "after")),
            text=_text(found["text"] or "", "text", MAX_TEXT),
            licence=None if found["licence"] is None else _text(found["licence"], "licence", 1000),
            author=None if found["author"] is None else _text(found["author"], "author", 200),
            created_utc=parse_time(found["created_utc"]),
        )
    except ValueError as error:
        return _faulty(path, number, str(error))
    return request


def _pictures(value: Any, name: str) -> list[PhotoResult]:
    entries = value if isinstance(value, list) else [] if value is None else [value]
    if len(entries) > MAX_PICTURES:
        raise ValueError(f"{name} has {len(entries)} pictures; at most {MAX_PICTURES}")
    found = []
    for entry in entries:
        address, author = entry, None
        if isinstance(entry, dict):
            address, author = entry.get("address") or entry.get("url"), entry.get("author")
        text = _text(address, name, 4096).strip()
        if not text:
            raise ValueError(f"{name} holds an empty address")
        found.append(PhotoResult(address=text, author=None if author is None else _text(author, "author", 200)))
    first: dict[str, PhotoResult] = {}
    for one in found:
        first.setdefault(one.address, one)
    return list(first.values())


def _text(value: Any, name: str, longest: int) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {type(value).__name__}")
    if len(value) > longest:
        raise ValueError(f"{name} has {len(value)} characters; at most {longest}")
    return value.encode("utf-8", "backslashreplace").decode()


def _faulty(path: Path, number: int, detail: str) -> PhotoRequest:
    identity = bytes_digest(f"{path.name}:{number}".encode("utf-8", "backslashreplace"))[:16]
    fault = (Reason.MALFORMED_RECORD, f"line {number}: {detail}")
    return PhotoRequest(request_id=identity, page="", fault=fault)
