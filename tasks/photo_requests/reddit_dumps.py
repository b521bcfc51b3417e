"""Dumps of Reddit (Pushshift until 2023, Arctic Shift after): submissions ask, comments answer with pictures.

Zstandard with a window of up to 2 GiB, one JSON object a line, in order of time; ``<subreddit>_submissions.zst`` and
``_comments.zst``, or ``RS_YYYY-MM.zst`` and ``RC_...`` of all of Reddit. Fields come and go over the years, so all but
the id are optional. The two files are joined on disk (SQLite in a temporary folder), since an answer may come months
after its post: memory stays the same however long the dumps are.
"""

import io
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from catalog.errors import SourceError
from catalog.reasons import Reason
from tasks.photo_requests.crawl_settings import CrawlSettings
from tasks.photo_requests.records import MAX_LINE, MAX_PICTURES, PhotoRequest, PhotoResult, parse_json, parse_time
from tasks.photo_requests.reddit_links import gallery_links, is_deleted, post_links, text_links

WINDOW = 2**31
"""Largest window of the dumps, bytes; the decoder's own default refuses them."""
_CHUNK = 1 << 20
_LONGEST_HEADER = 18  # bytes of a frame's header
_SKIPPABLE = {bytes([0x50 + number, 0x2A, 0x4D, 0x18]) for number in range(16)}
_REPEATED_BLOCK, _RESERVED_BLOCK = 1, 3
_BATCH = 1000
LICENCE = "user content under Reddit's terms"


def read_dump(submissions: Path, comments: Path | None, settings: CrawlSettings) -> Iterator[PhotoRequest]:
    """Stream the requests of a dump, in the order of its submissions.

    Args:
        submissions: the dump of posts.
        comments: the dump of comments; None: the file beside it whose name says so.
        settings: ``subreddits`` and ``with_adult_posts``.

    Raises:
        SourceError: no comments, or a file that is no dump.
    """
    answers = comments or _find_comments(submissions)
    if not answers.is_file():
        raise SourceError(f"no comments at {answers}: give the dump of comments that belongs to {submissions.name}")
    for path in (submissions, answers):
        check_frames(path)
    return _joined(submissions, answers, settings)


def check_frames(path: Path) -> None:
    """Refuse a file that is no Zstandard, or ends before its last frame does: the decoder takes that for its end.

    Only headers of frames and blocks are read (RFC 8878, section 3.1), which takes a moment even for a long dump.

    Raises:
        SourceError: says where the file ends to be one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while (start := file.tell()) < size or start == 0:
            header = file.read(_LONGEST_HEADER)
            try:
                if header[:4] in _SKIPPABLE and len(header) >= 8:
                    file.seek(start + 8 + int.from_bytes(header[4:8], "little"))
                else:
                    frame = zstandard.get_frame_parameters(header)
                    file.seek(start + zstandard.frame_header_size(header))
                    _skip_blocks(file)
                    file.seek(4 if frame.has_checksum else 0, io.SEEK_CUR)
            except zstandard.ZstdError as error:
                raise SourceError(f"{path} is no Zstandard dump at byte {start} ({error}): fetch it again") from error
            if file.tell() > size:
                raise SourceError(f"{path} is cut short: {size} bytes, and its last frame goes on; fetch it again")


def _skip_blocks(file: BinaryIO) -> None:
    """Go past the blocks of a frame; of one that is cut short, past the end of the file."""
    is_last = False
    while not is_last:
        header = file.read(3)
        if len(header) < 3:
            file.seek(3, io.SEEK_CUR)
            return
        value = int.from_bytes(header, "little")
        is_last, kind, length = bool(value & 1), (value >> 1) & 3, value >> 3
        if kind == _RESERVED_BLOCK:
            raise zstandard.ZstdError("a block of reserved kind")
        file.seek(1 if kind == _REPEATED_BLOCK else length, io.SEEK_CUR)


def read_objects(path: Path, words: frozenset[str]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(line number, JSON object) of each line that holds one of some lower-case words; None for a broken line.

    Raises:
        SourceError: not Zstandard, or cut short.
    """
    needles = [word.encode() for word in words]
    for number, line in enumerate(_lines(path), start=1):
        lower = line.lower()
        if any(needle in lower for needle in needles):
            yield number, parse_json(line) if len(line) <= MAX_LINE else None


def _lines(path: Path) -> Iterator[bytes]:
    """Lines without their end; of one longer than `MAX_LINE`, the beginning, one byte longer than allowed."""
    decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    try:
        with path.open("rb") as file, decoder.stream_reader(file, read_across_frames=True) as reader:
            stream = io.BufferedReader(reader, _CHUNK)
            while line := stream.readline(MAX_LINE + 1):
                if not line.endswith(b"\n") and len(line) > MAX_LINE:
                    while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                yield line.rstrip(b"\r\n")
    except (zstandard.ZstdError, EOFError) as error:
        raise SourceError(f"{path} cannot be decompressed ({error}): fetch it again") from error


