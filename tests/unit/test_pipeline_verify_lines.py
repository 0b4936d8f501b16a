"""What was read is checked against the lines that are in Bronze."""

import gzip
from collections import Counter
from datetime import UTC, datetime

import pytest

from contracts import load_contract
from pipeline.files import inspect_files
from pipeline.ledger import BRONZE, Batch, Ledger, RowCount
from pipeline.storage import delete, list_objects, write_bytes
from pipeline.verify import Lake, Lines, bronze_lines, count_lines

LOANS = load_contract("loans")


FILES = {
    "a.csv": (b"h\r\n1\n\n  \n2\r3", "UTF-8", Lines(4, True)),
    "packed.csv.gz": (gzip.compress(b"h\n1\n") + gzip.compress(b"2\n"), "UTF-8", Lines(3, True)),
    "wide.csv": ("h\r\n1\n\nä\u2028".encode("utf-16"), "UTF-16", Lines(3, True)),
    "odd.csv": (b"a\x85b\x0bc\x0c\x1cd\n\xff\n", "UTF-8", Lines(2, True)),
    "marked.csv": (b"\xef\xbb\xbf\n1\n\xef\xbb\xbf\n", "UTF-8", Lines(2, False)),
    "large.csv": (b"h\r\n" + b"x" * 3_000_000 + b"\r\n1\r\n", "UTF-8", Lines(3, True)),
    "empty.csv": (b"", "UTF-8", Lines(0, False)),
    "cut.csv.gz": (gzip.compress(b"h\n1\n" * 9999)[:-20], "UTF-8", None),
}


@pytest.mark.parametrize("name", FILES)
def test_lines_are_those_that_spark_would_read(tmp_path, name):
    data, encoding, expected = FILES[name]
    write_bytes(f"file://{tmp_path}/{name}", data)
    assert count_lines(f"file://{tmp_path}/{name}", encoding) == expected


def test_a_file_that_is_gone_has_none(tmp_path):
    assert count_lines(f"file://{tmp_path}/none.csv", "UTF-8") is None


def check(lake):
    (found,) = bronze_lines(Lake(lake), LOANS)
    assert found.name == "loans: every line of Bronze was read"
    return found.ok, found.detail


def test_a_row_that_was_lost_while_it_was_read_is_told_although_all_sums_balance(lake):
    folder = lake.bronze_entity_uri("loans")
    write_bytes(f"{folder}/a.csv", b"loan_id\nL1\n\nL2\n")
    write_bytes(f"{folder}/b.csv", b"no header\nat all\n")
    write_bytes(f"{folder}/c.csv", b"loan_id\n")
    infos = list_objects(folder)
    batch = Batch("loans", 1, "r1", datetime.now(UTC), 0, 0, {}, inspect_files(infos, LOANS))
    ledger = Ledger(lake)
    paths = [info.uri for info in infos]

    def commit(rows):
        counts = [
            RowCount(path, BRONZE, Counter(inserted=n)) for path, n in zip(paths, rows, strict=True) if n
        ]
        ledger.begin(batch)
        ledger.commit(batch, counts, 0.1)

    commit((2, 2, 0))
    assert check(lake) == (True, "3 of 3 files have as many lines as were read of them")
    commit((1, 2, 0))
    assert check(lake) == (False, f"{folder}/a.csv has 2 rows, but 1 were read")
    commit((2, 2, 1))
    assert check(lake) == (False, f"{folder}/c.csv has 0 rows, but 1 were read")
    commit((2, 2, 0))
    write_bytes(f"{folder}/a.csv", b"loan_id\nL1\n")  # another content, which is read by the next run
    delete(f"{folder}/b.csv")
    assert check(lake) == (True, "1 of 3 files have as many lines as were read of them")
