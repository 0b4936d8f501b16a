"""Texts become typed values, or nothing; with ANSI mode and without it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from chispa import assert_df_equality
from makers import judged, row
from pyspark.sql import functions as F  # noqa: N812

from contracts import Column, load_contract, load_contracts
from pipeline.cleaning import text, typed
from pipeline.entities import entity_module

pytestmark = pytest.mark.spark

NOON = datetime(2024, 2, 29, 12, 0, 0, tzinfo=UTC)
TYPED = {
    "date": {
        "2024-02-29": date(2024, 2, 29),
        "0001-01-01": date(1, 1, 1),
        "0198-05-03": date(198, 5, 3),
        "9999-12-31": date(9999, 12, 31),
        "2023-02-29": None,
        "2024-13-01": None,
        "2024-00-10": None,
        "0000-01-01": None,
        "2024-2-9": None,
        "29.02.2024": None,
        "2024-02-29x": None,
        "2024": None,
        "today": None,
        "٢٠٢٤-٠٢-٢٩": None,
    },
    "timestamp": {
        "0001-01-01T00:00:00+14:00": None,
        "9999-12-31 23:59:59-00:00": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        "9999-12-31T23:59:59.5-00:30": None,
        "9999-12-31T23:59:59+02:00": datetime(9999, 12, 31, 21, 59, 59, tzinfo=UTC),
        "2024-02-29T12:00:00Z": NOON,
        "2024-02-29 12:00:00": NOON,
        "2024-02-29T14:30:00+02:30": NOON,
        "2024-02-29T12:00:00.000001Z": NOON.replace(microsecond=1),
        "2024-02-29T12:00:00.5": NOON.replace(microsecond=500_000),
        "1899-12-30T00:00:00Z": datetime(1899, 12, 30, tzinfo=UTC),
        "2024-02-29T24:00:00Z": None,
        "2024-02-29T12:60:00Z": None,
        "2024-02-30T12:00:00Z": None,
        "2024-02-29T12:00:00+99:99": None,
        "2024-02-29T12:00:00.1234567Z": None,
        "2024-02-29T12:00:00 UTC": None,
        "2024-02-29T12:00": None,
        "2024-02-29": None,
        "1709208000": None,
        "now": None,
    },
    "int": {
        "0": 0,
        "007": 7,
        "+7": 7,
        "-2147483648": -(2**31),
        "2147483647": 2**31 - 1,
        "2147483648": None,
        "1.0": None,
        "1e3": None,
        "1,000": None,
        "1_000": None,
        "NaN": None,
        "-": None,
    },
    "bigint": {
        "9223372036854775807": 2**63 - 1,
        "9223372036854775808": None,
        "99999999999999999999": None,
    },
    "decimal(18,2)": {
        "0": Decimal("0.00"),
        "-0.00": Decimal("0.00"),
        "+1.5": Decimal("1.50"),
        "1234567890123456.78": Decimal("1234567890123456.78"),
        "-9999999999999999.99": Decimal("-9999999999999999.99"),
        "12345678901234567": None,
        "1.234": None,
        "1.230": None,
        "1,50": None,
        "1e5": None,
        ".5": None,
        "5.": None,
        "Infinity": None,
        "0x1F": None,
        "12.00 EUR": None,
    },
    "decimal(4,4)": {"0.1234": Decimal("0.1234"), "1.0": None},
    "boolean": {"true": True, "FALSE": False, "t": None, "1": None, "yes": None},
    "string": {"as it is": "as it is", "": ""},
}


@pytest.mark.parametrize("on", [False, True], ids=["ansi off", "ansi on"])
def test_a_value_gets_its_type_or_is_null_when_it_does_not_fit(spark, ansi, on):
    with ansi(on):
        for physical_type, values in TYPED.items():
            frame = spark.createDataFrame([(value,) for value in values] + [(None,)], "v string").coalesce(1)
            rows = frame.select("v", typed(Column("v", physical_type, "")).alias("typed")).collect()
            found = {row["v"]: _in_utc(row["typed"]) for row in rows}
            assert found == values | {None: None}, physical_type


def _in_utc(value):
    """Spark hands instants over in the process's own time zone, without saying so."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


TRIMMED = {
    "x": "x",
    "": None,
    " ": None,
    "\t \u00a0\u2028": None,
    "  x y\t": "x y",
    "\u00a0x\u00a0": "x",
    "x\u3000": "x",
    "EUR\u2028": "EUR",
    "EUR\u0085": "EUR",
    "\u2003EUR\u2029": "EUR",
    "ü": "ü",
    " ü ": "ü",
    "\u200bx": "\u200bx",  # a character without width is not white space
    "~": "~",
    "!": "!",
    "a\u00a0b": "a\u00a0b",
    "😀 ": "😀",
    "\x00": "\x00",
    '"': '"',
}


