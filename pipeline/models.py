"""Models and the lake: features from Gold, models in a folder, scores back into Gold. No Spark.

A training writes ``model.json``, ``metrics.json`` and ``card.html`` below
``<gold>/_models/<model>/<version>``, and ``latest.json`` beside these folders names the newest. ``--out``
and ``--model`` take another folder, on disk or on S3.
"""

from __future__ import annotations

import json
import mimetypes
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from ml.card import render
from ml.data import Columns, length, read_folder, to_columns
from ml.drift import SCORE, WARN_FROM, psi
from ml.errors import ModelError
from ml.kinds import read_model
from ml.model import Model
from ml.tasks import DEFAULT, TASKS, Task
from ml.training import Trained, artefacts, in_words, reasons, train, version_of
from pipeline.catalog import CatalogTable, register
from pipeline.errors import FinlakeError, UsageError
from pipeline.gold.fraud_signals import NIGHT_ENDS, REPORTED_ABOVE, REPORTED_ABOVE_ELSEWHERE
from pipeline.lock import exclusive
from pipeline.query import attach, connect
from pipeline.settings import Settings
from pipeline.storage import list_objects, read_bytes, write_bytes
from pipeline.tables import TableColumn, ensure_table

SCORES = "loan_default_scores"
SCORE_COLUMNS = (
    TableColumn("loan_id", "string", "Loan."),
    TableColumn("observation_date", "date", "Day of which the features know nothing later."),
    TableColumn("customer_id", "string", "Borrower."),
    TableColumn(
        "default_probability",
        "decimal(9,6)",
        "Probability of default within 12 months after observation_date.",
    ),
    TableColumn(
        "reasons", "string", "What raised it most: feature, value, and what that adds to the log-odds."
    ),
    TableColumn(
        "unknown_values",
        "string",
        "Features whose value training never met, so that they count as usual; or null.",
    ),
    TableColumn("model_version", "string", "Name and checksum of the model."),
    TableColumn("scored_at", "timestamp", "Instant (UTC) of scoring."),
)
SCORES_DESCRIPTION = "Probability of default by loan and observation date, by the model that scored it last."

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


@dataclass(frozen=True)
class Scoring:
    """What a batch scoring did.

    Attributes:
        model_version: The model.
        table: Where the scores are.
        observation_date: Day that was scored.
        rows: Loans.
        mean_probability: Mean of their probabilities; None without rows.
        unknown: Values that training never met, and how often, by feature.
        outside: How many values lie beyond those of training, by feature.
        drift: Stability index by feature, and of the predictions under ``prediction``.
        warnings: What someone should look at.
    """

    model_version: str
    table: str
    observation_date: str
    rows: int
    mean_probability: float | None
    unknown: dict[str, dict[str, int]] = field(default_factory=dict)
    outside: dict[str, int] = field(default_factory=dict)
    drift: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


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
    root = _uri(out) if out else f"{settings.gold_uri}/_models/{name}"
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
    root = _uri(labels)
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


def score_loans(
    settings: Settings, *, model: str | None = None, day: date | None = None, dry_run: bool = False
) -> Scoring:
    """Score performing loans, and write ``gold.loan_default_scores``.

    Scores of other days stay, those of the same day are replaced, in one commit.

    Args:
        settings: Where the lake is.
        model: Folder of a model, or ``s3://`` prefix; the lake's newest by default.
        day: Observation date; the newest by default.
        dry_run: Write nothing.

    Raises:
        UsageError: There is no such model, or no loan was observed on that day.
        FinlakeError: The model or the features cannot be used.
    """
    found = load_model(DEFAULT.name, settings, model)
    connection = connect()
    attach(connection, LOAN_TABLES, settings)
    wanted = (
        day or connection.execute(f"SELECT max(observation_date) FROM ({LOAN_FEATURES})").fetchall()[0][0]
    )
    if wanted is None:
        raise FinlakeError(
            "gold.loan_default_features has no rows", "load loans and payments, then `finlake run`"
        )
    rows = connection.execute(
        f"{LOAN_FEATURES} WHERE observation_date = ? ORDER BY loan_id", [wanted]
    ).to_arrow_table()
    if not rows.num_rows:
        raise UsageError(
            f"no loan was observed on {wanted}", "observation dates are ends of quarters: 2025-12-31"
        )
    try:
        columns = to_columns(rows, DEFAULT, labelled=False)
    except ModelError as error:
        raise FinlakeError(str(error), error.hint) from error
    table, scoring = scored(found, columns, rows["customer_id"].to_pylist(), settings.instant())
    if dry_run:
        return scoring
    uri = settings.table_uri("gold", SCORES)
    with exclusive(["gold"], f"{settings.instant():%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}-score", settings):
        stored = ensure_table(uri, SCORE_COLUMNS, description=SCORES_DESCRIPTION)
        write_deltalake(
            stored,
            table.cast(pa.schema(stored.schema().to_arrow())),
            mode="overwrite",
            predicate=f"observation_date = '{wanted}'",
        )
    register([CatalogTable("gold", SCORES, uri, SCORE_COLUMNS, SCORES_DESCRIPTION)], settings)
    return scoring


