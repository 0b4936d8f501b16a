"""A real Chromium, and pages of the dashboard on a small bank."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gold_tables
import pytest
from chromium import NoChromiumError, chromium
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as PlaywrightError
from waiting import settled

from pipeline.dashboard import model
from pipeline.dashboard.page import render
from pipeline.settings import Settings


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. It ends with the module: while Playwright is there, its event loop runs in this thread."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(chromium())
        except NoChromiumError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        except PlaywrightError as error:
            pytest.fail(f"Chromium does not start: {error}")
        yield started


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, lake_at: Callable[[Path], Settings]) -> Iterator[Settings]:
    """A small bank, whose tables no test changes."""
    settings = lake_at(tmp_path_factory.mktemp("bank"))
    registered = gold_tables.catalogue(gold_tables.write(settings, gold_tables.rows()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "registered_tables", registered)
        yield settings


@pytest.fixture(scope="module")
def exported(bank: Settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bank's page as a file, by its address."""
    file = tmp_path_factory.mktemp("exported") / "gold.html"
    file.write_text(render(model.read_model(bank, model.look(bank))), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page and waits until it is ready; whatever it complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def opened(address: str, *, ready: Callable[[Page], None] = settled, **options: Any) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
        page.goto(address)
        ready(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
