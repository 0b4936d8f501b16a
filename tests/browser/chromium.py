"""A real Chromium: Playwright's own, or the system's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class NoChromiumError(Exception):
    """There is none on this machine."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium: Playwright's own if it was installed, otherwise the system's, or Chrome.

    Raises:
        NoChromiumError: There is none; the message says how to get one.
        playwright.sync_api.Error: It does not start.
    """
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        system = next(filter(None, map(shutil.which, NAMES)), None)
        if not own.exists() and system is None:
            raise NoChromiumError(
                "there is no Chromium: `apt install chromium`, or `playwright install chromium`"
            )
        browser = playwright.chromium.launch(
            executable_path=None if own.exists() else system,
            chromium_sandbox=os.geteuid() != 0,  # as root it has none
        )
        yield browser
        browser.close()
