"""A person is erased from a lake with all that a lake remembers; everybody else stays as they were."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from lake_bytes import found_in
from makers import as_csv, put, row

import pipeline.forget as forget_module
from contracts import load_contract, load_contracts
from pipeline.errors import FinlakeError, UsageError
from pipeline.forget import forget
from pipeline.gold import MARTS
from pipeline.ledger import Batch, Ledger
from pipeline.plan import make_plan
from pipeline.publish import publish
from pipeline.run import run_pipeline
from pipeline.storage import write_bytes
from pipeline.verify import verify

pytestmark = pytest.mark.spark

# First and last in the alphabet, so that they are the least and greatest values in the logs' statistics.
ANN = {
    "customer_id": "C1", "first_name": "Aaannegret", "last_name": "Zzülpich", "email": "aaa.zz@example.com",
    "phone": "+49301234567", "date_of_birth": "1931-03-17", "national_id": "ZZ-998877",
    "street_address": "Aaalleenweg 77", "postal_code": "ZZ9 9ZZ",
}  # fmt: skip
OLD = {"email": "old.address@example.org", "phone": "+49 (30) 765-4321"}
IBAN, HER_FIRST_IBAN = "ZZ89370400440532013000", "AA12000000000000000001"
SECRETS = {
    *(value for name, value in ANN.items() if name != "customer_id"), "Aaannegret Zzülpich",
    *OLD.values(), "+49307654321", IBAN, HER_FIRST_IBAN, "private.mail@example.net", "Aaa Kept In Quotes",
}  # fmt: skip


def customer(number: int, **changes: str) -> dict[str, str]:
    return row(
        "customers", customer_id=f"C{number}", email=f"c{number}@example.com", phone=f"+4940555000{number}",
        national_id=f"N{number}", **changes,
    )  # fmt: skip


def fill(lake) -> None:
    """Two loads: an old version, bad lines, an orphan and its parent, files in several encodings."""
    first = [customer(2), row("customers", **ANN) | OLD, customer(3)]
    put(lake, "customers", "first.csv", "\ufeff" + as_csv(first).replace("\n", "\r\n"))
    bad = [row("customers", **ANN | {"email": "aaa.zz@"}), row("customers", **ANN | {"customer_id": ""})]
    lines = as_csv([*bad, customer(4)]) + f'C1,{ANN["first_name"]},{ANN["email"]}\nC5,"{ANN["email"]},x\n'
    put(lake, "customers", "bad.csv.gz", gzip.compress(lines.encode()))
    put(lake, "accounts", "a.csv", [
        row("accounts", account_id="A1", iban=IBAN), row("accounts", account_id="A2", customer_id="C2"),
        row("accounts", account_id="A9", iban="nonsense-" + IBAN),
    ])  # fmt: skip
    put(lake, "transactions", "t.csv", as_csv([
        row("transactions", counterparty_iban="FR1420041010050500013M02606"),
        row("transactions", transaction_id="T2", account_id="A2", counterparty_iban=IBAN,
            direction="credit"),
        row("transactions", transaction_id="T3", account_id="A7", counterparty_iban=HER_FIRST_IBAN),
    ]))  # fmt: skip
    put(lake, "loans", "l.csv", [row("loans"), row("loans", loan_id="L2", customer_id="C3")])
    put(lake, "payments", "not payments.csv", f"name;mail\n{ANN['first_name']} C1;{ANN['email']}\n")
    assert run_pipeline(lake, layer="silver").errors == []
    newer = [
        row("customers", **ANN, updated_at="2024-02-01T00:00:00Z") | {"hobby": "private.mail@example.net"}
    ]
    newer += [customer(2, updated_at="2024-02-01T00:00:00Z") | {"hobby": "chess"}]
    put(lake, "customers", "newer.csv", as_csv(newer).replace(",", ";").encode("utf-16"))
    put(lake, "customers", "latin.csv", as_csv(
        [row("customers", **ANN | {"street_address": "Aaa Kept In Quotes"}), customer(6, city="Köln")]
    ).encode("cp1252"))  # fmt: skip
    put(lake, "accounts", "b.csv", [row("accounts", account_id="A7", iban=HER_FIRST_IBAN)])
    assert run_pipeline(lake).errors == []


def everything(lake) -> dict[str, pl.DataFrame]:
    """All rows of all tables of Silver, quarantine, Gold and the public copies."""
    root = Path(lake.silver_uri.removeprefix("file://")).parent
    tables = [path.parent for path in root.rglob("_delta_log") if "_ops" not in path.parts]
    return {
        str(path.relative_to(root)): pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table())
        for path in sorted(tables)
    }


def lines(lake) -> dict[str, int]:
    folder = Path(lake.bronze_uri.removeprefix("file://"))
    read = {
        p: gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in files(folder)
    }
    return {str(path.relative_to(folder)): data.count(b"\n") for path, data in read.items()}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


STEPS = (
    "write_bytes", "write_deltalake", "forget_past", "say", "write_copies", "delete", "delete_old_versions",
)  # fmt: skip


class BrokenOffError(Exception):
    pass


def break_off(monkeypatch, after: int) -> dict[str, int]:
    """Let the erasure die before or after its n-th step that changes anything."""
    steps = {"left": after}

    def explosive(step):
        def call(*args: Any, **kwargs: Any) -> Any:
            steps["left"] -= 1
            if steps["left"] == 0 and after % 2:
                raise BrokenOffError
            result = step(*args, **kwargs)
            if steps["left"] == 0:
                raise BrokenOffError
            return result

        return call

    for name in STEPS:
        monkeypatch.setattr(forget_module, name, explosive(getattr(forget_module, name)))
    monkeypatch.setattr(Ledger, "take_for_read", explosive(Ledger.take_for_read))
    return steps


@pytest.fixture(scope="module")
def erased(spark, lake_at, tmp_path_factory):
    """A lake before and after an erasure that broke off again and again, and what was seen meanwhile."""
    folder = tmp_path_factory.mktemp("forget") / "lake"
    lake = lake_at(folder).model_copy(
        update={f"public_{layer}_uri": f"file://{folder}/public_{layer}" for layer in ("silver", "gold")}
    )
    fill(lake)
    publish(lake)
    seen: dict[str, Any] = {
        "lake": lake, "folder": folder, "before": everything(lake), "lines": lines(lake),
        "held": {value for _, value in found_in(folder, SECRETS)},
        "checks": [check for check in verify(lake) if not check.ok],
        "counts": Ledger(lake).read("row_counts"),
        "dry": forget(lake, "C1", dry_run=True).as_dict(),
    }  # fmt: skip
    seen["after dry run"] = everything(lake)
    attempts = 0
    for after in (*range(1, 26), 999):
        with pytest.MonkeyPatch.context() as patch:
            break_off(patch, after)
            try:
                forget(lake, "C1")
                break
            except BrokenOffError:
                attempts += 1
                if attempts == 4:
                    with pytest.raises(FinlakeError, match="erasure of customer C1 has not come to its end"):
                        run_pipeline(lake)
    return seen | {"attempts": attempts, "after": everything(lake)}


@pytest.mark.slow
def test_no_byte_of_the_lake_is_personal_data_of_the_person(erased):
    assert erased["held"] == SECRETS, "all of them were there"
    assert erased["attempts"] > 20, "it broke off at many places"
    assert found_in(erased["folder"], SECRETS) == set()


def test_every_line_and_every_row_is_still_there_and_accounted_for(erased):
    lake = erased["lake"]
    assert lines(lake) == erased["lines"]
    assert {name: table.height for name, table in erased["after"].items()} == {
        name: table.height for name, table in erased["before"].items()
    }
    assert erased["checks"] == []
    assert [check.name for check in verify(lake) if not check.ok] == ["gold.fraud_signals: up to date"]
    assert Ledger(lake).read("row_counts").equals(erased["counts"])


def test_no_file_is_new_after_it_and_only_a_mart_that_counts_by_what_is_gone_has_to_be_built_again(erased):
    plan = make_plan(erased["lake"], Ledger(erased["lake"]), load_contracts(), "all")
    assert {entity: found for entity, found in plan.files.items() if found} == {}
    assert [mart.name for mart in plan.marts] == ["fraud_signals"], "it counts the other sides of transfers"
    assert {f"gold/{mart.name}" for mart in MARTS} <= set(erased["after"])


def test_everybody_elses_rows_are_unchanged(erased):
    for name, before in erased["before"].items():
        after, mine = erased["after"][name], pl.lit(False)
        if "customer_id" in before.columns:
            mine = pl.col("customer_id") == "C1"
        if "account_id" in before.columns:
            mine = mine | pl.col("account_id").is_in(["A1", "A7"])
        if "transaction_id" in before.columns:
            mine = mine | (pl.col("transaction_id") == "T2")
        if "_raw" in before.columns:
            mine = pl.col("_raw").str.contains("C1|^,|C5|erased")
        others = [table.filter(~mine.fill_null(False)) for table in (before, after)]
        left, right = (table.select(sorted(table.columns)) for table in others)
        assert sorted(map(repr, left.rows())) == sorted(map(repr, right.rows())), name


def test_of_the_person_only_keys_and_business_values_stay(erased):
    customers = erased["after"]["silver/customers"].row(
        by_predicate=pl.col("customer_id") == "C1", named=True
    )
    before = erased["before"]["silver/customers"].row(by_predicate=pl.col("customer_id") == "C1", named=True)
    personal = {column.name for column in load_contract("customers").columns if column.pii_class}
    kept = customers.keys() - personal - {"_row_hash", "hobby"}
    assert {name: customers[name] for name in kept} == {name: before[name] for name in kept}
    assert customers["_row_hash"] != before["_row_hash"]
    assert customers["email"] == "erased@erased.invalid"
    assert (before["hobby"], customers["hobby"]) == ("private.mail@example.net", None)
    mart = erased["after"]["gold/customer_360"].row(by_predicate=pl.col("customer_id") == "C1", named=True)
    assert mart["full_name"] is None
    transfer = erased["after"]["silver/transactions"].filter(pl.col("transaction_id") == "T2")
    assert transfer["counterparty_iban"].to_list() == [None]


def test_a_dry_run_says_the_same_and_changes_nothing(erased):
    places = {place["place"].split("/lake/")[-1]: place["erased"] for place in erased["dry"]["places"]}
    assert {name: table.rows() for name, table in erased["after dry run"].items()} == {
        name: table.rows() for name, table in erased["before"].items()
    }
    assert places == {
        "bronze/customers/bad.csv.gz": 4,
        "bronze/customers/first.csv": 1,
        "bronze/customers/latin.csv": 1,
        "bronze/customers/newer.csv": 1,
        "quarantine.customers": 4,
        "silver.customers": 1,
        "silver.customers_history": 2,
        "bronze/accounts/a.csv": 2,
        "bronze/accounts/b.csv": 1,
        "quarantine.accounts": 1,
        "silver.accounts": 2,
        "silver.accounts_history": 2,
        "bronze/payments/not payments.csv": 1,
        "quarantine.payments": 1,
        "bronze/transactions/t.csv": 3,
        "silver.transactions": 3,
        "gold.customer_360": 1,
    }


def test_the_hash_of_an_erased_row_is_what_a_load_of_the_erased_lines_gives(erased, lake):
    old = Path(erased["lake"].bronze_uri.removeprefix("file://"))
    for name in ("first.csv", "newer.csv"):
        put(lake, "customers", name, (old / "customers" / name).read_bytes())
    assert run_pipeline(lake, entities=["customers"]).errors == []
    loaded = pl.from_arrow(DeltaTable(lake.table_uri("silver", "customers")).to_pyarrow_table())
    mine = pl.col("customer_id") == "C1"
    (again,) = loaded.filter(mine)["_row_hash"]
    assert again == erased["after"]["silver/customers"].filter(mine)["_row_hash"][0]


def test_the_next_run_finds_nothing_to_do_for_the_files(erased):
    report = run_pipeline(erased["lake"])
    assert [(entity.read, entity.error) for entity in report.entities] == [(0, None)] * len(load_contracts())


def test_done_again_it_finds_nothing_and_a_stranger_is_refused(erased):
    lake = erased["lake"]
    assert forget(lake, "C1").places == []
    with pytest.raises(UsageError, match="there is no customer C404"):
        forget(lake, "C404")


def test_a_run_that_has_broken_off_is_to_be_ended_first(lake):
    write_bytes(f"{lake.bronze_entity_uri('customers')}/a.csv", as_csv([row("customers")]).encode())
    Ledger(lake).begin(Batch("customers", 1, "r1", datetime.now(UTC), 0, 0, {}, ()))
    with pytest.raises(FinlakeError, match="a run has broken off"):
        forget(lake, "C1")
