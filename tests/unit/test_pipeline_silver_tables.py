"""The tables of an entity follow its contract, or refuse to."""

from dataclasses import replace

import pytest
from deltalake import DeltaTable

from contracts import load_contract
from pipeline.errors import FinlakeError
from pipeline.silver import ensure_tables, silver_columns
from pipeline.tables import ensure_table, table_version

CUSTOMERS = load_contract("customers")


def without(*names):
    return replace(CUSTOMERS, columns=tuple(c for c in CUSTOMERS.columns if c.name not in names))


def test_a_tag_that_a_contract_gives_later_comes_into_silver_and_history(lake):
    untagged = [replace(c, pii_class=None) if c.name == "email" else c for c in CUSTOMERS.columns]
    ensure_tables(replace(CUSTOMERS, columns=tuple(untagged)), (), lake)
    ensure_tables(CUSTOMERS, (), lake)
    for table in ("customers", "customers_history"):
        fields = {f.name: f for f in DeltaTable(lake.table_uri("silver", table)).schema().fields}
        assert fields["email"].metadata["pii"] == "email"


def test_a_text_that_a_contract_no_longer_has_stays_as_an_additional_column(lake):
    ensure_tables(CUSTOMERS, (), lake)
    assert ensure_tables(without("city"), (), lake) == ("city",)


def test_a_column_that_a_killed_run_has_added_to_silver_alone_comes_into_the_history_as_well(lake):
    ensure_tables(CUSTOMERS, (), lake)
    ensure_table(lake.table_uri("silver", "customers"), silver_columns(CUSTOMERS, ("tier",)))
    for _ in range(2):
        assert ensure_tables(CUSTOMERS, (), lake) == ("tier",)
        history = DeltaTable(lake.table_uri("silver", "customers_history"))
        assert [field.name for field in history.schema().fields][-1] == "tier"
    assert history.version() == 1


def test_another_column_that_a_contract_no_longer_has_is_refused_by_its_name(lake):
    ensure_tables(CUSTOMERS, (), lake)
    before = table_version(lake.table_uri("silver", "customers"))
    with pytest.raises(FinlakeError, match=r"column credit_score of silver\.customers is no longer"):
        ensure_tables(without("credit_score"), (), lake)
    assert table_version(lake.table_uri("silver", "customers")) == before
