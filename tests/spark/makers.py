"""Valid rows of each entity, as texts, to be spoiled one value at a time; and files of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from contracts import load_contract
from pipeline import quality
from pipeline.silver import judge

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipeline.settings import Settings

VALID: dict[str, dict[str, str]] = {
    "customers": {
        "customer_id": "C1",
        "first_name": "Ann",
        "last_name": "Lee",
        "email": "ann.lee@example.com",
        "phone": "+4930123456",
        "date_of_birth": "1980-02-29",
        "national_id": "N1",
        "street_address": "Main Street 1",
        "city": "Berlin",
        "postal_code": "10115",
        "country": "DE",
        "segment": "retail",
        "kyc_status": "verified",
        "credit_score": "700",
        "annual_income": "50000.00",
        "currency": "EUR",
        "onboarding_date": "2020-01-01",
        "updated_at": "2024-01-01T00:00:00Z",
    },
    "accounts": {
        "account_id": "A1",
        "customer_id": "C1",
        "iban": "DE89370400440532013000",
        "account_type": "current",
        "currency": "EUR",
        "balance": "100.00",
        "overdraft_limit": "0.00",
        "interest_rate": "0.010000",
        "branch_code": "B001",
        "opening_channel": "online",
        "status": "active",
        "opened_date": "2020-01-01",
        "closed_date": "",
        "updated_at": "2024-01-01T00:00:00Z",
    },
    "loans": {
        "loan_id": "L1",
        "customer_id": "C1",
        "product": "personal",
        "principal": "1200.00",
        "currency": "EUR",
        "annual_rate": "0.050000",
        "term_months": "12",
        "repayment_type": "annuity",
        "start_date": "2023-01-01",
        "maturity_date": "2024-01-01",
        "status": "active",
        "outstanding_principal": "600.00",
        "collateral_type": "none",
        "collateral_value": "",
        "branch_code": "B001",
        "updated_at": "2024-01-01T00:00:00Z",
    },
    "payments": {
        "payment_id": "P1",
        "loan_id": "L1",
        "installment_number": "1",
        "due_date": "2023-02-01",
        "paid_date": "2023-02-01",
        "amount_due": "100.00",
        "principal_due": "90.00",
        "interest_due": "10.00",
        "amount_paid": "100.00",
        "late_fee": "0.00",
        "currency": "EUR",
        "method": "direct_debit",
        "status": "paid",
        "updated_at": "2024-01-01T00:00:00Z",
    },
    "transactions": {
        "transaction_id": "T1",
        "account_id": "A1",
        "transaction_at": "2024-01-01T10:00:00Z",
        "booking_date": "2024-01-01",
        "transaction_type": "card_payment",
        "direction": "debit",
        "channel": "pos",
        "merchant_name": "Shop",
        "merchant_category_code": "5411",
        "category": "groceries",
        "amount": "9.99",
        "currency": "EUR",
        "counterparty_iban": "",
        "description": "Groceries",
        "status": "booked",
        "updated_at": "2024-01-01T10:00:00Z",
    },
}
CAME_ON = "2024-06-01"
"""Day on which a file of these rows may come: none of them is from later."""
PARENT_KEYS = {"accounts": "C1", "loans": "C1", "payments": "L1", "transactions": "A1"}


def row(entity: str, **changes: str) -> dict[str, str]:
    """A valid row with some values changed."""
    unknown = set(changes) - set(VALID[entity]) - {"op"}
    assert not unknown, unknown
    return VALID[entity] | changes


def as_csv(rows: Iterable[Mapping[str, str]]) -> str:
    """Rows as a CSV file with a header."""
    rows = list(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def put(lake: Settings, entity: str, name: str, content: Iterable[Mapping[str, str]] | str | bytes) -> Path:
    """Write a Bronze file of rows, or with a content given as it is."""
    path = Path(lake.bronze_entity_uri(entity).removeprefix("file://")) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else as_csv(content), encoding="utf-8")
    return path


def judged(
    spark: SparkSession,
    entity: str,
    rows: Iterable[Mapping[str, str | None]],
    problem: str | None = None,
    came_on: str = CAME_ON,
) -> DataFrame:
    """What the engine makes of rows: typed columns, reasons and hash, with the row's position as line.

    ``came_on`` is the day of the folder in which their file lies.
    """
    contract = load_contract(entity)
    names = contract.input_columns
    schema = ", ".join(f"`{name}` string" for name in names)
    schema += (
        ", _raw string, _source_file string, _source_row bigint"
        ", _layout struct<header:array<string>,delimiter:string>, _origin string, _held_by string"
        ", _held_for string, _problem string"
    )
    values = [
        (
            *[found.get(name) for name in names],
            "raw",
            "file:///f.csv",
            line,
            None,
            "bronze",
            None,
            None,
            problem,
        )
        for line, found in enumerate(rows)
    ]
    day = quality.came_on([f"file:///bronze/{entity}/ingest_date={came_on}/f.csv"], date.max)
    frame = spark.createDataFrame(values, schema).coalesce(1).withColumn("_came_on", day)
    parents = {
        column.name: spark.createDataFrame([(PARENT_KEYS[entity],)], "_parent_key string")
        for column in contract.parents
    }
    return judge(frame, parents, contract)
