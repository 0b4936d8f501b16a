"""What leaves in public copies: no personal data, in no byte of them."""

import hashlib
import hmac
import json
import shutil
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lake_bytes import found_in, text_values
from pydantic import SecretStr

import pipeline.publish as publish_module
from contracts import load_contract, load_contracts
from datagen.generator import generate
from pipeline.errors import FinlakeError, UsageError
from pipeline.gold import MARTS
from pipeline.masking import EMPTY, KEYED_HASH, MASKS, fingerprint, mask_of, masked_select, use_key
from pipeline.publish import publish
from pipeline.query import connect
from pipeline.settings import Settings, load_settings
from pipeline.silver import silver_columns
from pipeline.tables import TableColumn, arrow_type, ensure_table

KEY = "0123456789abcdef0123456789abcdef-secret"
ENTITIES = ("customers", "accounts", "transactions")
COLUMNS = {
    entity: [column for column in silver_columns(load_contract(entity)) if column.pii_class]
    for entity in ENTITIES
}
CUSTOMER_360 = next(mart for mart in MARTS if mart.name == "customer_360")


duckdb_once = cache(connect)  # its extensions take a while to load


def tagged(pii_class, type_="string"):
    return TableColumn("value", type_, "", pii_class)


def masked(value, pii_class, key=KEY):
    connection = duckdb_once()
    if key:
        use_key(connection, SecretStr(key))
    kind = "DATE" if isinstance(value, date) else "VARCHAR"
    column = tagged(pii_class, "date" if isinstance(value, date) else "string")
    select = masked_select([column], has_key=bool(key))
    return connection.execute(f"SELECT {select} FROM (SELECT $1::{kind} AS value)", [value]).fetchone()[0]


# --- masks -------------------------------------------------------------------------------------------


def test_every_class_of_the_contracts_has_a_mask_that_somebody_has_chosen():
    used = {c.pii_class for contract in load_contracts().values() for c in contract.columns if c.pii_class}
    assert used <= set(MASKS)


@pytest.mark.parametrize("key", [KEY, "k" * 64, "k" * 65, "Schlüssel " * 9])
def test_a_hash_is_hmac_sha256(key):
    for value in ("DE89370400440532013000", "Zoë 东京", ""):
        expected = hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()
        assert masked(value, "account_number", key) == expected


@hypothesis_settings(max_examples=30)
@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_equal_values_have_equal_hashes_and_another_key_gives_other_ones(value):
    assert masked(value, "national_id") == masked(value, "account_number")
    assert masked(value, "national_id") != masked(value, "national_id", KEY + "2")


def test_without_a_key_a_value_is_emptied_and_not_hashed():
    assert masked("DE89370400440532013000", "account_number", None) is None
    assert mask_of(tagged("account_number"), has_key=False) == EMPTY
    assert mask_of(tagged("account_number"), has_key=True) == KEYED_HASH


@pytest.mark.parametrize(
    ("value", "pii_class", "expected"),
    [
        ("ann.lee@example.com", "email", "***@example.com"),
        ('"a@b"@example.org', "email", "***@example.org"),
        ("no address", "email", None),
        ("+4930123456", "phone", "***56"),
        ("123456", "phone", None),
        (date(1980, 2, 29), "date_of_birth", date(1980, 1, 1)),
        ("1980-02-29", "date_of_birth", None),
        ("Ann", "name", None),
        ("Main Street 1", "address", None),
        ("C1,Ann,Lee", "raw_record", None),
        ("brown", "a class nobody knows", None),
        (None, "account_number", None),
        (None, "email", None),
    ],
)
def test_each_class_leaves_what_its_mask_lets_through(value, pii_class, expected):
    assert masked(value, pii_class) == expected


def test_a_number_of_a_hashed_class_keeps_its_type_and_is_emptied():
    select = masked_select([tagged("national_id", "bigint")], has_key=True)
    assert select == 'CAST(NULL AS bigint) AS "value"'


# --- the key -----------------------------------------------------------------------------------------


def test_the_key_is_neither_shown_nor_part_of_a_statement():
    settings = Settings(env="test", pii_key=KEY)
    assert KEY not in repr(settings) + str(settings.model_dump())
    assert KEY not in masked_select([tagged("account_number")], has_key=True)
    assert KEY[:8] not in fingerprint("x", settings.pii_key)


@pytest.mark.parametrize("key", ["", "shortsecret"])
def test_a_key_that_is_too_short_is_refused_without_being_shown(monkeypatch, key):
    monkeypatch.setenv("FINLAKE_PII_KEY", key)
    with pytest.raises(UsageError, match="FINLAKE_PII_KEY is shorter than 32 characters") as caught:
        load_settings()
    shown = caught.value
    assert "shortsecret" not in f"{shown} {shown.hint} {shown.__cause__}"


