"""The dashboard in a real Chromium: figures, filters, drill-down, keyboard, themes, paper, fresh data."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gold_tables
import pytest
from aiohttp import web
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from waiting import settled

from pipeline.dashboard import model, page, server
from pipeline.dashboard.cubes import KPI
from pipeline.dashboard.layout import CUBES, SECTIONS
from pipeline.query import attach_uri, connect
from pipeline.settings import Settings

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
DATES = ("month", "transaction_date", "due_month", "activity_date", "activity_month")
SELECTIONS = (
    {"currency": "EUR"},
    {"currency": "USD", "only.branch_code": "BR002"},
    {"currency": "EUR", "only.product": "auto", "from": "2026-04-01", "to": "2026-05-31"},
    {"currency": "EUR", "from": "2026-05-22", "to": "2026-05-22"},  # a day without data
)


def shown_figures(view: Page) -> dict[tuple[str, str], str]:
    """What each figure says in full, by cube and key figure."""
    boxes = "boxes => boxes.map(box => [box.dataset.cube, box.dataset.kpi, box.querySelector('dd').title])"
    return {(cube, kpi): text for cube, kpi, text in view.locator(".figure").evaluate_all(boxes)}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_browser_computes_what_duckdb_does(
    visit: Visit, exported: str, bank: Settings, selection: dict[str, str]
) -> None:
    shown = shown_figures(
        visit(f"{exported}#?{'&'.join(f'{name}={value}' for name, value in selection.items())}")
    )
    connection = connect()
    for name, uri in model.look(bank).uris.items():
        attach_uri(connection, *name.split("."), uri)
    assert len(shown) == sum(len(section.figures) for section in SECTIONS)
    for (cube, kpi), text in shown.items():
        sql = f"SELECT {KPI[kpi].formula} FROM {KPI[kpi].table} WHERE {condition(cube, selection)}"
        row = connection.execute(sql).fetchone()
        assert row is not None
        if row[0] is None:
            assert text == "Nothing in this selection to compute it from", kpi
            continue
        number = float(re.sub(r"[^0-9.-]", "", text)) / (100 if text.endswith("%") else 1)
        # a percentage is shown with two digits, money to the cent
        assert math.isclose(number, row[0], rel_tol=1e-12, abs_tol=5.1e-5 if text.endswith("%") else 1e-9), (
            kpi
        )


def condition(name: str, selection: dict[str, str]) -> str:
    """What the page's filters mean for a cube: those for columns that it has; months are whole ones."""
    cube = next(cube for cube in CUBES if cube.name == name)
    said = ["true"]
    for dimension in cube.dimensions:
        column = dimension.column
        if column in DATES:
            rounded = f"date_trunc('{dimension.grain}', {column})"
            if "from" in selection:
                said.append(f"{rounded} >= date_trunc('{dimension.grain}', DATE '{selection['from']}')")
                said.append(f"{rounded} <= DATE '{selection['to']}'")
        elif value := selection.get(column) or selection.get(f"only.{column}"):
            said.append(f"{column} = '{value}'")
    return " AND ".join(said)


def test_a_file_asks_no_network_for_anything_and_draws_within_two_seconds(
    visit: Visit, exported: str
) -> None:
    asked: list[str] = []
    opened = visit(exported)
    opened.on("request", lambda request: asked.append(request.url))
    opened.reload()
    settled(opened)
    assert [url for url in asked if not url.startswith(("data:", exported.split("#", maxsplit=1)[0]))] == []
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert opened.evaluate(paint) < 2000
    assert opened.locator(".chart svg").count() == sum(len(section.panels) for section in SECTIONS)


