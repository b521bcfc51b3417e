"""What was fetched, kept below the data root, so that nothing is asked for twice.

::

    data/photo_requests/answers/ab/<digest of the URL>.json    what came of asking: status, ETag, digest or reason
    data/photo_requests/pictures/ab/<digest of the bytes>      the bytes, as they came

A picture is published before its answer: **the answer's existence is the commit**. After a kill at any instant an
address has an answer, whole, or is asked for again.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from catalog.digests import bytes_digest, canonical_json
from catalog.durable import claim, sweep, sync_folder, temporary_path, write_all, write_file
from catalog.errors import ConfigError, RowRejected
from catalog.reasons import Reason
from catalog.source_files import read_source_file
from catalog.store import STORE_ROOT
from catalog.workspace import Workspace
from tasks.photo_requests.fingerprints import VERSION, Fingerprint

FOLDER = "photo_requests"
PASSING = frozenset(
    {
        Reason.UNKNOWN_HOST,
        Reason.CONNECTION_FAILED,
        Reason.TIMED_OUT,
        Reason.TRUNCATED_ANSWER,
        Reason.TRUNCATED_IMAGE,
        Reason.TOO_MANY_REQUESTS,
        Reason.SERVER_ERROR,
        Reason.ROBOTS_UNREADABLE,
    }
)
"""Reasons that another day may lift."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of asking for one address. A reason says why there is no picture to use."""

    address: str
    """URL as the list gives it, or path of a local file."""
    final_url: str | None = None
    """After redirects."""
    status: int | None = None
    content_type: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None
    length: int = 0
    """Bytes."""
    fingerprint: Fingerprint | None = None
    reason: str | None = None
    detail: str | None = None
    fetched_at: str | None = None
    """ISO 8601, UTC. In no shard: those are the same whenever they are made."""
    image: dict[str, Any] | None = None
    """`columns.IMAGE` value of the bytes where they lie."""

    @property
    def may_pass(self) -> bool:
        """Whether asking again can help."""
        return self.reason in PASSING

    def rejected(self, reason: Reason, detail: str) -> "Answer":
        """The same answer with a reason against it."""
        return replace(self, reason=str(reason), detail=detail)


class Archive:
    """The answers and pictures of one workspace. One process at a time holds it; its threads share it."""

    def __init__(self, workspace: Workspace) -> None:
        self._data = workspace.data
        self.folder = workspace.data / FOLDER

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other crawls out, and sweep what a killed one left.

        Raises:
            ConfigError: another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"another crawl is at work in {self.folder}: wait for its end, or set IEIW_HOME to another folder"
                ) from error
            sweep(self.folder)
            yield
        finally:
            os.close(descriptor)

    def find(self, address: str) -> Answer | None:
        """The answer on record, None where there is none or its bytes are gone."""
        try:
            value = json.loads(self._answer_path(address).read_text(encoding="utf-8"))
            fingerprint = value.pop("fingerprint")
            answer = Answer(**value, fingerprint=fingerprint and Fingerprint.from_dict(fingerprint))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{self._answer_path(address)} is damaged ({error}): delete it and run again") from error
        if answer.sha256 is None or answer.reason is not None:
            return answer
        if not self._picture_path(answer.sha256).is_file():
            return None
        return self._located(self.look(answer))

    def keep(self, answer: Answer) -> Answer:
        """Commit an answer, whose picture has been published before."""
        value = {**asdict(answer), "fingerprint": answer.fingerprint and answer.fingerprint.as_dict()}
        value.pop("image")
        write_file(self._answer_path(answer.address), [canonical_json(value).encode() + b"\n"])
        return self._located(answer)

    def store(self, address: str, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Write the bytes of a picture as they come; returns digest and length. Nothing stays of broken ones."""
        digest, length = hashlib.sha256(), 0
        with claim(self.folder / "incoming" / bytes_digest(address.encode())) as descriptor:
            for chunk in chunks:
                write_all(descriptor, chunk)
                digest.update(chunk)
                length += len(chunk)
            os.fsync(descriptor)
            final = self._picture_path(digest.hexdigest())
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary_path(self.folder / "incoming" / bytes_digest(address.encode())).replace(final)
            sync_folder(final.parent)
        return digest.hexdigest(), length

    def take(self, folder: Path, file: str) -> Answer:
        """A local file as an answer: its bytes are copied, once, so that pairs hold wherever the file goes."""
        answer = Answer(address=file)
        try:
            data = read_source_file(folder, file)
        except RowRejected as rejected:
            return answer.rejected(rejected.reason, rejected.detail)
        answer = self.look(replace(answer, sha256=bytes_digest(data), length=len(data)), data)
        if answer.reason is None and not self._picture_path(bytes_digest(data)).is_file():
            self.store(file, [data])
        return self._located(answer)

    def read(self, sha256: str) -> bytes:
        """The bytes of a picture. Raises RowRejected where they are gone."""
        return read_source_file(self.folder, self._picture_path(sha256).relative_to(self.folder).as_posix())

    def look(self, answer: Answer, data: bytes | None = None) -> Answer:
        """An answer with its picture's fingerprint, made unless it is there, or with the reason why there is none.

        ``data`` are the bytes, where they are at hand.
        """
        if answer.sha256 is None or (answer.fingerprint is not None and answer.fingerprint.version == VERSION):
            return answer
        try:
            return replace(answer, fingerprint=Fingerprint.of(self.read(answer.sha256) if data is None else data))
        except RowRejected as rejected:
            return answer.rejected(rejected.reason, rejected.detail)

    def _located(self, answer: Answer) -> Answer:
        if answer.sha256 is None or answer.fingerprint is None:
            return answer
        image = {
            "root": STORE_ROOT,
            "path": self._picture_path(answer.sha256).relative_to(self._data).as_posix(),
            "offset": 0,
            "length": answer.length,
            "sha256": answer.sha256,
            "width": answer.fingerprint.width,
            "height": answer.fingerprint.height,
        }
        return replace(answer, image=image)

    def _answer_path(self, address: str) -> Path:
        digest = bytes_digest(address.encode("utf-8", "backslashreplace"))
        return self.folder / "answers" / digest[:2] / f"{digest}.json"

    def _picture_path(self, sha256: str) -> Path:
        return self.folder / "pictures" / sha256[:2] / sha256
