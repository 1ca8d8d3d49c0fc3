"""The system's chromium, led by playwright; the fixture `browser` (conftest.py) is one for all pages of a module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

PATIENCE_MS = 120_000  # only reached by a test that has failed
_PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(_PATH is None, reason="chromium is not installed: nothing can draw the pages")


@contextmanager
def chromium() -> Iterator[Browser]:
    """It finds nobody but this machine."""
    from playwright.sync_api import sync_playwright  # what other tests do not wait for

    with sync_playwright() as playwright:
        words = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=_PATH, args=words)
        yield browser
        browser.close()


class Visit:
    """A page.

    Attributes:
        said: everything in its console.
        complaints: of that, errors; and what its scripts threw.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        self.said: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.goto(url)

    def _hear(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)
        if message.type == "error":
            self.complaints.append(message.text)
