"""How good the models are on generated data, against baselines and against what the generator's laws allow.

    python -m bench.ml --customers 6000 --fraud-customers 6000 --page bench/results/ml.md

The bank is generated in memory, a bank of its own for each model, and features come from DuckDB: no Spark,
no lake. The bounds:

- Default: an oracle that knows the generator's laws (the share of first misses by the borrower's grade, the
  roll rates, the chance of restructuring and of repaying early) and all that has happened by the
  observation date, but none of what will be drawn. Its probability of the label is worked out exactly, due
  day by due day. No model of the data can be better, but by chance. A second oracle also knows who will repay
  early, which the generator decides when the loan is paid out and which no data shows.
- Fraud: labels are the generator's own rows of schemes, so who knows the schemes has an AUC of 1.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from datagen import loans
from datagen.profile import load, override
from datagen.schedule import Plan
from ml.card import CALIBRATION_NAMES
from ml.data import Columns, Floats, take, to_columns
from ml.metrics import Estimate, evaluate
from ml.tasks import DEFAULT, FRAUD
from ml.training import Choice, Trained, add_months, train
from pipeline.models import labelled_transactions
from tests.feature_bank import bank, fraud_labels
from tests.feature_sql import FRAUD_SIGNALS, LOAN_DEFAULT_FEATURES

Ints = npt.NDArray[np.int64]
_EPOCH = np.datetime64("1970-01-01", "D")


# --- what the generator's laws allow -----------------------------------------------------------------


@dataclass(frozen=True)
class Oracle:
    """Probabilities of default within twelve months, one per row.

    Attributes:
        laws: By one who knows the laws and what has happened.
        plans: By one who also knows who will repay early.
    """

    laws: Floats
    plans: Floats


def oracle(plan: Plan, rows: Columns) -> Oracle:
    """Work out probabilities from the generator's laws.

    Args:
        plan: Seed and sizes of the bank.
        rows: ``loan_id`` and ``observation_date``.
    """
    index = np.array([int(key[1:]) - 1 for key in rows["loan_id"]], dtype=np.int64)
    day = (rows["observation_date"] - _EPOCH).astype(np.int64)
    end = (add_months(rows["observation_date"], 12) - _EPOCH).astype(np.int64)
    laws, plans = np.zeros(len(index)), np.zeros(len(index))
    for one in np.unique(day).tolist():
        of = np.flatnonzero(day == one)
        loan = loans.terms(plan, index[of])
        known, chance = _on_day(plan, loan, one, end[of])
        laws[of] = known * chance
        plans[of] = chance * ((loan.last == loan.count) & (loan.extra_number >= loans.NEVER))
    return Oracle(laws, plans)


def _on_day(plan: Plan, loan: loans.Terms, day: int, end: Ints) -> tuple[Floats, Floats]:
    """Chance that a loan is one that can miss at all, and then its chance to default from a day to an end."""
    number = loan.due_count(day)
    went = loans.course(plan, loan, number)
    now = np.arange(len(number))
    paid = went.paid[now, number]
    overdue = np.where(paid >= loan.last, 0, number - paid)
    missed = _monthly(plan)[loan.grade]
    return _can_miss(plan, loan, number, went, missed), _defaults(
        loan, number, overdue, went.restructured <= number, missed, day, end
    )


def _monthly(plan: Plan) -> Floats:
    return np.array([loans.miss_share(rate, plan.profile.arrears) for rate in loans.FIRST_MISS])


def _can_miss(plan: Plan, loan: loans.Terms, number: Ints, went: loans.Course, missed: Floats) -> Floats:
    """By Bayes: who repays early, all or a part, never misses; who has not missed yet may be one of them."""
    width = went.paid.shape[1]
    on_time = np.minimum(np.arange(width), loan.last[:, None])
    clean = ((went.paid == on_time) | (np.arange(width) > number[:, None])).all(axis=1)
    stays = np.cumprod(
        np.concatenate([[1.0], (1 - 0.06 * np.minimum(np.arange(1, 481), 30) / 30) ** (1 / 12)])
    )
    no_prepayment = loan.repayment == loans.BULLET
    alive = np.where(no_prepayment, 1.0, stays[np.minimum(number, 480)])
    to_the_end = np.where(no_prepayment, 1.0, stays[np.clip(loan.count - 1, 0, 480)])
    to_the_end = np.minimum(to_the_end, alive)
    partly = np.where(loan.repayment == loans.ANNUITY, plan.profile.extra_repayments, 0.0)
    later = np.clip(1 - number / np.maximum(loan.count - 1, 1), 0.0, 1.0)
    never = (alive - to_the_end) * (1 - partly * (1 - later)) + to_the_end * partly * later
    may = to_the_end * (1 - partly) * (1 - missed) ** number
    found = np.where(clean, may / np.maximum(may + never, 1e-300), 1.0)
    return np.where(loan.extra_number <= number, 0.0, found)


def _defaults(  # noqa: PLR0917 - one value each per loan
    loan: loans.Terms,
    number: Ints,
    overdue: Ints,
    helped: npt.NDArray[np.bool_],
    missed: Floats,
    day: int,
    end: Ints,
) -> Floats:
    """Chance to be unpaid for more than 90 days at the end of some day after ``day``, up to ``end``."""
    states = loans.OVERDUE_TO_DEFAULT + 1
    share = np.zeros((len(number), 2, states))
    share[np.arange(len(number)), helped.astype(int), np.minimum(overdue, states - 1)] = 1.0
    bad = np.zeros(len(number))
    at = number.copy()
    for _ in range(14):
        following = loan.due(at + 1)
        last_day = np.minimum(following - 1, end)
        for owed in range(1, states):
            oldest = loan.due(np.maximum(at - owed + 1, 1)) + 91
            falls = (oldest > day) & (oldest <= last_day)
            bad += np.where(falls, share[:, :, owed].sum(axis=1), 0.0)
            share[:, :, owed] *= ~falls[:, None]
        for owed in range(states):
            share[:, :, owed] *= (at - owed < loan.last)[:, None]
        goes_on = following <= end
        share = np.where(goes_on[:, None, None], _rolled(share, missed), share)
        at = at + goes_on
    return bad


def _rolled(share: Floats, missed: Floats) -> Floats:
    """States after another due day."""
    new = np.zeros_like(share)
    for helped in (0, 1):
        new[:, helped, 0] += share[:, helped, 0] * (1 - missed)
        new[:, helped, 1] += share[:, helped, 0] * missed
    states = share.shape[2]
    new[:, 1, 1:] += share[:, 1, 1:]
    restructured = loans.RESTRUCTURED_SHARE / 1000
    for owed in range(1, states):
        rates = [rate / 1000 for rate in loans.ROLL_RATES[min(owed, len(loans.ROLL_RATES)) - 1]]
        mass = share[:, 0, owed]
        new[:, 0, owed] += mass * rates[loans.PAY_ONE]
        new[:, 0, 0] += mass * rates[loans.PAY_ALL]
        new[:, 0, owed - 1] += mass * rates[loans.PAY_TWO]
        more = min(owed + 1, states - 1)
        into = restructured if owed + 1 == loans.OVERDUE_TO_RESTRUCTURE else 0.0
        new[:, 0, more] += mass * rates[loans.PAY_NONE] * (1 - into)
        new[:, 1, more] += mass * rates[loans.PAY_NONE] * into
    return new


# --- the measurements --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A training and its bound.

    Attributes:
        trained: The training.
        bounds: Metrics of oracles on the same test.
        seconds: Of training, evaluation included.
    """

    trained: Trained
    bounds: dict[str, dict[str, Estimate]]
    seconds: float


