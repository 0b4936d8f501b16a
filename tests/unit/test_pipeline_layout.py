"""How a Bronze file is written is found out from its first bytes."""

import codecs
import gzip
import os
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import load_contract
from pipeline.layout import (
    SAMPLE_BYTES,
    additional_name,
    find_encoding,
    find_header,
    gunzip_head,
    inspect,
    with_aliases,
)

CUSTOMERS = load_contract("customers")
NAMES = [column.name for column in CUSTOMERS.source_columns]
HEADER = ",".join(NAMES)
ROW = "C1,Zoë,Müller," + "," * (len(NAMES) - 4)


def look(data: bytes | str, *, compressed: bool = False):
    data = data.encode() if isinstance(data, str) else data
    return inspect(data, compressed=compressed, contract=CUSTOMERS)


def test_a_file_as_the_contract_says_has_nothing_to_note():
    found = look(f"{HEADER}\n{ROW}\n")
    assert (found.status, found.notes) == ("loadable", ())
    assert found.layout.header == tuple(NAMES)
    assert (found.layout.delimiter, found.layout.encoding, found.layout.has_header) == (",", "UTF-8", True)
    assert found.layout.problem is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_byte_order_mark_and_line_ends_do_not_matter(end, mark):
    found = look(mark + f"{HEADER}{end}{ROW}{end}".encode())
    assert found.layout.header == tuple(NAMES)
    assert found.notes == ()


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_recognised_and_told(delimiter):
    found = look(f"{HEADER}\n{ROW}".replace(",", delimiter))
    assert found.layout.delimiter == delimiter
    assert found.layout.header == tuple(NAMES)
    assert found.notes == (f"delimiter {delimiter!r}",)


def test_a_delimiter_inside_quotes_of_the_header_does_not_count():
    found = look('customer_id;"a,b,c,d";email\n1;2;3\n')
    assert (found.layout.delimiter, found.layout.header) == (";", ("customer_id", "a_b_c_d", "email"))


def test_a_header_that_was_read_before_an_alias_was_given_is_understood_by_it():
    columns = (replace(c, aliases=("mail",)) if c.name == "email" else c for c in CUSTOMERS.columns)
    contract = replace(CUSTOMERS, columns=tuple(columns))
    assert with_aliases(("customer_id", "mail", "x"), contract) == ("customer_id", "email", "x")
    assert with_aliases(("email", "mail"), contract) == ("email", "mail"), "there is one already"


def test_header_names_may_be_quoted_padded_and_in_capitals():
    found = look(",".join(f'" {name.upper()} "' for name in NAMES) + "\n")
    assert found.layout.header == tuple(NAMES)


def test_columns_in_another_order_are_kept_in_file_order():
    found = look(",".join(reversed(NAMES)) + "\n")
    assert found.layout.header == tuple(reversed(NAMES))
    assert found.notes == ()


def test_missing_and_additional_columns_are_told_by_name():
    header = [name for name in NAMES if name not in ("email", "phone")] + ["shoe_size", ""]
    found = look(",".join(header) + "\n")
    assert found.layout.problem is None
    assert found.notes == (
        "missing columns: email, phone",
        "additional columns: shoe_size",
        "additional columns, not loaded: (no name)",
    )


def test_additional_columns_get_names_that_a_table_can_have():
    found = look(HEADER + ",Loyalty Tier (2024),Größe,full_name,is_current,customer-id,x,x\n")
    assert found.layout.header[len(NAMES) :][:2] == ("loyalty_tier_2024", "gr_e")
    assert found.notes == (
        "additional columns: loyalty_tier_2024, gr_e",
        "additional columns, not loaded: full_name, is_current, customer-id, x, x",
    )


def test_additional_columns_are_left_alone_when_the_contract_says_so():
    contract = replace(CUSTOMERS, schema_policy="ignore")
    found = inspect(f"{HEADER},tier\n".encode(), compressed=False, contract=contract)
    assert found.notes == ("additional columns, not loaded: tier",)


def test_a_file_of_another_kind_brings_no_columns():
    many = [f"column_{number}" for number in range(len(NAMES) + 1)]
    assert (
        look(",".join(["customer_id", *many[1:]]) + "\n")
        .notes[-1]
        .startswith("additional columns: column_1,")
    )
    found = look(",".join(["customer_id", *many]) + "\n")
    assert found.notes[-1].startswith("additional columns, not loaded: column_0,")


@given(st.text(max_size=300))
def test_the_name_of_an_additional_column_is_safe_and_stays_what_it_is(name):
    plain = additional_name(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9_]*[a-z0-9])?|", plain)
    assert additional_name(plain) == plain


def test_a_column_is_found_by_its_former_name():
    columns = [
        replace(column, aliases=("mail", "e-mail")) if column.name == "email" else column
        for column in CUSTOMERS.columns
    ]
    contract = replace(CUSTOMERS, columns=tuple(columns))
    header = HEADER.replace("email", "E-Mail")
    found = inspect(f"{header}\n".encode(), compressed=False, contract=contract)
    assert found.layout.header == tuple(NAMES)
    assert found.notes == ("renamed columns: e-mail is email",)
    both = inspect(f"{header},email\n".encode(), compressed=False, contract=contract)
    assert both.layout.problem == "ambiguous_header"


def test_a_column_that_stands_twice_makes_the_file_ambiguous():
    found = look(HEADER + ",email\n")
    assert found.layout.problem == "ambiguous_header"
    assert found.notes == ("columns stand more than once in the header: email",)


def test_an_additional_column_may_stand_twice():
    assert look(HEADER + ",x,x\n").layout.problem is None


