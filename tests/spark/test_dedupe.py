"""Row hashes differ exactly where rows do, and every row gets the outcome that a plain model gives it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations, groupby

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from makers import judged, row
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812

from contracts import Column, Contract, entities, load_contract
from pipeline import erasure
from pipeline.dedupe import classify, row_hash
from pipeline.silver import classified_schema

pytestmark = pytest.mark.spark

TEXTS = Contract(
    entity="things",
    version="1.0.0",
    description="",
    columns=tuple(Column(name, "string", name) for name in ("a", "b", "c")),
    key=("a",),
    version_column="c",
)

ADVERSARIAL = [
    (None, None, None),
    ("", None, None),
    (None, "", None),
    (None, None, ""),
    ("", "", ""),
    ("-", None, None),
    (None, "-", None),
    ("--", None, None),
    ("null", None, None),
    ("a", "b", "c"),
    ("ab", "", "c"),
    ("", "ab", "c"),
    ("abc", "", ""),
    ("a,b", "c", ""),
    ("a", "b,c", ""),
    ("a|b", "c", ""),
    ("a\u0001b", "c", None),
    ("a", "b\u0001c", None),
    ("a\u0000", "b", None),
    ("a", "\u0000b", None),
    ("1:a", None, None),
    ("a", "1:b", None),
    ("a1:b", None, None),
    ("a-", None, None),
    ("a", "-", None),
    ("1:a1:b", "", ""),
    ("ä", None, None),
    ("a\u0308", None, None),
    ("Ä", None, None),
    ("A\u0308", None, None),
    ("Å", None, None),
    ("\u212b", None, None),
    ("\u017f", None, None),
    ("s", None, None),
    ("😀", None, None),
    ("\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16") * 2, None, None),
    ("a ", None, None),
    (" a", None, None),
    ("a\u00a0", None, None),
    ("a\u200b", None, None),
    ("x" * 9, "y", None),
    ("x" * 10, "y", None),
    ("x" * 10 + "1:y", None, None),
]


def test_texts_have_the_same_hash_only_when_they_are_the_same(spark):
    frame = spark.createDataFrame(ADVERSARIAL * 2, "a string, b string, c string")
    frame = frame.withColumn("_is_deleted", F.lit(False))
    hashes = {}
    for found in frame.select("a", "b", "c", row_hash(TEXTS).alias("h")).collect():
        hashes.setdefault((found["a"], found["b"], found["c"]), set()).add(bytes(found["h"]))
    assert len(hashes) == len(ADVERSARIAL)
    assert all(len(found) == 1 for found in hashes.values())
    for (left, one), (right, other) in combinations(hashes.items(), 2):
        assert one != other, (left, right)


WIDE = replace(
    TEXTS,
    columns=(
        Column("k", "string", ""),
        Column("v", "timestamp", ""),
        Column("n", "int", ""),
        Column("money", "decimal(9,2)", ""),
        Column("rate", "decimal(12,8)", ""),
        Column("whole", "decimal(9,0)", ""),
        Column("yes", "boolean", ""),
        Column("day", "date", ""),
    ),
    key=("k",),
    version_column="v",
)
WIDE_ROWS = st.tuples(
    st.text(max_size=4).map(lambda text: text.encode("utf-8", "ignore").decode()),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    *[
        st.none() | values
        for values in (
            st.integers(-(2**31), 2**31 - 1),
            st.decimals(-(10**7) + 1, 10**7 - 1, places=2),
            st.decimals(-(10**4) + 1, 10**4 - 1, places=8) | st.just(Decimal("0.00000001")),
            st.decimals(-(10**9) + 1, 10**9 - 1, places=0),
            st.booleans(),
            st.dates(),
        )
    ],
)


def wide_hashes(spark, rows, contract=WIDE, additional=()):
    """The rows' hashes, in their order."""
    types = {column.name: column.physical_type for column in contract.columns} | dict.fromkeys(
        additional, "string"
    )
    fields = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
    frame = spark.createDataFrame(
        [(*(row.get(name) for name in types), number) for number, row in enumerate(rows)],
        f"{fields}, number int",
    ).withColumn("_is_deleted", F.lit(False))
    found = frame.select("number", row_hash(contract, additional).alias("h")).orderBy("number").collect()
    return [bytes(one["h"]) for one in found]


