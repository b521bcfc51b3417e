"""Which addresses are asked at all, and connections that go nowhere else.

A URL from a list or a redirect is somebody else's word. It must not reach into the network that we run in, neither
by a private address, nor by a public name that resolves to one, nor by a name that resolves to something else the
second time it is looked up. So the name is looked up once, every address it has is checked, and the connection is
made to an address that was checked (`CheckedNetwork`); each redirect is a new connection, checked alike.
"""

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from catalog.errors import RowRejected
from catalog.reasons import Reason

MAX_LENGTH = 2048
"""Characters of a URL."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_INNER = tuple(map(ipaddress.ip_network, ("fec0::/10", "64:ff9b:1::/48")))
"""Networks of one's own that `ipaddress` counts as global: site-local (RFC 3879), local translation (RFC 8215)."""

_SLICE = 1.0  # seconds of one wait for bytes: then it is seen that the crawl is to stop
_LOOK_UP = 10.0  # seconds: the system's resolver has no limit that can be set for one name

Resolve = Callable[[str, int], list[str]]
"""Host and port to IP addresses; raises OSError."""


def parse_url(text: str, ports: Iterable[int] = (80, 443), private_hosts: Iterable[str] = ()) -> httpx.URL:
    """A URL in its normal form, without fragment, if it may be asked by its looks.

    Raises:
        RowRejected: bad_address.
    """
    if len(text) > MAX_LENGTH or not text.isprintable() or any(character in text for character in ' "<>\\^`{|}'):
        raise RowRejected(Reason.BAD_ADDRESS, f"{text[:100]!r} is no URL of at most {MAX_LENGTH} plain characters")
    try:
        url = httpx.URL(text)
        host, port = url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS.get(url.scheme, 0)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise RowRejected(Reason.BAD_ADDRESS, f"{text[:100]!r}: {error}") from error
    if url.scheme not in _DEFAULT_PORTS or not host:
        raise RowRejected(Reason.BAD_ADDRESS, f"{text[:100]!r} must begin with http:// or https:// and a host")
    if url.userinfo:
        raise RowRejected(Reason.BAD_ADDRESS, f"a user's name or password before host {host}")
    if port not in ports and f"{host}:{port}" not in private_hosts:
        raise RowRejected(Reason.BAD_ADDRESS, f"port {port} of {host}; allowed: {', '.join(map(str, sorted(ports)))}")
    return url.copy_with(fragment=None)


def url_port(url: httpx.URL) -> int:
    """The port that a URL means."""
    return url.port or _DEFAULT_PORTS[url.scheme]


def is_public(address: str) -> bool:
    """Whether an IP address is out in the internet, also where an IPv6 address carries an IPv4 one in it."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner: ipaddress.IPv4Address | None = None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        else:
            inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
    if inner is not None:
        return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in net for net in _INNER)


def resolve_host(host: str, port: int) -> list[str]:
    """The system's resolver: addresses in its order, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Stopped(Exception):
    """The crawl was told to stop: what was on its way is neither an answer nor a failure of its host."""


class Deadline(threading.local):
    """When the work of the present thread must end: no server keeps it longer by sending a byte now and then."""

    at: float = float("inf")
    """`time.monotonic` seconds."""

    def __init__(self, stopped: threading.Event | None = None) -> None:
        """``stopped``, once set, ends the work of every thread."""
        self.stopped = stopped or threading.Event()

    def left(self, timeout: float | None = None) -> float:
        """Seconds left, at most ``timeout``.

        Raises:
            Stopped: there is to be no more work.
            httpcore.ReadTimeout: there are none.
        """
        if self.stopped.is_set():
            raise Stopped
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time is used up")
        return left if timeout is None else min(left, timeout)

    def sleep(self, seconds: float) -> None:
        """Sleep, though the time of the work may be over. Raises Stopped."""
        if self.stopped.wait(max(0.0, seconds)):
            raise Stopped


class CheckedNetwork(httpcore.NetworkBackend):
    """Makes connections for httpcore to checked addresses only, within the thread's deadline."""

    def __init__(self, deadline: Deadline, private_hosts: Iterable[str] = (), resolve: Resolve = resolve_host) -> None:
        self._deadline = deadline
        self._private_hosts = frozenset(private_hosts)
        self._resolve = resolve
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Look the host up, refuse it if any of its addresses is private, connect to the first that answers.

        Raises:
            RowRejected: unknown_host, private_address; timed_out where the name takes too long to be looked up.
            httpcore.ConnectError, httpcore.ConnectTimeout: no address answers.
        """
        addresses = self.check(host, port)
        failure: Exception | None = None
        for address in addresses:
            try:
                stream = self._plain.connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
                return _BoundedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    def check(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of them public or allowed by name."""
        addresses = self._look_up(host, port)
        if not addresses:
            raise RowRejected(Reason.UNKNOWN_HOST, f"{host} has no address")
        for address in addresses:
            if not is_public(address) and f"{address}:{port}" not in self._private_hosts:
                raise RowRejected(Reason.PRIVATE_ADDRESS, f"{host} is {address}, port {port}, which is not public")
        return addresses

    def _look_up(self, host: str, port: int) -> list[str]:
        """Addresses within a time: a thread of its own waits for a resolver that does not answer, nobody else."""
        answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        seconds = self._deadline.left(_LOOK_UP)
        threading.Thread(target=ask, name=f"look-up of {host}", daemon=True).start()
        try:
            found = answers.get(timeout=seconds)
        except queue.Empty as error:
            raise RowRejected(Reason.TIMED_OUT, f"{host} was not looked up within {seconds:.1f} s") from error
        if isinstance(found, Exception):
            raise RowRejected(Reason.UNKNOWN_HOST, f"{host} does not resolve") from found
        return found


class _BoundedStream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline of the thread that waits."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = time.monotonic() + self._deadline.left(timeout)
        while True:
            try:
                return self._stream.read(max_bytes, self._deadline.left(min(_SLICE, max(end - time.monotonic(), 0.01))))
            except httpcore.ReadTimeout:
                if time.monotonic() >= end:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _BoundedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
