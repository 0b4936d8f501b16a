"""Clean rows satisfy their contracts, and make sense as a bank's data."""

from datetime import date, datetime

import polars as pl
import pytest

from contracts import Column, load_contract, load_contracts
from datagen import generate, generator
from datagen.iban import UNIQUE_DIGITS, unique_number
from datagen.schedule import Plan, ingest_date

SCALE = 400
BATCHES = (0, 1, 2, 15, 29, 70)
ENTITIES = tuple(load_contracts())
ALWAYS_KNOWN = {"street_address", "city", "postal_code", "interest_rate", "opening_channel", "description"}
"""Columns that may be null, and are not for customers of this bank."""


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Clean rows by batch and entity, typed as the contract says."""
    out = tmp_path_factory.mktemp("clean")
    frames = {}
    for batch in BATCHES:
        manifest = generate(out, scale=SCALE, batch=batch, dirty=0)
        for name, entity in manifest.entities.items():
            raw = pl.concat([pl.read_csv(out / file.path, infer_schema=False) for file in entity.files])
            frames[batch, name] = typed(name, raw)
    return frames


def typed(name: str, raw: pl.DataFrame) -> pl.DataFrame:
    columns = load_contract(name).source_columns
    assert raw.columns == [column.name for column in columns]
    return raw.select(cast(column) for column in columns)


def cast(column: Column) -> pl.Expr:
    """Strict: a value that is not of the contract's type fails the test."""
    value = pl.col(column.name)
    if column.physical_type == "timestamp":
        return value.str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    if column.physical_type == "date":
        return value.str.to_date("%Y-%m-%d")
    if column.is_decimal:
        precision, scale = map(int, column.physical_type[8:-1].split(","))
        return value.cast(pl.Decimal(precision, scale))
    return value.cast({"string": pl.String, "int": pl.Int32, "bigint": pl.Int64}[column.physical_type])


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", ENTITIES)
def test_clean_rows_satisfy_every_rule_of_the_contract(batches, name, batch):
    frame, contract = batches[batch, name], load_contract(name)
    assert frame.height > 0
    assert frame.select(contract.key).is_duplicated().sum() == 0
    for column in contract.source_columns:
        values = frame[column.name]
        if column.required:
            assert values.null_count() == 0, column.name
        present = values.drop_nulls()
        if column.allowed_values:
            assert set(present) <= set(column.allowed_values), column.name
        if column.pattern:
            assert present.str.contains(column.pattern).all(), column.name
        if column.minimum is not None:
            assert (present.cast(pl.Float64) >= column.minimum).all(), column.name
        if column.maximum is not None:
            assert (present.cast(pl.Float64) <= column.maximum).all(), column.name
        if column.max_length is not None:
            assert (present.str.len_chars() <= column.max_length).all(), column.name
        if column.physical_type == "string":
            assert (present == present.str.strip_chars()).all(), column.name
            assert (present != "").all(), column.name
    for rule in contract.row_rules:
        assert frame.select(pl.sql_expr(rule.predicate).fill_null(True).all()).item(), rule.name


@pytest.mark.parametrize("entity", generator.ENTITIES, ids=lambda entity: entity.name)
def test_every_value_of_a_closed_list_is_used_and_nullable_columns_have_values_and_nulls(entity):
    plan = Plan(1, 20_000)
    blocks = [entity.block(plan, batch, 0) for batch in (0, 1)]
    frames = [entity.rows(plan, block.index, batch) for batch, block in enumerate(blocks)]
    frame = pl.concat(frames)
    for column in load_contract(entity.name).source_columns:
        if column.allowed_values:
            assert set(frame[column.name].drop_nulls()) == set(column.allowed_values), column.name
        nulls = frame[column.name].null_count()
        if not column.required and column.name not in ALWAYS_KNOWN:
            assert 0 < nulls < frame.height, column.name


@pytest.mark.parametrize("name", ENTITIES)
def test_parents_are_there_by_the_end_of_the_batch(batches, name):
    for column in load_contract(name).parents:
        parents = set(batches[0, column.parent_entity][column.parent_column])
        for batch in (0, 1, 2):
            parents |= set(batches[batch, column.parent_entity][column.parent_column])
            assert set(batches[batch, name][column.name]) <= parents


@pytest.mark.parametrize("name", ENTITIES)
def test_nothing_is_dated_after_its_batch(batches, name):
    for batch in BATCHES:
        end = datetime.combine(ingest_date(batch), datetime.max.time())
        updated = batches[batch, name]["updated_at"]
        assert updated.max() <= end
        if batch:
            assert updated.min() >= datetime.combine(ingest_date(batch), datetime.min.time())


