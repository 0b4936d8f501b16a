"""Changes, change data capture and snapshots tell of the same bank; who leaves is gone from the last two."""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import load_contract, load_contracts
from datagen import BadRequestError, generate, read_manifests
from datagen.profile import load, override

CHILDREN = {"accounts": "customers", "loans": "customers", "payments": "loans", "transactions": "accounts"}


def bank(leavers: float):
    return override(load(), {"leavers": str(leavers)})


def read(out, manifest, entity: str) -> pl.DataFrame:
    files = manifest.entities[entity].files
    return pl.concat([pl.read_csv(out / file.path, infer_schema=False) for file in files])


def fold(out, entity: str) -> dict[str, dict[str, str]]:
    """Rows by key after all batches, applied in order as any reader would."""
    contract, held = load_contract(entity), {}
    for manifest in read_manifests(out):
        for row in read(out, manifest, entity).iter_rows(named=True):
            operation, key = row.pop("op", "U"), row[contract.key[0]]
            assert (operation == "D" and key in held) or operation != "D"
            assert (operation == "I") == (key not in held) or "op" not in row
            if operation == "D":
                assert held.pop(key)[contract.version_column] < row[contract.version_column]
                assert all(row[name] is None for name in row if name not in contract.identity)
            else:
                held[key] = row
    return held


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), scale=st.integers(1, 25), last=st.integers(1, 5), leave=st.booleans())
def test_all_deliveries_lead_to_the_same_tables(tmp_path_factory, seed, scale, last, leave):
    """A snapshot of a day, made alone, is what the changes of all days up to it add up to."""
    out = tmp_path_factory.mktemp("bank")
    options = {"seed": seed, "scale": scale, "dirty": 0, "profile": bank(0.05 if leave else 0)}
    alone = generate(out / "snapshot", batch=last, delivery="snapshot", **options)
    for batch in range(last + 1):
        for delivery in ("changes", "cdc"):
            generate(out / delivery, batch=batch, delivery=delivery, **options)
    for entity in load_contracts():
        rows = read(out / "snapshot", alone, entity)
        key = load_contract(entity).key[0]
        snapshot = {row[key]: row for row in rows.iter_rows(named=True)}
        assert len(snapshot) == rows.height
        assert snapshot == fold(out / "cdc", entity)
        changes = fold(out / "changes", entity)
        assert snapshot.items() <= changes.items() if leave else snapshot == changes


def test_a_customer_who_leaves_takes_all_that_is_theirs(tmp_path):
    options = {"scale": 120, "dirty": 0, "profile": bank(0.04)}
    for batch in range(4):
        for delivery in ("cdc", "snapshot"):
            generate(tmp_path / delivery, batch=batch, delivery=delivery, **options)
    held = {entity: fold(tmp_path / "cdc", entity) for entity in load_contracts()}
    for entity, parent in CHILDREN.items():
        column = load_contract(entity).parents[0].name
        assert {row[column] for row in held[entity].values()} <= set(held[parent])
    for cdc, snapshot in zip(
        read_manifests(tmp_path / "cdc"), read_manifests(tmp_path / "snapshot"), strict=True
    ):
        for entity in load_contracts():
            one, other = cdc.entities[entity], snapshot.entities[entity]
            deleted = read(tmp_path / "cdc", cdc, entity).filter(op="D").height
            assert one.deleted == other.deleted == deleted
            assert (deleted > 0) == (cdc.batch > 0)
            assert one.inserted == other.inserted
            assert one.updated == other.updated + deleted
            assert one.unchanged == 0 < other.unchanged or cdc.batch == 0


def test_customers_leave_at_the_rate_that_was_asked_for(tmp_path):
    manifest = generate(
        tmp_path, scale=20_000, batch=1, delivery="cdc", dirty=0, profile=bank(0.01), workers=1
    )
    assert manifest.entities["customers"].deleted == pytest.approx(200, rel=0.25)
    later = generate(tmp_path, scale=20_000, batch=60, delivery="cdc", dirty=0, profile=bank(0.01), workers=1)
    left = 20_000 * (0.99**59) + 300 * sum(0.99**n for n in range(59))
    assert later.entities["customers"].deleted == pytest.approx(0.01 * left, rel=0.25)


@pytest.mark.parametrize("delivery", ["cdc", "snapshot"])
@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_day_is_the_same_alone_and_whatever_the_number_of_workers(tmp_path, monkeypatch, delivery, name):
    for module in ("schedule", "generator", "dirt"):
        monkeypatch.setattr(f"datagen.{module}.BLOCK_ROWS", 400)
    options = {"scale": 80, "profile": bank(0.02), "delivery": delivery, "format": name, "file_rows": 900}
    for batch in range(3):
        generate(tmp_path / "all", batch=batch, workers=2, **options)
    alone = generate(tmp_path / "alone", batch=2, workers=1, **options)
    assert read_manifests(tmp_path / "all")[2] == alone
    for entity in alone.entities.values():
        outcomes = entity.inserted + entity.updated + entity.duplicate + entity.stale
        assert entity.rows == outcomes + sum(entity.quarantined.values())


def test_deliveries_are_not_mixed_in_one_folder(tmp_path):
    generate(tmp_path, scale=5)
    with pytest.raises(BadRequestError, match="--delivery changes"):
        generate(tmp_path, scale=5, batch=1, delivery="cdc")


def test_an_unknown_delivery_is_refused(tmp_path):
    with pytest.raises(BadRequestError, match="changes, cdc, snapshot"):
        generate(tmp_path / "out", scale=5, delivery="full")
    assert not (tmp_path / "out").exists()
