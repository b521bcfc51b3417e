"""Fetch one picture, politely and within every limit; whatever happens comes back as an `Answer`.

Every redirect is a new request with all checks anew: address, opt-out list, robots.txt, pace. Neither proxies nor
cookies nor credentials are used, and no compression is asked for, so that the limit of bytes is the limit of memory
and disk. ``If-None-Match`` and ``If-Modified-Since`` are sent where an answer is on record.
"""

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from catalog.errors import RowRejected
from catalog.ledger import utc_now
from catalog.reasons import Reason
from tasks.photo_requests.addresses import CheckedNetwork, Deadline, Resolve, parse_url, resolve_host, url_port
from tasks.photo_requests.archive import Answer, Archive
from tasks.photo_requests.crawl_settings import FetchParameters
from tasks.photo_requests.host_pace import HostPace
from tasks.photo_requests.opt_outs import OptOuts
from tasks.photo_requests.robots import MAX_ROBOTS, RobotsRules, find_reservation

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ROBOTS_REDIRECTS = 5  # RFC 9309, section 2.3.1.2
_PICTURE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
_LOOKS = threading.BoundedSemaphore(2)  # decoded pictures in memory at a time
_CONNECT_TIMEOUT = 10.0  # seconds: many hosts of old links are gone and swallow what is sent to them
_MAX_HEADER = 300  # characters of a header that is kept
_DENIED = frozenset({401, 402, 403, 451})


class Fetcher:
    """Fetches for one crawl. Used by many threads."""

    def __init__(
        self, parameters: FetchParameters, archive: Archive, opt_outs: OptOuts, resolve: Resolve = resolve_host
    ) -> None:
        self._parameters, self._archive, self._opt_outs = parameters, archive, opt_outs
        self._deadline = Deadline()
        self._network = CheckedNetwork(self._deadline, parameters.private_hosts, resolve)
        self._pace = HostPace(parameters.host_connections, parameters.host_rate, self._deadline)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=2 * parameters.connections,
            keepalive_expiry=10.0,
            network_backend=self._network,
        )
        self._robots: dict[str, RobotsRules] = {}
        self._robots_locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def fetch(self, address: str, known: Answer | None = None) -> Answer:
        """The picture at an address, committed to the archive.

        Args:
            address: URL as a list gives it.
            known: the answer on record, to be asked whether it still holds; it stays where the host cannot say.
        """
        self._deadline.at = time.monotonic() + self._parameters.timeout
        answer = Answer(address=address, fetched_at=utc_now())
        try:
            answer = self._follow(answer, known)
        except RowRejected as rejected:
            answer = answer.rejected(rejected.reason, rejected.detail)
        except httpcore.TimeoutException:
            answer = answer.rejected(Reason.TIMED_OUT, f"not whole within {self._parameters.timeout:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            answer = answer.rejected(*_connection_fault(error))
        if answer.may_pass and known is not None and known.reason is None:
            return known  # the host is away today: what it gave before is not thrown away
        if answer.reason is None:
            self._archive.keep(answer)  # committed at once: looking at it may have to wait
            with _LOOKS:
                answer = self._archive.look(answer)
        return self._archive.keep(answer)

    def _follow(self, answer: Answer, known: Answer | None) -> Answer:
        url, seen, paused = self._checked(answer.address), set[str](), False
        condition = _condition(known)
        while True:
            seen.add(str(url))
            rules = self._rules(url)
            if not rules.allows(str(url)):
                reason = Reason.ROBOTS_UNREADABLE if rules.unreadable else Reason.ROBOTS_FORBID
                raise RowRejected(reason, rules.unreadable or f"robots.txt of {url.host} forbids {url.path}")
            with self._request(url, condition) as response:
                if response.status in _REDIRECTS:
                    url = self._redirected(url, response, seen)
                    continue
                wait = _retry_after(response)
                if response.status not in (429, 503) or paused or not 0 <= wait <= self._parameters.longest_pause:
                    return self._take(replace(answer, final_url=str(url)), response, known)
            self._pace.pause(url.host, wait)
            paused = True

    def _checked(self, text: str) -> httpx.URL:
        url = parse_url(text, self._parameters.ports, self._parameters.private_hosts)
        if entry := self._opt_outs.name_url(url):
            raise RowRejected(Reason.OPTED_OUT, f"{entry} is on the opt-out list")
        return url

    def _redirected(self, url: httpx.URL, response: httpcore.Response, seen: set[str]) -> httpx.URL:
        """Where a redirect leads, checked."""
        target = _header(response, b"location")
        if not target:
            raise RowRejected(Reason.HTTP_ERROR, f"status {response.status} without a Location")
        try:
            following = self._checked(str(url.join(target)))
        except (httpx.InvalidURL, ValueError) as error:
            if isinstance(error, RowRejected):
                raise
            raise RowRejected(Reason.BAD_ADDRESS, f"redirected to {target[:100]!r}") from error
        if str(following) in seen:
            raise RowRejected(Reason.REDIRECT_LOOP, f"{following} leads back to itself")
        if len(seen) > self._parameters.max_redirects:
            raise RowRejected(Reason.TOO_MANY_REDIRECTS, f"more than {self._parameters.max_redirects}")
        return following

    @contextmanager
    def _request(self, url: httpx.URL, more: Mapping[str, str]) -> Iterator[httpcore.Response]:
        """One GET in its turn; the caller reads of it what it wants."""
        headers = {
            "User-Agent": self._parameters.user_agent,
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
            **more,
        }
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with self._pace.slot(url.host):
            timeout = self._deadline.left(self._parameters.timeout)
            waits = {"connect": min(timeout, _CONNECT_TIMEOUT), "read": timeout, "write": timeout, "pool": timeout}
            with self._pool.stream(
                "GET", target, headers=list(headers.items()), extensions={"timeout": waits}
            ) as response:
                yield response

    def _take(self, answer: Answer, response: httpcore.Response, known: Answer | None) -> Answer:
        """The picture of a final response, or the reason why it brings none."""
        answer = replace(
            answer,
            status=response.status,
            content_type=_header(response, b"content-type"),
            etag=_header(response, b"etag"),
            last_modified=_header(response, b"last-modified"),
        )
        if reserved := find_reservation(response.headers, self._parameters.robot):
            return answer.rejected(Reason.NOAI, reserved)
        if response.status == 304 and known is not None and known.reason is None:
            return replace(known, fetched_at=answer.fetched_at, status=304)
        if fault := _status_fault(answer, response.status):
            return answer.rejected(*fault)
        if fault := self._form_fault(answer, response):
            return answer.rejected(*fault)
        sha256, length = self._archive.store(answer.address, self._limited(response))
        if length == 0:
            return answer.rejected(Reason.EMPTY_FILE, "no bytes")
        return replace(answer, sha256=sha256, length=length)

    def _form_fault(self, answer: Answer, response: httpcore.Response) -> tuple[Reason, str] | None:
        """What speaks against reading the body, from its headers alone."""
        kind = (answer.content_type or _PICTURE_TYPES[1]).strip().lower()
        if not kind.startswith(_PICTURE_TYPES):
            return Reason.WRONG_TYPE, f"Content-Type {kind[:80]}"
        if coding := _coding(response):
            return Reason.WRONG_TYPE, f"Content-Encoding {coding}, which was not asked for"
        length = _header(response, b"content-length")
        if length is not None and length.isdecimal() and int(length) > self._parameters.max_bytes:
            return Reason.ANSWER_TOO_LARGE, f"{int(length)} bytes; at most {self._parameters.max_bytes}"
        return None

    def _limited(self, response: httpcore.Response) -> Iterator[bytes]:
        """The body, up to the limits of bytes and time."""
        length = 0
        for chunk in response.iter_stream():
            length += len(chunk)
            if length > self._parameters.max_bytes:
                raise RowRejected(Reason.ENDLESS_ANSWER, f"more than {self._parameters.max_bytes} bytes, unannounced")
            self._deadline.left()
            yield chunk

    def _rules(self, url: httpx.URL) -> RobotsRules:
        """The robots.txt of a URL's host, asked for once in a crawl."""
        origin = f"{url.scheme}://{url.host}:{url_port(url)}"
        with self._lock:
            lock = self._robots_locks.setdefault(origin, threading.Lock())
        with lock:
            if origin not in self._robots:
                self._robots[origin] = self._ask_robots(url.join("/robots.txt"))
                self._pace.slow_down(url.host, self._robots[origin].delay)
            return self._robots[origin]

    def _ask_robots(self, url: httpx.URL) -> RobotsRules:
        robot = self._parameters.robot
        try:
            for _ in range(1 + _ROBOTS_REDIRECTS):
                with self._request(url, {}) as response:
                    if response.status in _REDIRECTS and (target := _header(response, b"location")):
                        url = self._checked(str(url.join(target)))
                        continue
                    if response.status >= 500 or response.status == 429:
                        return RobotsRules(robot, unreadable=f"robots.txt of {url.host}: status {response.status}")
                    if response.status != 200:
                        return RobotsRules(robot)
                    if coding := _coding(response):
                        return RobotsRules(robot, unreadable=f"robots.txt of {url.host} comes as {coding}")
                    return RobotsRules.parse(robot, _beginning(response, MAX_ROBOTS))
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError) as error:
            if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
                raise  # the picture is no nearer: the address itself does not answer
            return RobotsRules(robot, unreadable=f"robots.txt of {url.host}: {type(error).__name__}")
        return RobotsRules(robot)  # RFC 9309: redirected on and on counts as none