def measure_default(customers: int, days: int, draws: int, seed: int) -> Measured:
    """Probability of default, in a bank as it stands after some days."""
    plan = Plan(seed, customers)
    connection = bank(plan, days, ["loans", "payments"])
    columns = to_columns(connection.execute(LOAN_DEFAULT_FEATURES).to_arrow_table(), DEFAULT)
    begun = time.perf_counter()
    trained = train(columns, DEFAULT, draws=draws)
    seconds = time.perf_counter() - begun
    labelled = take(columns, ~np.isnan(columns[DEFAULT.label]))
    test = take(labelled, trained.split.test)
    known = oracle(plan, test)
    truth, group = test[DEFAULT.label], test[DEFAULT.group]
    bounds = {
        "oracle: laws and history": evaluate(truth, known.laws, group, draws=draws),
        "oracle: and who repays early": evaluate(truth, known.plans, group, draws=draws),
    }
    print(f"events: {truth.mean():.4f}, the oracle expects {known.laws.mean():.4f}", file=sys.stderr)
    return Measured(trained, bounds, seconds)


def measure_fraud(customers: int, share: float, draws: int, folder: Path, *, seed: int) -> Measured:
    """Fraud, in the initial load of a bank of which some share of transactions is fraud."""
    plan = Plan(seed, customers, override(load(), {"fraud": str(share)}))
    connection = bank(plan, 0, ["accounts", "transactions"])
    connection.register("customers", connection.execute("SELECT * FROM customers_history").to_arrow_table())
    connection.execute("CREATE SCHEMA silver; CREATE SCHEMA gold")
    for name in ("customers", "accounts", "transactions"):
        connection.execute(f"CREATE VIEW silver.{name} AS SELECT *, NULL AS _deleted_at FROM {name}")
    connection.execute(f"CREATE TABLE gold.fraud_signals AS {FRAUD_SIGNALS}")
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    labels = fraud_labels(plan, 0)
    labels.write_csv(folder / "labels" / "labels.csv")
    table = labelled_transactions(connection, str(folder / "labels"))
    columns = to_columns(table, FRAUD)
    begun = time.perf_counter()
    trained = train(columns, FRAUD, draws=draws)
    seconds = time.perf_counter() - begun
    test = take(columns, trained.split.test)
    truth = test[FRAUD.label]
    bounds = {"oracle: the schemes": evaluate(truth, truth, test[FRAUD.group], draws=draws)}
    flagged = pl.DataFrame(
        {
            "transaction_id": list(test["transaction_id"]),
            "found": trained.model.probability(test) >= trained.threshold,
        }
    ).join(labels, on="transaction_id")
    print(
        flagged.group_by("typology").agg(pl.len().alias("rows"), pl.col("found").mean()).sort("typology"),
        file=sys.stderr,
    )
    return Measured(trained, bounds, seconds)


