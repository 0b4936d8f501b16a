"""What is on the page: sections for those who ask, with figures and charts. No data and no markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pipeline.dashboard.cubes import Cube, Dimension
from pipeline.gold.payment_performance import MART as PAYMENT_PERFORMANCE

ChartKind = Literal["flow", "line", "stack", "share", "bars", "curves"]


@dataclass(frozen=True)
class Panel:
    """A chart with its table.

    Attributes:
        name: Its id on the page.
        title: What people call it.
        kind: ``flow`` (bars up and down over time, and their sum), ``line`` (one figure over time), ``stack``
            (figures that add up), ``share`` (the same, as parts of a whole), ``bars`` (one figure, by
            names) or ``curves`` (one figure over ``by``, a curve per ``series``).
        cube: Where its figures come from.
        kpis: What is shown. For ``bars``, ``line`` and ``curves``, the reader chooses one of them.
        by: Dimensions along the axis. The reader chooses one; the first one is shown at first.
        series: For ``curves``, the dimension that tells the curves apart.
        base: For ``curves``, the figure that says how much a rate stands on.
        below: Figures that are shown as negative.
        ranked: For ``share``, whether the figures go from harmless to severe, as their colours then do.
        text: What one should know to read it.
    """

    name: str
    title: str
    kind: ChartKind
    cube: str
    kpis: tuple[str, ...]
    by: tuple[str, ...]
    series: str | None = None
    base: str | None = None
    below: tuple[str, ...] = ()
    ranked: bool = True
    text: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: Its id on the page.
        title: What people call it.
        reader: Who asks.
        figures: Figures at its top: cube and key figure.
        panels: Its charts.
        lists: Lists of the model that are shown as tables: ``tables``, ``runs``.
    """

    name: str
    title: str
    reader: str
    figures: tuple[tuple[str, str], ...]
    panels: tuple[Panel, ...]
    lists: tuple[str, ...] = ()


CURRENCY: Final = Dimension("currency", most=None)

SIGNS: Final = (
    "signs_structuring",
    "signs_fan_in",
    "signs_fan_out",
    "signs_pass_through",
    "signs_card_testing",
    "signs_account_takeover",
    "signs_velocity",
)
CUBES: Final = (
    Cube(
        "cash_flow",
        (Dimension("month", "month"), Dimension("branch_code"), CURRENCY),
        ("inflow", "outflow", "net_cash_flow"),
    ),
    Cube(
        "days",
        (Dimension("transaction_date", "day"), Dimension("branch_code", most=50), CURRENCY),
        ("transactions", "turnover", "failure_rate"),
    ),
    Cube(
        "channels",
        (
            Dimension("transaction_date", "month"),
            Dimension("branch_code", most=50),
            Dimension("channel"),
            Dimension("transaction_type"),
            CURRENCY,
        ),
        ("transactions", "turnover", "failure_rate"),
    ),
    Cube(
        "customers",
        (
            Dimension("segment"),
            Dimension("credit_band"),
            Dimension("country"),
            Dimension("kyc_status"),
            CURRENCY,
        ),
        ("customers", "active_customers", "active_customer_share", "deposits"),
    ),
    Cube(
        "portfolio",
        (Dimension("product"), Dimension("branch_code"), CURRENCY),
        (
            "exposure",
            "loans",
            "non_performing_ratio",
            "delinquency_rate_30",
            "exposure_current",
            "exposure_1_30",
            "exposure_31_60",
            "exposure_61_90",
            "exposure_over_90",
            "stage_2_share",
            "exposure_stage_1",
            "exposure_stage_2",
            "exposure_stage_3",
        ),
    ),
    Cube(
        "vintages",
        (
            Dimension("vintage", "month"),
            Dimension("product"),
            CURRENCY,
            Dimension("months_on_book", most=None),
        ),
        ("vintage_default_rate", "vintage_delinquency_rate", "vintage_loans"),
    ),
    Cube(
        "payments",
        (
            Dimension("due_month", "month"),
            Dimension("product"),
            Dimension("branch_code"),
            CURRENCY,
        ),
        (
            "on_time_rate",
            "collection_rate",
            "instalments_on_time",
            "instalments_late_1_30",
            "instalments_late_31_90",
            "instalments_late_over_90",
            "instalments_partial",
            "instalments_missed",
        ),
        only=PAYMENT_PERFORMANCE.shown_where,  # the others are due in years to come
    ),
    Cube(
        "signals",
        (Dimension("activity_date", "day"), CURRENCY),
        (
            "fraud_alerts",
            "fraud_alert_rate",
            "fraud_alerts_of_several_signs",
            "flagged_amount",
        ),
    ),
    Cube(
        "signs",
        (Dimension("activity_month", "month"), CURRENCY),
        SIGNS,
    ),
    Cube(
        "rows",
        (Dimension("entity"),),
        (
            "rows_read",
            "rows_inserted",
            "rows_updated",
            "rows_duplicate",
            "rows_stale",
            "rows_in_quarantine",
            "quarantine_rate",
            "unaccounted_rows",
        ),
    ),
    Cube("reasons", (Dimension("reason", most=500), Dimension("entity")), ("quarantine_reasons",)),
)

