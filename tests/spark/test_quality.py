"""Which rule keeps which row out of Silver: every rule of every entity, with and without ANSI mode."""

from __future__ import annotations

from datetime import date

import pytest
from makers import VALID, judged, row

from contracts import load_contract, load_contracts
from contracts.rules import UNKNOWN_OPERATION, rules
from pipeline import quality

pytestmark = pytest.mark.spark

# Changed values of an otherwise valid row, and the reasons that they must give.
BROKEN = {
    "customers": [
        ({}, ""),
        ({"customer_id": ""}, "missing_key:customer_id"),
        ({"customer_id": " \u00a0"}, "missing_key:customer_id"),
        ({"customer_id": "C" * 16}, ""),
        ({"customer_id": "C" * 17}, "too_long:customer_id"),
        ({"first_name": ""}, "missing_value:first_name"),
        ({"last_name": "é" * 100}, ""),
        ({"last_name": "é" * 101}, "too_long:last_name"),
        ({"email": "ann@example"}, "bad_email:email"),
        ({"email": "ann@@example.com"}, "bad_email:email"),
        ({"email": "ann lee@example.com"}, "bad_email:email"),
        ({"email": " ANN@EXAMPLE.COM "}, ""),
        ({"email": ""}, "missing_value:email"),
        ({"phone": ""}, ""),
        ({"phone": "030 123456"}, "bad_phone:phone"),
        ({"phone": "-"}, "bad_phone:phone"),
        ({"phone": "+49 (30) 123-456"}, ""),
        ({"date_of_birth": "31.12.1980"}, "malformed_date:date_of_birth"),
        ({"date_of_birth": ""}, "missing_value:date_of_birth"),
        ({"date_of_birth": "2020-01-01"}, "born_before_onboarding"),
        ({"country": "Germany"}, "bad_country:country;too_long:country"),
        ({"country": "de"}, ""),
        ({"segment": "vip"}, "known_segment:segment"),
        ({"kyc_status": "maybe"}, "known_kyc_status:kyc_status"),
        ({"credit_score": "299"}, "too_small:credit_score"),
        ({"credit_score": "300"}, ""),
        ({"credit_score": "850"}, ""),
        ({"credit_score": "851"}, "too_large:credit_score"),
        ({"credit_score": "7e2"}, "malformed_number:credit_score"),
        ({"credit_score": "99999999999"}, "malformed_number:credit_score"),
        ({"credit_score": ""}, ""),
        ({"annual_income": "-0.01"}, "too_small:annual_income"),
        ({"annual_income": "50.000,00"}, "malformed_number:annual_income"),
        ({"currency": "E1"}, "bad_currency:currency"),
        ({"currency": "EUR\u2028"}, ""),
        ({"onboarding_date": "2020-13-01"}, "malformed_date:onboarding_date"),
        ({"updated_at": "yesterday"}, "malformed_timestamp:updated_at"),
        ({"updated_at": ""}, "missing_value:updated_at"),
        ({"updated_at": "2024-06-02T23:59:59.999999Z"}, ""),
        ({"updated_at": "2024-06-03T00:00:00Z"}, "in_future:updated_at"),
        ({"updated_at": "2024-06-03T01:59:59+02:00"}, ""),
        ({"updated_at": "9999-12-31T23:59:59.999999Z", "op": "D"}, "in_future:updated_at"),
        ({"onboarding_date": "2024-06-02"}, ""),
        ({"onboarding_date": "2024-06-03"}, "in_future:onboarding_date"),
        (
            {"customer_id": "", "email": "x", "credit_score": "x", "segment": "x"},
            "missing_key:customer_id;bad_email:email;known_segment:segment;malformed_number:credit_score",
        ),
    ],
    "accounts": [
        ({}, ""),
        ({"account_id": ""}, "missing_key:account_id"),
        ({"customer_id": "C2"}, "unknown_parent:customer_id"),
        ({"customer_id": ""}, "missing_value:customer_id"),
        ({"iban": "DE89 3704 0044 0532 0130 00"}, ""),
        ({"iban": "D189370400440532013000"}, "bad_iban:iban"),
        ({"iban": "DE89" + "0" * 31}, "bad_iban:iban;too_long:iban"),
        ({"account_type": "bitcoin"}, "known_account_type:account_type"),
        ({"currency": "EURO"}, "bad_currency:currency;too_long:currency"),
        ({"balance": "-10000.55"}, ""),
        ({"balance": "1.005"}, "malformed_number:balance"),
        ({"overdraft_limit": "-1"}, "too_small:overdraft_limit"),
        ({"interest_rate": "1.5"}, "too_large:interest_rate"),
        ({"opening_channel": "fax"}, "known_opening_channel:opening_channel"),
        ({"status": "open"}, "known_status:status"),
        ({"closed_date": "2019-12-31"}, "closed_after_opened"),
        ({"closed_date": "2020-01-01"}, ""),
        ({"closed_date": "2055-01-01"}, ""),
        ({"opened_date": "2024-06-03"}, "in_future:opened_date"),
        ({"updated_at": "2055-01-01T00:00:00Z"}, "in_future:updated_at"),
        (
            {"closed_date": "2019-12-31", "customer_id": "C2", "status": "open"},
            "known_status:status;closed_after_opened;unknown_parent:customer_id",
        ),
    ],
    "loans": [
        ({}, ""),
        ({"loan_id": ""}, "missing_key:loan_id"),
        ({"customer_id": "c1"}, "unknown_parent:customer_id"),
        ({"product": "yacht"}, "known_product:product"),
        ({"principal": "0.00", "outstanding_principal": "0.00"}, "too_small:principal"),
        ({"principal": "0.01", "outstanding_principal": "0.01"}, ""),
        ({"annual_rate": "-0.01"}, "too_small:annual_rate"),
        ({"annual_rate": "4.5 %"}, "malformed_number:annual_rate"),
        ({"term_months": "0"}, "too_small:term_months"),
        ({"term_months": "601"}, "too_large:term_months"),
        ({"repayment_type": "never"}, "known_repayment_type:repayment_type"),
        ({"maturity_date": "2023-01-01"}, "matures_after_start"),
        ({"status": "lost"}, "known_status:status"),
        ({"outstanding_principal": "1200.01"}, "outstanding_within_principal"),
        ({"outstanding_principal": "1200.00"}, ""),
        ({"collateral_type": "boat"}, "known_collateral_type:collateral_type"),
        ({"collateral_value": "-1"}, "too_small:collateral_value"),
        ({"currency": "€"}, "bad_currency:currency"),
        ({"maturity_date": "2055-01-01"}, ""),
        (
            {"start_date": "2055-01-01", "maturity_date": "2056-01-01", "updated_at": "2055-01-01T00:00:00Z"},
            "in_future:start_date;in_future:updated_at",
        ),
    ],
    "payments": [
        ({}, ""),
        ({"payment_id": ""}, "missing_key:payment_id"),
        ({"loan_id": "L2"}, "unknown_parent:loan_id"),
        ({"installment_number": "0"}, "too_small:installment_number"),
        ({"due_date": "2023-02-30"}, "malformed_date:due_date"),
        ({"principal_due": "90.01"}, "parts_make_amount_due"),
        ({"interest_due": "x"}, "malformed_number:interest_due"),
        ({"paid_date": ""}, "paid_means_date"),
        ({"paid_date": "", "amount_paid": "0.00", "status": "missed"}, ""),
        ({"amount_paid": "-1.00"}, "too_small:amount_paid"),
        ({"late_fee": ""}, "missing_value:late_fee"),
        ({"method": "barter"}, "known_method:method"),
        ({"status": "lost"}, "known_status:status"),
        ({"currency": "eur"}, ""),
        ({"currency": "12"}, "bad_currency:currency"),
        ({"due_date": "2055-01-01"}, ""),
        ({"paid_date": "2055-01-01"}, "in_future:paid_date"),
        ({"updated_at": "2055-01-01T00:00:00Z"}, "in_future:updated_at"),
    ],
    "transactions": [
        ({}, ""),
        ({"transaction_id": ""}, "missing_key:transaction_id"),
        ({"account_id": "A2"}, "unknown_parent:account_id"),
        ({"transaction_at": "2024-01-01"}, "malformed_timestamp:transaction_at"),
        ({"booking_date": ""}, ""),
        ({"booking_date": "x"}, "malformed_date:booking_date"),
        ({"transaction_type": "gift"}, "known_transaction_type:transaction_type"),
        ({"direction": "sideways"}, "known_direction:direction"),
        ({"channel": "pigeon"}, "known_channel:channel"),
        ({"merchant_category_code": "541"}, "bad_merchant_category_code:merchant_category_code"),
        ({"merchant_name": ""}, ""),
        ({"category": ""}, "missing_value:category"),
        ({"amount": "0"}, "too_small:amount"),
        ({"amount": "0.01"}, ""),
        ({"amount": "99999999999999999.00"}, "malformed_number:amount"),
        ({"currency": "EU"}, "bad_currency:currency"),
        ({"description": "x" * 281}, "too_long:description"),
        ({"transaction_at": "2055-01-01T00:00:00Z"}, "in_future:transaction_at"),
        ({"booking_date": "2055-01-01"}, "in_future:booking_date"),
        ({"updated_at": "2055-01-01T00:00:00Z"}, "in_future:updated_at"),
        ({"status": "lost"}, "known_status:status"),
    ],
}