def page(found: list[Measured], command: str) -> str:
    """The results as a Markdown page."""
    lines = [
        "# Models against baselines and against the generator's truth",
        "",
        "```bash",
        command,
        "```",
        "",
        f"Python {platform.python_version()}. 95 % intervals by a bootstrap over borrowers or accounts. "
        "Trained on the past, tested on the newest days; all of training was known before the first of them.",
    ]
    for one in found:
        trained, training = one.trained, one.trained.model.training
        lines += [
            "",
            f"## {trained.task.title}",
            "",
            f"Training {training['rows']:,} rows with {training['events']:,} events, "
            f"{training['first_day']} to {training['last_day']}; test "
            f"{training['test_rows']:,} rows with {training['test_events']:,}, "
            f"{training['test_first_day']} to {training['test_last_day']}.",
            "",
            f"Chosen on the training period: {trained.choice.kind}, {trained.choice.why}.",
            "",
            *_choice(trained.choice),
            "",
            "| on the test | AUC | PR-AUC | Brier score | KS |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for name, metrics in (trained.metrics | one.bounds).items():
            cells = " | ".join(_shown(metrics[metric]) for metric in ("auc", "pr_auc", "brier", "ks"))
            lines.append(f"| {'**' + name + '**' if name == trained.model.kind else name} | {cells} |")
        lines += [
            "",
            f"| calibration on the test | {' | '.join(CALIBRATION_NAMES.values())} |",
            "| --- | ---: | ---: | ---: |",
        ]
        for name, calibration in trained.calibration.items():
            cells = " | ".join(_shown(calibration[measure]) for measure in CALIBRATION_NAMES)
            lines.append(f"| {'**' + name + '**' if name == trained.model.kind else name} | {cells} |")
        best = 2 * next(iter(one.bounds.values()))["auc"].value - 1
        got, plain = (2 * trained.metrics[name]["auc"].value - 1 for name in (trained.model.kind, "logistic"))
        lines += [
            "",
            f"Of the Gini coefficient (2 AUC - 1) that the bound allows, the model reaches "
            f"{got / best:.1%}, the plain logistic regression {plain / best:.1%}.",
        ]
    return "\n".join([*lines, ""])


def _choice(choice: Choice) -> list[str]:
    """Lines of the table on which the choice rests."""
    name = {"auc": "AUC", "pr_auc": "PR-AUC"}[choice.criterion]
    days = [f"{first} to {last}" for first, last in choice.periods]
    lines = [f"| {name} in training | {' | '.join(days)} |", "| --- |" + " ---: |" * len(days)]
    for kind, found in choice.found.items():
        lines.append(f"| {kind} | {' | '.join(f'{value:.4f}' for value in found)} |")
    return lines


def _shown(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return f"{one.value:.4f}"
    return f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})"


def main() -> None:
    """Measure, print, and write the page when asked to."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=6_000, help="customers of the bank for default")
    parser.add_argument("--days", type=int, default=1_096, help="days after the initial load")
    parser.add_argument("--fraud-customers", type=int, default=6_000)
    parser.add_argument("--fraud", type=float, default=0.005, help="share of transactions that are fraud")
    parser.add_argument("--draws", type=int, default=200, help="draws of the bootstrap")
    parser.add_argument("--seed", type=int, default=42, help="another one is another bank")
    parser.add_argument("--page", type=Path, help="write the results here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [
            measure_default(options.customers, options.days, options.draws, options.seed),
            measure_fraud(
                options.fraud_customers, options.fraud, options.draws, Path(folder), seed=options.seed
            ),
        ]
    command = (
        f"python -m bench.ml --customers {options.customers} --days {options.days} "
        f"--fraud-customers {options.fraud_customers} --fraud {options.fraud} --draws {options.draws} "
        f"--seed {options.seed}"
    )
    text = page(found, command)
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
