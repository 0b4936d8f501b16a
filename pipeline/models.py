"""Training on the lake: features from Gold, models into a folder. No Spark.

A training writes ``model.json``, ``metrics.json`` and ``card.html`` below
``<gold>/_models/<model>/<version>``, and ``latest.json`` beside these folders names the newest. ``--out``
takes another folder, on disk or on S3.
"""

from __future__ import annotations

import json
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ml.card import render
from ml.data import read_folder, to_columns
from ml.errors import ModelError
from ml.tasks import DEFAULT, TASKS, Task
from ml.training import Trained, artefacts, train
from pipeline.errors import FinlakeError, UsageError
from pipeline.gold.fraud_signals import NIGHT_ENDS, REPORTED_ABOVE, REPORTED_ABOVE_ELSEWHERE
from pipeline.model_store import uri_of
from pipeline.query import attach, connect
from pipeline.settings import Settings
from pipeline.storage import list_objects, write_bytes

LOAN_TABLES = (("gold", "loan_default_features"),)
FRAUD_TABLES = (
    ("silver", "transactions"),
    ("silver", "accounts"),
    ("silver", "customers"),
    ("gold", "fraud_signals"),
)
LOAN_FEATURES = "SELECT * FROM gold.loan_default_features"
_THRESHOLD = " ".join(f"WHEN '{name}' THEN {amount}" for name, amount in REPORTED_ABOVE.items())
FRAUD_FEATURES = f"""
    WITH moves AS (
        SELECT t.transaction_id, t.account_id, CAST(t.transaction_at AS DATE) AS transaction_date,
               t.transaction_type || ' ' || t.channel
                   || CASE WHEN hour(t.transaction_at) < {NIGHT_ENDS} THEN ' at night' ELSE '' END AS kind,
               dayname(t.transaction_at) AS weekday, a.account_type, c.segment, c.country,
               CASE a.currency {_THRESHOLD} ELSE {REPORTED_ABOVE_ELSEWHERE} END AS threshold,
               CASE WHEN t.currency = a.currency THEN t.amount END AS amount,
               count(*) OVER (PARTITION BY t.account_id ORDER BY t.transaction_at
                   RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW) - 1 AS transactions_24h,
               count(*) OVER (PARTITION BY t.account_id, t.transaction_type ORDER BY t.transaction_at
                   RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW) - 1 AS same_kind_24h
        FROM silver.transactions t JOIN silver.accounts a ON a.account_id = t.account_id AND a._deleted_at
            IS NULL
        LEFT JOIN silver.customers c ON c.customer_id = a.customer_id AND c._deleted_at IS NULL
        WHERE t._deleted_at IS NULL
    ), beside AS (
        SELECT m.*, s.* EXCLUDE (account_id), m.transaction_date - s.activity_date AS gap
        FROM moves m ASOF LEFT JOIN gold.fraud_signals s
             ON s.account_id = m.account_id AND m.transaction_date > s.activity_date
    )
    SELECT transaction_id, account_id, transaction_date, kind, weekday, account_type, segment, country,
           amount / threshold AS amount_to_threshold, transactions_24h, same_kind_24h, gap AS
               days_since_activity,
           CASE WHEN gap < 7 THEN transaction_count_7d ELSE 0 END AS transaction_count_7d,
           CASE WHEN gap < 30 THEN transaction_count_30d ELSE 0 END AS transaction_count_30d,
           CASE WHEN gap < 10 THEN near_threshold_cash_count_10d ELSE 0 END AS near_threshold_cash_count_10d,
           CASE WHEN gap < 3 THEN sender_count_3d ELSE 0 END AS sender_count_3d,
           CASE WHEN gap < 3 THEN receiver_count_3d ELSE 0 END AS receiver_count_3d,
           CASE WHEN gap < 7 THEN transfer_in_amount_7d / threshold ELSE 0 END AS transfer_in_to_threshold_7d,
           CASE WHEN gap < 7 THEN transfer_out_amount_7d / threshold ELSE 0 END AS
               transfer_out_to_threshold_7d,
           CASE WHEN gap < 2 THEN small_online_card_count_2d ELSE 0 END AS small_online_card_count_2d,
           CASE WHEN gap < 7 THEN signal_count ELSE 0 END AS signal_count
    FROM beside
"""
"""What is known of a transaction when it happens: itself, the 24 hours before it on its account, and the
signs of the account's last day before it, as far as they still reach."""


