"""Small tables of Gold and ops as the dashboard finds them, written without Spark."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from pipeline.settings import Settings

MONEY, RATIO = pa.decimal128(28, 2), pa.decimal128(9, 6)
TEXT, COUNT, DAY, INSTANT = pa.string(), pa.int64(), pa.date32(), pa.timestamp("us", tz="UTC")

SIGNS = (
    "structuring", "fan_in", "fan_out", "pass_through", "card_testing", "account_takeover", "velocity",
)  # fmt: skip
# Columns as the marts and the ledger have them, personal data too.
SCHEMAS: Mapping[str, Mapping[str, pa.DataType]] = {
    "gold.monthly_cash_flow": {
        "month": DAY, "branch_code": TEXT, "currency": TEXT, "inflow": MONEY, "outflow": MONEY,
        "net_cash_flow": MONEY,
    },
    "gold.daily_transactions": {
        "transaction_date": DAY, "branch_code": TEXT, "channel": TEXT, "transaction_type": TEXT,
        "currency": TEXT, "transaction_count": COUNT, "booked_amount": MONEY, "failed_count": COUNT,
        "failure_rate": RATIO,
    },
    "gold.customer_360": {
        "customer_id": TEXT, "full_name": TEXT, "country": TEXT, "segment": TEXT, "kyc_status": TEXT,
        "credit_band": TEXT, "currency": TEXT, "as_of_date": DAY, "total_balance": MONEY,
        "transaction_count_90d": COUNT,
    },
    "gold.loan_portfolio": {
        "product": TEXT, "branch_code": TEXT, "currency": TEXT, "as_of_date": DAY, "loan_count": COUNT,
        "exposure": MONEY, "exposure_current": MONEY, "exposure_1_30": MONEY, "exposure_31_60": MONEY,
        "exposure_61_90": MONEY, "exposure_over_90": MONEY, "non_performing_exposure": MONEY,
        "exposure_stage_1": MONEY, "exposure_stage_2": MONEY, "exposure_stage_3": MONEY,
    },
    "gold.loan_vintages": {
        "vintage": DAY, "product": TEXT, "currency": TEXT, "months_on_book": pa.int32(), "as_of_date": DAY,
        "loan_count": COUNT, "originated_amount": MONEY, "delinquent_30_amount": MONEY,
        "defaulted_amount": MONEY,
    },
    "gold.payment_performance": {
        "due_month": DAY, "product": TEXT, "branch_code": TEXT, "currency": TEXT, "instalment_count": COUNT,
        "on_time_count": COUNT, "late_1_30_count": COUNT, "late_31_90_count": COUNT,
        "late_over_90_count": COUNT, "partial_count": COUNT, "missed_count": COUNT, "amount_due": MONEY,
        "amount_paid": MONEY,
    },
    "gold.fraud_signals": {
        "account_id": TEXT, "activity_date": DAY, "activity_month": DAY, "currency": TEXT,
        "credit_amount": MONEY, "debit_amount": MONEY, "signal_count": pa.int32(),
        **{f"is_{sign}": pa.bool_() for sign in SIGNS},
    },
    "ops.row_counts": {
        "entity": TEXT, "batch": COUNT, "path": TEXT, "origin": TEXT, "read": COUNT, "inserted": COUNT,
        "updated": COUNT, "duplicate": COUNT, "stale": COUNT, "quarantined": COUNT,
    },
    "ops.quarantine_reasons": {"entity": TEXT, "origin": TEXT, "reason": TEXT, "rows": COUNT, "level": TEXT},
    "ops.runs": {
        "run_id": TEXT, "started_at": INSTANT, "finished_at": INSTANT, "status": TEXT, "layer": TEXT,
        "error": TEXT,
    },
    "ops.batches": {
        "entity": TEXT, "batch": COUNT, "run_id": TEXT, "status": TEXT, "ingested_at": INSTANT,
    },
}  # fmt: skip

BRANCHES, CURRENCIES, PRODUCTS = ("BR001", "BR002", "BR003"), ("EUR", "USD"), ("auto", "mortgage")
SECRET = "Ada Example"
LAST = date(2026, 6, 30)


def rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of a small bank, by table; every figure follows from counters."""
    months = [date(2025 + (6 + n) // 12, (6 + n) % 12 + 1, 1) for n in range(12)]
    numbers = itertools.count(1)

    def money() -> Decimal:
        return Decimal(100_000 + next(numbers) * 7919 % 90_000) / 100

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    for branch, currency in itertools.product(BRANCHES, CURRENCIES):
        place = {"branch_code": branch, "currency": currency}
        for month in months:
            inflow, outflow = money() * 90, money() * 85
            flow = {"inflow": inflow, "outflow": outflow, "net_cash_flow": inflow - outflow}
            found["gold.monthly_cash_flow"].append({"month": month, **place, **flow})
        for number in range(120):
            day = LAST - timedelta(days=number)
            if number == 40 or (currency == "USD" and number % 3):
                continue  # a day without data
            for channel, kind in (("online", "card_payment"), ("branch", "cash_deposit")):
                count, failed = 20 + number * 13 % 17, number % 4
                found["gold.daily_transactions"].append(
                    {"transaction_date": day, **place, "channel": channel, "transaction_type": kind}
                    | {"transaction_count": count, "booked_amount": money() * count, "failed_count": failed}
                )
        for product in PRODUCTS:
            parts = [money() * weight for weight in (900, 40, 12, 8, 15)]
            exposure = sum(parts, Decimal(0))
            names = ("current", "1_30", "31_60", "61_90", "over_90")
            buckets = {f"exposure_{name}": part for name, part in zip(names, parts, strict=True)}
            stages = {
                "exposure_stage_1": parts[0] + parts[1],
                "exposure_stage_2": parts[2] + parts[3],
                "exposure_stage_3": parts[4],
            }
            found["gold.loan_portfolio"].append(
                {"product": product, **place, "as_of_date": LAST, "loan_count": 40, "exposure": exposure}
                | {**buckets, **stages, "non_performing_exposure": parts[4]}
            )
            for number, month in enumerate(months):
                counts = {"on_time_count": 90, "late_1_30_count": 6, "late_31_90_count": 3 + number % 2}
                counts |= {"late_over_90_count": 1, "partial_count": 2, "missed_count": number % 5}
                total = {"instalment_count": sum(counts.values()), "amount_due": money() * 100}
                paid = {"amount_paid": total["amount_due"] * Decimal("0.9")}
                found["gold.payment_performance"].append(
                    {"due_month": month, "product": product, **place, **counts, **total, **paid}
                )
    future = {"due_month": date(2040, 1, 1), "product": "mortgage", "branch_code": "BR001", "currency": "EUR"}
    found["gold.payment_performance"].append(future | {"instalment_count": 0, "amount_due": Decimal(0)})
    for currency, product in itertools.product(CURRENCIES, PRODUCTS):
        for number, month in enumerate(months):
            lent = money() * 1000
            for age in range(len(months) - number):
                found["gold.loan_vintages"].append(
                    {"vintage": month, "product": product, "currency": currency, "months_on_book": age}
                    | {"as_of_date": LAST, "loan_count": 30 + number, "originated_amount": lent}
                    | {"delinquent_30_amount": lent * age / 200, "defaulted_amount": lent * age / 500}
                )
    for number in range(400):
        found["gold.customer_360"].append(
            {"customer_id": f"C{number:010}", "full_name": f"{SECRET} {number}", "as_of_date": LAST}
            | {"country": ("DE", "FR", "PL")[number % 3], "segment": ("retail", "business")[number % 5 == 0]}
            | {"kyc_status": "verified", "credit_band": ("good", "fair", "poor", None)[number % 4]}
            | {"currency": CURRENCIES[number % 4 == 0], "total_balance": money() * 10}
            | {"transaction_count_90d": number % 6}
        )
    found["gold.fraud_signals"] = [
        {"account_id": f"A{number % 7}", "activity_date": LAST - timedelta(days=number)}
        | {"activity_month": (LAST - timedelta(days=number)).replace(day=1)}
        | {"currency": CURRENCIES[number % 4 == 3], "credit_amount": money(), "debit_amount": money()}
        | {"signal_count": (0, 0, 1, 0, 2)[number % 5]}
        | {
            f"is_{sign}": (number % 5 == 2 and number % 7 == place)
            or (number % 5 == 4 and place in (0, number % 6 + 1))
            for place, sign in enumerate(SIGNS)
        }
        for number in range(90)
    ]
    for number, entity in enumerate(("customers", "accounts", "loans")):
        counts = {"inserted": 900, "updated": 50, "duplicate": 30, "stale": 5, "quarantined": 15 + number}
        path = f"s3://bronze/{entity}/{SECRET}.csv"
        found["ops.row_counts"].append(
            {"entity": entity, "batch": 1, "path": path, "origin": "bronze"}
            | {"read": sum(counts.values()), **counts}
        )
        reason = {"entity": entity, "origin": "bronze", "level": "error"}
        found["ops.quarantine_reasons"] += [
            {**reason, "reason": "currency: pattern", "rows": 9},
            {**reason, "reason": "unknown_parent: customer_id", "rows": 6 + number},
            {**reason, "reason": "late", "rows": 70, "level": "warning"},
        ]
        found["ops.batches"].append(
            {"entity": entity, "batch": 1, "run_id": "r1", "status": "committed", "ingested_at": _at(8)}
        )
    run = {"started_at": _at(7), "finished_at": _at(8), "layer": "all"}
    found["ops.runs"] += [
        {"run_id": "r1", "status": "succeeded", **run},
        {"run_id": "r2", "status": "failed", **run, "error": f"it is about {SECRET}"},
    ]
    return found


def _at(hour: int) -> datetime:
    return datetime(2026, 7, 1, hour, tzinfo=UTC)


def write(settings: Settings, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, str]:
    """Write tables in the place of those that are there; returns where they are, by ``layer.table``."""
    uris = {}
    for name, found in tables.items():
        fields = SCHEMAS[name]
        table = pa.Table.from_pylist(
            [{field: row.get(field) for field in fields} for row in found], schema=pa.schema(fields.items())
        )
        layer, short = name.split(".")
        uris[name] = settings.table_uri(layer, short)
        write_deltalake(uris[name], table, mode="overwrite")
    return uris


def catalogue(uris: Mapping[str, str]) -> Any:
    """What stands in for :func:`pipeline.catalog.registered_tables`, whose Glue these tests do not need."""

    def registered(layer: str, _settings: Settings) -> dict[str, dict[str, Any]]:
        return {
            name.split(".")[1]: {"StorageDescriptor": {"Location": uri}}
            for name, uri in uris.items()
            if name.startswith(f"{layer}.")
        }

    return registered
