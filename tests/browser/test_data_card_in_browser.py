"""The generator's data card in a real Chromium: readable by all, on any screen, from the file alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from contracts import load_contracts
from datagen import generate
from datagen.card import write_card
from datagen.profile import load

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The card of a small bank, by its address."""
    folder = tmp_path_factory.mktemp("card")
    write_card(folder / "card.html", [generate(folder / "data", scale=100)], load())
    return (folder / "card.html").as_uri()


@pytest.fixture
def look(visit: Visit, card: str) -> Visit:
    """Opens the card; it has no script that would have to draw anything."""
    return lambda **options: visit(card, ready=lambda page: None, **options)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_card_has_no_barrier_that_axe_knows(look: Visit, scheme: str) -> None:
    found = Axe().run(look(color_scheme=scheme))
    assert found.violations_count == 0, found.generate_report()


def test_the_card_fits_a_phone_and_its_tables_scroll_alone(look: Visit) -> None:
    view = look(viewport={"width": 390, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    table = view.get_by_role("region", name="Columns of transactions")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")


def test_plots_are_drawn_to_scale(look: Visit) -> None:
    view = look()
    plots = view.locator(".rows").evaluate_all(
        """plots => plots.map(plot => [...plot.children].map(row => [
            row.querySelector('i').getBoundingClientRect().width,
            Number(row.querySelector('span').innerText.replaceAll(',', '')),
        ]))"""
    )
    assert plots
    for bars in plots:
        widest, most = max(bars)
        for width, rows in bars:
            assert width == pytest.approx(max(1, widest * rows / most), abs=1)


def test_a_link_leads_to_its_entity(look: Visit) -> None:
    view = look()
    for entity in load_contracts():
        view.get_by_role("link", name=entity).click()
        expect(view.get_by_role("heading", name=entity, exact=True)).to_be_in_viewport()
