"""What the generator delivers as change data capture and as snapshots, Silver loads to the row."""

from __future__ import annotations

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

pytestmark = pytest.mark.spark


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
    deleted = 0
    for batch in range(2):
        manifest = generate(
            tmp_path / "bronze", scale=25, batch=batch, dirty=0.1, profile=bank, delivery=delivery
        )
        assert run_pipeline(lake, layer="silver").errors == []
        deleted += manifest.entities["customers"].deleted
    checks = [check for check in verify(lake) if not check.name.startswith("gold")]
    assert [f"{check.name}: {check.detail}" for check in checks if not check.ok] == []
    assert len([check for check in checks if check.name.endswith("batch 1 to the row")]) == len(contracts)
    gone = verify_module.Lake(lake).value(
        "SELECT count(*) FROM silver.customers WHERE _deleted_at IS NOT NULL AND customer_id < 'C9'"
    )
    assert gone == deleted > 0