def _find_comments(submissions: Path) -> Path:
    name = submissions.name
    other = name.replace("_submissions", "_comments") if "_submissions" in name else name.replace("RS_", "RC_", 1)
    if other == name:
        raise SourceError(f"the comments of {name} cannot be told from its name: say where they are")
    return submissions.with_name(other)


def _joined(submissions: Path, comments: Path, settings: CrawlSettings) -> Iterator[PhotoRequest]:
    names = frozenset(name.lower() for name in settings.subreddits)
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(Path(folder) / "answers.db")) as database:
        _index(database, comments, names)
        for number, post in read_objects(submissions, names):
            if post is None:
                yield _faulty(submissions, number)
            elif str(post.get("subreddit", "")).lower() in names:
                yield _request(post, _answers(database, post), settings)


def _index(database: sqlite3.Connection, comments: Path, names: frozenset[str]) -> None:
    """Every comment with a picture in it, by the post that it is on."""
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("CREATE TABLE answers (post TEXT, score INTEGER, id TEXT, author TEXT, links TEXT)")
    rows: list[tuple[str, int, str, str, str]] = []
    for _, comment in read_objects(comments, names):
        if comment is not None and (row := _answer(comment, names)) is not None:
            rows.append(row)
        if len(rows) >= _BATCH:
            database.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", rows)
            rows.clear()
    database.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", rows)
    database.execute("CREATE INDEX by_post ON answers (post)")
    database.commit()


def _answer(comment: dict[str, Any], names: frozenset[str]) -> tuple[str, int, str, str, str] | None:
    """A top-level comment that links pictures."""
    link, parent = comment.get("link_id"), comment.get("parent_id")
    if str(comment.get("subreddit", "")).lower() not in names or not isinstance(link, str) or parent != link:
        return None
    body = comment.get("body")
    links = gallery_links(comment) + (text_links(body) if isinstance(body, str) and not is_deleted(body) else [])
    if not links:
        return None
    score, identity, author = comment.get("score"), comment.get("id"), comment.get("author")
    score = int(score) if isinstance(score, int | float) and abs(score) < 1e9 else 0
    unique = list(dict.fromkeys(links))[:MAX_PICTURES]
    return _text(link), score, _text(identity), _text(author), json.dumps(unique)


def _answers(database: sqlite3.Connection, post: dict[str, Any]) -> list[PhotoResult]:
    """Results of a post, the best liked first; not what the asker posted later."""
    sql = "SELECT author, links FROM answers WHERE post = ? ORDER BY score DESC, id"
    found: dict[str, PhotoResult] = {}
    for author, links in database.execute(sql, (f"t3_{_text(post.get('id'))}",)):
        if author != post.get("author") or author == "[deleted]":
            for link in json.loads(links):
                found.setdefault(link, PhotoResult(address=link, author=author))
    return list(found.values())[:MAX_PICTURES]


def _request(post: dict[str, Any], results: list[PhotoResult], settings: CrawlSettings) -> PhotoRequest:
    """A submission with its results; a crosspost takes picture and text from the post that it repeats."""
    parents = post.get("crosspost_parent_list")
    parent = parents[0] if isinstance(parents, list) and parents and isinstance(parents[0], dict) else {}
    bodies = [post.get("title"), post.get("selftext"), parent.get("selftext")]
    texts = [_text(body) for body in bodies if isinstance(body, str) and body and not is_deleted(body)]
    identity, permalink = _text(post.get("id")), post.get("permalink")
    return PhotoRequest(
        request_id=identity,
        page=f"https://www.reddit.com{_text(permalink)}"
        if isinstance(permalink, str)
        else f"https://redd.it/{identity}",
        photos=tuple(dict.fromkeys(post_links(post) or post_links(parent)))[:MAX_PICTURES],
        results=tuple(results),
        text="\n\n".join(texts),
        licence=LICENCE,
        author=_text(post.get("author")) or None,
        created_utc=parse_time(post.get("created_utc")),
        fault=_fault(post, parent, settings),
    )


def _fault(post: dict[str, Any], parent: dict[str, Any], settings: CrawlSettings) -> tuple[Reason, str] | None:
    if not isinstance(post.get("id"), str) or not post["id"]:
        return Reason.MALFORMED_RECORD, "a submission without an id"
    for one in (post, parent):
        removed = one.get("removed_by_category")
        if removed or is_deleted(one.get("selftext")) or is_deleted(one.get("title")):
            return Reason.DELETED_POST, f"removed by {removed}" if isinstance(removed, str) else "removed or deleted"
        if one.get("over_18") is True and not settings.with_adult_posts:
            return Reason.ADULT_POST, "over_18 is set"
    return None


def _faulty(path: Path, number: int) -> PhotoRequest:
    detail = f"line {number} of {path.name} is no JSON object of at most {MAX_LINE} bytes"
    return PhotoRequest(request_id=f"{path.name}:{number}", page="", fault=(Reason.MALFORMED_RECORD, detail))


def _text(value: Any) -> str:
    return str("" if value is None else value).encode("utf-8", "backslashreplace").decode()
