"""Operating a lake on S3: backfill, quarantine, a dry run, maintenance; and every check still holds."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from lakehouse import Story, generate, lakehouse, table_versions

from contracts import entities
from datagen.schedule import ingest_date
from emulator.native import NativeStack
from pipeline.storage import list_objects

pytestmark = [pytest.mark.e2e, pytest.mark.emulator, pytest.mark.spark, pytest.mark.timeout(900)]


def test_quarantine_is_listed_as_the_ledger_counts_it_and_shown_without_personal_data(story: Story):
    lake = story.lake
    counted: Counter[tuple[str, str]] = Counter()
    for held in lake.json("quarantine", "list", "--json"):
        counted[held["entity"], held["reason"]] += held["rows"]
    status = lake.json("status", "--json")["entities"]
    told = {(entry["entity"], reason): rows for entry in status for reason, rows in entry["reasons"].items()}
    assert counted == told
    assert {entity for entity, _ in counted} == set(entities())
    rows = lake.json("quarantine", "show", "customers", "--reason", "bad_email", "--json", "--limit", "3")
    assert rows
    for row in rows:
        assert re.search(r"customers/ingest_date=[\d-]+/.*\.csv", row["file"])
        assert row["reasons"]["bad_email:email"].startswith("email must match ")
    raw = lake.json(
        "quarantine", "show", "customers", "--reason", "bad_email", "--json", "--limit", "3", "--raw"
    )
    assert [row["line"] for row in raw] == [row["line"] for row in rows]
    assert all(masked["raw"] != row["raw"] for masked, row in zip(rows, raw, strict=True))


def test_looking_at_a_lake_writes_nothing_at_all(story: Story):
    lake = story.lake
    roots = (lake.settings.bronze_uri, lake.settings.silver_uri, lake.settings.gold_uri)
    with lake.reachable():
        before = [list_objects(root) for root in roots]
        assert all(before)
        for command in (["run", "--dry-run"], ["maintain", "--dry-run"], ["quarantine", "list"]):
            assert lake.must(*command).stdout
        assert [list_objects(root) for root in roots] == before


@pytest.mark.slow
def test_a_backfill_loads_its_days_and_maintenance_is_no_news_to_the_lake(stack: NativeStack):
    lake = lakehouse(stack, "operated")
    for batch in (0, 1):
        generate(lake, batch)
    first = str(ingest_date(0))
    backfill = lake.json("run", "--from", first, "--to", first, "--json")
    assert {entry["left_for_later"] for entry in backfill["entities"]} == {1}
    rest = lake.json("run", "--json")
    assert {entry["left_for_later"] for entry in rest["entities"]} == {0}
    assert sum(entry["released"] for entry in rest["entities"]) > 0
    # Nobody reads meanwhile: so also what the second run has replaced goes.
    maintain = ("maintain", "--retention-days", "0", "--allow-short-retention", "--json")
    done = {table["table"]: table for table in lake.json(*maintain)["tables"]}
    assert {table["left_alone"] for table in done.values()} == {None}
    assert done["ops.batches"]["after"]["files"] == len(entities()) < done["ops.batches"]["before"]["files"]
    customers = done["silver.customers"]
    assert customers["deleted"] > 0
    assert customers["before"]["rows"] == customers["after"]["rows"]
    before = table_versions(lake)
    again = lake.json(*maintain)["tables"]
    changed = [name for name, version in table_versions(lake).items() if version != before[name]]
    assert changed == ["ops.table_sizes"]
    assert {table["table"] for table in again if table["merged"]} <= {"ops.table_sizes"}
    assert "Nothing is new" in lake.must("run").stdout
    checks = json.loads(lake.must("verify", "--json").stdout)
    assert [check for check in checks if "batch 1 to the row" in check["check"]]
    sizes = lake.frame("ops", "table_sizes")
    assert sizes["run_id"].n_unique() == 2
    assert set(sizes["table_name"]) >= {f"silver.{entity}" for entity in entities()} | {"gold.customer_360"}
