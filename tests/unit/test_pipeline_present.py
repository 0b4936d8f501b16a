"""How results are printed, for scripts and for people; and the sums of a report."""

import csv
import io
import json
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from pipeline.dedupe import DISPOSITIONS
from pipeline.present import OUTCOMES, plain, progress_display, show_report, show_result
from pipeline.report import EntityReport, MartReport, RunReport
from pipeline.result import Result


def shown(capsys, fmt, **columns):
    show_result(Result(tuple(columns), [tuple(columns.values())]), fmt)
    return capsys.readouterr().out


def strict_json(text):
    def refuse(constant):
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        ("ü \"quoted\", and\nbroken", "ü \"quoted\", and\nbroken"),
        (Decimal("1234567890123456.70"), "1234567890123456.70"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC), "2024-02-29T12:00:00.000001+00:00"),
        (time(23, 59), "23:59:00"),
        (timedelta(minutes=1), 60.0),
        (b"\x00\xff", "00ff"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([Decimal("1.50"), None, [date(2024, 1, 1)]], ["1.50", None, ["2024-01-01"]]),
        ({"a": {"b": b"\x01"}}, {"a": {"b": "01"}}),
        (float("nan"), None),
        (float("inf"), None),
    ],
)  # fmt: skip
def test_json_holds_every_value_that_a_query_can_give(capsys, value, expected):
    assert strict_json(shown(capsys, "json", v=value)) == [{"v": expected}]


def test_json_keeps_columns_of_the_same_name_apart(capsys):
    show_result(Result(("a", "a", "b"), [(1, 2, 3)]), "json")
    (row,) = strict_json(capsys.readouterr().out)
    assert sorted(row.values()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        ("a,b", "a,b"),
        ('say "hi"', 'say "hi"'),
        ("two\nlines", "two\nlines"),
        (Decimal("0.10"), "0.10"),
        (date(2024, 2, 29), "2024-02-29"),
        (b"\x00\xff", "00ff"),
        (["missing_key:loan_id", "bad_iban:iban"], '["missing_key:loan_id", "bad_iban:iban"]'),
        ({"d": date(2024, 2, 29)}, '{"d": "2024-02-29"}'),
    ],
)
def test_csv_gives_back_every_value_when_it_is_read(capsys, value, expected):
    rows = list(csv.reader(io.StringIO(shown(capsys, "csv", v=value, w="end"), newline="")))
    assert rows == [["v", "w"], [expected, "end"]]


def test_a_result_without_rows_still_has_its_header(capsys):
    show_result(Result(("a", "b"), []), "csv")
    assert capsys.readouterr().out == "a,b\n"
    show_result(Result(("a", "b"), []), "json")
    assert strict_json(capsys.readouterr().out) == []


def test_text_that_looks_like_markup_is_shown_as_it_is(capsys):
    assert "[red]x[/red]" in shown(capsys, "table", v="[red]x[/red]")


def test_plain_leaves_text_and_numbers_alone():
    assert (plain("x"), plain(1), plain(None)) == ("x", 1, None)


def test_progress_without_a_terminal_is_one_line_per_step(capsys):
    with progress_display() as progress:
        progress("loans", "reading 3 [files]")
    assert "loans: reading 3 [files]" in capsys.readouterr().err


def test_quiet_progress_says_nothing(capsys):
    with progress_display(quiet=True) as progress:
        progress("loans", "reading")
    assert capsys.readouterr() == ("", "")


def report_of_loans():
    loans = EntityReport(
        "loans",
        outcomes=Counter(inserted=5, updated=4, duplicate=3, stale=2, quarantined=1),
        released=2,
        reasons=Counter({"bad_currency:currency": 1}),
        files=2,
        notes=["s3://b/[x].csv: delimiter ';'"],
        seconds=2.0,
    )
    return RunReport("r1", entities=[loans], marts=[MartReport("loan_portfolio", "rebuilt", 1.234)])


def test_rows_read_are_the_sum_of_the_outcomes():
    row = report_of_loans().as_dict()["entities"][0]
    assert row["read"] == sum(row[name] for name in DISPOSITIONS) == 15
    assert row["rows_per_second"] == 8


def test_nothing_read_in_no_time_has_no_speed():
    assert EntityReport("loans").as_dict()["rows_per_second"] == 0


def test_the_screen_knows_every_outcome():
    assert set(OUTCOMES) == set(DISPOSITIONS)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (RunReport(None), False),
        (RunReport(None, entities=[EntityReport("loans")], marts=[MartReport("m", "current")]), False),
        (RunReport("r", entities=[EntityReport("loans", files=1)]), True),
        (RunReport("r", entities=[EntityReport("loans", outcomes=Counter(inserted=1))]), True),
        (RunReport("r", marts=[MartReport("m", "rebuilt")]), True),
    ],
)
def test_a_report_says_whether_anything_changed(report, expected):
    assert report.changed is expected
    assert report.as_dict()["changed"] is expected


def test_errors_name_what_failed():
    report = RunReport(
        "r", entities=[EntityReport("loans", error="no")], marts=[MartReport("m", "failed", error="out")]
    )
    assert report.errors == ["loans: no", "m: out"]


def test_a_report_as_json_is_plain():
    assert strict_json(json.dumps(report_of_loans().as_dict()))["marts"][0]["seconds"] == 1.234


def test_a_report_for_people_tells_reasons_and_notes(capsys):
    show_report(report_of_loans())
    text = capsys.readouterr().out
    assert "1 rows quarantined for bad_currency:currency" in text
    assert "s3://b/[x].csv: delimiter ';'" in text
    assert "loan_portfolio rebuilt in 1.2 s" in text


def test_a_run_that_did_nothing_says_so(capsys):
    show_report(RunReport(None, entities=[EntityReport("loans")]))
    assert "Nothing is new" in capsys.readouterr().out
