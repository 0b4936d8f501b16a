"""How Spark does a batch: each file is read once, rows are shuffled once, and none come to the driver."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from makers import as_csv, put, row
from pyspark import SparkContext
from pyspark.sql import DataFrame

import emulator.glue
import pipeline.silver as silver_module
from contracts import load_contract
from pipeline.glue_session import managed_session
from pipeline.run import run_pipeline

pytestmark = pytest.mark.spark

LOG = re.compile("DeltaLogFileIndex|_delta_log")  # statements in which Delta reads its log, not rows
PYTHON = re.compile("PythonUDF|EvalPython|InPandas|InArrow|PythonRDD")


@pytest.fixture
def plans(monkeypatch):
    """Physical plans of the judged and classified rows of each batch, as they are about to be written."""
    found = []
    staged = silver_module.staged

    @contextmanager
    def looked_at(spark, rows, *others):
        found.append(rows._jdf.queryExecution().executedPlan().toString())
        with staged(spark, rows, *others) as back:
            yield back

    monkeypatch.setattr(silver_module, "staged", looked_at)
    return found


def load(lake, *entities):
    report = run_pipeline(lake, entities=entities, layer="silver")
    assert report.errors == []
    return report


def count(plan, operator):
    """How often an operator stands in a plan."""
    return len(re.findall(rf"(?m)^[^A-Za-z]*{operator}", plan))


def semicolons(rows):
    return as_csv(rows).replace(",", ";")


def test_files_are_read_once_and_rows_are_shuffled_once(spark, lake, plans):
    put(lake, "customers", "a.csv", [row("customers")])
    put(lake, "customers", "b.csv", [row("customers", customer_id="C2")])
    put(lake, "customers", "c.csv", semicolons([row("customers", customer_id="C3")]))
    load(lake, "customers")
    (plan,) = plans
    read = re.findall(r"FileScan text .*?InMemoryFileIndex\((\d+) paths?\)", plan)
    assert sorted(map(int, read)) == [1, 2], "one scan for each way in which files are written"
    assert count(plan, "Exchange") == count(plan, "Exchange hashpartitioning") == 1
    assert not PYTHON.search(plan)


def test_parents_and_stored_rows_are_broadcast_while_they_are_small(spark, lake, plans):
    put(lake, "customers", "a.csv", [row("customers")])
    for name, balance in (("a.csv", "1.00"), ("b.csv", "2.00")):
        put(lake, "accounts", name, [row("accounts", balance=balance)])
        load(lake, "customers", "accounts")
    _, first, second = plans
    for plan, joins in ((first, 1), (second, 2)):
        assert count(plan, r"BroadcastHashJoin .*LeftOuter, BuildRight") == joins
        assert not re.search("SortMergeJoin|ShuffledHashJoin|NestedLoop|CartesianProduct", plan)
        assert count(plan, "Exchange hashpartitioning") == 1
        assert count(plan, "FileScan text") == 1
        assert not PYTHON.search(plan)


def test_a_large_table_is_joined_by_the_shuffle_that_dedupes(spark, lake, plans):
    put(lake, "customers", "a.csv", [row("customers")])
    load(lake, "customers")
    put(lake, "customers", "b.csv", [row("customers", customer_id="C2")])
    before = spark.conf.get("spark.sql.autoBroadcastJoinThreshold")
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")
    try:
        load(lake, "customers")
    finally:
        spark.conf.set("spark.sql.autoBroadcastJoinThreshold", before)
    plan = plans[-1]
    assert count(plan, "SortMergeJoin") == 1
    assert count(plan, "Exchange hashpartitioning") == 2, "the new rows and the stored ones, each once"


def test_only_sums_by_file_come_to_the_driver(spark, lake, monkeypatch):
    put(lake, "customers", "a.csv", [row("customers", customer_id=f"C{number}") for number in range(500)])
    put(lake, "accounts", "a.csv", [row("accounts", account_id=f"A{number}") for number in range(500)])
    collected = []

    def watched(name):
        collect = getattr(DataFrame, name)

        def method(frame, *arguments, **options):
            rows = collect(frame, *arguments, **options)
            collected.append((name, frame.columns, rows))
            return rows

        return method

    for name in ("collect", "toPandas", "toLocalIterator"):
        monkeypatch.setattr(DataFrame, name, watched(name))
    load(lake, "customers", "accounts")
    columns = ["_source_file", "_origin", "_disposition", "_for", "_warnings", "count"]
    assert [(name, names, len(rows)) for name, names, rows in collected] == [("collect", columns, 1)] * 2


@dataclass(frozen=True)
class Merge:
    """What Spark does for one merge of Delta's, in all of its statements together.

    Attributes:
        table: Name of the table.
        staged: How often the rows that a batch has staged are read.
        stored: How often the table is read.
        shuffles: What rows are shuffled by, once for each time; ``_row_id_`` is Delta's own, of pairs of
            keys, by which it sees that no stored row is changed twice.
        broadcasts: How often rows are sent to all tasks.
    """

    table: str
    staged: int
    stored: int
    shuffles: tuple[str, ...]
    broadcasts: int


@pytest.fixture
def merges(spark, monkeypatch):
    """What Spark does for each merge of a batch."""
    store = spark._jsparkSession.sharedState().statusStore()
    found = []

    def statements():
        spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
        executions = store.executionsList()
        return {executions.apply(number).executionId() for number in range(executions.size())}

    def nodes(execution):
        graph = store.planGraph(execution).allNodes()
        return [graph.apply(number).desc() for number in range(graph.size())]

    merge = silver_module.merge

    def watched(session, rows, uri, *others):
        before = statements()
        merge(session, rows, uri, *others)
        plans = [nodes(execution) for execution in sorted(statements() - before)]
        plan = [node for plan in plans if not LOG.search(" ".join(plan)) for node in plan]
        reads = [node for node in plan if node.startswith("FileScan parquet")]
        staged = [node for node in reads if "Location: InMemoryFileIndex" in node]
        exchanges = [re.match(r"Exchange hashpartitioning\((.*), \d+\)", node) for node in plan]
        by = [re.sub(r"#\d+L?", "", exchange[1]) for exchange in exchanges if exchange]
        sent = [node for node in plan if node.startswith("BroadcastExchange")]
        table = uri.rpartition("/")[2]
        found.append(Merge(table, len(staged), len(reads) - len(staged), tuple(sorted(by)), len(sent)))
        assert not any(PYTHON.search(node) or "CartesianProduct" in node for node in plan)

    monkeypatch.setattr(silver_module, "merge", watched)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["few", "many"])
def test_a_merge_reads_all_twice_and_shuffles_what_is_stored_only_if_that_is_little(
    spark, lake, merges, monkeypatch, rows
):
    """Delta first looks for the files that change, then writes these anew."""
    monkeypatch.setattr(silver_module, "LARGE_TABLE_ROWS", 10 if rows == "many" else 1000)
    put(lake, "customers", "a.csv", [row("customers", customer_id=f"C{number}") for number in range(20)])
    load(lake, "customers")
    assert merges == []
    newer = row("customers", customer_id="C1", city="Bonn", updated_at="2024-02-01T00:00:00Z")
    put(lake, "customers", "b.csv", [newer, row("customers", customer_id="C20")])
    load(lake, "customers")
    silver, history = merges
    if rows == "few":
        assert silver == Merge("customers", 2, 2, ("_row_id_", "customer_id"), 1)
    else:
        assert silver == Merge("customers", 2, 2, ("_row_id_",), 2)
    # Versions of a key are put in order, once for each of Delta's two looks, each of which also looks up
    # which stored versions are of these keys.
    keys = ("_row_id_", "customer_id", "customer_id", "customer_id, valid_from")
    assert history == Merge("customers_history", 4, 4, keys, 3)


# Values that other engines, or Spark in another mode, would stumble over.
HOSTILE = {
    "customers": [
        {"credit_score": value} for value in ("99999999999", "2147483648", "-1", "1e3", "7 00", "0x1F", "NaN")
    ]
    + [{"annual_income": value} for value in ("9" * 40, "1e400", "12.345", "-0.00", "Infinity", "٣٤")]
    + [{"date_of_birth": value} for value in ("2023-02-30", "0000-01-01", "99999-01-01", "2024", "now")]
    + [{"updated_at": value} for value in ("2024-01-01T25:00:00Z", "2024-01-01T00:00:00+99:00", "epoch")]
    + [{"updated_at": "9999-12-31T23:59:59.999999Z"}, {"onboarding_date": "9999-12-31"}]
    + [{"customer_id": value} for value in ("", " ", "\u00a0")]
    + [{"email": "@"}, {"first_name": ""}, {"country": "ß"}],
    "loans": [
        {"collateral_type": "vehicle", "collateral_value": "0.00"},
        {"collateral_type": "vehicle", "collateral_value": "0.01", "outstanding_principal": "9" * 16 + ".99"},
        {"principal": "9" * 16 + ".99", "annual_rate": "9.999999"},
        {"term_months": "0"},
        {"term_months": "99999999999999999999"},
        {"annual_rate": "0.000000"},
        {"annual_rate": "-0.5"},
        {"principal": "0.00"},
    ],
    "accounts": [
        {"balance": value} for value in ("-" + "9" * 16 + ".99", "9" * 17, "1e2", "+0.10", "-0.00", "٣٤")
    ]
    + [{"interest_rate": value} for value in ("-0.5", "9.999999", "0.0000001", "1E-8")]
    + [{"opened_date": "2023-02-29"}, {"opened_date": "9999-12-31", "closed_date": "0001-01-01"}],
    "payments": [
        {"installment_number": "0"},
        {"installment_number": "2147483648"},
        {"amount_due": "0.00", "principal_due": "0.00", "interest_due": "0.00"},
        {"amount_paid": "9" * 16 + ".99", "late_fee": "9" * 16 + ".99"},
        {"paid_date": "0001-01-01"},
        {"due_date": "0001-01-01", "paid_date": "9999-12-31"},
        {"paid_date": "", "amount_paid": ""},
    ],
    "transactions": [{"amount": value} for value in ("0.00", "-1", "9" * 16 + ".99", "9" * 17 + ".99", "NaN")]
    + [{"transaction_at": value} for value in ("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+14:00")]
    + [{"merchant_category_code": "0x1"}, {"booking_date": "10000-01-01"}, {"direction": "-1"}],
}
KEYS = {entity: load_contract(entity).key[0] for entity in HOSTILE}


@pytest.mark.slow
def test_hostile_values_end_the_same_with_and_without_ansi_mode(spark, lake_at, ansi, tmp_path):
    found = []
    for on in (False, True):
        lake = lake_at(tmp_path / f"ansi-{on}")
        for entity, cases in HOSTILE.items():
            keyed = [
                row(entity, **({KEYS[entity]: f"K{number}"} | case)) for number, case in enumerate(cases)
            ]
            put(lake, entity, "hostile.csv", [row(entity), *keyed])
        with ansi(on):
            report = load(lake, *HOSTILE)
        outcomes = [(entity.outcomes, entity.reasons) for entity in report.entities]
        tables = []
        for entity in HOSTILE:
            silver, held = (
                pl.DataFrame(DeltaTable(lake.table_uri(layer, entity)).to_pyarrow_table())
                for layer in ("silver", "quarantine")
            )
            own = silver.drop("_ingested_at", "_run_id", "_source_file").sort(KEYS[entity])
            tables += [own.rows(), held.select("_source_row", "_raw", "_reasons").sort("_source_row").rows()]
        found.append((outcomes, tables))
    assert found[0] == found[1]
    assert len(found[0][0]) == len(HOSTILE)
    assert all(outcome[name] for outcome, _ in found[0][0] for name in ("inserted", "quarantined"))


def test_on_glue_the_session_comes_from_glues_own_context(spark, monkeypatch):
    """Without one, Glue sends no metrics of the job to CloudWatch. The context is that of the local Glue."""
    monkeypatch.syspath_prepend(Path(emulator.glue.__file__).parent / "runtime")
    from awsglue.context import GlueContext

    made, make = [], GlueContext.__init__

    def noted(self: GlueContext, context: SparkContext) -> None:
        made.append(context)
        make(self, context)

    monkeypatch.setattr(GlueContext, "__init__", noted)
    assert managed_session() is spark
    assert made == [spark.sparkContext]
    for name in [name for name in sys.modules if name.split(".")[0] == "awsglue"]:
        monkeypatch.delitem(sys.modules, name)


def test_without_glue_the_running_session_is_taken(spark):
    assert managed_session() is spark
