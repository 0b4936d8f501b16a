"""The forms that values must have before they are cast, without a JVM."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.rules import malformed
from pipeline.cleaning import form


def accepts(physical_type: str, text: str) -> bool:
    # Java's \d is ASCII only.
    return re.search(form(physical_type), text, flags=re.ASCII) is not None


@pytest.mark.parametrize(
    ("physical_type", "text"),
    [
        ("date", "2024-02-29"),
        ("date", "0001-01-01"),
        ("timestamp", "2024-02-29T23:59:59Z"),
        ("timestamp", "2024-02-29 23:59:59"),
        ("timestamp", "2024-02-29T23:59:59.123456+05:30"),
        ("timestamp", "0001-01-01T00:00:00+00:00"),
        ("timestamp", "0001-01-01T00:00:00-01:00"),
        ("timestamp", "9999-12-31T23:59:59.9+01:00"),
        ("timestamp", "9999-12-31 23:59:59-00:00"),
        ("int", "-7"),
        ("int", "+7"),
        ("bigint", "9223372036854775807"),
        ("decimal(18,2)", "-0.5"),
        ("decimal(18,2)", "1234567890123456.78"),
        ("decimal(9,6)", "0.015000"),
        ("decimal(18,0)", "12"),
        ("decimal(4,4)", "0.1234"),
    ],
)
def test_a_value_in_the_form_of_its_type_is_accepted(physical_type, text):
    assert accepts(physical_type, text)


@pytest.mark.parametrize(
    ("physical_type", "text"),
    [
        ("date", "2024"),
        ("date", "2024-2-9"),
        ("date", "29.02.2024"),
        ("date", "02/29/2024"),
        ("date", "2024-02-29 "),
        ("date", "2024-02-29T00:00:00"),
        ("date", "0000-01-01"),
        ("date", "today"),
        ("date", "٢٠٢٤-٠٢-٢٩"),
        ("timestamp", "0001-01-01 00:00:00+00:01"),
        ("timestamp", "9999-12-31T23:59:59.999999-00:01"),
        ("timestamp", "2024-02-29"),
        ("timestamp", "2024-02-29T23:59"),
        ("timestamp", "2024-02-29T23:59:59.1234567Z"),
        ("timestamp", "2024-02-29T23:59:59 Europe/Berlin"),
        ("timestamp", "1709251199"),
        ("timestamp", "now"),
        ("int", ""),
        ("int", "1.0"),
        ("int", "1e3"),
        ("int", "1,000"),
        ("int", "0x1F"),
        ("decimal(18,2)", "1.234"),
        ("decimal(18,2)", "1."),
        ("decimal(18,2)", ".5"),
        ("decimal(18,2)", "1,50"),
        ("decimal(18,2)", "1e5"),
        ("decimal(18,2)", "12345678901234567.00"),
        ("decimal(18,2)", "NaN"),
        ("decimal(18,2)", "--1"),
        ("decimal(18,2)", "1.00 EUR"),
        ("decimal(18,0)", "1.0"),
    ],
)
def test_a_value_in_another_form_is_not(physical_type, text):
    assert not accepts(physical_type, text)


@given(st.data(), st.integers(1, 38))
def test_every_decimal_that_fits_is_accepted_as_it_is_usually_written(data, precision):
    scale = data.draw(st.integers(0, precision))
    digits = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    with localcontext(prec=precision):
        written = f"{Decimal(digits).scaleb(-scale):f}"
    assert accepts(f"decimal({precision},{scale})", written)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_is_accepted(number):
    assert accepts("bigint", str(number))


@given(st.dates())
def test_every_date_is_accepted_in_iso_8601(day: date):
    assert accepts("date", day.isoformat())


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=st.none() | st.just(UTC) | ZONES), st.sampled_from("T "))
def test_every_instant_is_accepted_in_iso_8601(instant: datetime, separator: str):
    assert accepts("timestamp", instant.isoformat(separator))


@given(st.text(max_size=12), st.sampled_from(["date", "timestamp", "int", "decimal(18,2)"]))
def test_nothing_without_a_digit_is_accepted(text, physical_type):
    assert not accepts(physical_type, re.sub("[0-9]", "", text))


def test_every_type_of_the_contracts_has_a_form_and_a_reason():
    for contract in load_contracts().values():
        for column in contract.source_columns:
            if column.physical_type != "string":
                assert re.compile(form(column.physical_type).replace("^(?i)", "(?i)^"))
                assert malformed(column).startswith("malformed_")


def test_a_type_without_a_form_is_an_error():
    with pytest.raises(ValueError, match="no form is known for type 'map<string,string>'"):
        form("map<string,string>")
