"""What the generator delivers as change data capture and as snapshots, Silver loads to the row."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

import pipeline.run as run_module
import pipeline.verify as verify_module
from contracts import load_contracts
from datagen import generate
from datagen.profile import load, override
from pipeline.run import run_pipeline
from pipeline.settings import Settings
from pipeline.verify import verify

pytestmark = [pytest.mark.spark, pytest.mark.slow]


@pytest.mark.parametrize("delivery", ["cdc", "snapshot"])
def test_what_is_generated_is_loaded_as_its_manifests_promise(spark, tmp_path, monkeypatch, delivery):
    contracts = load_contracts()
    if delivery == "snapshot":
        contracts = {
            name: replace(contract, operation_column=None, is_snapshot=True)
            for name, contract in contracts.items()
        }
        for module in (run_module, verify_module):
            monkeypatch.setattr(module, "load_contracts", lambda: contracts)
    uris = {f"{layer}_uri": f"file://{tmp_path / layer}" for layer in ("bronze", "silver", "gold")}
    lake = Settings(env="test", **uris)
    bank = override(load(), {"leavers": "0.1"})
    for batch in range(2):
        manifest = generate(
            tmp_path / "bronze", scale=40, batch=batch, dirty=0.1, profile=bank, delivery=delivery
        )
        promised = manifest.entities["customers"]
        report = run_pipeline(lake, entities=["customers"], layer="silver")
        assert report.errors == []
        quarantined = sum(promised.quarantined.values())
        expected = {name: getattr(promised, name) for name in ("inserted", "updated", "duplicate", "stale")}
        assert +report.entities[0].outcomes == +Counter(expected | {"quarantined": quarantined})
    checks = [check for check in verify(lake) if check.name.startswith("customers: ")]
    assert [f"{check.name}: {check.detail}" for check in checks if not check.ok] == []
    gone = "SELECT count(*) FROM silver.customers WHERE _deleted_at IS NOT NULL"
    assert verify_module.Lake(lake).value(gone) == promised.deleted > 0