@pytest.fixture(scope="module")
def wide_rows():
    found = []

    @settings(max_examples=300, database=None, derandomize=True, phases=[Phase.generate])
    @given(WIDE_ROWS)
    def collect(values):
        found.append(dict(zip((column.name for column in WIDE.columns), values, strict=True)))

    collect()
    return [{**row, "v": row["v"].replace(tzinfo=UTC)} for row in found]


@pytest.mark.parametrize("ansi", ["true", "false"])
def test_an_erasure_makes_the_hashes_that_a_load_makes(spark, wide_rows, ansi):
    before = spark.conf.get("spark.sql.ansi.enabled")
    spark.conf.set("spark.sql.ansi.enabled", ansi)
    try:
        hashes = wide_hashes(spark, wide_rows)
    finally:
        spark.conf.set("spark.sql.ansi.enabled", before)
    assert hashes == [erasure.row_hash(row, WIDE.columns) for row in wide_rows]


def test_a_hash_stays_when_columns_are_added_moved_or_widened(spark, wide_rows):
    wider = {"n": "bigint", "money": "decimal(20,7)", "whole": "decimal(12,2)"}
    columns = [replace(c, physical_type=wider.get(c.name, c.physical_type)) for c in WIDE.columns]
    changed = replace(WIDE, columns=(Column("added", "date", ""), *reversed(columns)))
    assert wide_hashes(spark, wide_rows, changed, ("b", "a")) == wide_hashes(spark, wide_rows)


def test_a_value_counts_for_its_column_and_for_no_other(spark):
    rows = [{"a=1:x2:b": "y"}, {"a": "x", "b": "y"}, {"a": "y", "b": "x"}, {"a": "x", "a=1:x2:b": "y"}]
    rows += [{"1:b": "y"}, {"b": "1:b=1:y"}, {"b": "y"}]
    moment = {"k": "K", "v": datetime(2024, 1, 1, tzinfo=UTC)}
    names = sorted({name for row in rows for name in row})
    hashes = wide_hashes(spark, [row | moment for row in rows], additional=names)
    assert len(set(hashes)) == len(rows)


def test_rows_that_only_differ_in_how_they_are_written_have_the_same_hash(spark):
    rows = [
        row("customers"),
        row("customers", email=" ANN.LEE@example.COM", country="de", phone="+49 30-123456"),
        row("customers", annual_income="+050000.0", credit_score="0700"),
        row("customers", updated_at="2024-01-01 02:00:00.000+02:00"),
    ]
    hashes = {bytes(found["_row_hash"]) for found in judged(spark, "customers", rows).collect()}
    assert len(hashes) == 1


def test_a_difference_in_any_column_gives_another_hash(spark):
    changes = {
        "customer_id": "C2",
        "first_name": "Anne",
        "last_name": "Lea",
        "email": "ann@lee.com",
        "phone": "",
        "date_of_birth": "1980-02-28",
        "national_id": "",
        "street_address": "Main Street 2",
        "city": "",
        "postal_code": "1011",
        "country": "FR",
        "segment": "private",
        "kyc_status": "expired",
        "credit_score": "701",
        "annual_income": "50000.01",
        "currency": "USD",
        "onboarding_date": "2020-01-02",
        "updated_at": "2024-01-01T00:00:00.000001Z",
    }
    rows = [row("customers"), *(row("customers", **{name: value}) for name, value in changes.items())]
    assert set(changes) == set(row("customers"))
    found = judged(spark, "customers", rows).collect()
    assert not [f["_reasons"] for f in found if f["_reasons"]]
    assert len({bytes(f["_row_hash"]) for f in found}) == len(rows)