@pytest.mark.parametrize("on", [False, True], ids=["ansi off", "ansi on"])
@pytest.mark.parametrize("entity", BROKEN)
def test_a_broken_value_gives_exactly_its_reasons(spark, ansi, entity, on):
    with ansi(on):
        rows = judged(spark, entity, [row(entity, **changes) for changes, _ in BROKEN[entity]]).collect()
    found = {found["_source_row"]: found["_reasons"] for found in rows}
    assert [found[line] for line in range(len(BROKEN[entity]))] == [reasons for _, reasons in BROKEN[entity]]


@pytest.mark.parametrize("entity", list(load_contracts()))
def test_every_named_rule_of_a_contract_is_tried_out_above(entity):
    contract = load_contract(entity)
    rules = {rule.name for rule in contract.row_rules}
    for column in contract.source_columns:
        rules |= {f"{column.allowed_values_rule}:{column.name}"} if column.allowed_values else set()
        rules |= {f"{column.pattern_rule}:{column.name}"} if column.pattern else set()
        rules |= {f"unknown_parent:{column.name}"} if column.parent else set()
        rules |= {f"in_future:{column.name}"} if column.not_in_future else set()
        rules |= {f"missing_key:{column.name}"} if column.name in contract.key else set()
    tried = {reason for _, reasons in BROKEN[entity] for reason in reasons.split(";")}
    assert rules <= tried, rules - tried


