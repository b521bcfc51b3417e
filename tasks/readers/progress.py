"""How far the reading of a large file is, told to whoever listens.

Readers stream, but some must walk a whole file before the first record: half a gigabyte of JSON takes a minute. They
`tell` their place; a command or a flow that wants to show it reads them within `listening`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with a file's name, the bytes read and the bytes there are; often, so it should return at once."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell ``listener`` how far readers are, as long as the context is open. Per thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(name: str, done: int, total: int) -> None:
    """Say how far a file is read: ``done`` of ``total`` bytes."""
    listener = _listener.get()
    if listener is not None:
        listener(name, done, total)