def test_ibans_are_valid_and_unique(batches):
    accounts = pl.concat(batches[batch, "accounts"] for batch in BATCHES)
    counterparties = batches[0, "transactions"]["counterparty_iban"].drop_nulls()
    lengths = {"DE": 22, "FR": 27, "GB": 22, "ES": 24, "IT": 27, "NL": 18, "CH": 21, "PL": 28}
    for iban in [*accounts["iban"], *counterparties]:
        moved = iban[4:] + iban[:4]
        assert int("".join(str(int(character, 36)) for character in moved)) % 97 == 1, iban
        assert len(iban) == lengths[iban[:2]], iban
    assert accounts.group_by("account_id").agg(pl.col("iban").n_unique())["iban"].max() == 1
    assert accounts["iban"].n_unique() == accounts["account_id"].n_unique()


def test_account_numbers_repeat_only_after_all_of_them_are_used():
    import numpy as np

    index = np.arange(300_000)
    assert len(np.unique(unique_number(index, 12345))) == len(index)
    assert unique_number(np.array([10**UNIQUE_DIGITS]), 5)[0] == unique_number(np.array([0]), 5)[0]


def test_emails_are_unique_and_go_nowhere(batches):
    customers = batches[0, "customers"]
    assert customers["email"].n_unique() == SCALE
    assert customers["email"].str.contains(r"[@.]example\.(com|org|net)$").all()


def test_better_incomes_have_better_scores(batches):
    retail = batches[0, "customers"].filter(segment="retail").drop_nulls(["annual_income", "credit_score"])
    germans = retail.filter(country="DE").with_columns(pl.col("annual_income").cast(pl.Float64))
    assert germans.select(pl.corr("annual_income", "credit_score", method="spearman")).item() > 0.3


def test_customers_are_grown_up(batches):
    ages = batches[0, "customers"].select(
        (pl.col("onboarding_date") - pl.col("date_of_birth")).dt.total_days()
    )
    assert ages.min().item() >= 18 * 365


def test_accounts_open_after_their_customer_joins(batches):
    joined = batches[0, "accounts"].join(batches[0, "customers"], on="customer_id")
    assert joined.height == batches[0, "accounts"].height
    assert (joined["opened_date"] >= joined["onboarding_date"]).all()
    assert (joined["currency"] == joined["currency_right"]).all()
    assert (joined["closed_date"].is_not_null() == (joined["status"] == "closed")).all()
    assert set(batches[0, "customers"]["customer_id"]) == set(joined["customer_id"])


def test_overdrafts_stay_within_their_limit(batches):
    accounts = batches[0, "accounts"]
    assert (accounts["balance"] + accounts["overdraft_limit"] >= 0).all()
    assert (accounts["balance"] < 0).any()


def test_money_moves_only_on_accounts_that_are_open(batches):
    moves = batches[0, "transactions"].join(batches[0, "accounts"], on="account_id")
    day = moves["transaction_at"].dt.date()
    assert (day >= moves["opened_date"]).all()
    assert ((moves["closed_date"] < day).sum() or 0) <= moves.height / 1000


def test_the_direction_of_a_transaction_follows_from_its_type(batches):
    moves = pl.concat(batches[batch, "transactions"] for batch in BATCHES)
    incoming = ["transfer_in", "cash_deposit", "salary", "interest", "refund"]
    assert ((moves["direction"] == "credit") == moves["transaction_type"].is_in(incoming)).all()


def test_merchants_have_one_category_and_others_have_none(batches):
    moves = batches[0, "transactions"]
    shops = moves["transaction_type"].is_in(["card_payment", "refund"])
    assert (moves["merchant_name"].is_not_null() == shops).all()
    assert (moves["merchant_category_code"].is_not_null() == shops).all()
    codes = moves.filter(shops).group_by("category").agg(pl.col("merchant_category_code").n_unique())
    assert codes["merchant_category_code"].to_list() == [1] * 12
    transfers = moves["transaction_type"].is_in(["transfer_in", "transfer_out"])
    assert (moves["counterparty_iban"].is_not_null() == transfers).all()


def test_only_booked_money_has_a_booking_date(batches):
    for batch in BATCHES:
        moves = batches[batch, "transactions"]
        booked = moves["status"].is_in(["booked", "reversed"])
        assert (moves["booking_date"].is_not_null() == booked).all()
        assert (moves["booking_date"] >= moves["transaction_at"].dt.date()).all()
        assert (moves["updated_at"] >= moves["transaction_at"]).all()


