"""Files as they come in real life, all in one run: what is usable arrives, and every row is accounted for."""

from __future__ import annotations

import csv
import gzip
import io
import random
import subprocess
import threading
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import boto3
import polars as pl
import pytest
from lakehouse import Lakehouse, lakehouse

from contracts import load_contract
from emulator.native import NativeStack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.emulator,
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

DAY = "ingest_date=2026-01-05"
COLUMNS = [column.name for column in load_contract("customers").source_columns]
REQUIRED = [column.name for column in load_contract("customers").source_columns if column.required]


def customer(number: int, **changes: str) -> dict[str, str]:
    """A customer that breaks no rule, but for the changes."""
    return {
        "customer_id": f"C{number:010}",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "email": f"ada.{number}@example.org",
        "phone": "+441234567890",
        "date_of_birth": "1985-12-10",
        "national_id": f"AB{number:06}C",
        "street_address": "12 St James's Square",
        "city": "London",
        "postal_code": "SW1Y 4JH",
        "country": "GB",
        "segment": "private",
        "kyc_status": "verified",
        "credit_score": "810",
        "annual_income": "125000.50",
        "currency": "GBP",
        "onboarding_date": "2020-02-29",
        "updated_at": "2025-12-31T08:15:00Z",
    } | changes


class Numbers:
    """Customer numbers that no other file uses."""

    def __init__(self) -> None:
        self.last = 0

    def next(self, **changes: str) -> dict[str, str]:
        self.last += 1
        return customer(self.last, **changes)


NEW = Numbers()


def text(
    rows: Sequence[dict[str, str]],
    *,
    columns: Sequence[str] = COLUMNS,
    delimiter: str = ",",
    end: str = "\n",
) -> str:
    """Rows as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(
        out, columns, delimiter=delimiter, lineterminator=end, restval="", extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@dataclass(frozen=True)
class Case:
    """A Bronze file and what is to become of it.

    Attributes:
        name: File name.
        data: Its bytes.
        inserted: Rows that arrive in Silver.
        reasons: Quarantined rows by reason; a row may have several.
        quarantined: Quarantined rows.
        status: State of the file in ``ops.files``.
        said: What the run must say about the file.
    """

    name: str
    data: bytes
    inserted: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    status: str = "loaded"
    said: str | None = None


def good(name: str, content: str, *, encoding: str = "utf-8", rows: int = 2, said: str | None = None) -> Case:
    """A file whose rows all arrive."""
    return Case(name, content.encode(encoding), inserted=rows, said=said)


def two(**changes: str) -> list[dict[str, str]]:
    """Two new customers."""
    return [NEW.next(**changes), NEW.next()]


def png() -> bytes:
    """A picture, with its pixels as noise, as a camera or a scanner would make it."""
    noise = random.Random(1).randbytes(3 * 64 * 64)  # noqa: S311
    lines = b"".join(b"\x00" + noise[row * 192 : row * 192 + 192] for row in range(64))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = (64).to_bytes(4) + (64).to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


HTML = """<!DOCTYPE html>
<html>
<head><title>Please sign in</title></head>

