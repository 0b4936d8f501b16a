"""Whatever stands in Bronze: a run succeeds, accounts for every row and keeps every bad line as it stands.

A few examples are tried each time. For longer, until interrupted or at most so many:

    FINLAKE_FUZZ_EXAMPLES=1000 python -m pytest --timeout 0 tests/spark/test_fuzz.py
"""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from makers import VALID

from contracts import load_contract
from pipeline.dedupe import DISPOSITIONS
from pipeline.ledger import Ledger
from pipeline.run import run_pipeline
from pipeline.settings import Settings

pytestmark = pytest.mark.spark

EXAMPLES = int(os.environ.get("FINLAKE_FUZZ_EXAMPLES", "2"))
CUSTOMERS = load_contract("customers")
HOSTILE = (
    *(
        "",
        " ",
        "NULL",
        "\u0000",
        '"',
        '""',
        '"x',
        'x"y',
        "a,b",
        "a;b",
        "\\",
        "'",
        "=1+1",
        "@SUM(1)",
        "-0",
        "-1",
    ),
    *(
        "1e9",
        "1E-400",
        "NaN",
        "Infinity",
        "99999999999999999999999.99",
        "0x1F",
        "1_000",
        "1,5",
        "true",
        "C1",
        "D",
    ),
    *("\u0663", "\uff11", "\u202eabc", "\ufeff", "e\u0301", "\U0001f600", "\u2028", "\x0b", "\x1a", "\x85"),
    *("2024-02-30", "0001-01-01", "9999-12-31", "10000-01-01", "-0001-01-01", "2024-01-01T24:00:00Z"),
    *("2024-03-31T02:30:00+02:00", "2024-01-01T00:00:00.123456789Z", "2016-12-31T23:59:60Z", "x" * 5000),
)
NAMES = (*VALID["customers"], "op", "extra", "Extra ", "e-mail", "", "_row_hash", "valid_from", "customer_id")
VALUES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
BREAKS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\r\n", "\x0b", "\u2028"])
ENCODINGS = st.sampled_from(["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-16-le", "cp1252", "utf-32"])


@st.composite
def files(draw):
    """The bytes of a file that began as a good one: name and content."""
    names = list(VALID["customers"])
    for _ in range(draw(st.integers(0, 2))):
        names[draw(st.integers(0, len(names) - 1))] = draw(st.sampled_from(NAMES))
    delimiter = draw(st.sampled_from([",", ",", ",", ";", "\t", "|", ":"]))
    quoted = draw(st.booleans())
    lines = [names] if draw(st.integers(0, 9)) else []
    for number in range(draw(st.integers(0, 4))):
        values = [VALID["customers"].get(name, "x") for name in names]
        values[0] = draw(st.sampled_from(["C1", "C2", f"C{number}9"]))
        for _ in range(draw(st.integers(0, 2))):
            values[draw(st.integers(0, len(values) - 1))] = draw(VALUES)
        lines.append(values[: draw(st.sampled_from([None, None, None, 5]))])
    ending = draw(BREAKS)
    text = "".join(
        delimiter.join('"' + value.replace('"', '""') + '"' if quoted else value for value in values) + ending
        for values in lines
    )
    data = bytearray(text.encode(draw(ENCODINGS), errors="replace"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 5]))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        cut = draw(st.integers(0, 3))
        data[place : place + cut] = draw(st.binary(max_size=4))
    name = "f.csv"
    content = bytes(data)
    if not draw(st.integers(0, 5)):
        name, content = "f.csv.gz", gzip.compress(content, mtime=0)
        if not draw(st.integers(0, 2)):
            content = content[: draw(st.integers(0, len(content)))]
    return name, content


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="FINLAKE_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # to make an example smaller takes a run for each attempt
)
@given(st.lists(files(), min_size=10, max_size=40))
def test_whatever_stands_in_bronze_every_row_is_accounted_for(spark, many):
    assume(len({content for _, content in many}) > 1)  # what is tried first is the least file, many times
    with TemporaryDirectory() as folder:
        uris = {f"{layer}_uri": f"file://{folder}/{layer}" for layer in ("bronze", "silver", "gold")}
        lake = Settings(env="test", **uris)
        written = {}
        for number, (name, content) in enumerate(many):
            path = Path(folder, "bronze", "customers", "ingest_date=2026-01-01", f"{number}-{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written[f"file://{path}"] = content
        report = run_pipeline(lake, entities=["customers"], layer="silver")
        assert report.errors == []
        check(lake, written)
        again = run_pipeline(lake, entities=["customers"], layer="silver")
        assert (again.errors, again.changed) == ([], False)


def check(lake, written):
    """The sums of each file balance, the tables hold what they say, bad lines are as they stand."""
    ledger = Ledger(lake)
    known = {row["path"]: row for row in ledger.read("files").iter_rows(named=True)}
    assert set(known) == set(written)
    counts = ledger.read("row_counts")
    assert counts.filter(pl.col("read") != pl.sum_horizontal(*DISPOSITIONS)).is_empty()
    total = {name: counts[name].sum() for name in DISPOSITIONS}
    quarantine, silver, history = (
        pl.from_arrow(DeltaTable(lake.table_uri(layer, table)).to_pyarrow_table())
        for layer, table in (
            ("quarantine", "customers"),
            ("silver", "customers"),
            ("silver", "customers_history"),
        )
    )
    assert quarantine.height == total["quarantined"]
    assert silver.height == total["inserted"] == silver["customer_id"].n_unique()
    assert history["customer_id"].n_unique() == silver.height
    rows = dict(counts.select("path", "read").iter_rows())
    for path, file in known.items():
        assert file["status"] in {"loaded", "empty", "rejected", "unreadable"}, path
        if file["status"] != "loaded":
            assert rows.get(path, 0) == 0
            continue
        content = gzip.decompress(written[path]) if path.endswith(".gz") else written[path]
        lines = as_lines(content, file["encoding"])
        filled = [line for line in lines[bool(file["has_header"]) :] if line.strip(" ")]
        assert rows.get(path, 0) == len(filled) or "UTF-16" in file["encoding"], path
        for row in quarantine.filter(pl.col("_source_file") == path).iter_rows(named=True):
            # Java and Python put replacement characters at other places of what is no UTF-16.
            if file["encoding"] == "UTF-8" or "\ufffd" not in row["_raw"]:
                assert row["_raw"] == lines[row["_source_row"] - 1], (path, row["_source_row"])


def as_lines(content, encoding):
    """The lines of a file. One that is not UTF-8, in a file that is, is kept byte by byte (ISO 8859-1)."""
    if encoding != "UTF-8":
        return re.split("\r\n|\r|\n", content.decode(encoding, errors="replace").removeprefix("\ufeff"))
    lines = []
    for line in re.split(b"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf")):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append(line.decode("iso-8859-1"))
    return lines