def test_late_transactions_happened_weeks_before_they_arrive(tmp_path, batches):
    arrival = ingest_date(2)
    manifest = generate(tmp_path, scale=SCALE, batch=2, dirty=0)
    age = [(arrival - day).days for day in batches[2, "transactions"]["transaction_at"].dt.date()]
    assert sum(14 <= days < 42 for days in age) == manifest.entities["transactions"].late > 0
    assert {days for days in age if days < 14} <= {0, 1, 6}


def test_schedules_add_up_to_the_principal(batches):
    loans, payments = batches[0, "loans"], batches[0, "payments"]
    paid = payments.filter(status="paid").group_by("loan_id").agg(pl.col("principal_due").sum())
    both = loans.join(paid, on="loan_id")
    assert both.height > 100
    assert (both["outstanding_principal"] + both["principal_due"] == both["principal"]).all()
    repaid = loans.filter(status="paid_off")
    assert (repaid["outstanding_principal"] == 0).all()
    assert (loans.filter(pl.col("status") != "paid_off")["outstanding_principal"] > 0).all()


def test_annuities_are_level_to_the_cent_until_the_last_one(batches):
    payments = batches[0, "payments"].join(batches[0, "loans"].filter(repayment_type="annuity"), on="loan_id")
    last = pl.col("installment_number") == pl.col("installment_number").max().over("loan_id")
    repaid_early = (pl.col("status_right") == "paid_off") & last
    regular = payments.filter(pl.col("installment_number") < pl.col("term_months"), ~repaid_early)
    as_agreed = pl.col("amount_due").n_unique().over("loan_id") == 1  # no part is repaid early
    assert regular.filter(~as_agreed)["loan_id"].n_unique() < 0.2 * regular["loan_id"].n_unique()
    regular = regular.filter(as_agreed)
    assert regular.group_by("loan_id").agg(pl.col("amount_due").n_unique())["amount_due"].max() == 1
    rate = regular["annual_rate"].cast(pl.Float64) / 12
    principal = regular["principal"].cast(pl.Float64)
    expected = principal * rate / (1 - (1 + rate).pow(-regular["term_months"].cast(pl.Float64)))
    assert ((expected - regular["amount_due"].cast(pl.Float64)).abs() < 0.0051).all()


def test_instalments_are_due_once_a_month_and_the_next_one_is_scheduled(batches):
    payments = batches[0, "payments"].sort("loan_id", "installment_number")
    gaps = payments.select(
        (pl.col("due_date") - pl.col("due_date").shift().over("loan_id"))
        .dt.total_days()
        .drop_nulls()
        .unique()
    )
    assert set(gaps.to_series()) <= {28, 29, 30, 31}
    open_ = payments.filter(status="scheduled")
    assert open_["loan_id"].n_unique() == open_.height
    assert (open_["due_date"] > ingest_date(0)).all()
    assert (payments.filter(pl.col("status") != "scheduled")["due_date"] <= ingest_date(0)).all()


def test_most_instalments_are_paid_and_some_are_late_partial_or_missed(batches):
    shares = dict(batches[0, "payments"]["status"].value_counts(normalize=True).iter_rows())
    assert shares["paid"] > 0.7
    assert 0 < shares["partial"] < 0.03
    assert 0 < shares["missed"] < 0.06
    late = batches[0, "payments"].filter(pl.col("paid_date") > pl.col("due_date"))
    assert 0 < late.height < 0.08 * batches[0, "payments"].height
    assert (late["late_fee"] > 0).all()


def test_loans_are_secured_by_what_they_buy(batches):
    loans = batches[0, "loans"]
    kinds = dict(
        loans.filter(pl.col("product").is_in(["mortgage", "auto"]))["product", "collateral_type"].iter_rows()
    )
    assert kinds == {"mortgage": "property", "auto": "vehicle"}
    assert (loans["collateral_value"].is_null() == (loans["collateral_type"] == "none")).all()


def test_a_changed_customer_differs_in_more_than_its_timestamp(batches):
    before = batches[0, "customers"].drop("updated_at")
    changed = batches[1, "customers"].filter(pl.col("onboarding_date") < date(2026, 1, 1))
    assert 0.01 * SCALE < changed.height < 0.03 * SCALE
    assert (
        changed.drop("updated_at").join(before, on=before.columns, how="semi", nulls_equal=True).height == 0
    )