<body>Your session has ended, sign in again.</body>
</html>
"""

OTHER_ORDER = [*reversed(COLUMNS)]
UMLAUTS = {"first_name": "Zoë", "last_name": "Müller-Größe", "city": "Köln"}
ODD_NAMES = (
    "a name with blanks.csv",
    "größe-Ω-日本.csv",
    "br[ack]et{s} (1).csv",
    "100%.csv",
    "percent%20encoded.csv",
    "hash#and+plus&more=1;2,3'.csv",
    "question?.csv",
    "star*.csv",
    "Q1.2026.CSV",
    "-dash.csv",
)
UNCLOSED = text(three := [NEW.next(), NEW.next(), NEW.next()]).replace(
    f"{three[1]['customer_id']},Ada", f'{three[1]["customer_id"]},"Ada'
)
BLANKS = text(blanks := two()).replace("\n", "\n\n   \n", 2)
DELIMITERS = text(two()) + "," * (len(COLUMNS) - 1) + "\n" + "," * (len(COLUMNS) - 1) + "\n"
TWICE = text(two()).replace("postal_code", "city", 1)
NUL_EARLY = text([NEW.next(last_name="Nul\0l"), NEW.next()])
NUL_LATE = text([*(NEW.next() for _ in range(20)), NEW.next(last_name="Nul\0l")])
PACKED = gzip.compress(text([NEW.next() for _ in range(5000)]).encode(), mtime=0)

CASES = (
    good("plain.csv", text(two())),
    Case("empty.csv", b"", status="empty", said="the file has no bytes"),
    Case("blank.csv", b"\n\r\n   \n\n", status="empty", said="only blank lines"),
    Case("header-only.csv", text([]).encode(), said="no rows in it"),
    good("byte-order-mark.csv", text(two()), encoding="utf-8-sig"),
    good("windows-line-ends.csv", text(two(), end="\r\n")),
    good("old-mac-line-ends.csv", text(two(), end="\r")),
    good("no-last-line-end.csv", text(two()).rstrip("\n")),
    good("blank-lines.csv", BLANKS),
    good("semicolon.csv", text(two(street_address="1, Main St"), delimiter=";"), said="delimiter ';'"),
    good("tab.csv", text(two(), delimiter="\t"), said="delimiter '\\t'"),
    good("pipe.csv", text(two(), delimiter="|"), said="delimiter '|'"),
    good("latin-1.csv", text(two(**UMLAUTS)), encoding="latin-1", said="encoding windows-1252"),
    good("cp1252.csv", text(two(**UMLAUTS, street_address="Straße €1 • „Hof“")), encoding="cp1252",
         said="encoding windows-1252"),
    good("utf-16.csv", text(two(**UMLAUTS), end="\r\n"), encoding="utf-16", said="encoding UTF-16"),
    Case("utf-16-big-endian.csv", b"\xfe\xff" + text(two(**UMLAUTS)).encode("utf-16-be"), inserted=2,
         said="encoding UTF-16"),
    good("other-order.csv", text(two(), columns=OTHER_ORDER)),
    good("capital-header.csv", text(two()).replace("email,phone", "EMAIL, Phone ")),
    good("missing-optional.csv", text(two(), columns=[c for c in COLUMNS if c != "phone"]),
         said="missing columns: phone"),
    Case("missing-required.csv", text(two(), columns=[c for c in COLUMNS if c != "email"]).encode(),
         quarantined=2, reasons={"missing_value:email": 2}, said="missing columns: email"),
    good("additional.csv", text(two(mood="good"), columns=[*COLUMNS, "mood", ""]),
         said="additional columns: mood; additional columns, not loaded: (no name)"),
    Case("unclosed-quote.csv", UNCLOSED.encode(), inserted=2, quarantined=1, reasons={"stray_quote": 1}),
    Case("ten-megabytes.csv", text(two(street_address="x" * 10_000_000)).encode(), inserted=1, quarantined=1,
         reasons={"too_long:street_address": 1}),
    Case("page.csv", HTML.encode(), quarantined=5, reasons={"unreadable_header": 5},
         said="line 1 is not a header of customers"),
    Case("picture.csv", png(), status="rejected", said="not a text file"),
    Case("packed.csv.gz", gzip.compress(text(two()).encode()), inserted=2),
    Case("packed-latin-1.csv.gz", gzip.compress(text(two(**UMLAUTS)).encode("latin-1")), inserted=2,
         said="encoding windows-1252"),
    Case("truncated.csv.gz", PACKED[: len(PACKED) // 2], status="unreadable", said="it cannot be read"),
    Case("not-packed.csv.gz", text(two()).encode(), status="rejected", said="the content is not gzip"),
    Case("packed-but-not-by-name.csv", gzip.compress(text(two()).encode(), mtime=0), status="rejected",
         said="not a text file"),
    Case("vanishing.csv", text(two()).encode(), status="vanished", said="the file is gone"),
    Case("same-column-twice.csv", TWICE.encode(), quarantined=2, reasons={"ambiguous_header": 2},
         said="columns stand more than once in the header: city"),
    Case("only-delimiters.csv", DELIMITERS.encode(), inserted=2, quarantined=2,
         reasons={f"missing_{'key' if c == 'customer_id' else 'value'}:{c}": 2 for c in REQUIRED}),
    Case("nul-early.csv", NUL_EARLY.encode(), inserted=1, quarantined=1, reasons={"nul_byte": 1}),
    Case("nul-late.csv", NUL_LATE.encode(), inserted=20, quarantined=1, reasons={"nul_byte": 1}),
    Case("broken-utf-8.csv", text(two(**UMLAUTS)).encode().replace("ö".encode(), b"\xf6", 1), inserted=1,
         quarantined=1, reasons={"not_utf8": 1}),
    Case("gigantic-numbers.csv",
         text([NEW.next(annual_income="9" * 16 + ".99"), NEW.next(annual_income="9" * 17),
               NEW.next(annual_income="1e400"), NEW.next(credit_score="9" * 400),
               NEW.next(credit_score="99999999999"), NEW.next(credit_score="-1")]).encode(),
         inserted=1, quarantined=5,
         reasons={"malformed_number:annual_income": 2, "malformed_number:credit_score": 2,
                  "too_small:credit_score": 1}),
    Case("far-away-years.csv",
         text([NEW.next(date_of_birth="0001-01-01", onboarding_date="9999-12-31",
                        updated_at="9999-12-31T23:59:59.999999Z"),
               NEW.next(date_of_birth="0001-01-01", updated_at="2026-01-06T23:59:59.999999Z"),
               NEW.next(date_of_birth="1582-10-10", updated_at="0001-01-01T00:00:00Z")]).encode(),
         inserted=2, quarantined=1, reasons={"in_future:onboarding_date": 1, "in_future:updated_at": 1}),
    Case("clocks-ahead.csv",
         text([NEW.next(updated_at="2026-01-06T23:59:59Z"), NEW.next(updated_at="2026-01-07T00:00:00Z"),
               NEW.next(onboarding_date="2026-01-06"), NEW.next(onboarding_date="2026-01-07")]).encode(),
         inserted=2, quarantined=2,
         reasons={"in_future:updated_at": 1, "in_future:onboarding_date": 1}),
    *(good(name, text([NEW.next()]), rows=1) for name in ODD_NAMES),
    good("formula-injection.csv",
         text([NEW.next(first_name="=1+1", last_name="@SUM(1)", city="-2+3"),
               NEW.next(first_name='=HYPERLINK("http://example.com","x")', city="+cmd' /C calc'!A0")])),
    good("right-to-left.csv", text(two(first_name="\u05e9\u05e8\u05d4", last_name="\u202eecalevoL",
                                       city="\u0627\u0644\u0642\u0627\u0647\u0631\u0629"))),
    good("beyond-the-basic-plane.csv",
         text(two(first_name="\U0001f600", last_name="e\u0301\u200d", city="\u200b"))),
    good("every-value-in-quotes.csv",
         "\n".join('"' + line.replace(",", '","') + '"' for line in text(two()).splitlines()) + "\n"),
    good("doubled-quotes.csv", text(two(first_name='Ada "the" Countess', street_address='1, "Main" St'))),
    good("backslashes.csv", text(two(first_name="Ada\\", street_address="C:\\new\\table"))),
    good("longest-values.csv", text(two(first_name="x" * 100, last_name="y" * 100, city="z" * 100))),
    Case("too-long.csv", text(two(first_name="x" * 101)).encode(), inserted=1, quarantined=1,
         reasons={"too_long:first_name": 1}),
    Case("blanks-of-other-scripts.csv", text(two(last_name="\u00a0\u2003\u3000")).encode(), inserted=1,
         quarantined=1, reasons={"missing_value:last_name": 1}),
    Case("digits-of-other-scripts.csv",
         text([NEW.next(credit_score="\u0667\u0660\u0660"), NEW.next(annual_income="\uff11\uff12"),
               NEW.next(date_of_birth="\u0662\u0660\u0660\u0660-01-01")]).encode(),
         quarantined=3, reasons={"malformed_number:credit_score": 1, "malformed_number:annual_income": 1,
                                 "malformed_date:date_of_birth": 1}),
    Case("leap-days.csv",
         text([NEW.next(date_of_birth="2000-02-29", onboarding_date="2024-02-29"),
               NEW.next(date_of_birth="1900-02-29"), NEW.next(date_of_birth="2023-02-29")]).encode(),
         inserted=1, quarantined=2, reasons={"malformed_date:date_of_birth": 2}),
    Case("daylight-saving-and-leap-seconds.csv",
         text([NEW.next(updated_at="2024-03-31T02:30:00+01:00"), NEW.next(updated_at="2024-10-27T02:30:00"),
               NEW.next(updated_at="2024-01-01T24:00:00Z"), NEW.next(updated_at="2016-12-31T23:59:60Z"),
               NEW.next(updated_at="2024-01-01T00:00:00.1234567Z"), NEW.next(updated_at="now")]).encode(),
         inserted=2, quarantined=4, reasons={"malformed_timestamp:updated_at": 4}),
    Case("negative-amounts.csv",
         text([NEW.next(annual_income="-0.00"), NEW.next(annual_income="-0.01"),
               NEW.next(annual_income="-" + "9" * 16 + ".99")]).encode(),
         inserted=1, quarantined=2, reasons={"too_small:annual_income": 2}),
    Case("numbers-as-people-write-them.csv",
         text([NEW.next(annual_income=value) for value in
               ("+5.00", "007", "1,234.56", "1.234,56", "1e3", "0x1F", "NaN", "12 EUR", "1_000")]).encode(),
         inserted=2, quarantined=7, reasons={"malformed_number:annual_income": 7}),
    Case("decimal-comma.csv", text(two(annual_income="50000,00"), delimiter=";").encode(), inserted=1,
         quarantined=1, reasons={"malformed_number:annual_income": 1}, said="delimiter ';'"),
    Case("country-by-name.csv", text(two(country="Deutschland")).encode(), inserted=1, quarantined=1,
         reasons={"bad_country:country": 1, "too_long:country": 1}),
    Case("unheard-of-segment.csv", text(two(segment="vip")).encode(), inserted=1, quarantined=1,
         reasons={"known_segment:segment": 1}),
    Case("born-later.csv", text(two(date_of_birth="2021-01-01")).encode(), inserted=1, quarantined=1,
         reasons={"born_before_onboarding": 1}),
    Case("unknown-operation.csv", text(two(op="X"), columns=[*COLUMNS, "op"]).encode(), inserted=1,
         quarantined=1, reasons={"unknown_operation:op": 1}),
    Case("few-and-many-values.csv", (text(two()) + "C,too,few\n" + "," * 40 + "\n").encode(), inserted=2,
         quarantined=2, reasons={"wrong_column_count": 2}),
    Case("line-break-in-quotes.csv", text(two(street_address="12\nMain St")).encode(), inserted=1,
         quarantined=2, reasons={"stray_quote": 2}),
    Case("json-lines.csv", b'{"customer_id": "C1"}\n{"customer_id": "C2"}\n', quarantined=2,
         reasons={"unreadable_header": 2}, said="line 1 is not a header of customers"),
    Case("utf-32.csv", text(two()).encode("utf-32"), status="rejected", said="its text is UTF-32"),
    Case("utf-16-without-mark.csv", text(two()).encode("utf-16-le"), status="rejected",
         said="not a text file"),
    Case("only-a-mark.csv", b"\xef\xbb\xbf", status="empty", said="only blank lines"),
    Case("only-nuls.csv", bytes(100), status="rejected", said="not a text file"),
    Case("packed-nothing.csv.gz", gzip.compress(b"", mtime=0), status="empty", said="only blank lines"),
    Case("two-streams.csv.gz", gzip.compress(text([NEW.next()]).encode(), mtime=0)
         + gzip.compress(text([NEW.next()]).partition("\n")[2].encode(), mtime=0), inserted=2),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What the run said, and the lake afterwards."""

    lake: Lakehouse
    code: int
    stdout: str
    stderr: str
    files: pl.DataFrame
    row_counts: pl.DataFrame
    reasons: pl.DataFrame


