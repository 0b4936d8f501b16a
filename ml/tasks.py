"""What is predicted from what: one :class:`Task` per model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A model's question.

    Attributes:
        name: What commands call it.
        title: What people call it.
        question: What the probability is of, in a sentence.
        use: What it is for, and what not.
        key: Columns that tell rows apart.
        group: Column whose rows belong together, never a feature: cross-validation and calibration never
            split them, and the bootstrap draws them together.
        date: Column with the day of which features know nothing later.
        label: Column with the truth; null where it is not known yet.
        numbers: Numeric features.
        skewed: Those of them whose logarithm is used: amounts and their like, none below zero.
        categories: Categorical features.
        segments: Columns by which fairness is measured.
        horizon_months: Months after ``date`` until the label is known.
        gap_days: Days after ``date`` within which rows of one story may lie.
        criterion: Metric by which kinds of models are compared, a name of :data:`ml.metrics.METRICS`.
        flagged_share: Share of rows that someone would look at; decides the threshold of fairness.
        limits: What a reader of the card should know.
    """

    name: str
    title: str
    question: str
    use: str
    key: tuple[str, ...]
    group: str
    date: str
    label: str
    numbers: tuple[str, ...]
    skewed: frozenset[str]
    categories: tuple[str, ...]
    segments: tuple[str, ...]
    horizon_months: int
    gap_days: int
    criterion: str
    flagged_share: float
    limits: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all features."""
        return self.numbers + self.categories

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that training needs."""
        return tuple(
            dict.fromkeys((*self.key, self.group, self.date, self.label, *self.features, *self.segments))
        )


DEFAULT = Task(
    name="default",
    title="Probability of default",
    question="The probability that a performing loan comes into default (more than 90 days past due, "
    "Regulation (EU) No 575/2013, Article 178) within 12 months after the observation date.",
    use="Ranking performing loans for early contact, and provisions of a portfolio. Not for granting loans: "
    "nobody who was refused one is in the data.",
    key=("loan_id", "observation_date"),
    group="customer_id",  # whose credit score, income and habits all loans of a borrower share
    date="observation_date",
    label="default_within_12_months",
    numbers=(
        "annual_rate", "term_months", "months_on_book", "months_left", "repaid_share", "loan_to_value",
        "loan_to_income", "installment_to_income", "overdue_installments", "days_past_due",
        "worst_days_past_due_12m", "worst_days_past_due", "late_installments_12m", "has_repaid_extra",
        "credit_score",
    ),
    skewed=frozenset(
        {"loan_to_value", "loan_to_income", "installment_to_income", "days_past_due",
         "worst_days_past_due", "worst_days_past_due_12m"}
    ),
    categories=("product", "repayment_type", "collateral_type", "credit_band"),
    segments=("segment", "country"),
    horizon_months=12,
    gap_days=0,
    criterion="auc",
    flagged_share=0.10,
    limits=(
        "Age is no feature and no segment here: the date of birth is personal data that never reaches Gold. "
        "Whoever has to measure fairness by age does it in Silver.",
        "Segment and country are not features either; fairness by them is measured.",
        "Income counts only against what is owed in the same currency: nothing is converted. Of a loan in "
        "another currency than its borrower's, the model knows that these shares of income are missing.",
        "Borrowers are taken for independent of each other: what hits many at once, as a recession does, "
        "makes intervals too narrow.",
        "Customers whose version at that time the bank does not know have no score and no shares of income; "
        "the model knows that they are missing.",
    ),
)  # fmt: skip

FRAUD = Task(
    name="fraud",
    title="Transaction fraud",
    question="The probability that a transaction belongs to fraud or laundering, from what is known then.",
    use="Ranking transactions for people who look at them. Not for blocking accounts without a person.",
    key=("transaction_id",),
    group="account_id",
    date="transaction_date",
    label="is_fraud",
    numbers=(
        "amount_to_threshold", "transactions_24h", "same_kind_24h", "days_since_activity",
        "transaction_count_7d", "transaction_count_30d", "near_threshold_cash_count_10d", "sender_count_3d",
        "receiver_count_3d", "transfer_in_to_threshold_7d", "transfer_out_to_threshold_7d",
        "small_online_card_count_2d", "signal_count",
    ),
    skewed=frozenset(
        {"amount_to_threshold", "transactions_24h", "same_kind_24h", "transaction_count_7d",
        "transaction_count_30d",
         "transfer_in_to_threshold_7d", "transfer_out_to_threshold_7d"}
    ),
    categories=("kind", "account_type", "weekday"),
    segments=("segment", "country"),
    horizon_months=0,
    gap_days=10,
    criterion="pr_auc",
    flagged_share=0.01,
    limits=(
        "Who is on the other side is no feature. In generated data only schemes move money between two "
        "of the bank's accounts, so that it would give them away, as it would not in a real bank.",
        "Signs are those of the account's days before; of the day itself only what came before the "
        "transaction counts.",
        "A scheme that runs over several accounts counts as several: intervals are too narrow.",
    ),
)  # fmt: skip

TASKS = {task.name: task for task in (DEFAULT, FRAUD)}