def test_filters_narrow_all_figures_down_and_can_be_cleared(visit: Visit, exported: str) -> None:
    view = visit(exported)
    everything = shown_figures(view)
    view.get_by_label("Branch", exact=True).select_option("BR003")
    settled(view)
    branch = shown_figures(view)
    assert branch["cash_flow", "inflow"] != everything["cash_flow", "inflow"]
    assert branch["customers", "customers"] == everything["customers", "customers"]
    expect(view.locator("#customers .note")).to_have_text(
        "As of 30 Jun 2026. Not narrowed by branch, which it does not have."
    )
    view.get_by_label("From", exact=True).fill("2026-06-10")
    settled(view)
    expect(view.locator("#cash-flow .note")).to_have_text("By whole months.")
    expect(view.locator("#days .note")).to_have_text("")
    assert "only.branch_code=BR003" in view.url
    view.get_by_role("button", name="Remove filter branch: BR003").click()
    view.get_by_role("button", name="Clear filters").click()
    settled(view)
    assert shown_figures(view) == everything
    expect(view.get_by_role("status")).to_have_text("All filters are cleared, except the currency.")


def test_a_selection_is_kept_in_the_address(visit: Visit, exported: str) -> None:
    view = visit(exported)
    view.get_by_label("Currency", exact=True).select_option("USD")
    view.get_by_label("Customers: broken down by").select_option("country")
    settled(view)
    again = visit(view.url)
    assert shown_figures(again) == shown_figures(view)
    expect(again.get_by_label("Customers: broken down by")).to_have_value("country")


def test_a_bar_leads_to_what_it_is_made_of(visit: Visit, exported: str) -> None:
    view = visit(exported)
    box = view.locator("#portfolio .chart")
    assert view.get_by_label("Portfolio: broken down by").input_value() == "branch_code"
    box.scroll_into_view_if_needed()
    box.locator(".mark-rect path").first.click()
    settled(view)
    chip = view.locator("#chips button")
    expect(chip).to_contain_text("branch: BR00")
    assert view.get_by_label("Portfolio: broken down by").input_value() == "product"
    view.locator("#cash-flow .chart .mark-rect path").first.click()
    settled(view)
    expect(chip).to_have_count(2)
    assert view.get_by_label("From", exact=True).input_value().endswith("-01")


def test_everything_can_be_done_by_keyboard(visit: Visit, exported: str) -> None:
    view = visit(exported)
    view.keyboard.press("Tab")
    expect(view.get_by_role("link", name="Skip to the figures")).to_be_focused()
    view.keyboard.press("Enter")
    summary = view.locator("#portfolio summary")
    summary.focus()
    view.keyboard.press("Enter")
    view.keyboard.press("Tab")
    view.keyboard.press("Tab")
    button = view.locator("#portfolio tbody button").first
    expect(button).to_be_focused()
    name = button.inner_text()
    view.keyboard.press("Enter")
    settled(view)
    expect(view.locator("#chips button")).to_contain_text(f"branch: {name}")
    expect(view.get_by_role("status")).to_have_text(f"Narrowed to branch {name}")


def test_every_chart_has_words_and_a_table(visit: Visit, exported: str) -> None:
    view = visit(exported)
    for section in SECTIONS:
        for panel in section.panels:
            box = view.locator(f"#{panel.name}")
            described = box.locator(".chart").get_attribute("aria-label") or ""
            assert panel.title in described
            assert " from " in described
            assert box.locator("table tbody tr").count() > 0
            assert box.locator("table caption").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_people_who_see_or_hear_it_otherwise(
    visit: Visit, exported: str, scheme: str
) -> None:
    view = visit(exported, color_scheme=scheme)
    for summary in view.locator("summary").all()[:3]:
        summary.click()
    found = Axe().run(view)
    assert found.violations_count == 0, found.generate_report()


