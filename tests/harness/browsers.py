"""Browser: pages opened in Chromium, and what they complain of, ask for and let stick out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]

# Elements that stick out of the page, but for those that scroll in a box of their own.
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(e => {
    const box = e.getBoundingClientRect()
    return !e.closest(".scroll") && box.width && (box.right > innerWidth + 0.5 || box.left < -0.5)
}).map(e => e.outerHTML.slice(0, 80))"""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="there is no Chromium to look at pages with"
)


class Look:
    """A page that was opened, and what it complained of and asked for on the way."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: Any) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_load_state("load")
        self.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