def test_a_first_line_without_any_known_name_is_data_and_not_a_header():
    found = look("C1,Ann,Lee\nC2,Bob,Ray\n")
    assert (found.status, found.layout.problem, found.layout.has_header) == (
        "loadable",
        "unreadable_header",
        False,
    )
    assert "no column name of the contract" in found.notes[0]


def test_a_header_only_file_is_loadable():
    assert look(HEADER).status == "loadable"


@pytest.mark.parametrize("data", [b"", b"\n\n  \r\n", codecs.BOM_UTF8, codecs.BOM_UTF8 + b"\n"])
def test_a_file_without_anything_in_it_is_empty(data):
    found = look(data)
    assert (found.status, found.layout) == ("empty", None)
    assert found.notes


def test_blank_lines_that_fill_the_sample_are_not_taken_for_an_empty_file():
    found = look((b"\n" * SAMPLE_BYTES + f"{HEADER}\n{ROW}\n".encode())[:SAMPLE_BYTES])
    assert found.status == "loadable"
    assert found.layout.problem == "unreadable_header"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
    ],
)
def test_utf_16_is_recognised_by_its_byte_order_mark(encoding, name):
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
    found = look(marks.get(encoding, b"") + f"{HEADER}\n{ROW}\n".encode(encoding))
    assert (found.layout.encoding, found.layout.header) == (name, tuple(NAMES))
    assert found.notes == (f"encoding {name}",)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-be"])
def test_utf_32_is_rejected_and_not_taken_for_utf_16(encoding):
    mark = "\ufeff" * (encoding == "utf-32-be")
    found = look(f"{mark}{HEADER}\n{ROW}\n".encode(encoding))
    assert (found.status, found.layout) == ("rejected", None)
    assert found.notes == ("its text is UTF-32, which is not read: save it as UTF-8",)


@pytest.mark.parametrize(
    ("rows", "encoding", "name"),
    [
        ("C1,Zoë,Berlin\nC2,Ann,Lee\n", "cp1252", "windows-1252"),
        ("C1,Jürgen,Groß\nC2,Jörg,Müller\n", "cp1252", "windows-1252"),
        ("C1,François,Lefèvre\nC2,Hélène,Benoît\n", "cp1252", "windows-1252"),
        ("C1,José,Núñez\nC2,Begoña,Ibáñez\n", "cp1252", "windows-1252"),
        ("C1,Łukasz,Wiśniewski\nC2,Paweł,Wójcik\nC3,Grażyna,Dąbrowska\n", "cp1250", "windows-1250"),
        ("C1,Иван,Петров\nC2,Ольга,Смирнова\n", "cp1251", "windows-1251"),
    ],
)
def test_an_older_encoding_is_recognised_and_told(rows, encoding, name):
    found = look(f"{HEADER}\n{rows}".encode(encoding))
    assert found.layout.encoding == name
    assert found.notes == (f"encoding {name}",)


def test_utf_8_with_a_few_broken_characters_stays_utf_8():
    assert find_encoding("größe ".encode() * 20 + b"caf\xe9") == "UTF-8"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_sample_that_ends_within_a_character_is_still_utf_8(cut):
    assert find_encoding("name,😀".encode()[:-cut]) == "UTF-8"


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 4,
        b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(256)) * 4,
        gzip.compress(HEADER.encode() * 50),
    ],
    ids=["png", "zip", "gzip without .gz"],
)
def test_a_file_that_is_not_text_is_rejected(data):
    found = look(data)
    assert (found.status, found.layout) == ("rejected", None)
    assert "not a text file" in found.notes[0]


def test_the_header_of_a_gzip_file_is_read():
    found = look(gzip.compress(f"{HEADER}\n{ROW}\n".encode()), compressed=True)
    assert found.layout.header == tuple(NAMES)


def test_a_gzip_sample_that_breaks_off_shows_its_header():
    data = gzip.compress(f"{HEADER}\n".encode() + os.urandom(SAMPLE_BYTES).hex().encode())
    assert look(data[: len(data) // 2], compressed=True).layout.header == tuple(NAMES)


def test_several_gzip_streams_in_one_file_are_read_like_one():
    data = gzip.compress(b"") + gzip.compress(HEADER[:10].encode()) + gzip.compress(HEADER[10:].encode())
    assert look(data, compressed=True).layout.header == tuple(NAMES)


def test_an_empty_gzip_file_is_empty():
    assert look(gzip.compress(b""), compressed=True).status == "empty"


@pytest.mark.parametrize("length", [1, 5, 9, 12])
def test_a_gzip_file_cut_off_in_its_first_bytes_is_rejected_and_not_called_empty(length):
    found = look(gzip.compress(f"{HEADER}\n{ROW}\n".encode())[:length], compressed=True)
    assert found.status == "rejected"


def test_plain_text_under_a_gz_name_is_rejected():
    found = look(f"{HEADER}\n", compressed=True)
    assert found.status == "rejected"
    assert "not gzip" in found.notes[0]


def test_gunzip_gives_no_more_than_the_sample():
    assert len(gunzip_head(gzip.compress(b"a" * (SAMPLE_BYTES * 3)))) == SAMPLE_BYTES


@given(
    names=st.permutations(NAMES),
    kept=st.integers(min_value=1, max_value=len(NAMES)),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_any_choice_of_columns_in_any_order_is_found_whatever_the_delimiter(names, kept, delimiter):
    header = names[:kept]
    found = find_header(delimiter.join(header), CUSTOMERS)
    assert found[1] == tuple(header)
    assert kept == 1 or found[0] == delimiter


@given(st.binary(max_size=2000), st.booleans())
def test_no_file_whatever_is_in_it_makes_the_inspection_fail(data, compressed):
    found = look(data, compressed=compressed)
    assert found.status in ("loadable", "empty", "rejected")
    assert (found.layout is not None) == (found.status == "loadable")
    assert found.layout is not None or found.notes
