"""Personal data in columns that are not tagged is told; the generator's own data gives no false alarm."""

import csv
import io
import time
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import load_contract, load_contracts
from datagen.generator import generate
from pipeline.detection import has_email, has_iban, is_card, is_phone, warnings
from pipeline.files import inspect_files
from pipeline.layout import SAMPLE_BYTES, inspect
from pipeline.ledger import Batch, BronzeFile, Ledger
from pipeline.status import lake_status
from pipeline.storage import list_objects

LOANS, CUSTOMERS = load_contract("loans"), load_contract("customers")
TODAY = date(2026, 1, 1)


def look(values, column="collateral_type", contract=LOANS, delimiter=","):
    header = [contract.key[0], column]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(header)
    writer.writerows([f"L{number}", value] for number, value in enumerate(values))
    return warnings(file.getvalue(), header, delimiter, contract, today=TODAY)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("email addresses", ["ann@example.com", "Bob.Lee+x@mail.example.co.uk"]),
        ("email addresses", ["ask ann@example.com about it", *["nothing"] * 50]),
        ("phone numbers", ["+4930123456", "+49 (30) 123-456", "030 123456", "(555) 123-4567"]),
        ("phone numbers", ["0049 30 123456", "00 49 30 12 34 56", "555-123-4567"]),
        ("IBANs", ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "FR1420041010050500013M02606"]),
        ("card numbers", ["4111111111111111", "5500 0000 0000 0004", "3400-0000-0000-009"]),
        ("IBANs", ["de89370400440532013000", "gb29 nwbk 6016 1331 9268 19"]),
        ("birth dates", [f"{year}-05-17" for year in range(1950, 2000)]),
        ("birth dates", [f"{1 + year % 28:02}.05.{year}" for year in range(1950, 2000)]),
        ("birth dates", [f"5/{1 + year % 28}/{year}" for year in range(1950, 2000)]),
        ("birth dates", [f"{year}/05/17" for year in range(1950, 2000)]),
    ],
)  # fmt: skip
def test_a_column_without_a_tag_is_told_with_its_kind_and_share(kind, values):
    (warning,) = look(values)
    assert warning.startswith(f"column collateral_type looks like personal data without a tag: {kind} in ")
    assert f"of {len(values)} sampled rows" in warning


def test_the_share_is_that_of_all_rows():
    (warning,) = look(["ann@example.com", "bob@example.com", "", "none"])
    assert warning.endswith("email addresses in 50 % of 4 sampled rows")


def test_a_tagged_column_is_not_told():
    assert look(["ann@example.com"], "email", CUSTOMERS) == ()
    assert look(["ann@example.com"], "city", CUSTOMERS) != ()


def test_additional_columns_are_looked_at_as_well():
    (warning,) = look(["ann@example.com"], "private_mail", CUSTOMERS, delimiter=";")
    assert warning.startswith("column private_mail ")


@pytest.mark.parametrize(
    "values",
    [
        [f"L{number:010}" for number in range(400)],
        [f"{number:013}" for number in range(4_000_000_000_000, 4_000_000_000_400)],
        [f"{number:010}" for number in (*range(400), *range(12_345_678, 12_346_678))],
        [f"{number}.{number % 100:02}" for number in range(400)],
        [f"2026-01-{day:02}" for day in range(1, 31)],
        [f"{year}-01-01" for year in range(2000, 2011)] * 9,
        [f"{year}-01-01" for year in range(2020, 2060)],
        ["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+01:00"] * 9,
        ["01-02-2024", "1.2.2024", "5411", "DE", "BR001", "@home", "user@host", "50 %", ""],
    ],
    ids=["ids", "long numbers", "padded", "amounts", "days", "of ten years", "future", "instants", "others"],
)
def test_ids_amounts_and_business_dates_are_not_told(values):
    assert look(values) == ()


@given(st.text())
def test_any_text_can_be_looked_at(value):
    for looks_so in (has_email, has_iban, is_phone, is_card):
        assert looks_so(value) in (True, False)
    look([value, value])


@pytest.mark.parametrize("seed", [1, 7])
def test_generated_data_gives_no_warning(tmp_path, seed):
    files = 0
    for batch in (0, 1):
        generate(tmp_path, scale=400, batch=batch, seed=seed, dirty=0.1)
    for entity, contract in load_contracts().items():
        for file in inspect_files(list_objects(f"file://{tmp_path}/{entity}"), contract):
            assert (file.path, file.notes) == (file.path, ())
            files += 1
    assert files >= 10


def test_generated_customers_without_tags_are_told_column_by_column(tmp_path):
    """What must not be told when it is tagged is seen when it is not."""
    generate(tmp_path, scale=300, batch=0, seed=7, dirty=0.02)
    (file,) = (tmp_path / "customers").rglob("*.csv*")
    found = inspect(
        file.read_bytes()[:SAMPLE_BYTES], compressed=False, contract=LOANS
    )  # it has customer_id, and no other of their columns
    told = {note.split()[1]: note for note in found.notes if note.startswith("column ")}
    assert set(told) == {"email", "phone", "date_of_birth"}


def test_the_warning_reaches_the_files_notes_and_status(lake_at, tmp_path):
    lake = lake_at(tmp_path)
    folder = tmp_path / "bronze" / "loans"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("loan_id,contact\nL1,ann@example.com\n")
    files = inspect_files(list_objects(lake.bronze_entity_uri("loans")), LOANS)
    assert isinstance(files[0], BronzeFile)
    batch = Batch("loans", 1, "r1", datetime.now(UTC), 0, 0, {}, files)
    ledger = Ledger(lake)
    ledger.begin(batch)
    ledger.commit(batch, [], 0.0)
    (told,) = lake_status(lake)["personal_data"]
    assert (told["entity"], told["path"]) == ("loans", files[0].path)
    assert told["notes"] == [
        "column contact looks like personal data without a tag: email addresses in 100 % of 1 sampled rows"
    ]


def test_a_sample_takes_little_time():
    line = "L1," + ",".join(["some text of a few words"] * 20) + "\n"
    text = "loan_id," + ",".join(f"c{n}" for n in range(20)) + "\n" + line * (SAMPLE_BYTES // len(line))
    clock = time.process_time()
    warnings(text, text.splitlines()[0].split(","), ",", LOANS)
    assert time.process_time() - clock < 1
