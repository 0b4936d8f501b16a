"""What a dry run says about files: rows, differences from the contract, and what would become of them."""

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import load_contract
from contracts.rules import rules
from pipeline.files import inspect_file
from pipeline.layout import SAMPLE_BYTES, Layout
from pipeline.ledger import BronzeFile
from pipeline.preview import count_rows, differences, preview, preview_file
from pipeline.storage import ObjectInfo, write_bytes

LOANS = load_contract("loans")
NAMES = [column.name for column in LOANS.source_columns]


@pytest.fixture
def stored(tmp_path):
    def store(name, content):
        uri = f"file://{tmp_path}/{name}"
        write_bytes(uri, content)
        return ObjectInfo(uri, len(content), "e")

    return store


def csv_of(rows, header=NAMES, delimiter=",", end="\n"):
    lines = [delimiter.join(header), *(delimiter.join(["7"] * len(header)) for _ in range(rows))]
    return end.join(lines) + end


@pytest.mark.parametrize(
    ("name", "content", "encoding", "delimiter"),
    [
        ("a.csv", csv_of(3).encode(), "UTF-8", ","),
        ("a.csv", csv_of(3, delimiter=";", end="\r\n").encode("utf-8-sig"), "UTF-8", ";"),
        ("a.csv", csv_of(3, end="\r").encode("utf-16"), "UTF-16", ","),
        ("a.csv", csv_of(3).replace("7", "Å…", 1).encode(), "UTF-8", ","),
        ("a.csv", csv_of(3).replace("7", "\u2028", 1).encode(), "UTF-8", ","),
        ("a.csv", (csv_of(3) + "\n \n").encode(), "UTF-8", ","),
        ("a.csv", csv_of(3).encode().rstrip(), "UTF-8", ","),
        ("a.csv.gz", gzip.compress(csv_of(3).encode(), mtime=0), "UTF-8", ","),
        (
            "a.csv.gz",
            gzip.compress(csv_of(2).encode(), mtime=0) + gzip.compress(b"7\n", mtime=0),
            "UTF-8",
            ",",
        ),
    ],
)
def test_rows_of_a_short_file_are_counted(stored, name, content, encoding, delimiter):
    found = preview_file(stored(name, content), LOANS)
    assert (found.rows, found.is_estimate) == (3, False)
    assert (found.encoding, found.delimiter) == (encoding, delimiter)
    assert (found.missing, found.additional, found.renamed, found.refused) == ((), (), (), ())


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_rows_of_a_long_file_are_estimated_and_said_to_be(stored, pack):
    chance = random.Random(1)  # noqa: S311 - lines of different lengths, not a secret
    lines = [",".join(NAMES), *("x" * chance.randrange(20, 60) + str(chance.random()) for _ in range(9_000))]
    content = pack("\n".join(lines).encode())
    assert len(content) > SAMPLE_BYTES
    name = "a.csv" if content[:2] != b"\x1f\x8b" else "a.csv.gz"
    found = preview_file(stored(name, content), LOANS)
    assert found.is_estimate
    assert found.rows == pytest.approx(9_000, rel=0.05)


def test_what_compresses_well_is_not_taken_for_short(stored):
    content = gzip.compress(csv_of(50_000).encode())
    assert len(content) < SAMPLE_BYTES
    found = preview_file(stored("a.csv.gz", content), LOANS)
    assert (found.rows, found.is_estimate) == (50_000, False)


def test_a_gzip_that_ends_early_gives_an_estimate(stored):
    lines = [",".join(NAMES), *(str(number * number) for number in range(9_000))]
    packed = gzip.compress("\n".join(lines).encode())
    info = stored("a.csv.gz", packed[:-9])
    assert count_rows(packed[:-9], inspect_file(info, LOANS))[1]


@given(st.integers(0, 500), st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_whole_file_is_never_estimated(rows, end):
    content = csv_of(rows, end=end).encode()
    file = BronzeFile("file:///a.csv", len(content), "e", layout=Layout(tuple(NAMES)))
    assert count_rows(content, file) == (rows, False)


def test_missing_additional_and_renamed_columns_are_told_apart():
    header = [name for name in NAMES if name not in ("loan_id", "collateral_value", "principal")]
    missing, additional, renamed, refused = differences(
        Layout((*header, "loan_identifier", "principal_amount", "colour")), LOANS
    )
    assert missing == ("loan_id", "principal", "collateral_value")
    assert additional == ("loan_identifier", "principal_amount", "colour")
    assert renamed == (("loan_id", "loan_identifier"), ("principal", "principal_amount"))
    assert refused == ("missing_key:loan_id", "missing_value:principal")


def test_a_header_that_is_the_problem_refuses_every_row(stored):
    found = preview_file(stored("a.csv", b"<html>\n<body>\n"), LOANS)
    assert (found.refused, found.rows) == (("unreadable_header",), 2)


def test_files_that_would_not_be_loaded_have_no_rows(stored):
    found = preview([stored("a.csv", b""), stored("b.csv", bytes(range(256)))], LOANS)
    assert [file.status for file in found.files] == ["empty", "rejected"]
    assert found.rows == 0
    assert found.rules == rules(LOANS)


def test_without_files_no_rule_applies():
    assert preview([], LOANS).as_dict() == {"rows": 0, "is_estimate": False, "files": [], "rules": {}}