def scored(
    model: Model, columns: Columns, customers: Sequence[str | None], at: datetime
) -> tuple[pa.Table, Scoring]:
    """Scores of some loans as rows of the table, and what is to say about them."""
    found, version = model.score(columns), version_of(model)
    why = [in_words(one) for one in reasons(model, columns, found.parts)]
    exact = [Decimal(f"{probability:.6f}") for probability in found.probability]
    table = pa.table(
        {
            "loan_id": pa.array(columns["loan_id"].tolist(), pa.string()),
            "observation_date": pa.array(columns[DEFAULT.date].tolist(), pa.date32()),
            "customer_id": pa.array(list(customers), pa.string()),
            "default_probability": pa.array(exact, pa.decimal128(9, 6)),
            "reasons": pa.array(why, pa.string()),
            "unknown_values": pa.array([", ".join(names) or None for names in found.doubtful], pa.string()),
            "model_version": pa.array([version] * length(columns), pa.string()),
            "scored_at": pa.array([at] * length(columns), pa.timestamp("us", tz="UTC")),
        }
    )
    drift = psi(columns, found.probability, model.reference)
    return table, Scoring(
        model_version=version,
        table=f"gold.{SCORES}",
        observation_date=str(columns[DEFAULT.date][0]),
        rows=length(columns),
        mean_probability=float(np.mean(found.probability)),
        unknown=found.unknown,
        outside=found.outside,
        drift=drift,
        warnings=_warnings(found.unknown, found.outside, drift, length(columns)),
    )


def _warnings(
    unknown: dict[str, dict[str, int]], outside: dict[str, int], drift: dict[str, float], rows: int
) -> list[str]:
    found = []
    for name, counts in unknown.items():
        named = ", ".join(f"{value!r} ({count:,})" for value, count in sorted(counts.items()))
        found.append(f"{name}: values that training never met count as usual: {named}")
    found += [
        f"{name}: {count:,} of {rows:,} values lie beyond those of training, and count as the nearest"
        for name, count in outside.items()
        if count > rows / 100
    ]
    if drift.get(SCORE, 0) >= WARN_FROM:
        found.append(f"predictions are not distributed as in training: stability index {drift[SCORE]:.2f}")
    moved = {name: value for name, value in drift.items() if value >= WARN_FROM and name != SCORE}
    found += [
        f"{name}: not distributed as in training: stability index {value:.2f}"
        for name, value in moved.items()
    ]
    return found


def load_model(name: str, settings: Settings, model: str | None = None) -> Model:
    """A kept model: the lake's newest, or the one in a folder.

    Raises:
        UsageError: There is none.
        FinlakeError: It cannot be used.
    """
    if model:
        uri = _uri(model)
    else:
        root = f"{settings.gold_uri}/_models/{name}"
        latest = read_bytes(f"{root}/latest.json")
        if latest is None:
            raise UsageError(f"there is no model for {name} yet", f"train one with `finlake train {name}`")
        uri = f"{root}/{json.loads(latest)['version']}"
    content = read_bytes(f"{uri}/model.json")
    if content is None:
        raise UsageError(f"there is no model in {model or uri}", "it is the folder that holds model.json")
    try:
        found = read_model(content.decode())
    except ModelError as error:
        raise FinlakeError(f"{uri}/model.json: {error}", error.hint) from error
    if found.task != name:
        raise UsageError(f"{uri} is a model for {found.task}, not for {name}")
    return found


def _task(name: str) -> Task:
    if name not in TASKS:
        raise UsageError(f"there is no model {name!r}", f"models are: {', '.join(TASKS)}")
    return TASKS[name]


def _uri(place: str) -> str:
    """A folder of the local disk as URI; what is one already stays."""
    return place.rstrip("/") if "://" in place else f"file://{Path(place).resolve()}"
