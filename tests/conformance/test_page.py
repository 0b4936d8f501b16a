"""The tables: what is written is what is read, and what was not tried stays."""

from __future__ import annotations

from contextlib import nullcontext

from checks import Check
from emulators import Emulator
from page import outcomes_in, with_outcomes


def check(title: str, group: str = "S3", *, needed: bool = False) -> Check:
    return Check(title.replace(" ", "-"), group, title, needed, lambda aws: None)


def emulator(name: str) -> Emulator:
    return Emulator(name, f"{name} 1.0", used=True, start=lambda fixture: nullcontext(""))


CHECKS = (check("it `a`s", needed=True), check("it lists"), check("it keeps", "Glue"))
EMULATORS = (emulator("one"), emulator("two"))
TITLES = [each.title for each in CHECKS]
TRIED = {
    "one": dict(zip(TITLES, ["", "no error", ""], strict=True)),
    "two": dict(zip(TITLES, ["it says `no`", "", "no error"], strict=True)),
}


def test_what_is_written_is_what_is_read() -> None:
    page = with_outcomes("# Title\n\ntext\n", TRIED, CHECKS, EMULATORS)
    assert page.startswith("# Title\n\ntext\n")
    assert outcomes_in(page, EMULATORS) == TRIED
    assert with_outcomes(page, {}, CHECKS, EMULATORS) == page


def test_a_column_that_was_not_tried_stays() -> None:
    page = with_outcomes("", TRIED, CHECKS, EMULATORS)
    again = with_outcomes(page, {"two": dict.fromkeys(TITLES, "")}, CHECKS, EMULATORS)
    assert outcomes_in(again, EMULATORS) == {"one": TRIED["one"], "two": dict.fromkeys(TITLES, "")}


def test_a_check_that_nobody_has_tried_is_shown_as_such() -> None:
    page = with_outcomes("", {}, CHECKS, EMULATORS)
    assert "| it lists | | not tried | not tried |" in page
    assert outcomes_in(page, EMULATORS) == {"one": {}, "two": {}}


def test_a_check_that_is_gone_leaves_the_tables() -> None:
    page = with_outcomes(with_outcomes("", TRIED, CHECKS, EMULATORS), {}, CHECKS[:1], EMULATORS)
    assert TITLES[0] in page
    assert TITLES[1] not in page


def test_the_same_sentence_is_written_once_and_checks_are_counted() -> None:
    page = with_outcomes("", TRIED, CHECKS, EMULATORS)
    assert page.count("]: no error") == 1
    assert "| needed by finlake | 1 | 1 | 0 |" in page
    assert "| all | 3 | 2 | 1 |" in page


def test_of_a_page_with_other_columns_nothing_is_known() -> None:
    page = with_outcomes("", TRIED, CHECKS, EMULATORS)
    assert outcomes_in(page, [*EMULATORS, emulator("three")]) == {"one": {}, "two": {}, "three": {}}


def test_text_after_the_tables_stays() -> None:
    page = with_outcomes("", TRIED, CHECKS, EMULATORS) + "\nmore\n"
    assert with_outcomes(page, {}, CHECKS, EMULATORS) == page