@dataclass(frozen=True)
class Kept:
    """A training and where it is.

    Attributes:
        trained: The training.
        uri: Folder of its files.
    """

    trained: Trained
    uri: str


def train_model(
    name: str,
    settings: Settings,
    *,
    data: Path | None = None,
    labels: str | None = None,
    out: str | None = None,
    **options: Any,  # noqa: ANN401 - of the training
) -> Kept:
    """Train a model, and keep it.

    Args:
        name: ``default`` or ``fraud``.
        settings: Where the lake is.
        data: Folder of features instead of the lake's, Parquet or CSV with a header.
        labels: For fraud: folder or ``s3://`` prefix of CSV files with a column ``transaction_id``.
        out: Folder for the model instead of the lake's, or ``s3://`` prefix.
        options: Of :func:`ml.training.train`.

    Raises:
        UsageError: There is no such model, or something is missing that it needs.
        FinlakeError: The features are not there, or there is too little to learn from.
    """
    task = _task(name)
    try:
        table = read_folder(data) if data else features(task, settings, labels)
        trained = train(to_columns(table, task), task, **options)
    except ModelError as error:
        raise FinlakeError(str(error), error.hint) from error
    root = uri_of(out) if out else f"{settings.gold_uri}/_models/{name}"
    uri = f"{root}/{trained.version}"
    for file, content in artefacts(trained, render(trained)).items():
        kind = mimetypes.guess_type(file)[0]  # so that a browser shows a card that lies in S3
        write_bytes(f"{uri}/{file}", content, content_type=kind)
    write_bytes(f"{root}/latest.json", json.dumps({"version": trained.version}).encode())
    return Kept(trained, uri)


def features(task: Task, settings: Settings, labels: str | None = None) -> pa.Table:
    """Labelled features of a task from the lake.

    Raises:
        UsageError: Labels are needed and not there.
        FinlakeError: The lake lacks a table.
    """
    connection = connect()
    if task is DEFAULT:
        attach(connection, LOAN_TABLES, settings)
        return connection.execute(LOAN_FEATURES).to_arrow_table()
    if labels is None:
        raise UsageError(
            "the fraud model needs labels",
            "--labels is a folder of CSV files, such as the generator's _labels",
        )
    attach(connection, FRAUD_TABLES, settings)
    return labelled_transactions(connection, labels)


def labelled_transactions(connection: duckdb.DuckDBPyConnection, labels: str) -> pa.Table:
    """Transactions with their features and ``is_fraud``.

    Args:
        connection: Knows the tables of ``FRAUD_TABLES``.
        labels: Folder or ``s3://`` prefix of CSV files with a column ``transaction_id``.

    Raises:
        UsageError: There are no such files, or none of them names a transaction of the lake.
    """
    root = uri_of(labels)
    files = [info.uri for info in list_objects(root) if ".csv" in info.uri]
    if not files:
        raise UsageError(
            f"there is no CSV file of labels in {labels}",
            "the generator writes _labels with --set fraud=0.005",
        )
    local = [uri.removeprefix("file://") for uri in files]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE label AS "
        "SELECT DISTINCT transaction_id "
        "FROM read_csv(?, header = true, all_varchar = true, union_by_name = true)",
        [local],
    )
    found = connection.execute(
        f"SELECT f.*, l.transaction_id IS NOT NULL AS is_fraud FROM ({FRAUD_FEATURES}) f "
        "LEFT JOIN label l USING (transaction_id)"
    ).to_arrow_table()
    if not pa.compute.any(found["is_fraud"]).as_py():
        raise UsageError(
            f"no label in {labels} is of a transaction in the lake",
            "labels belong to the data they came with",
        )
    return found


def _task(name: str) -> Task:
    if name not in TASKS:
        raise UsageError(f"there is no model {name!r}", f"models are: {', '.join(TASKS)}")
    return TASKS[name]
