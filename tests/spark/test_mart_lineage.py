"""The lineage of marts is what Spark computes them from, and nothing else matters to them."""

from __future__ import annotations

import json

import pytest
from marts import build, kept, silver_in, with_history
from plan_lineage import analysed, mart_lineage, of_plan
from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from datagen import generate
from pipeline.gold import MARTS
from pipeline.gold.lineage import FILE
from pipeline.gold.lineage import mart_lineage as lineage_of

pytestmark = pytest.mark.spark


def test_the_lineage_of_every_mart_is_that_of_its_plan(spark, writes):
    found = {mart.name: mart_lineage(spark, mart) for mart in sorted(MARTS, key=lambda mart: mart.name)}
    if writes:
        FILE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    assert json.loads(FILE.read_text(encoding="utf-8")) == found, "a mart has changed: `make lineage`"


@pytest.fixture(scope="module")
def bank(spark, tmp_path_factory):
    """Inputs of all marts, of a small bank without dirt."""
    folder = tmp_path_factory.mktemp("bank")
    generate(folder, scale=50, seed=7, dirty=0)
    with kept(with_history(silver_in(spark, folder))) as tables:
        yield tables


@pytest.mark.slow
@pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)
def test_columns_outside_of_its_lineage_do_not_matter_to_a_mart(bank, mart):
    lineage = lineage_of()[mart.name]
    used = {source for sources in lineage.columns.values() for source in sources} | set(lineage.rows)

    def blank(name, table):
        return table.select(
            *[
                (F.col(field.name) if f"{name}.{field.name}" in used else F.lit(None))
                .cast(field.dataType)
                .alias(field.name)
                for field in table.schema
            ]
        )

    inputs = {name: bank[name] for name in mart.inputs}
    blanked = {name: blank(name, table) for name, table in inputs.items()}
    assert any(f"{name}.{column}" not in used for name, table in inputs.items() for column in table.columns)
    expected, found = build(mart, inputs), build(mart, blanked)
    assert expected.count() > 5
    assert expected.exceptAll(found).isEmpty()
    assert found.exceptAll(expected).isEmpty()


def test_what_an_operator_does_that_is_not_known_is_not_passed_over(spark):
    with pytest.raises(NotImplementedError, match="Sample"):
        of_plan(analysed(spark.createDataFrame([], "a int").sample(0.5).select("a")))


def test_columns_are_followed_through_joins_unions_windows_and_sums(spark):
    left, right = (
        spark.createDataFrame([], f"`{name}.k` int, `{name}.v` int").toDF("k", "v") for name in "lr"
    )
    week = Window.partitionBy("k").orderBy("day")
    joined = left.join(right.withColumnRenamed("v", "w"), "k", "left").where("w > 0")
    both = joined.select("k", F.col("v").alias("day"), "w").unionByName(
        right.select("k", F.lit(1).alias("day"), F.col("v").alias("w"))
    )
    summed = both.select("k", F.sum("w").over(week).alias("so_far"), (F.col("w") + 1).alias("next"))
    total = (
        summed.groupBy("k")
        .agg(F.max("so_far").alias("most"), F.count("*").alias("n"))
        .join(summed.select("k", "next"), "k")
    )
    found = of_plan(analysed(total.select("k", "most", "n", "next")))
    assert found["columns"] == {
        "k": {"l.k": "IDENTITY", "r.k": "IDENTITY"},
        "most": {"l.k": "WINDOW", "l.v": "WINDOW", "r.k": "WINDOW", "r.v": "AGGREGATION"},
        "n": {},
        "next": {"r.v": "TRANSFORMATION"},
    }
    assert found["rows"] == {"l.k": ["GROUP_BY", "JOIN"], "r.k": ["GROUP_BY", "JOIN"], "r.v": ["FILTER"]}
