"""Fixtures of tests that drive a browser; `browser_pages.needs_chromium` marks those tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser_pages import CHROMIUM, PATIENCE
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a window of its own; at the end no window may have asked anybody else, or complained."""
    contexts, faults = [], list[str]()

    def note(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:")):
            faults.append(f"request to {request.url}")

    def start(url: str, **options: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **options}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", note)
        page.on("websocket", lambda socket: "//127.0.0.1:" in socket.url or faults.append(f"socket to {socket.url}"))
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
    assert faults == []
