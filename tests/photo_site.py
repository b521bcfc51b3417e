"""A web site on the loopback: pages and pictures by path, with every misbehaviour that a crawl meets.

It counts what reaches it: the time of each request, and how many were open at once, by host.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from catalog.images import encode_png
from catalog.workspace import Workspace
from tasks.photo_requests.archive import Archive
from tasks.photo_requests.crawl_settings import FetchParameters
from tasks.photo_requests.fetching import Fetcher
from tasks.photo_requests.opt_outs import OptOuts

CHUNK = 1 << 14


@dataclass
class Page:
    """What one path answers with."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "image/jpeg"})
    delay: float = 0.0
    """Seconds before the first byte."""
    drip: float = 0.0
    """Seconds between two bytes."""
    length: int | None = None
    """Announced Content-Length; None: the body's own; -1: none, and chunks without end."""
    act: Callable[["Handler"], None] | None = None
    """Instead of all that."""


class Site(ThreadingHTTPServer):
    """Started with the first ``with``; ``pages`` may change at any time."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((address, port), Handler)
        self.pages: dict[str, Page] = {}
        self.lock = threading.Lock()
        self.asked: list[tuple[str, str, float]] = []
        """(host header, path, time)."""
        self.headers: dict[str, dict[str, str]] = {}
        """Of the last request for each path."""
        self.open: Counter[str] = Counter()
        self.most_open: Counter[str] = Counter()

    def __enter__(self) -> "Site":
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join(5)

    @property
    def port(self) -> int:
        return self.server_address[1]

    def url(self, path: str, host: str | None = None) -> str:
        return f"http://{host or self.server_address[0]}:{self.port}{path}"

    def count(self, path: str) -> int:
        with self.lock:
            return sum(one == path for _, one, _ in self.asked)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").partition(":")[0]
        with self.server.lock:
            self.server.asked.append((host, self.path, time.monotonic()))
            self.server.headers[self.path] = dict(self.headers.items())
            self.server.open[host] += 1
            self.server.most_open[host] = max(self.server.most_open[host], self.server.open[host])
        try:
            self.answer(self.server.pages.get(self.path) or Page(b"nothing here", 404, {"Content-Type": "text/html"}))
        finally:
            with self.server.lock:
                self.server.open[host] -= 1

    def answer(self, page: Page) -> None:
        time.sleep(page.delay)
        if page.act is not None:
            page.act(self)
            return
        etag = page.headers.get("ETag")
        if etag is not None and self.headers.get("If-None-Match") == etag:
            page = Page(status=304, headers=page.headers)
        self.send_response(page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.length == -1:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while True:
                self.wfile.write(f"{CHUNK:x}\r\n".encode() + bytes(CHUNK) + b"\r\n")
        self.send_header("Content-Length", str(len(page.body) if page.length is None else page.length))
        self.end_headers()
        if page.drip:
            for byte in page.body:
                self.wfile.write(bytes([byte]))
                time.sleep(page.drip)
        else:
            self.wfile.write(page.body)
        if page.length is not None and page.length > len(page.body):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def redirect(target: str, status: int = 302) -> Page:
    return Page(status=status, headers={"Location": target})


def picture(seed: int = 0) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8))


def make_fetcher(tmp_path, site, opt_outs=None, resolve=None, **changes) -> Fetcher:
    values = {
        "host_rate": 1000.0,
        "host_connections": 8,
        "timeout": 3.0,
        "ports": [site.port],
        "private_hosts": [f"127.0.0.1:{site.port}"],
        **changes,
    }
    archive = Archive(Workspace(tmp_path))
    return Fetcher(FetchParameters(**values), archive, opt_outs or OptOuts(), resolve or (lambda *_: ["127.0.0.1"]))
