"""Fetch one picture, politely and within every limit; whatever happens comes back as an `Answer`.

Every redirect is a new request with all checks anew: address, opt-out list, robots.txt, pace. Neither proxies nor
cookies nor credentials are used, and no compression is asked for, so that the limit of bytes is the limit of memory
and disk. ``If-None-Match`` and ``If-Modified-Since`` are sent where an answer is on record.
"""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import httpcore
import httpx

from catalog.errors import RowRejected
from catalog.ledger import utc_now
from catalog.reasons import Reason
from tasks.photo_requests.addresses import CheckedNetwork, Deadline, Resolve, parse_url, resolve_host, url_port
from tasks.photo_requests.archive import Answer, Archive
from tasks.photo_requests.crawl_settings import FetchParameters
from tasks.photo_requests.host_pace import HostPace
from tasks.photo_requests.http_answers import (
    FAULTS,
    condition,
    fault_of,
    find_coding,
    find_header,
    read_beginning,
    retry_after,
    status_fault,
)
from tasks.photo_requests.opt_outs import OptOuts
from tasks.photo_requests.robots import MAX_ROBOTS, RobotsRules, find_reservation

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ROBOTS_REDIRECTS = 5  # RFC 9309, section 2.3.1.2
_PICTURE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
_LOOKS = threading.BoundedSemaphore(2)  # decoded pictures in memory at a time
_CONNECT_TIMEOUT = 10.0  # seconds: many hosts of old links are gone and swallow what is sent to them
_MOST_FAILURES = 3  # of a host in a row: dead ones have hundreds of links in old lists


