"""What an HTTP answer says besides its picture: headers, waits, and the reason why there is no picture in it."""

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from catalog.errors import RowRejected
from catalog.reasons import Reason
from tasks.photo_requests.archive import Answer

_MAX_HEADER = 300  # characters of a header that is kept
_DENIED = frozenset({401, 402, 403, 451})


FAULTS = (RowRejected, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError)
"""What keeps one address from being had, and nobody else's."""


def condition(known: Answer | None) -> dict[str, str]:
    """The headers that ask whether an answer on record still holds."""
    if known is None or known.reason is not None:
        return {}
    pairs = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in pairs.items() if value}


def status_fault(answer: Answer, status: int) -> tuple[Reason, str] | None:
    """The reason behind a final status, None where it brings a picture."""
    if status == 200:
        if (answer.final_url or "").partition("?")[0].endswith("/removed.png"):  # imgur's picture of "no picture"
            return Reason.GONE, "leads to the host's picture of something removed"
        return None
    if status in (404, 410):
        return Reason.GONE, f"status {status}"
    if status in _DENIED:
        return Reason.ACCESS_DENIED, f"status {status}"
    if status == 429:
        return Reason.TOO_MANY_REQUESTS, f"status {status}"
    return (Reason.SERVER_ERROR if status >= 500 else Reason.HTTP_ERROR), f"status {status}"


def fault_of(error: Exception, timeout: float) -> tuple[Reason, str]:
    """The reason behind one of `FAULTS`; ``timeout`` is the seconds that an address has."""
    if isinstance(error, RowRejected):
        return error.reason, error.detail
    if isinstance(error, httpcore.ConnectTimeout):
        return Reason.TIMED_OUT, "the host takes no connection"
    if isinstance(error, httpcore.TimeoutException):
        return Reason.TIMED_OUT, f"not whole within {timeout:g} s"
    text = str(error)[:200] or type(error).__name__
    if isinstance(error, httpcore.RemoteProtocolError) and "complete message body" in text:
        return Reason.TRUNCATED_ANSWER, text
    return Reason.CONNECTION_FAILED, text


def find_header(response: httpcore.Response, name: bytes) -> str | None:
    """The first header of a lower-case name; cut, unless it is a Location."""
    for key, value in response.headers:
        if key.lower() == name:
            return value[: _MAX_HEADER if name != b"location" else None].decode("latin-1")
    return None


def find_coding(response: httpcore.Response) -> str:
    """The compression that an answer came with, though none was asked for; empty where there is none."""
    coding = (find_header(response, b"content-encoding") or "").strip().lower()[:80]
    return "" if coding == "identity" else coding


def read_beginning(response: httpcore.Response, limit: int) -> bytes:
    """At most so many bytes of the body."""
    data = b""
    for chunk in response.iter_stream():
        data += chunk
        if len(data) >= limit:
            break
    return data[:limit]


def retry_after(response: httpcore.Response) -> float:
    """Seconds that the host asks for; -1 where it asks for none."""
    value = (find_header(response, b"retry-after") or "").strip()
    if value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return -1.0
