"""The web server: Streamlit's own, with a fence around what a browser may do."""

import re
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from streamlit.file_util import get_static_dir
from streamlit.starlette import App

PAGES = ("data", "mix", "training", "evaluation", "choose", "confirm", "runs")
"""Addresses below the server's own."""
_SCRIPT = Path(__file__).parent / "app.py"
PAGE = "open"
"""Of the address ``/?open=mix``, as which ``/mix`` is opened: loaded there, Streamlit's browser code would look for its
server below ``/mix`` first, which is an error in the console. `app` goes on to the page itself."""
_OWN = re.compile(r"/(?:_stcore|app/static|component|media)/.*", re.DOTALL)
"""What Streamlit answers itself, beside `_FILES`. To all else it gives its first page, whose code then complains."""
_STATIC = Path(get_static_dir())
_FILES = frozenset(f"/{path.relative_to(_STATIC).as_posix()}" for path in _STATIC.rglob("*") if path.is_file()) | {"/"}
"""Its browser code: /, /index.html, /favicon.png, ..."""

_HEADERS = {
    # Nothing is fetched from or sent to anywhere else, whatever a caption or file name holds.
    "content-security-policy": (
        "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'self'; "
        "form-action 'self'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_CONFIG: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",  # no traceback in a browser
    "client.showErrorLinks": False,
    "client.toolbarMode": "viewer",
    "global.developmentMode": False,
    "logger.hideWelcomeMessage": True,  # which asks a host elsewhere for our address
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.enableStaticServing": False,
    "theme.light.primaryColor": "#3b73ad",
    "theme.dark.primaryColor": "#6ea6dd",
}


class Fence:
    """Adds headers to every answer, and opens pages by their own addresses."""

    def __init__(self, app: Any, pages: Sequence[str]) -> None:
        self._app, self._pages = app, {f"/{page}": page for page in pages}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and (place := self._other_place(scope)):
            await RedirectResponse(place)(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                kept = [(name, value) for name, value in message["headers"] if name.decode().lower() not in _HEADERS]
                message = {**message, "headers": [*kept, *own]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _other_place(self, scope: Any) -> str | None:
        """Where a page's own address leads, and one that a person typed and that is no page's."""
        if page := self._pages.get(scope["path"].rstrip("/")):
            rest = scope["query_string"].decode("latin-1")
            return f"/?{PAGE}={page}" + (f"&{rest}" if rest else "")
        wants_page = any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
        if not wants_page or scope["method"] != "GET" or scope["path"] in _FILES or _OWN.match(scope["path"]):
            return None
        return f"/?{PAGE}={quote(scope['path'].strip('/'), safe='')}"


def tell_visitor(error: Exception) -> bool:
    """Say that a page has failed for a reason of our own; what it was stands in the terminal."""
    traceback.print_exception(error)
    st.error("This page has failed, which is a mistake in it: the terminal of the dashboard says where.")
    return True


def serve(address: str, port: int, announce: Callable[[int], None]) -> None:
    """Serve the pages until the process is told to stop.

    Args:
        address: where to listen.
        port: 0: any that is free.
        announce: called with the port once it is ours and is listened at: whoever goes there meets nobody else.
    """
    for page in PAGES:
        import_module(f"infra.dashboard.{page}_page")  # now, not when the first visitor waits

    @asynccontextmanager
    async def lifespan(_: App) -> AsyncIterator[None]:
        announce(st.get_option("server.port"))
        yield

    app = App(_SCRIPT, lifespan=lifespan, middleware=[Middleware(Fence, pages=PAGES)], on_script_error=tell_visitor)
    app.run(config={**_CONFIG, "server.address": address, "server.port": port})
