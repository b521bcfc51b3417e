"""Where the dashboard listens, a port that is its own, said once it is; and where addresses below it lead."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from catalog.errors import ConfigError
from infra.dashboard import __main__ as starter
from infra.dashboard.server import PAGES, Fence


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The usual port, at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(starter, "DEFAULT_PORT", port)
        yield port


def test_the_usual_port_or_any_where_it_is_taken(taken: int) -> None:
    assert starter.find_port("127.0.0.1", None) == 0
    assert starter.find_port("127.0.0.1", 0) == 0
    with pytest.raises(ConfigError, match=f"port {taken} is taken"):
        starter.find_port("127.0.0.1", taken)
    for port in (-1, 65536):
        with pytest.raises(ConfigError, match="0 to 65535"):
            starter.find_port("127.0.0.1", port)
    for address in ("192.0.2.1", "no such host", "", "a\0b", "xn--\u00fc.."):  # the first is for documentation
        with pytest.raises(ConfigError, match=r"--address must be one of this machine's\. Got "):
            starter.find_port(address, None)


def test_the_usual_port_where_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    monkeypatch.setattr(starter, "DEFAULT_PORT", port)
    assert starter.find_port("127.0.0.1", None) == starter.find_port("127.0.0.1", port) == port


@pytest.mark.parametrize(
    ("path", "accept", "place"),
    [
        ("/mix", "*/*", "/?open=mix&a=1"),
        ("/mix/", "text/html", "/?open=mix&a=1"),
        ("/nope", "text/html,*/*", "/?open=nope"),
        ("/nope/more & more", "text/html", "/?open=nope%2Fmore%20%26%20more"),
        ("/medium", "text/html", "/?open=medium"),
        ("/mix.html", "text/html", "/?open=mix.html"),
        ("/a.b", "text/html", "/?open=a.b"),
        ("/data/v1.2", "text/html", "/?open=data%2Fv1.2"),
        ("/v1.2/data", "text/html", "/?open=v1.2%2Fdata"),
        ("/..", "text/html", "/?open=.."),
        ("/data/index.html", "text/html", "/?open=data%2Findex.html"),
        ("/data/_stcore/health", "text/html", "/?open=data%2F_stcore%2Fhealth"),
        ("/static/nope.js", "text/html", "/?open=static%2Fnope.js"),
        ("/media", "text/html", "/?open=media"),  # a file of it would have a name
        ("//example.org", "text/html", "/?open=example.org"),  # here, not there
        ("/\\example", "text/html", "/?open=%5Cexample"),
        ("/a\nb", "text/html", "/?open=a%0Ab"),
        ("/nope", "*/*", None),  # no person asks so
        ("/a.b", "*/*", None),
        ("/", "text/html", None),
        ("/index.html", "text/html", None),
        ("/favicon.png", "text/html", None),
        ("/manifest.json", "text/html", None),
        ("/media/0a.png", "text/html", None),  # a click on a download
        ("/app/static/a.pdf", "text/html", None),
        ("/component/a.b/index.html", "text/html", None),
        ("/_stcore/health", "text/html", None),
    ],
)
def test_where_addresses_lead(path: str, accept: str, place: str | None) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("inner")(scope, receive, send)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"a=1"}
    scope["headers"] = [(b"accept", accept.encode())]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Fence(inner, PAGES)(scope, None, send))
    found = dict(sent[0]["headers"]).get(b"location")
    assert found == (place.encode() if place else None)
    assert (b"inner" in sent[1]["body"]) is (place is None)
