"""What is erased of a person in lines and rows, and what stays."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import load_contract, load_contracts
from pipeline.erasure import Person, as_row, erase_line, erase_row, nobody, read_line
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS

CUSTOMERS, ACCOUNTS, TRANSACTIONS = map(load_contract, ("customers", "accounts", "transactions"))
HEADER = ("customer_id", "first_name", "email", "phone", "date_of_birth", "city", "hobby")
PERSON = Person(
    {"customers": {"C1"}, "accounts": {"A1"}}, {"ann@example.com", "+4930123456", "DE89370400440532013000"}
)


def erased(line, header=HEADER, contract=CUSTOMERS, delimiter=","):
    return erase_line(line, header, delimiter, contract, PERSON)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'C1,"Ann ""A""",ann@example.com,+4930123456,1980-02-29,"Bad ""Ems"", DE",chess',
            'C1,erased,erased@erased.invalid,,1900-01-01,"Bad ""Ems"", DE",',
        ),
        (" C1 ,,,,,Bonn,", " C1 ,,,,,Bonn,"),
        ("C2,Ann,ann@example.com,+4930123456,1980-02-29,Bonn,chess", None),
        ("C2,Bob,b@example.com,,1980-02-29,Bonn,ANN@example.com", "C2,Bob,b@example.com,,1980-02-29,Bonn,"),
        (",Ann,x,+49 (30) 123-456,1980-02-29,Bonn,", ",erased,erased@erased.invalid,,1900-01-01,Bonn,"),
        (",Bob,b@example.com,,1980-02-29,Bonn,", None),
        ('C1,Ann,ann@example.com,,1980-02-29, "Bad Ems",', "erased"),
        ("C1,Ann,ann@example.com", "erased"),
        ('C1,"Ann,ann@example.com,,,,', "erased"),
        ("C9,Bob,see ann@Example.com,,", "erased"),
        ("C11,Bob,C12", None),
    ],
)
def test_of_a_line_goes_what_is_the_persons(line, expected):
    assert erased(line) == (line if expected is None else expected)
    assert erased(erased(line)) == erased(line)


def test_a_header_that_is_none_leaves_only_lines_that_do_not_mention_the_person():
    assert erased("C1;Ann", ()) == "erased"
    assert erased("C2;Bob", ()) == "C2;Bob"
    assert erased("C1,C1", ("customer_id", "customer_id")) == "erased"


def test_an_account_number_goes_where_it_is_the_other_side_and_not_where_it_is_somebody_elses_own():
    header = ("transaction_id", "account_id", "counterparty_iban", "amount")
    others, own = "T1,A2,DE89370400440532013000,1.00", "T2,A1,FR1420041010050500013M02606,1.00"
    assert erased(others, header, TRANSACTIONS) == "T1,A2,,1.00"
    assert erased(own, header, TRANSACTIONS) == "T2,A1,,1.00"
    taken_over = "A1,C2,DE89370400440532013000"
    assert erased(taken_over, ("account_id", "customer_id", "iban"), ACCOUNTS) == taken_over


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("T1,A2,DE89 3704 0044 0532 0130 00,1.00", True),
        ("T1,A2,de89-3704-0044-0532-0130-00,1.00", True),
        (",Ann,x@,+49 (30) 123-456,", True),
        ("T1,A2,DE89 3704 0044 0532 0130 01,1.00", False),
        ("T1,A2,DE89,3704,0044", False),
        ("-----", True),
        ("----", False),
        ("", False),
    ],
)
def test_values_are_found_however_they_are_written(text, is_found):
    person = replace(PERSON, values={*PERSON.values, "-----"})
    assert bool(person.pattern().search(text)) is is_found
    assert not person.is_named_by("-")


def test_an_erased_row_has_the_hash_of_what_is_left_and_no_derived_value():
    row = {column.name: None for column in CUSTOMERS.columns}
    row |= {"customer_id": "C1", "first_name": "Ann", "full_name": "Ann Lee", "phone": "+4930123456"}
    row |= {"date_of_birth": date(1980, 2, 29), "credit_score": 700, "_row_hash": b"old", "city": "Bonn"}
    left = erase_row(row, CUSTOMERS, PERSON)
    assert (left["first_name"], left["full_name"], left["phone"]) == ("erased", None, None)
    assert (left["date_of_birth"], left["city"], left["credit_score"]) == (date(1900, 1, 1), "Bonn", 700)
    assert left["_row_hash"] not in (b"old", None)
    assert erase_row(left, CUSTOMERS, PERSON) == left
    other = row | {"customer_id": "C2"}
    assert erase_row(other, CUSTOMERS, PERSON) == other


@given(st.lists(st.text(alphabet='ab",;\t \x00é\u2028'), min_size=1, max_size=5))
def test_lines_are_split_as_they_are_written_or_not_at_all(values):
    line = ",".join('"' + value.replace('"', '""') + '"' for value in values)
    header = [str(number) for number in range(len(values))]
    fields = read_line(line, header, ",")
    if "\0" in line:
        assert fields is None
    else:
        assert ",".join(fields) == line
        assert list(as_row(fields, header).values()) == [value.strip() for value in values]


def test_every_contract_allows_what_is_put_in_the_place_of_personal_data():
    for contract in load_contracts().values():
        for column in contract.source_columns:
            if column.pii_class:
                assert (nobody(column) is not None) == column.required


def test_a_contract_that_allows_nothing_in_its_place_is_named():
    column = replace(CUSTOMERS.column("email"), pattern="^.*@bank.example$")
    with pytest.raises(FinlakeError, match="column email must have a value"):
        nobody(column)


def test_marts_with_personal_data_have_the_customers_key():
    for mart in MARTS:
        names = {column.name for column in mart.columns}
        assert "customer_id" in names or not any(column.pii_class for column in mart.columns)
