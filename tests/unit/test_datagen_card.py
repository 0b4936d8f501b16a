"""The data card says what the manifests and contracts say, in one file."""

import re
from html.parser import HTMLParser

import polars as pl
import pytest
from typer.testing import CliRunner

from contracts import Column, load_contracts
from datagen import generate, read_manifests
from datagen.card import describe_column, write_card
from datagen.cli import app
from datagen.profile import load

runner = CliRunner()
VOID = {"meta", "br", "img", "input", "link"}


class Page(HTMLParser):
    """Collects the text of cells, and checks that every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.rows, self.references = [], [], []

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def read(text: str) -> Page:
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    options = ["--scale", "80", "--dirty", "0.1", "--out", str(folder / "data"), "--days", "1"]
    result = runner.invoke(app, [*options, "--describe", str(folder / "new/card.html"), "--json"])
    assert result.exit_code == 0
    return (folder / "new/card.html").read_text(encoding="utf-8"), read_manifests(folder / "data")


def test_the_card_needs_nothing_from_the_network(card):
    page = read(card[0])
    assert page.references
    assert all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"https?:|@import|url\(|<script", card[0])


def test_links_within_the_card_lead_somewhere(card):
    places = set(re.findall(r'id="([^"]+)"', card[0]))
    assert {reference[1:] for reference in read(card[0]).references} <= places


def test_rows_and_dirt_are_those_of_the_manifests(card):
    rows = read(card[0]).rows
    for manifest in card[1]:
        for name, entity in manifest.entities.items():
            expected = [manifest.ingest_date, name, f"{entity.rows:,}", f"{entity.inserted:,}"]
            assert any(row[:4] == expected for row in rows), expected
    for kind in card[1][0].entities["customers"].dirt:
        counts = [sum(one.entities[name].dirt.get(kind, 0) for one in card[1]) for name in load_contracts()]
        assert [kind, *(f"{count:,}" for count in counts)] in rows


def test_every_column_and_relationship_of_the_contracts_is_there(card):
    rows = read(card[0]).rows
    names = [row[0] for row in rows]
    for name, contract in load_contracts().items():
        for column in contract.source_columns:
            assert column.name in names
        for column in contract.parents:
            assert [f"{name}.{column.name}", column.parent] in rows


def test_plots_count_all_rows():
    kinds = describe_column(Column("kind", "string", "Kind."), pl.Series(["a", "b", "a", None]))
    assert [(bar.label, bar.rows, bar.percent) for bar in kinds.bars] == [("a", 2, 100.0), ("b", 1, 50.0)]
    assert (kinds.missing, kinds.distinct) == (0.25, 2)
    numbers = describe_column(Column("n", "int", "Number."), pl.Series(range(1_000)))
    assert sum(bar.rows for bar in numbers.bars) == pytest.approx(990, abs=2)
    assert max(bar.rows for bar in numbers.bars) <= min(bar.rows for bar in numbers.bars) + 2
    same = describe_column(Column("n", "int", "Number."), pl.Series([7, 7]))
    assert [bar.rows for bar in same.bars] == [2]
    days = describe_column(
        Column("day", "date", "Day."), pl.Series([20_000] * 3 + [20_001]).cast(pl.Int32).cast(pl.Date)
    )
    assert [bar.rows for bar in days.bars] == [3, 1]
    assert (
        describe_column(Column("t", "string", "Text."), pl.Series([None, None], dtype=pl.String)).missing == 1
    )


def test_amounts_with_a_long_tail_are_plotted_by_logarithm():
    column = Column("amount", "decimal(18,2)", "Amount.")
    long = describe_column(column, pl.Series([10.0**power for power in range(6)] * 100))
    assert (long.scale, long.low, long.high) == ("logarithmic", "1.0", "100,000.0")
    assert [bar.rows for bar in long.bars if bar.rows] == [100] * 6
    assert long.bars[0].label == "1.00 and on"
    assert describe_column(column, pl.Series([-1.0, 1.0, 1_000.0] * 100)).scale == "linear"


def test_many_categories_are_the_most_frequent_ones_and_the_others_together():
    values = [f"c{n:02}" for n in range(20) for _ in range(40 - n)]
    bars = describe_column(Column("kind", "string", "Kind."), pl.Series(values)).bars
    assert [bar.label for bar in bars] == [f"c{n:02}" for n in range(12)] + ["8 others"]
    assert sum(bar.rows for bar in bars) == len(values)


def test_examples_of_texts_differ():
    values = ["same"] * 50 + [f"text {n}" for n in range(100)]
    card = describe_column(Column("text", "string", "Text."), pl.Series(values))
    assert card.examples == ("same", "text 0", "text 1")


def test_values_cannot_break_out_of_the_page(tmp_path):
    from dataclasses import replace

    manifest = replace(generate(tmp_path / "data", scale=5), profile="<b>own</b>")
    write_card(tmp_path / "card.html", [manifest], load())
    text = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<b>own</b>" not in text
    assert "&lt;b&gt;own&lt;/b&gt;" in text


def test_a_card_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    result = runner.invoke(
        app, ["--scale", "5", "--out", str(tmp_path / "data"), "--describe", str(tmp_path / "file/card.html")]
    )
    assert result.exit_code == 1
    assert "--describe" in result.output
    assert "Traceback" not in result.output
