"""An erasure on the local disk: what it has to find without a table that names it."""

import polars as pl
import pyarrow as pa
from deltalake import write_deltalake
from lake_bytes import found_in

from contracts import load_contract
from pipeline.forget import forget
from pipeline.silver import ensure_tables
from pipeline.storage import write_bytes
from pipeline.tables import open_table

BRONZE = "customer_id,first_name,email\nC1,Annegret,annegret@example.com\nC2,Bob,bob@example.com\n"


def test_an_account_number_in_groups_goes_from_other_peoples_lines_and_from_those_without_a_key(
    lake, tmp_path
):
    files = {
        "customers": "customer_id,first_name,phone\nC1,Ann,+4930123456\n,Ann,+49 (30) 123-456\nC2,Bob,\n",
        "accounts": "account_id,customer_id,iban\nA1,C1,DE89370400440532013000\nA2,C2,\n",
        "transactions": "transaction_id,account_id,counterparty_iban\n"
        "T1,A2,DE89 3704 0044 0532 0130 00\nT2,A2,DE02 1203 0000 0000 2020 51\n",
    }
    for entity, text in files.items():
        write_bytes(f"{lake.bronze_entity_uri(entity)}/a.csv", text.encode())
    forget(lake, "C1")
    left = found_in(tmp_path, {"+4930123456", "123-456", "DE89370400440532013000", "DE89 3704", "DE02 1203"})
    assert {value for _, value in left} == {"DE02 1203"}


def test_rows_that_a_killed_run_has_left_in_staging_go_as_well(lake, tmp_path):
    write_bytes(f"{lake.bronze_entity_uri('customers')}/a.csv", BRONZE.encode())
    folder = tmp_path / "staged"
    pl.DataFrame({"customer_id": ["C1"], "email": ["annegret@example.com"]}).write_parquet(
        folder / "1" / "part-0.parquet", mkdir=True
    )
    staging = lake.table_uri("staging", "customers")
    for name in ("1/part-0.parquet", "states/2/part-0.parquet"):
        write_bytes(f"{staging}/{name}", (folder / "1" / "part-0.parquet").read_bytes())
    root = tmp_path / "lake"
    assert len({path for path, _ in found_in(root, {"annegret@example.com"})}) == 3
    assert [place.count for place in forget(lake, "C1").places] == [1]
    assert found_in(root, {"annegret@example.com", "Annegret"}) == set()
    assert {value for _, value in found_in(root, {"bob@example.com"})} == {"bob@example.com"}


def test_an_account_that_is_named_by_more_rows_than_one_statement_can_hold_goes_from_all_of_them(
    lake, tmp_path
):
    iban, others = "DE89370400440532013000", "DE02120300000000202051"
    files = {
        "customers": "customer_id,first_name\nC1,Ann\n",
        "accounts": f"account_id,customer_id,iban\nA1,C1,{iban}\n",
    }
    for entity, text in files.items():
        write_bytes(f"{lake.bronze_entity_uri(entity)}/a.csv", text.encode())
    ensure_tables(load_contract("transactions"), (), lake)
    stored = open_table(lake.table_uri("silver", "transactions"))
    rows = [
        {"transaction_id": f"T{number:06}", "counterparty_iban": others if number < 7 else iban}
        for number in range(40_007)
    ]
    write_deltalake(stored, pa.Table.from_pylist(rows, pa.schema(stored.schema().to_arrow())), mode="append")
    ensure_tables(load_contract("accounts"), (), lake)
    held = open_table(lake.table_uri("quarantine", "accounts"))
    file = f"{lake.bronze_entity_uri('accounts')}/b.csv"
    lines = [
        {
            "_raw": f"A{number},C1,{iban}",
            "_layout": {"header": ["account_id", "customer_id", "iban"], "delimiter": ","},
            "_source_file": file,
            "_source_row": number,
            "_run_id": "r1",
        }
        for number in range(6_000)
    ]
    write_deltalake(held, pa.Table.from_pylist(lines, pa.schema(held.schema().to_arrow())), mode="append")
    found = {place.place: place.count for place in forget(lake, "C1").places}
    assert (found["silver.transactions"], found["quarantine.accounts"]) == (40_000, 6_000)
    assert found_in(tmp_path, {iban}) == set()
    left = pl.read_delta(str(tmp_path / "lake" / "silver" / "transactions"))
    assert left.get_column("transaction_id").sort().to_list() == [row["transaction_id"] for row in rows]
    assert left.get_column("counterparty_iban").drop_nulls().to_list() == [others] * 7
    assert pl.read_delta(held.table_uri).height == 6_000
