"""Everything about a customer in one row.

Grain: one row per customer.
Units: money in ``currency``, the customer's own; accounts and loans in other currencies are counted
but not summed, because nothing here converts currencies. Activity looks back 90 days from
``as_of_date``, the day of the newest transaction in Silver.
Sources: silver.customers, silver.accounts, silver.loans, silver.payments, silver.transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ACTIVITY_DAYS = 90

COLUMNS = (
    TableColumn("customer_id", "string", "Customer."),
    TableColumn("full_name", "string", "Given and family name.", pii_class="name"),
    TableColumn("country", "string", "Country of residence, ISO 3166-1 alpha-2."),
    TableColumn("segment", "string", "Commercial segment."),
    TableColumn("kyc_status", "string", "State of the know-your-customer check."),
    TableColumn("credit_band", "string", "FICO's name for the range of the credit score."),
    TableColumn("onboarding_date", "date", "Day the relationship began."),
    TableColumn("currency", "string", "The customer's currency, ISO 4217."),
    TableColumn("as_of_date", "date", "Day that activity is counted back from."),
    TableColumn("account_count", "bigint", "Accounts of any status and currency."),
    TableColumn("active_account_count", "bigint", "Accounts with status active."),
    TableColumn("total_balance", "decimal(28,2)", "Balances of accounts in currency that are not closed."),
    TableColumn("loan_count", "bigint", "Loans of any status and currency."),
    TableColumn("outstanding_principal", "decimal(28,2)", "Outstanding principal of loans in currency."),
    TableColumn("missed_payment_count", "bigint", "Instalments with status missed."),
    TableColumn("last_transaction_at", "timestamp", "Instant (UTC) of the newest transaction."),
    TableColumn("transaction_count_90d", "bigint", "Transactions in the 90 days to as_of_date."),
    TableColumn("inflow_90d", "decimal(28,2)", "Booked credits of these days, in currency."),
    TableColumn("outflow_90d", "decimal(28,2)", "Booked debits of these days, in currency, positive."),
)


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Join per-customer aggregates of accounts, loans, payments and transactions."""
    customers = silver["customers"].select(
        "customer_id",
        "full_name",
        "country",
        "segment",
        "kyc_status",
        "credit_band",
        "onboarding_date",
        "currency",
    )
    own = customers.select("customer_id", F.col("currency").alias("own_currency"))
    in_own_currency = F.col("currency") == F.col("own_currency")

    accounts = silver["accounts"].join(own, "customer_id")
    per_account = accounts.groupBy("customer_id").agg(
        F.count("*").alias("account_count"),
        F.count(F.when(F.col("status") == "active", 1)).alias("active_account_count"),
        F.sum(F.when(in_own_currency & (F.col("status") != "closed"), F.col("balance"))).alias(
            "total_balance"
        ),
    )
    loans = silver["loans"].join(own, "customer_id")
    per_loan = loans.groupBy("customer_id").agg(
        F.count("*").alias("loan_count"),
        F.sum(F.when(in_own_currency, F.col("outstanding_principal"))).alias("outstanding_principal"),
    )
    missed = (
        silver["payments"]
        .where(F.col("status") == "missed")
        .join(silver["loans"].select("loan_id", "customer_id"), "loan_id")
        .groupBy("customer_id")
        .agg(F.count("*").alias("missed_payment_count"))
    )
    as_of = silver["transactions"].agg(F.max("transaction_date").alias("as_of_date"))
    transactions = (
        silver["transactions"]
        .select(
            "account_id", "transaction_at", "transaction_date", "currency", "direction", "amount", "status"
        )
        .join(accounts.select("account_id", "customer_id", "own_currency"), "account_id")
        .crossJoin(F.broadcast(as_of))
    )
    recent = F.datediff("as_of_date", "transaction_date") < ACTIVITY_DAYS
    booked = recent & in_own_currency & (F.col("status") == "booked")
    per_transaction = transactions.groupBy("customer_id").agg(
        F.max("transaction_at").alias("last_transaction_at"),
        F.count(F.when(recent, 1)).alias("transaction_count_90d"),
        F.sum(F.when(booked & (F.col("direction") == "credit"), F.col("amount"))).alias("inflow_90d"),
        F.sum(F.when(booked & (F.col("direction") == "debit"), F.col("amount"))).alias("outflow_90d"),
    )
    joined = customers.crossJoin(F.broadcast(as_of))
    for part in (per_account, per_loan, missed, per_transaction):
        joined = joined.join(part, "customer_id", "left")
    counted = [
        "account_count",
        "active_account_count",
        "total_balance",
        "loan_count",
        "outstanding_principal",
        "missed_payment_count",
        "transaction_count_90d",
        "inflow_90d",
        "outflow_90d",
    ]
    return joined.fillna(0, subset=counted)


_ACCOUNTS = "{accounts} AS a JOIN {customers} AS c ON a.customer_id = c.customer_id"
_LOANS = "{loans} AS l JOIN {customers} AS c ON l.customer_id = c.customer_id"
_RECENT = (
    "{transactions} AS t JOIN {accounts} AS a ON t.account_id = a.account_id "
    "JOIN {customers} AS c ON a.customer_id = c.customer_id WHERE t.transaction_date > "
    f"(SELECT max(transaction_date) FROM {{transactions}}) - INTERVAL '{ACTIVITY_DAYS}' DAY"
)
MART = Mart(
    "customer_360",
    "Everything about a customer in one row.",
    ("customers", "accounts", "loans", "payments", "transactions"),
    COLUMNS,
    build,
    key=("customer_id",),
    totals=(
        Total("count(*)", "customers", "count(*)"),
        Total("sum(account_count)", "accounts", "count(*)", _ACCOUNTS),
        Total(
            "sum(total_balance)",
            "accounts",
            "sum(CASE WHEN a.currency = c.currency AND a.status <> 'closed' THEN a.balance END)",
            _ACCOUNTS,
        ),
        Total("sum(loan_count)", "loans", "count(*)", _LOANS),
        Total(
            "sum(outstanding_principal)",
            "loans",
            "sum(CASE WHEN l.currency = c.currency THEN l.outstanding_principal END)",
            _LOANS,
        ),
        Total("sum(transaction_count_90d)", "transactions", "count(*)", _RECENT),
        *[
            Total(
                f"sum({flow}_90d)",
                "transactions",
                "sum(CASE WHEN t.currency = c.currency AND t.status = 'booked' "
                f"AND t.direction = '{direction}' THEN t.amount END)",
                _RECENT,
            )
            for flow, direction in (("inflow", "credit"), ("outflow", "debit"))
        ],
        Total("max(as_of_date)", "transactions", "max(transaction_date)"),
    ),
)
