"""Loans: terms, repayment schedules to the cent, and what has become of them on any day.

The modules, each of which needs only those before it:

- :mod:`~datagen.loans.amortisation`: repayment schedules.
- :mod:`~datagen.loans.prepayment`: loans that are repaid early, all or a part.
- :mod:`~datagen.loans.origination`: which loans there are, and on which terms.
- :mod:`~datagen.loans.delinquency`: arrears, restructuring, default and write-off.
- :mod:`~datagen.loans.due`: which loans are due on a day.
- :mod:`~datagen.loans.columns`: their columns.
- :mod:`~datagen.loans.blocks`: what a batch holds of them.

Sources:

- Schedules: the annuity formula ``principal * r / (1 - (1 + r) ** -n)`` with ``r`` a twelfth of the yearly
  rate (Brealey, Myers and Allen, Principles of Corporate Finance); the last instalment takes the rest.
- Arrears: a Markov chain over instalments overdue, the roll-rate model of Cyert, Davidson and Thompson
  (Estimation of the allowance for doubtful accounts by Markov chains, Management Science 8, 1962). More than
  90 days past due is default (Regulation (EU) 575/2013, article 178). The rates themselves are assumptions.
- Early repayment: the PSA standard prepayment model (Public Securities Association, 1985): the yearly share
  of loans repaid early rises by 0.2 % a month to 6 % from month 30 on.
- Partial early repayment (curtailment): some borrowers once pay a part of what is left together with an
  instalment; from then on the annuity is that of the rest over the rest of the term, by the same formula. How
  many, when and how much are assumptions.
- Restructuring: an extended term, one of the forbearance measures of the European Banking Authority's
  guidelines on non-performing exposures (EBA/GL/2018/06): from then on the borrower pays one instalment a
  month, and the arrears at the end.
- Products, terms and the age of loans are assumptions.

Time is counted in months since January 1970 and in days since 1970-01-01. Instalment k of a loan is due k
gaps after the month in which the loan was paid out, always on the same day of the month.
"""

from datagen.loans.amortisation import ANNUITY, BULLET, INTEREST_ONLY, NEVER, REPAYMENTS, Terms
from datagen.loans.blocks import LOANS, gone
from datagen.loans.delinquency import (
    DAYS_TO_CATCH_UP,
    FIRST_MISS,
    OVERDUE_TO_DEFAULT,
    OVERDUE_TO_RESTRUCTURE,
    OVERDUE_TO_WRITE_OFF,
    PAY_ALL,
    PAY_NONE,
    PAY_ONE,
    PAY_TWO,
    RESTRUCTURED_SHARE,
    ROLL_RATES,
    STATUSES,
    Course,
    State,
    course,
    is_late,
    miss_share,
    state,
)
from datagen.loans.due import caught_up_on, due_on
from datagen.loans.origination import GRADES, PREFIX, WIDTH, customer_of, terms
from datagen.loans.prepayment import prepayments

__all__ = [
    "ANNUITY",
    "BULLET",
    "DAYS_TO_CATCH_UP",
    "FIRST_MISS",
    "GRADES",
    "INTEREST_ONLY",
    "LOANS",
    "NEVER",
    "OVERDUE_TO_DEFAULT",
    "OVERDUE_TO_RESTRUCTURE",
    "OVERDUE_TO_WRITE_OFF",
    "PAY_ALL",
    "PAY_NONE",
    "PAY_ONE",
    "PAY_TWO",
    "PREFIX",
    "REPAYMENTS",
    "RESTRUCTURED_SHARE",
    "ROLL_RATES",
    "STATUSES",
    "WIDTH",
    "Course",
    "State",
    "Terms",
    "caught_up_on",
    "course",
    "customer_of",
    "due_on",
    "gone",
    "is_late",
    "miss_share",
    "prepayments",
    "state",
    "terms",
]
