"""Where the dashboard listens: a port that is its own, said once it is."""

import socket
from collections.abc import Iterator

import pytest

from catalog.errors import ConfigError
from infra.dashboard import __main__ as starter


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
