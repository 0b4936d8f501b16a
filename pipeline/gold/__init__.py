"""Gold: aggregated marts and KPIs on Silver, one module each.

A mart module offers ``MART``; its docstring gives grain, units and the source of definitions.
"""

from pipeline.gold.account_balances_daily import MART as ACCOUNT_BALANCES_DAILY
from pipeline.gold.customer_360 import MART as CUSTOMER_360
from pipeline.gold.customer_features import MART as CUSTOMER_FEATURES
from pipeline.gold.daily_transactions import MART as DAILY_TRANSACTIONS
from pipeline.gold.fraud_signals import MART as FRAUD_SIGNALS
from pipeline.gold.loan_default_features import MART as LOAN_DEFAULT_FEATURES
from pipeline.gold.loan_portfolio import MART as LOAN_PORTFOLIO
from pipeline.gold.loan_vintages import MART as LOAN_VINTAGES
from pipeline.gold.mart import Mart
from pipeline.gold.monthly_cash_flow import MART as MONTHLY_CASH_FLOW
from pipeline.gold.payment_performance import MART as PAYMENT_PERFORMANCE

# The largest first: two are built at a time.
MARTS: tuple[Mart, ...] = (
    FRAUD_SIGNALS,
    ACCOUNT_BALANCES_DAILY,
    LOAN_DEFAULT_FEATURES,
    CUSTOMER_FEATURES,
    CUSTOMER_360,
    DAILY_TRANSACTIONS,
    MONTHLY_CASH_FLOW,
    LOAN_PORTFOLIO,
    LOAN_VINTAGES,
    PAYMENT_PERFORMANCE,
)

__all__ = ["MARTS", "Mart"]
