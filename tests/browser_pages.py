"""What tests do to the dashboard's pages in Debian's Chromium; the fixtures are in ``integration/conftest.py``."""

import re
import shutil

import pytest
from playwright.sync_api import Locator, Page, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60_000  # ms, on a machine that does other work
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium")
"""Nothing is downloaded by the tests."""


def settled(page: Page) -> Page:
    """The page once its script has run to the end."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=PATIENCE)
    return page


def see(page: Page, text: str | re.Pattern[str], *, exact: bool = False) -> Locator:
    found = page.get_by_text(text, exact=exact).first
    expect(found).to_be_visible(timeout=PATIENCE)
    return found
