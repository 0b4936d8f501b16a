"""An erasure on S3, in buckets that keep old versions: nothing is left in those either."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lake_bytes import found_in
from lakehouse import Lakehouse, generate, lakehouse

from contracts import load_contract
from emulator.native import NativeStack

pytestmark = [pytest.mark.emulator, pytest.mark.spark, pytest.mark.timeout(900), pytest.mark.slow]

LAYERS = ("bronze", "silver", "gold", "public_silver", "public_gold")
UNIQUE = ("email", "phone", "national_id", "street_address", "full_name")
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def lake(stack: NativeStack) -> Lakehouse:
    """A lake whose buckets keep old versions, loaded and published."""
    lake = lakehouse(stack, "forget", FINLAKE_PII_KEY=KEY)
    s3 = lake.client("s3")
    for layer in LAYERS:
        bucket = bucket_of(lake, layer)
        if layer.startswith("public"):
            s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": lake.aws["AWS_REGION"]}
            )
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    generate(lake, 0)
    lake.must("run")
    lake.must("publish")
    return lake


def bucket_of(lake: Lakehouse, layer: str) -> str:
    return str(getattr(lake.settings, f"{layer}_uri")).removeprefix("s3://")


def download(lake: Lakehouse, folder: Path) -> Path:
    """Every version of every object, as files."""
    s3 = lake.client("s3")
    for layer in LAYERS:
        bucket = bucket_of(lake, layer)
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", []):
                body = s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])[
                    "Body"
                ]
                suffix = Path(version["Key"]).suffix
                path = folder / layer / f"{version['Key']}.{version['VersionId']}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body.read())
    return folder


def checks(lake: Lakehouse) -> dict[str, bool]:
    return {check["check"]: check["ok"] for check in json.loads(lake.finlake("verify", "--json").stdout)}


def one_customer(lake: Lakehouse) -> dict[str, Any]:
    """One who has all kinds of personal data, and shares none of it with the others of a household.

    The generator makes some bad lines of good ones, under another customer's key; those are not theirs.
    """
    bad = " ".join(lake.frame("quarantine", "customers")["_raw"])
    known = lake.frame("silver", "customers", "SELECT * FROM {} ORDER BY customer_id")
    known = known.filter(pl.all_horizontal(pl.col(UNIQUE).is_not_null()))
    versions = lake.frame("silver", "customers_history")

    def is_theirs(name: str, value: str) -> bool:
        return versions.filter(pl.col(name) == value)["customer_id"].n_unique() == 1 and value not in bad

    rows = known.iter_rows(named=True)
    return next(row for row in rows if all(is_theirs(name, row[name]) for name in UNIQUE))


def test_nothing_of_the_person_is_left_in_any_version_of_any_object(lake: Lakehouse, tmp_path: Path):
    person = one_customer(lake)
    customer_id = person["customer_id"]
    accounts = lake.frame("silver", "accounts").filter(pl.col("customer_id") == customer_id)
    secrets = {person[name] for name in UNIQUE} | set(accounts["iban"])
    before = download(lake, tmp_path / "before")
    assert {value for _, value in found_in(before, secrets)} == secrets
    customers = lake.frame("silver", "customers")
    good = checks(lake)
    assert all(good.values())

    asked = lake.finlake("forget", customer_id)
    assert asked.returncode == 1, "nobody is there to say yes"
    assert "would be erased" in asked.stdout
    done = lake.json("forget", customer_id, "--yes", "--json")
    assert {"silver.customers", "silver.accounts", "gold.customer_360"} <= {
        place["place"] for place in done["places"]
    }

    after = download(lake, tmp_path / "after")
    assert found_in(after, secrets | {KEY}) == set()
    assert {name for name, ok in checks(lake).items() if not ok} <= {"gold.fraud_signals: up to date"}
    report = lake.json("run", "--json")
    assert [entity["read"] for entity in report["entities"] if entity["read"]] == []
    built = {mart["mart"] for mart in report["marts"] if mart["status"] in ("rebuilt", "updated")}
    assert built <= {"fraud_signals"}, "it counts the other sides of transfers, which are gone"
    assert checks(lake) == good
    left = lake.frame("silver", "customers")
    others = pl.col("customer_id") != customer_id
    assert left.filter(others).sort("customer_id").equals(customers.filter(others).sort("customer_id"))
    personal = [c.name for c in load_contract("customers").columns if c.pii_class and not c.required]
    assert set(left.filter(~others).select(personal).row(0)) == {None}
    assert lake.json("forget", customer_id, "--yes", "--json")["places"] == []


def test_a_person_in_a_file_that_is_not_loaded_yet_is_found_as_well(lake: Lakehouse, tmp_path: Path):
    line = "C77777,Quintessa,Q,quintessa@example.com,1980-01-01\n"
    header = "customer_id,first_name,last_name,email,date_of_birth\n"
    for text in (header, header + line):  # the second one replaces the first
        lake.put("customers/late.csv.gz", gzip.compress(text.encode()))
    places = lake.json("forget", "C77777", "--yes", "--json")["places"]
    assert [place["erased"] for place in places] == [1]
    assert found_in(download(lake, tmp_path / "late"), {"Quintessa"}) == set()
    refused = lake.finlake("forget", "C404404", "--yes")
    assert (refused.returncode, "there is no customer C404404" in refused.stderr) == (2, True)
    unasked = lake.finlake("forget", "C77777", "--json")
    assert (unasked.returncode, unasked.stdout) == (2, "")