def _condition(known: Answer | None) -> dict[str, str]:
    """The headers that ask whether an answer on record still holds."""
    if known is None or known.reason is not None:
        return {}
    pairs = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in pairs.items() if value}


def _status_fault(answer: Answer, status: int) -> tuple[Reason, str] | None:
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


def _connection_fault(error: Exception) -> tuple[Reason, str]:
    text = str(error)[:200] or type(error).__name__
    if isinstance(error, httpcore.RemoteProtocolError) and "complete message body" in text:
        return Reason.TRUNCATED_ANSWER, text
    return Reason.CONNECTION_FAILED, text


def _header(response: httpcore.Response, name: bytes) -> str | None:
    for key, value in response.headers:
        if key.lower() == name:
            return value[: _MAX_HEADER if name != b"location" else None].decode("latin-1")
    return None


def _coding(response: httpcore.Response) -> str:
    """The compression that an answer came with, though none was asked for; empty where there is none."""
    coding = (_header(response, b"content-encoding") or "").strip().lower()[:80]
    return "" if coding == "identity" else coding


def _beginning(response: httpcore.Response, limit: int) -> bytes:
    data = b""
    for chunk in response.iter_stream():
        data += chunk
        if len(data) >= limit:
            break
    return data[:limit]


def _retry_after(response: httpcore.Response) -> float:
    """Seconds that the host asks for; -1 where it asks for none."""
    value = (_header(response, b"retry-after") or "").strip()
    if value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return -1.0