SECTIONS: Final = (
    Section(
        "branches",
        "Cash flow and customers",
        "branch manager",
        (
            ("cash_flow", "inflow"),
            ("cash_flow", "outflow"),
            ("cash_flow", "net_cash_flow"),
            ("days", "transactions"),
            ("days", "failure_rate"),
            ("customers", "customers"),
            ("customers", "active_customer_share"),
            ("customers", "deposits"),
        ),
        (
            Panel(
                "cash-flow",
                "Cash flow",
                "flow",
                "cash_flow",
                ("inflow", "outflow", "net_cash_flow"),
                ("month", "branch_code", "currency"),
                below=("outflow",),
                text="Booked credits above the line, booked debits below it.",
            ),
            Panel(
                "days",
                "Transactions by day",
                "line",
                "days",
                ("transactions", "turnover", "failure_rate"),
                ("transaction_date",),
            ),
            Panel(
                "channels",
                "Transactions by kind",
                "bars",
                "channels",
                ("transactions", "turnover", "failure_rate"),
                ("transaction_type", "channel", "branch_code", "currency"),
            ),
            Panel(
                "customers",
                "Customers",
                "bars",
                "customers",
                ("customers", "active_customer_share", "deposits"),
                ("segment", "credit_band", "country", "kyc_status", "currency"),
                text="Of all customers whose currency is selected; they belong to no branch.",
            ),
        ),
    ),
    Section(
        "credit",
        "Loans, delinquency and payments",
        "credit risk",
        (
            ("portfolio", "exposure"),
            ("portfolio", "loans"),
            ("portfolio", "delinquency_rate_30"),
            ("portfolio", "non_performing_ratio"),
            ("portfolio", "stage_2_share"),
            ("payments", "on_time_rate"),
            ("payments", "collection_rate"),
        ),
        (
            Panel(
                "buckets",
                "Days past due",
                "share",
                "portfolio",
                (
                    "exposure_current",
                    "exposure_1_30",
                    "exposure_31_60",
                    "exposure_61_90",
                    "exposure_over_90",
                ),
                ("product", "branch_code", "currency"),
                text="Exposure by how long its oldest unpaid instalment has been due.",
            ),
            Panel(
                "stages",
                "IFRS 9 stages",
                "share",
                "portfolio",
                ("exposure_stage_1", "exposure_stage_2", "exposure_stage_3"),
                ("product", "branch_code", "currency"),
                text="Exposure by stage of impairment.",
            ),
            Panel(
                "portfolio",
                "Portfolio",
                "bars",
                "portfolio",
                ("exposure", "non_performing_ratio", "delinquency_rate_30", "loans"),
                ("branch_code", "product", "currency"),
            ),
            Panel(
                "vintages",
                "Vintages",
                "curves",
                "vintages",
                ("vintage_default_rate", "vintage_delinquency_rate"),
                ("months_on_book",),
                series="vintage",
                base="vintage_loans",
                text="What became of loans that began in the same month, by their age in months.",
            ),
            Panel(
                "payments",
                "Instalments by month due",
                "share",
                "payments",
                (
                    "instalments_on_time",
                    "instalments_late_1_30",
                    "instalments_late_31_90",
                    "instalments_late_over_90",
                    "instalments_partial",
                    "instalments_missed",
                ),
                ("due_month", "product", "branch_code", "currency"),
                text="Instalments that have fallen due, by how they were paid.",
            ),
            Panel(
                "collected",
                "Payment performance",
                "line",
                "payments",
                ("collection_rate", "on_time_rate"),
                ("due_month",),
            ),
        ),
    ),
    Section(
        "crime",
        "Signs of financial crime",
        "financial crime",
        (
            ("signals", "fraud_alerts"),
            ("signals", "fraud_alert_rate"),
            ("signals", "fraud_alerts_of_several_signs"),
            ("signals", "flagged_amount"),
        ),
        (
            Panel(
                "alerts",
                "Alerts by day",
                "line",
                "signals",
                ("fraud_alerts", "fraud_alert_rate", "fraud_alerts_of_several_signs", "flagged_amount"),
                ("activity_date",),
                text="Days of accounts with a sign: reasons to look, not verdicts.",
            ),
            Panel(
                "signs",
                "Alerts by sign",
                "share",
                "signs",
                SIGNS,
                ("activity_month", "currency"),
                ranked=False,
                text="A day of an account with several signs counts for each.",
            ),
        ),
    ),
    Section(
        "data",
        "Data quality and runs",
        "data engineering",
        (
            ("rows", "rows_read"),
            ("rows", "rows_in_quarantine"),
            ("rows", "quarantine_rate"),
            ("rows", "unaccounted_rows"),
        ),
        (
            Panel(
                "rows",
                "Rows by outcome",
                "share",
                "rows",
                (
                    "rows_inserted",
                    "rows_updated",
                    "rows_duplicate",
                    "rows_stale",
                    "rows_in_quarantine",
                ),
                ("entity",),
                text="Every row that was read has exactly one outcome.",
            ),
            Panel(
                "reasons",
                "Quarantine by rule",
                "bars",
                "reasons",
                ("quarantine_reasons",),
                ("reason", "entity"),
                text="Rows in quarantine; a row that broke several rules counts for each.",
            ),
        ),
        lists=("tables", "runs"),
    ),
)
