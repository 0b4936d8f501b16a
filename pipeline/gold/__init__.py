"""Gold: aggregated marts and KPIs on Silver, one module each.

A mart module offers ``MART``; its docstring gives grain, units and the source of definitions.
"""

from pipeline.gold.customer_360 import MART as CUSTOMER_360
from pipeline.gold.daily_transactions import MART as DAILY_TRANSACTIONS
from pipeline.gold.loan_portfolio import MART as LOAN_PORTFOLIO
from pipeline.gold.mart import Mart
from pipeline.gold.monthly_cash_flow import MART as MONTHLY_CASH_FLOW

MARTS: tuple[Mart, ...] = (DAILY_TRANSACTIONS, CUSTOMER_360, LOAN_PORTFOLIO, MONTHLY_CASH_FLOW)

__all__ = ["MARTS", "Mart"]
