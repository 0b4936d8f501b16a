"""Batch scoring: features of a day from Gold, a kept model, and probabilities back into Gold.

It starts no Spark, and needs neither DuckDB nor scikit-learn, so that a Glue job installs nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from ml.data import Columns, length, to_columns
from ml.drift import SCORE, WARN_FROM, psi
from ml.errors import ModelError
from ml.model import Model
from ml.scoring import in_words, reasons, version_of
from ml.tasks import DEFAULT
from pipeline.catalog import register, scores_table
from pipeline.errors import FinlakeError, UsageError
from pipeline.lock import exclusive, new_run_id
from pipeline.model_store import load_model
from pipeline.settings import Settings
from pipeline.tables import ensure_table, open_table

FEATURES = "loan_default_features"


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
        model: Where the model is from: folder or archive, or ARN of its version in SageMaker's registry.
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
    model: str = ""


def score_loans(
    settings: Settings, *, model: str | None = None, day: date | None = None, dry_run: bool = False
) -> Scoring:
    """Score performing loans, and write ``gold.loan_default_scores``.

    Scores of other days stay, those of the same day are replaced, in one commit.

    Args:
        settings: Where the lake is.
        model: Where it is, see :func:`pipeline.model_store.load_model`; the lake's newest by default.
        day: Observation date; the newest by default.
        dry_run: Write nothing.

    Raises:
        UsageError: There is no such model, or no loan was observed on that day.
        FinlakeError: The model or the features cannot be used.
    """
    stored = load_model(DEFAULT.name, settings, model)
    rows = _features(settings, day)
    wanted = rows["observation_date"][0].as_py()
    try:
        columns = to_columns(rows, DEFAULT, labelled=False)
    except ModelError as error:
        raise FinlakeError(str(error), error.hint) from error
    table, scoring = scored(stored.model, columns, rows["customer_id"].to_pylist(), settings.instant())
    scoring = replace(scoring, model=stored.origin)
    if dry_run:
        return scoring
    target = scores_table(settings)
    with exclusive(["gold"], new_run_id(settings.instant(), "score"), settings):
        scores = ensure_table(target.uri, target.columns, description=target.description)
        write_deltalake(
            scores,
            table.cast(pa.schema(scores.schema().to_arrow())),
            mode="overwrite",
            predicate=f"observation_date = '{wanted}'",
        )
    register([target], settings)
    return scoring


def _features(settings: Settings, day: date | None) -> pa.Table:
    """Features of all loans that were observed on a day, the newest one by default; at least one row.

    Raises:
        UsageError: There is no such table, or no loan was observed on that day.
        FinlakeError: The table is empty.
    """
    table = open_table(settings.table_uri("gold", FEATURES))
    if table is None:
        raise UsageError(f"there is no table gold.{FEATURES}", "`finlake run` makes it")
    wanted = day or _ask(table, "SELECT max(observation_date) AS day FROM features")["day"][0].as_py()
    if wanted is None:
        raise FinlakeError(f"gold.{FEATURES} has no rows", "load loans and payments, then `finlake run`")
    rows = _ask(table, f"SELECT * FROM features WHERE observation_date = DATE '{wanted}' ORDER BY loan_id")
    if not rows.num_rows:
        raise UsageError(
            f"no loan was observed on {wanted}", "observation dates are ends of quarters: 2025-12-31"
        )
    return rows


def _ask(table: DeltaTable, sql: str) -> pa.Table:
    """Answer of SQL on ``features``, by the engine within delta-rs."""
    return pa.table(QueryBuilder().register("features", table).execute(sql).read_all())


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
        table="gold.loan_default_scores",
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