# --- public copies -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Silver and Gold of generated people."""
    folder = tmp_path_factory.mktemp("source")
    generate(folder / "bronze", scale=40, batch=0, seed=7, dirty=0)
    lake = Settings(
        env="test",
        bronze_uri=f"file://{folder}/bronze",
        silver_uri=f"file://{folder}/silver",
        gold_uri=f"file://{folder}/gold",
    )
    for entity in ENTITIES:
        raw = pl.read_csv(folder / "bronze" / entity / "**" / "*.csv*", infer_schema=False)
        extra = {"full_name": pl.concat_str("first_name", pl.lit(" "), "last_name")}
        rows = raw.with_columns(**(extra if entity == "customers" else {})).with_row_index("_source_row")
        store(lake.table_uri("silver", entity), silver_columns(load_contract(entity)), rows)
        if entity == "customers":
            store(lake.table_uri("gold", "customer_360"), CUSTOMER_360.columns, rows)
    return lake


def store(uri, columns, rows):
    """A table whose columns are filled as far as the rows have them."""
    stamp = datetime(2026, 1, 1, tzinfo=UTC)
    arrays = []
    for column in columns:
        if column.name in rows.columns and column.type in ("string", "date"):
            array = pa.array(rows[column.name].to_list(), pa.string())
        elif column.type == "timestamp":
            array = pa.array([stamp] * rows.height)
        else:
            array = pa.nulls(rows.height)
        arrays.append(array.cast(TYPES.get(column.type) or arrow_or_decimal(column.type)))
    table = pa.table(arrays, names=[column.name for column in columns])
    write_deltalake(ensure_table(uri, columns), table, mode="append")


TYPES = {"date": pa.date32()}


def arrow_or_decimal(type_):
    if type_.startswith("decimal"):
        return pa.decimal128(*map(int, type_[8:-1].split(",")))
    return arrow_type(type_)


def personal_values(lake):
    """Raw personal values of Silver, except those that stand in other values by right or by chance.

    Merchants, say, are called like people; for single names, see the test of the masked columns.
    """
    values = set()
    for entity, columns in COLUMNS.items():
        table = pl.from_arrow(DeltaTable(lake.table_uri("silver", entity)).to_pyarrow_table())
        for column in columns:
            if column.name in ("first_name", "last_name", "postal_code"):
                continue
            values |= set(table[column.name].drop_nulls().cast(pl.String))
    return {value for value in values if len(value) >= 8}


def public(lake, folder, **more):
    uris = {name: f"file://{folder}/{name}" for name in ("public_silver", "public_gold")}
    return lake.model_copy(
        update={f"{name}_uri": uri for name, uri in uris.items()}
        | {name: SecretStr(value) for name, value in more.items()}
    )


@pytest.fixture(params=["with key", "without key"])
def copies(request, source, tmp_path):
    lake = public(source, tmp_path, **({"pii_key": KEY} if request.param == "with key" else {}))
    return lake, tmp_path, publish(lake)


def test_no_byte_of_the_copies_is_personal_data_of_silver(copies):
    lake, folder, done = copies
    values = personal_values(lake)
    assert len(values) > 200
    assert {copy.table for copy in done if copy.written} == {
        *(f"silver.{entity}" for entity in ENTITIES), "gold.customer_360"
    }  # fmt: skip
    assert found_in(folder, values | {KEY}) == set()
    assert found_in(Path(lake.silver_uri.removeprefix("file://")), values) != set(), "or nothing can be found"


def test_masked_columns_hold_nothing_that_silver_holds(copies):
    lake, folder, _ = copies
    silver = Path(lake.silver_uri.removeprefix("file://"))
    for entity, columns in COLUMNS.items():
        for column in columns:
            raw = text_values(silver / entity, column.name)
            first_days = {value for value in raw if value.endswith("-01-01")}
            assert len(raw) > 5
            assert not text_values(folder / "public_silver" / entity, column.name) & (raw - first_days)


def test_the_search_finds_what_a_copy_without_masks_holds(source, tmp_path, monkeypatch):
    monkeypatch.setattr(
        publish_module,
        "masked_select",
        lambda columns, **_: ", ".join(f'"{column.name}"' for column in columns),
    )
    lake = public(source, tmp_path, pii_key=KEY)
    publish(lake)
    values = personal_values(lake)
    assert {value for _, value in found_in(tmp_path, values)} == values
    in_logs = {path for path, _ in found_in(tmp_path, values) if "_delta_log" in path}
    assert in_logs, "statistics in the log are searched as well"


def publish_untagged(lake, untagged):
    """Publish customers as if no column of theirs were personal."""
    columns = tuple(
        TableColumn(c.name, c.type, c.comment) for c in silver_columns(load_contract("customers"))
    )
    untagged.setattr(publish_module, "silver_columns", lambda contract: columns)
    untagged.setattr(publish_module, "load_contracts", lambda: {"customers": load_contract("customers")})
    publish(lake)