class Fetcher:
    """Fetches for one crawl. Used by many threads."""

    def __init__(
        self, parameters: FetchParameters, archive: Archive, opt_outs: OptOuts, resolve: Resolve = resolve_host
    ) -> None:
        self._parameters, self._archive, self._opt_outs = parameters, archive, opt_outs
        self._stopped = threading.Event()
        self._deadline = Deadline(self._stopped)
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
        self._failures: Counter[str] = Counter()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End whatever is on its way, soon; nothing is recorded of it."""
        self._stopped.set()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def fetch(self, address: str, known: Answer | None = None) -> Answer:
        """The picture at an address, committed to the archive.

        Args:
            address: URL as a list gives it.
            known: the answer on record, to be asked whether it still holds; it stays where the host cannot say.

        Raises:
            Stopped: `stop` was called.
        """
        self._deadline.at = time.monotonic() + self._parameters.timeout
        answer = Answer(address=address, fetched_at=utc_now())
        try:
            answer = self._follow(answer, known)
        except FAULTS as error:
            answer = answer.rejected(*fault_of(error, self._parameters.timeout))
        is_known = known is not None and known.reason is None
        if answer.reason is None:
            if not is_known:
                self._archive.keep(answer)  # committed at once: looking at it may have to wait
            with _LOOKS:
                answer = self._archive.look(answer)
        if answer.may_pass and known is not None and is_known:
            return known  # the host is away today: what it gave before is not thrown away
        return self._archive.keep(answer)

    def _follow(self, answer: Answer, known: Answer | None) -> Answer:
        url, seen, paused = self._checked(answer.address), set[str](), False
        conditions = condition(known)
        while True:
            seen.add(str(url))
            rules = self._rules(url)
            if not rules.allows(str(url)):
                reason = Reason.ROBOTS_UNREADABLE if rules.unreadable else Reason.ROBOTS_FORBID
                raise RowRejected(reason, rules.unreadable or f"robots.txt of {url.host} forbids {url.path}")
            with self._request(url, conditions) as response:
                if response.status in _REDIRECTS:
                    url = self._redirected(url, response, seen)
                    continue
                wait = retry_after(response)
                if response.status not in (429, 503) or paused or not 0 <= wait <= self._parameters.longest_pause:
                    return self._take(replace(answer, final_url=str(url)), response, known)
            self._pace.pause(url.host, wait)
            paused = True

    def _checked(self, text: str) -> httpx.URL:
        url = parse_url(text, self._parameters.ports, self._parameters.private_hosts)
        if entry := self._opt_outs.name_url(url):
            raise RowRejected(Reason.OPTED_OUT, f"{entry} is on the opt-out list")
        return url

    def _joined(self, url: httpx.URL, target: str) -> httpx.URL:
        """The URL that a Location means, checked."""
        try:
            return self._checked(str(url.join(target)))
        except (httpx.InvalidURL, ValueError) as error:
            if isinstance(error, RowRejected):
                raise
            raise RowRejected(Reason.BAD_ADDRESS, f"redirected to {target[:100]!r}") from error

    def _redirected(self, url: httpx.URL, response: httpcore.Response, seen: set[str]) -> httpx.URL:
        """Where a redirect leads, checked."""
        target = find_header(response, b"location")
        if not target:
            raise RowRejected(Reason.HTTP_ERROR, f"status {response.status} without a Location")
        following = self._joined(url, target)
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
            with self._pool.stream("GET", target, headers=_encoded(headers), extensions={"timeout": waits}) as response:
                yield response

    def _take(self, answer: Answer, response: httpcore.Response, known: Answer | None) -> Answer:
        """The picture of a final response, or the reason why it brings none."""
        answer = replace(
            answer,
            status=response.status,
            content_type=find_header(response, b"content-type"),
            etag=find_header(response, b"etag"),
            last_modified=find_header(response, b"last-modified"),
        )
        if reserved := find_reservation(response.headers, self._parameters.robot):
            return answer.rejected(Reason.NOAI, reserved)
        if response.status == 304 and known is not None and known.reason is None:
            return replace(known, fetched_at=answer.fetched_at, status=304)
        if fault := status_fault(answer, response.status):
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
        if coding := find_coding(response):
            return Reason.WRONG_TYPE, f"Content-Encoding {coding}, which was not asked for"
        length = find_header(response, b"content-length")
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
        start = time.monotonic()
        with lock:
            self._deadline.at += time.monotonic() - start  # another thread asked: its time, not ours
            if origin not in self._robots:
                if self._failures[origin] >= _MOST_FAILURES:
                    detail = f"{url.host} could not be had {_MOST_FAILURES} times in this crawl: not asked again"
                    raise RowRejected(Reason.CONNECTION_FAILED, detail)
                try:
                    self._robots[origin] = self._ask_robots(url.join("/robots.txt"))
                except FAULTS:
                    self._failures[origin] += 1
                    raise
                self._pace.slow_down(url.host, self._robots[origin].delay)
            return self._robots[origin]

    def _ask_robots(self, url: httpx.URL) -> RobotsRules:
        robot = self._parameters.robot
        try:
            for _ in range(1 + _ROBOTS_REDIRECTS):
                with self._request(url, {}) as response:
                    if response.status in _REDIRECTS and (target := find_header(response, b"location")):
                        try:
                            url = self._joined(url, target)
                        except RowRejected as rejected:
                            return RobotsRules(robot, unreadable=f"robots.txt of {url.host}: {rejected}")
                        continue
                    if response.status >= 500 or response.status == 429:
                        return RobotsRules(robot, unreadable=f"robots.txt of {url.host}: status {response.status}")
                    if response.status != 200:
                        return RobotsRules(robot)
                    if coding := find_coding(response):
                        return RobotsRules(robot, unreadable=f"robots.txt of {url.host} comes as {coding}")
                    return RobotsRules.parse(robot, read_beginning(response, MAX_ROBOTS))
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError) as error:
            if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
                raise  # the picture is no nearer: the address itself does not answer
            return RobotsRules(robot, unreadable=f"robots.txt of {url.host}: {type(error).__name__}")
        return RobotsRules(robot)  # RFC 9309: redirected on and on counts as none


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as bytes: an ETag comes back as it was sent, ASCII or not."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
