"""A run's events name the tables that it has written, with the rows that are there."""

from __future__ import annotations

import json

import pytest
from deltalake import DeltaTable
from makers import PARENT_KEYS, put, row

import pipeline.run as run_module
from pipeline.gold import MARTS
from pipeline.run import run_pipeline

pytestmark = pytest.mark.spark


@pytest.fixture
def events(tmp_path, monkeypatch):
    """Reads the events that runs have sent so far."""
    file = tmp_path / "events.jsonl"
    (tmp_path / "openlineage.yml").write_text(
        json.dumps({"transport": {"type": "file", "log_file_path": str(file), "append": True}})
    )
    monkeypatch.setenv("OPENLINEAGE_CONFIG", str(tmp_path / "openlineage.yml"))
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


def ends(events):
    """How each job ended."""
    return {event["job"]["name"]: event["eventType"] for event in events}


@pytest.mark.slow
def test_events_tell_what_a_run_has_written_and_that_it_failed(spark, lake, events, monkeypatch):
    put(lake, "customers", "a.csv", [row("customers"), row("customers", customer_id="C2", credit_score="x")])
    for entity in PARENT_KEYS:
        put(lake, entity, "a.csv", [row(entity)])
    assert run_pipeline(lake).warnings == []
    entities = ["customers", *PARENT_KEYS]
    found = events()
    jobs = {"run", *(f"silver.{entity}" for entity in entities), *(f"gold.{mart.name}" for mart in MARTS)}
    assert ends(found) == dict.fromkeys(jobs, "COMPLETE")
    for event in found:
        if event["eventType"] == "COMPLETE":
            for output in event["outputs"]:
                table = DeltaTable(output["name"])
                if not output["name"].endswith("_history"):  # how many of its rows changed is not counted
                    rows = output["outputFacets"]["outputStatistics"]["rowCount"]
                    assert rows == table.to_pyarrow_table().num_rows, output["name"]
                schema = [field["name"] for field in output["facets"]["schema"]["fields"]]
                assert schema == [field.name for field in table.schema().fields]
    assert run_pipeline(lake).warnings == []
    assert events() == found, "nothing new: no run, no events"

    load = run_module.load_batch
    monkeypatch.setattr(
        run_module, "load_batch", lambda spark, *others: spark.sql("SELECT no_such_column") and load(*others)
    )
    put(lake, "customers", "b.csv", [row("customers", customer_id="C3")])
    assert run_pipeline(lake, entities=["customers"]).errors
    more = events()[len(found) :]
    assert ends(more) == {"run": "FAIL", "silver.customers": "FAIL"}
    (message,) = [
        event["run"]["facets"]["errorMessage"]["message"]
        for event in more
        if (event["job"]["name"], event["eventType"]) == ("silver.customers", "FAIL")
    ]
    assert "no_such_column" in message
