"""Rules that the source code itself keeps."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("contracts", "datagen", "pipeline", "ml", "emulator")


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """Top-level packages and full names of all imports of a file, also of those within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_of(package, *forbidden):
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(package)
        for name in sorted(imported(path))
        if name.split(".")[0] in forbidden
    ]


def attributes(path):
    """Names of all attributes and calls in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def test_there_is_source_to_look_at():
    assert all(len(sources(package)) >= 3 for package in PACKAGES)


@pytest.mark.parametrize(
    "forbidden",
    [
        "rdd",
        "_jvm",
        "_jsc",
        "_jdf",
        "_jsparkSession",
        "sparkContext",
        "SparkContext",
        "parallelize",
        "udf",
        "pandas_udf",
        "UserDefinedFunction",
        "mapPartitions",
        "foreachPartition",
        "mapInPandas",
        "mapInArrow",
        "applyInPandas",
        "toPandas",
        "forPath",
        "forName",
    ],
)
def test_the_pipeline_is_dataframe_api_and_sql_only(forbidden):
    # The server is what Spark Connect runs on, and a job of Glue has a session of its own; neither holds code
    # of the pipeline.
    paths = [path for path in sources("pipeline") if path.name not in ("spark_server.py", "glue_session.py")]
    used = [str(path.relative_to(ROOT)) for path in paths if forbidden in set(attributes(path))]
    assert not used, f"{forbidden} does not work through Spark Connect, or takes rows through Python"


def test_nothing_imports_deltas_python_package():
    assert not imports_of("pipeline", "delta")


@pytest.mark.parametrize("package", ["contracts", "datagen"])
def test_generator_and_contracts_need_neither_spark_nor_java(package):
    assert not imports_of(package, "pyspark", "py4j", "delta", "boto3", "deltalake", "duckdb", "pyarrow")


def test_contracts_stand_on_nothing_else_of_the_project():
    assert not imports_of("contracts", "datagen", "pipeline", "emulator")


def test_the_generator_stands_on_the_contracts_alone():
    assert not imports_of("datagen", "pipeline", "emulator")


def test_models_stand_alone_and_on_what_sagemakers_image_has():
    assert not imports_of("ml", "contracts", "datagen", "pipeline", "emulator", "polars", "duckdb", "pyspark")


def test_the_emulator_stands_alone():
    assert not imports_of("emulator", "contracts", "datagen", "pipeline")


@pytest.mark.parametrize(
    "path", sources("pipeline/entities") + sources("pipeline/gold"), ids=lambda p: p.name
)
def test_transformations_touch_neither_storage_nor_clock(path):
    allowed = {"pipeline.settings", "pipeline.tables"} if path.name == "mart.py" else {"pipeline.tables"}
    # Days are values like others (`datetime.date`); the ways to ask a clock for one are named below.
    edges = {
        name
        for name in imported(path)
        if name.startswith(("pipeline.storage", "pipeline.catalog", "pipeline.settings", "pipeline.ledger"))
        or name.split(".")[0] in ("boto3", "obstore", "time")
        or name == "datetime.datetime"
    }
    assert all(any(name.startswith(good) for good in allowed) for name in edges), edges
    clocks = {"current_timestamp", "current_date", "now", "utcnow", "today"}
    assert not clocks & set(attributes(path))
