"""The columns of loans."""

from __future__ import annotations

import numpy as np

from datagen import columns as to
from datagen import customers
from datagen.accounts import BRANCHES
from datagen.countries import COUNTRIES
from datagen.loans.amortisation import NAME, REPAYMENTS, Terms
from datagen.loans.delinquency import STATUSES, state
from datagen.loans.origination import BUSINESS, PREFIX, WIDTH, terms
from datagen.profile import PRODUCTS
from datagen.rng import Choice, Ints
from datagen.schedule import BASE_DAY, Plan

COLLATERALS = ("property", "vehicle", "securities", "none")
PROPERTY, VEHICLE, SECURITIES, UNSECURED = range(len(COLLATERALS))
_BRANCH = Choice([30 / (rank + 3) for rank in range(len(BRANCHES))])


def table(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> to.Table:
    """Loans as they stand at the end of ``batch``; see :class:`~datagen.entity.MakeTable`."""
    draws = plan.draws(NAME, index)
    keys = index + 1 if keys is None else keys
    loan = terms(plan, index)
    now = state(plan, loan, BASE_DAY + batch)
    collateral, value = _collateral(plan, loan)
    seconds = 6 * 3600 + draws.below("updated_second", 16 * 3600, now.changed)
    return to.Table(
        {
            "loan_id": to.join(PREFIX, to.digits(keys, WIDTH)),
            "customer_id": to.join(customers.PREFIX, to.digits(loan.customer + 1, customers.WIDTH)),
            "product": to.texts(PRODUCTS, loan.product),
            "principal": to.money(loan.principal),
            "currency": to.texts(tuple(item.currency for item in COUNTRIES), loan.country),
            "annual_rate": to.rate(loan.rate),
            "term_months": to.whole(loan.months),
            "repayment_type": to.texts(REPAYMENTS, loan.repayment),
            "start_date": to.dates(loan.start),
            "maturity_date": to.dates(loan.due(loan.count)),
            "status": to.texts(STATUSES, now.status),
            "outstanding_principal": to.money(now.outstanding),
            "collateral_type": to.texts(COLLATERALS, collateral),
            "collateral_value": to.either(collateral != UNSECURED, to.money(value)),
            "branch_code": to.texts(BRANCHES, _BRANCH(draws.bits("branch"))),
            "updated_at": to.timestamps(now.changed, seconds),
        }
    )


def _collateral(plan: Plan, loan: Terms) -> tuple[Ints, Ints]:
    """Kind and value in cents: houses and cars secure the loans that buy them."""
    draws = plan.draws(NAME, loan.index)
    pledged = np.where(draws.chance("pledged", 0.4), SECURITIES, UNSECURED)
    kind = np.array([PROPERTY, VEHICLE, UNSECURED, UNSECURED, UNSECURED])[loan.product]
    kind = np.where(loan.product == BUSINESS, pledged, kind)
    percent = 105 + draws.below("collateral", 90)
    return kind, loan.principal * percent // 100 // 10_000 * 10_000
