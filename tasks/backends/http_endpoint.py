"""One HTTP server that the user named: bounded requests at a time, bounded answers, retries with growing pauses.

Straight to the server: no proxy, no redirect, no cookie.
"""

import http.client
import threading
import time
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from catalog.errors import BackendError
from catalog.image_headers import MAX_BYTES

FIRST_PAUSE = 0.5  # seconds; doubles with every attempt
LONGEST_PAUSE = 30.0  # seconds
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Answer:
    """Status, and the body up to the limit that was asked for."""

    status: int
    body: bytes
    whole: bool
    """Whether the body ended within the limit."""


class Endpoint:
    """A server's address with its limits. May be used by many threads."""

    def __init__(self, url: str, *, what: str, remedy: str, timeout: float, retries: int, limit: int) -> None:
        """Check the address; nothing is sent yet.

        Args:
            url: http or https, host, port and, where the server lies behind another, a path.
            what: begins every sentence: "inpainter 'lama-cleaner'".
            remedy: ends the sentence about a server that is not there: "start it with ...".
            timeout: seconds per attempt.
            retries: further attempts after the first.
            limit: requests at the same time.

        Raises:
            BackendError: an option out of range.
        """
        self._parts = _split(url, what)
        self.url = url
        self.remedy = remedy
        self._what = what
        self._timeout = _checked_timeout(timeout, what)
        self._retries = _checked_retries(retries, what)
        self._slots = threading.BoundedSemaphore(limit)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        max_bytes: int = MAX_BYTES,
        retry: bool = True,
    ) -> Answer:
        """Send a request; again, after a pause, when the connection is lost or the answer is 429 or 5xx.

        Args:
            method: GET or POST.
            path: below the address.
            body: what POST sends.
            content_type: of the body.
            max_bytes: at most so much of the answer is read.
            retry: False gives up at the first failure.

        Returns:
            The first answer that is neither 429 nor 5xx; or the last 500, with which a server blames one request.

        Raises:
            BackendError: no answer, or still 429 or 5xx (other than 500) at the last attempt.
        """
        attempts = 1 + (self._retries if retry else 0)
        for attempt in range(attempts):
            if attempt:
                time.sleep(min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE))
            try:
                with self._slots:
                    answer = self._send(method, path, body, content_type, max_bytes)
            except (OSError, http.client.HTTPException) as error:
                failure = f"{type(error).__name__}: {error}"[:200]
                continue
            if answer.status != 429 and answer.status < 500:
                return answer
            failure = f"status {answer.status}"
        if failure == "status 500":
            return answer
        raise BackendError(
            f"{self._what}: the server at {self.url} must answer, but after {attempts} attempt(s) the last one ended "
            f"with {failure}: {self.remedy}"
        )

    def _send(self, method: str, path: str, body: bytes | None, content_type: str, max_bytes: int) -> Answer:
        host, port = self._parts.hostname or "", self._parts.port
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, port, timeout=self._timeout)
        deadline = time.monotonic() + self._timeout
        try:
            headers = {"Content-Type": content_type} if body is not None else {}
            connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            expected = response.length
            if expected is not None and expected > max_bytes:
                return Answer(response.status, b"", whole=False)
            chunks, size = [], 0
            while chunk := response.read(min(_CHUNK, max_bytes + 1 - size)):
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    return Answer(response.status, b"".join(chunks)[:max_bytes], whole=False)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer took longer than {self._timeout} s")
            if expected is not None and size < expected:  # http.client says nothing when it reads in pieces
                raise http.client.IncompleteRead(b"", expected - size)
            return Answer(response.status, b"".join(chunks), whole=True)
        finally:
            connection.close()


def _split(url: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host = (parts.hostname or "").encode("idna").decode()
        fits = parts.scheme in ("http", "https") and bool(host) and (parts.port or 1) > 0
        fits = fits and "@" not in parts.netloc and not parts.query and not parts.fragment
    except ValueError:  # a port that is no number, a host that is no name
        fits = False
    if not fits or not url.isascii() or any(character.isspace() or not character.isprintable() for character in url):
        raise BackendError(
            f"{what}: url must be http://HOST:PORT or https://HOST:PORT, without a user name. Got {url!r}"
        )
    return parts


def _checked_timeout(timeout: float, what: str) -> float:
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 < timeout <= 86400:  # false for NaN, too
        raise BackendError(f"{what}: timeout must be above 0 and at most 86400 seconds. Got {timeout!r}")
    return float(timeout)


def _checked_retries(retries: int, what: str) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 20:
        raise BackendError(f"{what}: retries must be a whole number from 0 to 20. Got {retries!r}")
    return retries