def test_a_hash_does_not_depend_on_the_time_zone_of_the_session(spark):
    def hashes():
        return [bytes(f["_row_hash"]) for f in judged(spark, "customers", [row("customers")]).collect()]

    before = hashes()
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        moment = [row("customers", updated_at="2024-01-01T00:00:00Z")]
        assert [bytes(f["_row_hash"]) for f in judged(spark, "customers", moment).collect()] == before
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


# --- Outcomes ---------------------------------------------------------------------------------------

VERSIONED = Contract(
    entity="things",
    version="1.0.0",
    description="",
    columns=(
        Column("k", "string", "", required=True),
        Column("v", "timestamp", "", required=True),
        Column("case", "int", ""),
    ),
    # A case of the property is part of the key, so that many cases share one frame.
    key=("case", "k"),
    version_column="v",
)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
# (version, whether it is a deletion, content); content stands for the hash.
VERSIONS = st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2))
# No key means that the row is not valid.
ROWS = st.tuples(st.sampled_from(["a", "b", None]), VERSIONS)
CASES = st.tuples(
    st.lists(ROWS, max_size=9),
    st.dictionaries(st.sampled_from(["a", "b"]), VERSIONS),
)


def hash_of(version, deleted, content):
    """Some function of the whole row; a deletion's hash is less than that of what it deletes."""
    return bytes([version, not deleted, content]) + bytes(29)


def model(rows, stored):
    """Outcome of each row, by the rules as they are written down: the greatest version is the newest."""
    outcomes = [None] * len(rows)
    for position, (key, _) in enumerate(rows):
        if key is None:
            outcomes[position] = "quarantined"
    for key in {key for key, _ in rows if key is not None}:
        mine = sorted(
            (position for position, found in enumerate(rows) if found[0] == key),
            key=lambda position: rows[position][1],
            reverse=True,  # and equal ones in the order in which they stand there
        )
        known = {stored[key]} if key in stored else set()
        newest = stored.get(key)
        for position in mine:
            version = rows[position][1]
            if version in known:
                outcomes[position] = "duplicate"
            elif newest is None:
                outcomes[position], newest = "inserted", version
            elif version > newest:
                outcomes[position], newest = "updated", version
            else:
                outcomes[position] = "stale"
            known.add(version)
    return outcomes


def make_cases(number):
    found = []

    @settings(
        max_examples=number,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES)
    def collect(case):
        found.append(case)

    collect()
    return found


def key_text_of(*values):
    """A key of several columns as one text, each with its length."""
    return "".join(f"{len(str(value))}:{value}" for value in values)


def run_cases(spark, cases, order=None):
    """Outcome of every row of every case, by case and position."""
    rows = [
        (
            key if key is not None else "?",
            BEGIN + timedelta(days=version[0]),
            case,
            "" if key is not None else "missing_key:k",
            version[1],
            hash_of(*version) if key is not None else None,
            "file:///f.csv",
            position,
        )
        for case, (given_rows, _) in enumerate(cases)
        for position, (key, version) in enumerate(given_rows)
    ]
    if order is not None:
        random.Random(order).shuffle(rows)  # noqa: S311 - an order, not a secret
    frame = spark.createDataFrame(
        rows,
        "k string, v timestamp, `case` int, _reasons string, _is_deleted boolean, _row_hash binary, "
        "_source_file string, _source_row bigint",
    ).repartition(3 if order else 1)
    stored = spark.createDataFrame(
        [
            (key_text_of(case, key), (BEGIN + timedelta(days=version[0]), version[1], hash_of(*version)))
            for case, (_, known) in enumerate(cases)
            for key, version in known.items()
        ],
        "_group string, _stored struct<at:timestamp,_is_deleted:boolean,_row_hash:binary>",
    )
    classified = classify(frame, stored, VERSIONED)
    assert set(classified.columns) == {*frame.columns, "_disposition"}
    return {
        (found["case"], found["_source_row"]): found["_disposition"]
        for found in classified.select("case", "_source_row", "_disposition").collect()
    }


