"""Types, channels, statuses and categories of transactions, and how often each is met."""

from __future__ import annotations

from functools import cache

import numpy as np

from datagen.pools import MERCHANT_CATEGORIES, MERCHANTS
from datagen.rng import Choice, Ints

NAME = "transactions"
"""Name of the entity, and of its streams of random numbers."""

TYPES = (
    "card_payment", "transfer_in", "transfer_out", "direct_debit", "cash_withdrawal",
    "cash_deposit", "salary", "fee", "interest", "refund",
)  # fmt: skip
(CARD_PAYMENT, TRANSFER_IN, TRANSFER_OUT, DIRECT_DEBIT, CASH_WITHDRAWAL,
 CASH_DEPOSIT, SALARY, FEE, INTEREST, REFUND) = range(len(TYPES))  # fmt: skip
CREDITS = (TRANSFER_IN, CASH_DEPOSIT, SALARY, INTEREST, REFUND)
CHANNELS = ("pos", "online", "mobile", "atm", "branch", "system")
STATUSES = ("booked", "pending", "failed", "reversed")
BOOKED, PENDING, FAILED, REVERSED = range(len(STATUSES))
SETTLES_AFTER = 1
REVERSED_AFTER = 6
"""Days from a transaction to its settlement, and to its reversal."""

SHOPS = tuple(MERCHANT_CATEGORIES)
BILLS = ("rent", "utilities", "insurance", "telecom", "subscriptions")
OTHERS = ("transfers", "cash", "salary", "bank_fees", "interest")
CATEGORIES = SHOPS + BILLS + OTHERS
TYPE_CHOICE = Choice(
    [72, 6, 8, 0, 8.5, 1.5, 0, 1, 0, 3],
    [0, 52, 44, 0, 0, 4, 0, 0, 0, 0],
    [0, 60, 40, 0, 0, 0, 0, 0, 0, 0],
    [92, 0, 0, 0, 4, 0, 0, 1, 0, 3],
)
"""By account type."""
CHANNEL_CHOICE = Choice(
    [64, 22, 14, 0, 0, 0],
    [0, 48, 36, 0, 4, 12],
    [0, 44, 46, 0, 10, 0],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0, 92, 8, 0],
    [0, 0, 0, 45, 55, 0],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 1],
    [55, 45, 0, 0, 0, 0],
)
"""By transaction type."""
FAILURES_PER_1000 = np.array([14, 22, 17, 30, 4, 6])
"""By channel."""
SHOP_CHOICE = Choice([30, 17, 9, 8, 5, 6, 9, 1.4, 1.2, 5, 4, 3], [30, 19, 12, 7, 4, 6, 8, 4, 3.5, 4, 4, 3])
"""By season: July and August, when people travel, are the second one."""
MERCHANT_CHOICE = Choice([1 / (rank + 1) for rank in range(MERCHANTS)])
_DAY_HOURS = [1, 0.5, 0.4, 0.4, 0.6, 1.5, 3, 6, 8, 8, 8, 9, 11, 10, 8, 8, 9, 11, 12, 10, 8, 6, 4, 2]
_NIGHT_HOURS = [4, 8, 12, 12, 10, 8, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]
HOUR_CHOICE = Choice(_DAY_HOURS, _NIGHT_HOURS)
_BY_OTHER_TYPE = {
    TRANSFER_IN: "transfers", TRANSFER_OUT: "transfers", CASH_WITHDRAWAL: "cash", CASH_DEPOSIT: "cash",
    SALARY: "salary", FEE: "bank_fees", INTEREST: "interest",
}  # fmt: skip


@cache
def category_of_type() -> Ints:
    """Category by type, for types that have only one."""
    return np.array([CATEGORIES.index(_BY_OTHER_TYPE.get(kind, CATEGORIES[0])) for kind in range(len(TYPES))])