@pytest.mark.parametrize("entity", list(load_contracts()))
def test_an_optional_value_may_be_missing_and_a_required_one_may_not(spark, entity):
    contract = load_contract(entity)
    columns = [column for column in contract.source_columns if column.name != "paid_date"]
    rows = judged(spark, entity, [row(entity, **{column.name: ""}) for column in columns]).collect()
    for column, found in zip(columns, sorted(rows, key=lambda found: found["_source_row"]), strict=True):
        kind = "missing_key" if column.name in contract.key else "missing_value"
        assert found["_reasons"] == (f"{kind}:{column.name}" if column.required else "")


def test_a_line_that_could_not_be_split_has_that_one_reason(spark):
    empty = dict.fromkeys(VALID["loans"])
    (found,) = judged(spark, "loans", [empty], problem="stray_quote").collect()
    assert found["_reasons"] == "stray_quote"


def test_only_valid_rows_have_a_hash_and_only_others_keep_their_line(spark):
    good, bad = (
        judged(spark, "loans", [row("loans"), row("loans", status="x")]).orderBy("_source_row").collect()
    )
    assert (good["_raw"], bad["_raw"]) == (None, "raw")
    assert len(good["_row_hash"]) == 32
    assert bad["_row_hash"] is None


@pytest.mark.parametrize("entity", load_contracts())
def test_the_rules_in_words_are_those_that_are_checked(spark, entity):
    contract = load_contract(entity)
    checked = [
        f"{rule}:{column.name}"
        for column in contract.source_columns
        for rule, _ in quality._column_checks(column, contract)
    ]
    checked.append(f"{UNKNOWN_OPERATION}:{contract.operation_column}")
    checked += [rule.name for rule in contract.row_rules]
    checked += [quality.orphan_reason(column) for column in contract.parents]
    assert list(rules(contract)) == checked


def test_a_file_came_on_the_day_of_its_folder_or_else_when_it_is_read(spark):
    paths = [
        f"s3://b/loans/{folder}f.csv" for folder in ("ingest_date=2024-02-29/", "ingest_date=2024-02-30/", "")
    ]
    read_on, leap_day = date(2024, 6, 1), date(2024, 2, 29)
    frame = spark.createDataFrame([(path,) for path in paths], "_source_file string").coalesce(1)
    for files in (paths, ()):
        rows = frame.select(quality.came_on(files, read_on)).collect()
        assert [day for (day,) in rows] == [leap_day, read_on, read_on]
    for path, day in zip(paths, (leap_day, read_on, read_on), strict=True):
        assert frame.select(quality.came_on([path], read_on).alias("day")).distinct().collect() == [(day,)]
