"""How fast one host is asked: so many requests at a time, so many per second, and pauses that it asks for."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.photo_requests.addresses import Deadline

_SLACK = 1.1
"""Requests start a tenth further apart than the rate says: on their way they may bunch up by so much."""


class _Host:
    """The state of one host."""

    def __init__(self, connections: int) -> None:
        self.slots = threading.BoundedSemaphore(connections)
        self.lock = threading.Lock()
        self.next_start = 0.0
        self.interval = 0.0


class HostPace:
    """Slots for requests by host. Used by many threads."""

    def __init__(self, connections: int, rate: float, deadline: Deadline) -> None:
        """At most ``connections`` requests at a time and ``rate`` per second to each host."""
        self._connections = connections
        self._interval = _SLACK / rate
        self._deadline = deadline
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextmanager
    def slot(self, host: str) -> Iterator[None]:
        """Wait for one's turn, then hold one of the host's slots. Waiting does not count against the deadline."""
        state = self._state(host)
        start = time.monotonic()
        with state.slots:
            with state.lock:
                at = max(time.monotonic(), state.next_start)
                state.next_start = at + max(self._interval, state.interval)
            self._deadline.sleep(at - time.monotonic())
            self._deadline.at += time.monotonic() - start
            yield

    def slow_down(self, host: str, interval: float) -> None:
        """From now on at least ``interval`` seconds between two requests (Crawl-delay)."""
        self._state(host).interval = max(interval, 0.0)

    def pause(self, host: str, seconds: float) -> None:
        """No request for so long (Retry-After)."""
        state = self._state(host)
        with state.lock:
            state.next_start = max(state.next_start, time.monotonic() + seconds)

    def _state(self, host: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(host, _Host(self._connections))
