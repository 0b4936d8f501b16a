"""When a page of the dashboard is ready."""

from __future__ import annotations

from playwright.sync_api import Page


def settled(page: Page) -> None:
    """Wait until all charts are drawn."""
    page.wait_for_selector("html[data-ready=yes]", state="attached")