def test_the_theme_follows_the_system_until_somebody_chooses(visit: Visit, exported: str) -> None:
    def ground(view: Page) -> str:
        return str(view.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = visit(exported), visit(exported, color_scheme="dark")
    assert ground(light) != ground(dark)
    dark.get_by_label("Theme").select_option("light")
    assert ground(light) == ground(dark)
    dark.reload()
    settled(dark)
    assert ground(light) == ground(dark)
    dark.emulate_media(media="print", color_scheme="dark")
    assert ground(dark) == "rgb(255, 255, 255)"


def test_it_prints_on_paper_without_what_paper_cannot_do(visit: Visit, exported: str, tmp_path: Path) -> None:
    view = visit(exported, color_scheme="dark")
    view.emulate_media(media="print")
    assert not view.get_by_label("Currency", exact=True).is_visible()
    assert view.locator("#cash-flow .chart svg").is_visible()
    colour = "getComputedStyle(document.querySelector('#cash-flow .chart svg text')).fill"
    assert view.evaluate(colour) == "rgb(68, 68, 68)", "text is dark on paper"
    assert view.pdf(prefer_css_page_size=True).startswith(b"%PDF")


@pytest.mark.parametrize("width", [320, 768])
def test_it_fits_narrow_screens(visit: Visit, exported: str, width: int) -> None:
    view = visit(exported, viewport={"width": width, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth") <= width


def written(settings: Settings, lake: model.Lake, folder: Path) -> str:
    file = folder / "page.html"
    file.write_text(page.render(model.read_model(settings, lake)), encoding="utf-8")
    return file.as_uri()


def test_an_empty_gold_says_what_to_do(visit: Visit, lake: Settings, tmp_path: Path) -> None:
    view = visit(written(lake, model.Lake({}, {}), tmp_path))
    expect(view.get_by_role("alert")).to_have_text("Gold is empty: finlake run fills it.")
    assert set(view.locator(".figure dd").all_inner_texts()) == {"not built yet"}
    expect(view.locator("#vintages .empty")).to_contain_text("gold.loan_vintages is not built yet")


def test_what_would_be_too_large_for_a_page_is_left_out_and_says_so(
    visit: Visit, bank: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.dashboard.cubes.MOST_CELLS", 20)
    monkeypatch.setattr("pipeline.dashboard.cubes.LARGEST_CUBE", 50)  # ages of loans never become one
    view = visit(written(bank, model.look(bank), tmp_path))
    expect(view.locator("#vintages .empty")).to_have_text(
        "gold.loan_vintages has too many combinations of what one filters by for a page; "
        "finlake query has the figures."
    )
    assert shown_figures(view)["portfolio", "exposure"].endswith(" EUR")


def test_amounts_in_different_currencies_are_a_table_and_never_one_chart(visit: Visit, exported: str) -> None:
    view = visit(exported)
    view.get_by_label("Cash flow: broken down by").select_option("currency")
    settled(view)
    box = view.locator("#cash-flow")
    expect(box.locator(".empty")).to_have_text(
        "Amounts in different currencies have no common axis: see the table."
    )
    assert not box.locator(".chart").is_visible()
    inflows = box.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert [text[-4:] for text in inflows] == [" EUR", " USD"]


def test_signs_of_fraud_are_told_by_kind_and_day_and_by_no_account(visit: Visit, exported: str) -> None:
    view = visit(exported)
    panel = view.locator("#signs")
    legend = panel.locator(".chart .role-legend-symbol path").evaluate_all(
        "marks => marks.map(mark => getComputedStyle(mark).fill)"
    )
    assert len(legend) == len(set(legend)) == len(gold_tables.SIGNS), "each kind has a colour of its own"
    ticks = view.locator("#alerts .chart .role-axis-label text").all_text_contents()
    assert {tick for tick in ticks if not tick[-1].isalpha()} == {"0", "1"}, "alerts are whole ones"
    panel.locator("summary").click()
    rows = panel.locator("tbody tr")
    assert [text.split()[0] for text in rows.locator("th").all_inner_texts()] == ["Apr", "May", "Jun"]
    view.get_by_label("Branch", exact=True).select_option("BR003")
    view.get_by_label("From", exact=True).fill("2026-06-10")
    settled(view)
    expect(panel.locator(".note")).to_have_text(
        "By whole months. Not narrowed by branch, which it does not have."
    )
    data = view.locator("#model").text_content() or ""
    assert "fraud_signals" in data
    assert not re.search(r'"A[0-9]"', data), "accounts of the bank are called so"


def test_a_rare_value_that_a_chart_does_not_tell_apart_is_neither_zero_nor_left_out_in_silence(
    visit: Visit, lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = gold_tables.rows()
    (first, *_) = tables["gold.daily_transactions"]
    tables["gold.daily_transactions"] += [
        first | {"branch_code": f"BR{number:03}", "transaction_date": first["transaction_date"]}
        for number in range(4, 60)
        for _ in range(1 + (number < 52))
    ]
    (flow, *_) = tables["gold.monthly_cash_flow"]
    tables["gold.monthly_cash_flow"].append(flow | {"branch_code": "BR059"})
    monkeypatch.setattr(model, "registered_tables", gold_tables.catalogue(gold_tables.write(lake, tables)))
    view = visit(written(lake, model.look(lake), tmp_path))
    branches = view.get_by_label("Branch", exact=True)
    assert "(other)" not in branches.locator("option").all_inner_texts()
    branches.select_option("BR059")
    settled(view)
    rare = "BR059 is not told apart here: it is one of the rare values of branch."
    assert shown_figures(view)["days", "transactions"] == rare
    expect(view.locator("#days .empty")).to_have_text(rare)
    assert shown_figures(view)["cash_flow", "inflow"].endswith(" EUR")


def test_a_curve_of_several_months_ends_where_the_youngest_of_its_loans_do(
    visit: Visit, lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = gold_tables.rows()
    monkeypatch.setattr(model, "registered_tables", gold_tables.catalogue(gold_tables.write(lake, tables)))
    monkeypatch.setattr("pipeline.dashboard.cubes.MOST_CELLS", 300)  # 312 by month: they become quarters
    view = visit(written(lake, model.look(lake), tmp_path))
    view.locator("#vintages summary").click()
    cells = view.locator("#vintages tbody tr").first.locator("th, td").all_inner_texts()
    # Loans of July to September 2025, nine months after the youngest of them; those of July are eleven old.
    assert cells[:2] == ["Q3 2025", "186"]
    ages = view.locator("#vintages .chart path[aria-roledescription], #vintages .chart .mark-symbol path")
    assert ages.count() == (10 + 7 + 4 + 1)


def test_what_cannot_be_computed_has_no_value_and_is_not_zero(
    visit: Visit, lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: dict[str, list[dict[str, Any]]] = {name: rows[:1] for name, rows in gold_tables.rows().items()}
    tables["gold.payment_performance"][0] |= {"amount_due": 0, "instalment_count": 0}
    tables["gold.customer_360"] = []
    uris = gold_tables.write(lake, tables)
    monkeypatch.setattr(model, "registered_tables", gold_tables.catalogue(uris))
    view = visit(written(lake, model.look(lake), tmp_path))
    figures = {
        box.get_attribute("data-kpi"): box.locator("dd").inner_text() for box in view.locator(".figure").all()
    }
    assert figures["collection_rate"] == figures["on_time_rate"] == "no value"
    assert figures["active_customer_share"] == figures["deposits"] == "no value"
    assert figures["customers"] == "0"
    assert figures["inflow"].startswith("EUR")
    expect(view.locator("#customers .empty")).to_have_text("Nothing in this selection.")
    assert view.get_by_label("Currency", exact=True).is_disabled(), "there is only one"


@pytest.fixture
def served(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dashboard's server on a bank of its own, by its address."""
    registered = gold_tables.catalogue(gold_tables.write(lake, gold_tables.rows()))
    monkeypatch.setattr(model, "registered_tables", registered)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0)
    monkeypatch.setattr(page, "POLL_SECONDS", 0.2)
    loop, address = asyncio.new_event_loop(), []

    async def start() -> web.AppRunner:
        runner = web.AppRunner(server.application(lake, hosts=frozenset()))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        return runner

    thread = threading.Thread(target=loop.run_forever)  # in this one, Playwright has a loop of its own
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield address[0]
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_served_page_brings_itself_up_to_date(visit: Visit, served: str, lake: Settings) -> None:
    view = visit(served)
    view.get_by_label("Currency", exact=True).select_option("USD")
    runs = view.locator("#runs tbody tr")
    expect(runs).to_have_count(2)
    gold_tables.write(lake, {"ops.runs": gold_tables.rows()["ops.runs"][:1]})
    expect(runs).to_have_count(1, timeout=20_000)
    expect(view.get_by_label("Currency", exact=True)).to_have_value("USD")
    expect(view.get_by_role("status")).to_have_text("The figures have been brought up to date.")