@pytest.fixture(scope="module")
def cases():
    found = make_cases(400)
    assert len({len(rows) for rows, _ in found}) > 5
    return found


def test_every_row_gets_the_outcome_of_a_plain_model(spark, cases):
    outcomes = run_cases(spark, cases)
    seen = set()
    for case, (rows, stored) in enumerate(cases):
        expected = model(rows, stored)
        assert [outcomes[case, position] for position in range(len(rows))] == expected, (rows, stored)
        seen |= set(expected)
    assert seen == {"inserted", "updated", "duplicate", "stale", "quarantined"}


@pytest.mark.parametrize("order", [1, 2])
def test_the_outcome_does_not_depend_on_the_order_of_the_rows(spark, cases, order):
    assert run_cases(spark, cases, order) == run_cases(spark, cases)


def test_an_empty_table_is_like_one_without_the_keys(spark, cases):
    fresh = [(rows, {}) for rows, _ in cases]
    frame_free = run_cases(spark, fresh)
    for case, (rows, _) in enumerate(fresh):
        assert [frame_free[case, position] for position in range(len(rows))] == model(rows, {})


def test_keys_of_several_columns_are_the_same_only_when_each_column_is(spark):
    keys = [("a\u0001b", "c"), ("a", "b\u0001c"), ("ab", "c"), ("a", "bc"), ("1:a", "1:b"), ("1:a1:b", "")]
    contract = replace(TEXTS, key=("a", "b"))
    rows = [(*key, "v", "", False, bytes([n] * 32), "file:///f.csv", n) for n, key in enumerate(keys)]
    frame = spark.createDataFrame(
        rows,
        "a string, b string, c string, _reasons string, _is_deleted boolean, _row_hash binary, "
        "_source_file string, _source_row bigint",
    )
    found = classify(frame, None, contract).collect()
    assert [f["_disposition"] for f in found] == ["inserted"] * len(keys)


def test_without_a_stored_table_every_key_is_inserted_once(spark):
    rows = [
        row("loans", loan_id=key, updated_at=f"2024-01-0{day}T00:00:00Z") for key in "xy" for day in (1, 2)
    ]
    found = classify(judged(spark, "loans", rows), None, load_contract("loans")).collect()
    by_key = {
        key: sorted(f["_disposition"] for f in group)
        for key, group in groupby(sorted(found, key=lambda f: f["loan_id"]), key=lambda f: f["loan_id"])
    }
    assert by_key == {"x": ["inserted", "stale"], "y": ["inserted", "stale"]}


def test_the_newest_of_two_versions_wins_whichever_file_and_line_it_stands_in(spark):
    rows = [
        row("loans", updated_at="2024-01-02T00:00:00Z"),
        row("loans", updated_at="2024-01-03T00:00:00+05:00"),
        row("loans", updated_at="2024-01-02T18:59:59Z"),
    ]
    found = classify(judged(spark, "loans", rows), None, load_contract("loans"))
    winner = found.where(F.col("_disposition") == "inserted").collect()
    assert [f["_source_row"] for f in winner] == [1]


@pytest.mark.parametrize("entity", entities())
def test_rows_that_are_staged_have_the_columns_that_they_are_read_back_with(spark, entity):
    contract = load_contract(entity)
    frame = classify(judged(spark, entity, [row(entity)]), None, contract)
    expected = T._parse_datatype_string(classified_schema(contract))
    assert [(field.name, field.dataType.simpleString()) for field in frame.schema] == [
        (field.name, field.dataType.simpleString()) for field in expected
    ]