@pytest.mark.parametrize("on", [False, True], ids=["ansi off", "ansi on"])
def test_white_space_around_a_value_goes_and_an_empty_value_is_null(spark, ansi, on):
    with ansi(on):
        frame = spark.createDataFrame([(value,) for value in [*TRIMMED, None]], "v string").coalesce(1)
        found = {row["v"]: row["t"] for row in frame.select("v", text(F.col("v")).alias("t")).collect()}
    assert found == TRIMMED | {None: None}


NORMALISED = {
    "customers": [
        ("email", "Ann.LEE@Example.COM", "ann.lee@example.com"),
        ("phone", "+49 (30) 123-45.67/8", "+4930123456 78".replace(" ", "")),
        ("country", "de", "DE"),
        ("segment", "Retail", "retail"),
    ],
    "accounts": [
        ("iban", "de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("status", "ACTIVE", "active"),
    ],
    "loans": [("product", "Mortgage", "mortgage"), ("currency", "eur", "EUR")],
    "payments": [("method", "Direct_Debit", "direct_debit")],
    "transactions": [
        ("counterparty_iban", "gb82\u00a0WEST 1234", "GB82\u00a0WEST1234"),
        ("direction", "DEBIT", "debit"),
    ],
}


@pytest.mark.parametrize("entity", NORMALISED)
def test_texts_are_brought_into_one_form(spark, entity):
    clean = entity_module(entity).clean()
    names = [column.name for column in load_contract(entity).source_columns]
    given = {column: value for column, value, _ in NORMALISED[entity]}
    frame = spark.createDataFrame(
        [tuple(given.get(name) for name in names)], ", ".join(f"{name} string" for name in names)
    )
    (row,) = frame.withColumns(clean).collect()
    assert {column: row[column] for column in given} == {
        column: wanted for column, _, wanted in NORMALISED[entity]
    }


@pytest.mark.parametrize("entity", list(load_contracts()))
def test_an_entity_cleans_and_derives_exactly_what_its_contract_names(spark, entity):
    contract, module = load_contract(entity), entity_module(entity)
    assert set(module.clean()) <= {column.name for column in contract.source_columns}
    assert set(module.enrich()) == {column.name for column in contract.derived_columns}


# Entity -> rows of source values and what is derived from them.
DERIVED = {
    "customers": [
        (
            {"first_name": "Ann", "last_name": "Lee", "email": "a@b.co.uk", "credit_score": score},
            {"full_name": "Ann Lee", "email_domain": "b.co.uk", "credit_band": band},
        )
        for score, band in [
            (300, "poor"),
            (579, "poor"),
            (580, "fair"),
            (669, "fair"),
            (670, "good"),
            (739, "good"),
            (740, "very_good"),
            (799, "very_good"),
            (800, "exceptional"),
            (850, "exceptional"),
            (None, None),
        ]
    ],
    "accounts": [
        (
            {"iban": "DE89", "balance": Decimal("-0.01"), "overdraft_limit": Decimal("100.00")},
            {"iban_country": "DE", "available_balance": Decimal("99.99"), "is_overdrawn": True},
        ),
        (
            {"iban": "GB82", "balance": Decimal("0.00"), "overdraft_limit": Decimal("0.00")},
            {"iban_country": "GB", "available_balance": Decimal("0.00"), "is_overdrawn": False},
        ),
        # The sum has more digits than the column: there is no such balance.
        (
            {"iban": "GB82", "balance": Decimal("9999999999999999.99"), "overdraft_limit": Decimal("0.01")},
            {"iban_country": "GB", "available_balance": None, "is_overdrawn": False},
        ),
    ],
    "loans": [
        # 100,000 at 6 % over 360 months: the textbook's 599.55.
        (
            {
                "principal": Decimal("100000"),
                "annual_rate": Decimal("0.06"),
                "term_months": 360,
                "repayment_type": "annuity",
                "outstanding_principal": Decimal("80000"),
                "collateral_value": Decimal("160000"),
            },
            {"monthly_installment": Decimal("599.55"), "loan_to_value": Decimal("0.500000")},
        ),
        (
            {
                "principal": Decimal("1200"),
                "annual_rate": Decimal("0"),
                "term_months": 12,
                "repayment_type": "annuity",
                "outstanding_principal": Decimal("0"),
                "collateral_value": Decimal("0"),
            },
            {"monthly_installment": Decimal("100.00"), "loan_to_value": None},
        ),
        (
            {
                "principal": Decimal("1200"),
                "annual_rate": Decimal("0.05"),
                "term_months": 12,
                "repayment_type": "interest_only",
                "outstanding_principal": Decimal("1200"),
                "collateral_value": None,
            },
            {"monthly_installment": Decimal("5.00"), "loan_to_value": None},
        ),
        (
            {
                "principal": Decimal("1200"),
                "annual_rate": Decimal("0.05"),
                "term_months": 12,
                "repayment_type": "bullet",
                "outstanding_principal": Decimal("1"),
                "collateral_value": Decimal("3"),
            },
            {"monthly_installment": None, "loan_to_value": Decimal("0.333333")},
        ),
        (
            {
                "principal": Decimal("9999999999999999.99"),
                "annual_rate": Decimal("1"),
                "term_months": 1,
                "repayment_type": "annuity",
                "outstanding_principal": Decimal("9999999999999999.99"),
                "collateral_value": Decimal("0.01"),
            },
            {"monthly_installment": None, "loan_to_value": None},
        ),
    ],
    "payments": [
        (
            {
                "due_date": date(2024, 2, 28),
                "paid_date": date(2024, 3, 1),
                "amount_due": Decimal("10"),
                "amount_paid": Decimal("4"),
            },
            {"days_late": 2, "shortfall": Decimal("6.00")},
        ),
        (
            {
                "due_date": date(2024, 3, 1),
                "paid_date": date(2024, 2, 1),
                "amount_due": Decimal("10"),
                "amount_paid": Decimal("12"),
            },
            {"days_late": 0, "shortfall": Decimal("0.00")},
        ),
        (
            {
                "due_date": date(2024, 3, 1),
                "paid_date": None,
                "amount_due": Decimal("10"),
                "amount_paid": Decimal("0"),
            },
            {"days_late": None, "shortfall": Decimal("10.00")},
        ),
    ],
    "transactions": [
        (
            {
                "transaction_at": datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC),
                "direction": "debit",
                "amount": Decimal("9.99"),
            },
            {"transaction_date": date(2024, 2, 29), "signed_amount": Decimal("-9.99")},
        ),
        (
            {
                "transaction_at": datetime(2024, 3, 1, 0, 0, 0, tzinfo=UTC),
                "direction": "credit",
                "amount": Decimal("9.99"),
            },
            {"transaction_date": date(2024, 3, 1), "signed_amount": Decimal("9.99")},
        ),
    ],
}