@pytest.fixture(scope="module")
def outcome(stack: NativeStack) -> Outcome:
    """All files in one run; one of them is deleted just before it is read."""
    lake = lakehouse(stack, "odd")
    for case in CASES:
        lake.put(f"customers/{DAY}/{case.name}", case.data)
    process = subprocess.Popen(
        **lake.command("run", "--entity", "customers"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    bucket = lake.settings.bronze_uri.removeprefix("s3://")
    s3: boto3.client = lake.client("s3")
    said: list[str] = []

    def watch() -> None:
        for line in process.stderr or ():
            said.append(line)
            if "customers: reading" in line:
                s3.delete_object(Bucket=bucket, Key=f"customers/{DAY}/vanishing.csv")

    watcher = threading.Thread(target=watch)
    watcher.start()
    stdout = process.stdout.read() if process.stdout else ""
    watcher.join()
    return Outcome(
        lake,
        process.wait(),
        stdout,
        "".join(said),
        *(lake.frame("ops", table) for table in ("files", "row_counts", "quarantine_reasons")),
    )


def uri(outcome: Outcome, case: Case) -> str:
    return f"{outcome.lake.settings.bronze_uri}/customers/{DAY}/{case.name}"


def test_the_run_succeeds_in_spite_of_all_of_them(outcome: Outcome):
    assert outcome.code == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_row_of_a_file_is_accounted_for(outcome: Outcome, case: Case):
    path = uri(outcome, case)
    file = outcome.files.filter(pl.col("path") == path).to_dicts()
    assert [entry["status"] for entry in file] == [case.status]
    counted = outcome.row_counts.filter(pl.col("path") == path)
    counts = {
        name: int(counted[name].sum())
        for name in ("read", "inserted", "updated", "duplicate", "stale", "quarantined")
    }
    assert counts == {
        "read": case.inserted + case.quarantined,
        "inserted": case.inserted,
        "updated": 0,
        "duplicate": 0,
        "stale": 0,
        "quarantined": case.quarantined,
    }
    reasons = outcome.reasons.filter(pl.col("path") == path)
    assert dict(zip(reasons["reason"], reasons["rows"], strict=True)) == case.reasons


@pytest.mark.parametrize("case", [case for case in CASES if case.said], ids=lambda case: case.name)
def test_the_run_names_the_file_and_says_why(outcome: Outcome, case: Case):
    lines = [line for line in outcome.stdout.splitlines() if f"/{case.name}: " in line]
    assert len(lines) == 1
    assert case.said in lines[0]


def test_unremarkable_files_are_not_remarked_on(outcome: Outcome):
    remarked = {case.name for case in CASES if f"/{case.name}: " in outcome.stdout}
    assert remarked == {case.name for case in CASES if case.said}


def test_good_rows_arrive_with_the_values_that_were_written(outcome: Outcome):
    stored = outcome.lake.frame("silver", "customers")
    assert stored.height == sum(case.inserted for case in CASES)
    by_file = Counter(stored["_source_file"])
    assert by_file == {uri(outcome, case): case.inserted for case in CASES if case.inserted}
    for name in ("latin-1.csv", "cp1252.csv", "utf-16.csv", "utf-16-big-endian.csv", "packed-latin-1.csv.gz"):
        rows = stored.filter(pl.col("_source_file").str.ends_with(f"/{name}"))
        assert UMLAUTS.items() <= rows.sort("_source_row").to_dicts()[0].items(), name
    reordered = stored.filter(pl.col("_source_file").str.ends_with("/other-order.csv")).to_dicts()[0]
    assert reordered["email"].startswith("ada.")
    assert str(reordered["annual_income"]) == "125000.50"


def test_far_away_years_are_stored_as_they_were_written(outcome: Outcome):
    sql = (
        "SELECT CAST(date_of_birth AS VARCHAR) AS born, CAST(onboarding_date AS VARCHAR) AS joined, "
        "CAST(updated_at AS VARCHAR) AS updated FROM {} "
        "WHERE _source_file LIKE '%/far-away-years.csv' ORDER BY _source_row"
    )
    rows = outcome.lake.frame("silver", "customers", sql).rows()
    assert rows == [
        ("0001-01-01", "2020-02-29", "2026-01-06 23:59:59.999999+00"),
        ("1582-10-10", "2020-02-29", "0001-01-01 00:00:00+00"),
    ]


def test_line_numbers_are_those_of_the_file(outcome: Outcome):
    stored = outcome.lake.frame("silver", "customers").filter(
        pl.col("_source_file").str.ends_with("/blank-lines.csv")
    )
    lines = BLANKS.split("\n")
    expected = {
        row["customer_id"]: lines.index(next(x for x in lines if row["customer_id"] in x)) + 1
        for row in blanks
    }
    assert dict(zip(stored["customer_id"], stored["_source_row"], strict=True)) == expected


def test_quarantine_keeps_the_line_as_it_stands(outcome: Outcome):
    held = outcome.lake.frame("quarantine", "customers")
    quoted = held.filter(pl.col("_source_file").str.ends_with("/unclosed-quote.csv")).to_dicts()
    assert [(row["_raw"], row["_source_row"]) for row in quoted] == [(UNCLOSED.splitlines()[2], 3)]
    page = held.filter(pl.col("_source_file").str.ends_with("/page.csv")).sort("_source_row")
    assert page["_raw"].to_list() == [line for line in HTML.splitlines() if line]
    assert page["_source_row"].to_list() == [1, 2, 3, 5, 6]


def test_no_stack_trace_is_shown(outcome: Outcome):
    said = outcome.stdout + outcome.stderr
    for mark in ("Traceback", "\tat ", "java.", "org.apache", "py4j"):
        assert mark not in said


def test_the_next_run_reads_none_of_them_again(outcome: Outcome):
    again = outcome.lake.must("run", "--entity", "customers")
    assert "Nothing is new" in again.stdout
    assert "spark" not in again.stderr


def test_status_lists_what_was_set_aside(outcome: Outcome):
    found = outcome.lake.json("status", "--json")
    expected = {
        uri(outcome, case): case.status
        for case in CASES
        if case.status in ("rejected", "unreadable", "vanished")
    }
    assert {entry["path"]: entry["status"] for entry in found["set_aside"]} == expected


def test_a_table_without_rows_can_be_asked(outcome: Outcome):
    outcome.lake.must("run", "--entity", "accounts")
    done = outcome.lake.must("query", "SELECT account_id, balance FROM silver.accounts", "--format", "csv")
    assert done.stdout == "account_id,balance\n"
