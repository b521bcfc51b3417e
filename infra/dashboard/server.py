"""The web server: Streamlit's own, with a fence around what a browser may do."""

import re
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from streamlit.starlette import App

_SCRIPT = Path(__file__).parent / "app.py"
_INNER = re.compile(r"^/[a-z_]+(/_stcore/.*)$")
"""Streamlit's browser code asks below a page's own path first; that would be an error in its console."""

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
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.enableStaticServing": False,
    "theme.light.primaryColor": "#3b73ad",
    "theme.dark.primaryColor": "#6ea6dd",
}


class Fence:
    """Adds headers to every answer, and finds Streamlit's own addresses below those of pages."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] in ("http", "websocket") and (match := _INNER.match(scope["path"])):
            scope = {**scope, "path": match[1], "raw_path": match[1].encode()}

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                kept = [(name, value) for name, value in message["headers"] if name.decode().lower() not in _HEADERS]
                message = {**message, "headers": [*kept, *own]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def serve(address: str, port: int) -> None:
    """Serve the pages until the process is told to stop."""
    app = App(_SCRIPT, middleware=[Middleware(Fence)])
    app.run(config={**_CONFIG, "server.address": address, "server.port": port})