def test_a_copy_is_made_again_when_the_key_or_a_mask_changes_and_forgets_what_it_held(
    source, tmp_path, monkeypatch
):
    lake = public(source, tmp_path)
    monkeypatch.setitem(MASKS, "email", "year")  # fits no text: emptied
    assert all(copy.written for copy in publish(lake))
    assert not any(copy.written for copy in publish(lake))
    with monkeypatch.context() as untagged:
        publish_untagged(lake, untagged)
    assert found_in(tmp_path, personal_values(lake)) != set(), "it held personal data for a while"
    again = {copy.table: copy.written for copy in publish(lake)}
    assert again == {table: table == "silver.customers" for table in again}
    assert found_in(tmp_path, personal_values(lake)) == set()
    assert not any(copy.written for copy in publish(lake))
    assert all(copy.written for copy in publish(public(lake, tmp_path, pii_key=KEY)))


@pytest.mark.parametrize("step", ["write_deltalake", "forget_past", "say"])
def test_a_copy_that_was_not_freed_of_its_past_is_made_again(source, tmp_path, monkeypatch, step):
    lake = public(source, tmp_path)
    with monkeypatch.context() as untagged:
        publish_untagged(lake, untagged)
    done = getattr(publish_module, step)

    def killed(*arguments, **named):
        done(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publish_module, step, killed)
        publish(lake)
    again = {copy.table: copy.written for copy in publish(lake)}
    assert again["silver.customers"] == (step != "say"), "by then it says of itself that it is done"
    assert found_in(tmp_path, personal_values(lake)) == set()


def test_copies_are_written_by_one_command_at_a_time(source, tmp_path, monkeypatch):
    lake = public(source, tmp_path)
    copy, told = publish_module._copy, []

    def meanwhile(*arguments):
        with pytest.raises(FinlakeError, match="another run is working on public") as refused:
            publish(lake)
        told.append(str(refused.value))
        return copy(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "_copy", meanwhile)
        publish(lake)
    assert told
    assert "another run" in told[0]
    assert not any(copy.written for copy in publish(lake))


def test_a_copy_is_of_one_version_of_its_table_whatever_is_written_meanwhile(source, tmp_path, monkeypatch):
    files = shutil.copytree(source.silver_uri.removeprefix("file://"), tmp_path / "silver")
    lake = public(source.model_copy(update={"silver_uri": f"file://{files}"}), tmp_path)
    uri = lake.table_uri("silver", "customers")
    stored = pl.from_arrow(DeltaTable(uri).to_pyarrow_table())
    attach, connected = publish_module.attach_uri, publish_module.write_deltalake

    def emptied_before(connection, layer, table, source_uri):
        if table == "customers":  # after its version was looked up
            DeltaTable(uri).delete("country = 'DE'")
        attach(connection, layer, table, source_uri)

    def emptied_while_read(target, rows, **options):
        if target.endswith("/customers"):
            DeltaTable(uri).delete()
        connected(target, rows, **options)

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "attach_uri", emptied_before)
        patch.setattr(publish_module, "write_deltalake", emptied_while_read)
        publish(lake)
    copied = pl.from_arrow(DeltaTable(f"{lake.public_silver_uri}/customers").to_pyarrow_table())
    expected = stored.filter(pl.col("country") != "DE")
    assert 0 < copied.height == expected.height < stored.height
    # It says that it is older than it is, rather than newer: so the next command brings it up to date.
    assert {copy.table for copy in publish(lake) if copy.written} == {"silver.customers"}
    assert pl.from_arrow(DeltaTable(f"{lake.public_silver_uri}/customers").to_pyarrow_table()).height == 0


def test_hashes_join_accounts_with_transfers_and_what_is_not_personal_stays(source, tmp_path):
    lake = public(source, tmp_path, pii_key=KEY)
    publish(lake)
    connection = connect()
    hashes = f"SELECT iban FROM delta_scan('{lake.public_silver_uri}/accounts')"
    raw = f"SELECT iban FROM delta_scan('{lake.table_uri('silver', 'accounts')}')"
    found = {value for (value,) in connection.execute(hashes).fetchall()}
    ibans = [value for (value,) in connection.execute(raw).fetchall()]
    assert found == {hmac.new(KEY.encode(), iban.encode(), hashlib.sha256).hexdigest() for iban in ibans}
    places = [
        f"SELECT city, country FROM delta_scan('{uri}/customers') ORDER BY customer_id"
        for uri in (lake.public_silver_uri, lake.silver_uri)
    ]
    assert connection.execute(places[0]).fetchall() == connection.execute(places[1]).fetchall()
    log = next((tmp_path / "public_silver" / "customers" / "_delta_log").glob("*.json")).read_text()
    said = [json.loads(line)["commitInfo"] for line in log.splitlines() if "commitInfo" in line]
    assert said[0]["finlake.source_version"] == "1"