@pytest.mark.parametrize("on", [False, True], ids=["ansi off", "ansi on"])
@pytest.mark.parametrize("entity", DERIVED)
def test_derived_columns_are_what_the_contract_says(spark, ansi, entity, on):
    contract = load_contract(entity)
    types = {column.name: column.physical_type for column in contract.columns}

    def frame(rows):
        schema = ", ".join(f"{name} {types[name]}" for name in rows[0])
        return spark.createDataFrame([tuple(row.values()) for row in rows], schema).coalesce(1)

    with ansi(on):
        derived = entity_module(entity).enrich()
        sources = frame([given for given, _ in DERIVED[entity]])
        found = sources.select(
            *[derived[name].cast(types[name]).alias(name) for name in DERIVED[entity][0][1]]
        )
        assert_df_equality(found, frame([wanted for _, wanted in DERIVED[entity]]), ignore_nullable=True)


INSTANTS = {
    "2024-03-31T02:30:00": datetime(2024, 3, 31, 2, 30, tzinfo=UTC),  # no such time in Berlin
    "2024-10-27 02:30:00.25": datetime(2024, 10, 27, 2, 30, 0, 250_000, tzinfo=UTC),  # there it comes twice
    "2024-03-10T02:30:00Z": datetime(2024, 3, 10, 2, 30, tzinfo=UTC),  # no such time in New York
    "2024-03-31T02:30:00+01:00": datetime(2024, 3, 31, 1, 30, tzinfo=UTC),
    "2024-10-27T02:30:00+02:00": datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
    "2024-10-27T02:30:00+01:00": datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
    "2024-07-01T00:30:00.000001-04:00": datetime(2024, 7, 1, 4, 30, 0, 1, tzinfo=UTC),
    "2024-01-01T00:00:00+14:00": datetime(2023, 12, 31, 10, tzinfo=UTC),
    "2024-01-01T00:00:00-18:00": datetime(2024, 1, 1, 18, tzinfo=UTC),
    "2024-01-01T00:00:00+18:01": None,
    "2024-01-01T00:00:00-00:60": None,
}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"])
def test_neither_the_sessions_time_zone_nor_daylight_saving_plays_a_part(spark, zone):
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        frame = spark.createDataFrame([(text,) for text in INSTANTS], "t string")
        micros = F.unix_micros(typed(Column("t", "timestamp", "An instant."))).alias("micros")
        found = {row["t"]: row["micros"] for row in frame.select("t", micros).collect()}
        hashes = {row["h"] for row in _judged_at(spark).select(F.hex("_row_hash").alias("h")).collect()}
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = {t: at and (at - epoch) // timedelta(microseconds=1) for t, at in INSTANTS.items()}
    assert found == expected
    assert hashes == {_hash_in_utc(spark)}


def _judged_at(spark):
    """One transaction, whose instants are written with another offset, and with none."""
    written = ("2024-03-31T02:30:00Z", "2024-03-31T04:30:00+02:00", "2024-03-31 02:30:00")
    return judged(spark, "transactions", [row("transactions", transaction_at=text) for text in written])


def _hash_in_utc(spark):
    return _judged_at(spark).select(F.hex("_row_hash").alias("h")).first()["h"]
