"""Bronze files become raw rows: nothing is lost, and each row knows its file and its line."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re

import pytest
from chispa import assert_df_equality
from hypothesis import strategies as st
from pyspark.sql import functions as F  # noqa: N812

from pipeline import reader
from pipeline.layout import Layout

# Line numbers come from the code that Spark generates.
pytestmark = pytest.mark.spark

NAMES = ("a", "b", "c")
ABC = Layout(("a", "b", "c"))


@pytest.fixture
def read(spark, tmp_path):
    """Write files, and read them as (file name, line, problem, values)."""

    def write_and_read(contents, layout=ABC):
        files = {}
        for name, content in contents.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            files[f"file://{tmp_path}/{name}"] = layout[name] if isinstance(layout, dict) else layout
        rows = reader.read_files(spark, files, NAMES).orderBy("_source_file", "_source_row").collect()
        return [
            (
                row["_source_file"].removeprefix(f"file://{tmp_path}/"),
                row["_source_row"],
                row["_problem"],
                (row["a"], row["b"], row["c"]),
            )
            for row in rows
        ]

    return write_and_read


def parse(spark, lines, layout=ABC):
    """Rows that lines are parsed to, in order."""
    frame = spark.createDataFrame(list(enumerate(lines)), "_line int, _raw string").coalesce(1)
    return reader.parse_lines(frame, layout, NAMES, ["_line"]).orderBy("_line").collect()


def test_lines_are_numbered_as_an_editor_does_also_with_blank_lines_and_any_line_end(read):
    content = b"\xef\xbb\xbfa,b,c\r\n1,x,\r\n\r\n\n   \n2,y,\r3,z,\n4,end,"
    assert [(line, values[0]) for _, line, _, values in read({"f.csv": content})] == [
        (2, "1"),
        (6, "2"),
        (7, "3"),
        (8, "4"),
    ]


def test_every_file_of_a_read_counts_its_own_lines(read):
    many = {f"{number:02}.csv": "a,b,c\n" + f"{number},x,y\n" * (number + 1) for number in range(9)}
    many |= {
        f"z/{number}.csv.gz": gzip.compress(b"a,b,c\n" + b"%d,x,y\n" % number * 3) for number in range(3)
    }
    found = read(many)
    assert len(found) == sum(range(1, 10)) + 9
    for name, rows in itertools.groupby(found, key=lambda row: row[0]):
        lines = [line for _, line, _, _ in rows]
        assert lines == list(range(2, len(lines) + 2)), name


def test_a_file_is_never_split_into_tasks(spark, tmp_path):
    # Spark splits what is larger than its bytes per task, where line numbers would begin again.
    file = tmp_path / "large.csv"
    file.write_text("a,b,c\n" + "".join(f"{line},{'x' * 1000},\n" for line in range(2, 20_002)))
    frame = reader.read_files(spark, {f"file://{file}": ABC}, NAMES)
    wrong = frame.where(F.col("a").cast("long") != F.col("_source_row")).count()
    assert (frame.count(), wrong) == (20_000, 0)


def test_gzip_in_several_streams_is_read_to_the_end(read):
    content = gzip.compress(b"a,b,c\n1,x,\n") + gzip.compress(b"2,y,\n")
    assert [values[0] for _, _, _, values in read({"f.csv.gz": content})] == ["1", "2"]


ODD_NAMES = [
    "with blank.csv",
    "brackets[1]{2}.csv",
    "star*question?.csv",
    "ümlaut.csv",
    "u\u0308mlaut.csv",
    "per%20cent.csv",
    "100%.csv",
    "hash#.csv",
    "plus+and&=;,@!$'().csv",
    'quote".csv',
    "back\\slash.csv",
    "no\u00a0break.csv",
    "東京.csv",
    "day=1/_temporary=0/x.csv",
]


def test_files_with_odd_names_are_read_under_the_name_they_were_listed(read):
    found = read({name: f"a,b,c\n{number},x,\n" for number, name in enumerate(ODD_NAMES)})
    assert {name: values[0] for name, _, _, values in found} == {
        name: str(number) for number, name in enumerate(ODD_NAMES)
    }


def test_a_name_with_wildcards_reads_no_other_file(read, tmp_path):
    (tmp_path / "x1.csv").write_text("a,b,c\nother,,\n")
    assert [values[0] for _, _, _, values in read({"x[1].csv": "a,b,c\nmine,,\n"})] == ["mine"]


def test_files_in_folders_named_like_partitions_gain_no_columns_and_need_not_agree(read):
    found = read({"b=7/1.csv": "a,b,c\n1,x,\n", "d=8/e=9/2.csv": "a,b,c\n2,y,\n", "3.csv": "a,b,c\n3,z,\n"})
    assert sorted(values for _, _, _, values in found) == [
        ("1", "x", None),
        ("2", "y", None),
        ("3", "z", None),
    ]


def test_columns_are_matched_by_name_and_not_by_position(read):
    files = {"1.csv": "c,x,a\n3,?,1\n", "2.csv": "b\n2\n", "3.csv": "a;b;c\n1;2,5;3\n"}
    layouts = {
        "1.csv": Layout(("c", "x", "a")),
        "2.csv": Layout(("b",)),
        "3.csv": Layout(("a", "b", "c"), delimiter=";"),
    }
    assert [(problem, values) for _, _, problem, values in read(files, layouts)] == [
        (None, ("1", None, "3")),
        (None, (None, "2", None)),
        (None, ("1", "2,5", "3")),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_every_delimiter_is_split_at_and_may_stand_in_quotes(spark, delimiter):
    lines = [delimiter.join(["1", f'"x{delimiter}y"', '"say ""hi"""'])]
    (row,) = parse(spark, lines, Layout(("a", "b", "c"), delimiter))
    assert (row["_problem"], row["a"], row["b"], row["c"]) == (None, "1", f"x{delimiter}y", 'say "hi"')


RFC_4180 = re.compile(r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*')


def expected(line):
    """What RFC 4180 and Python's own reader make of a line: problem and values."""
    if RFC_4180.fullmatch(line) is None:
        return "stray_quote", None
    (values,) = csv.reader(io.StringIO(line), strict=True)
    return (None, values) if len(values) == 3 else ("wrong_column_count", None)


def test_every_line_of_quotes_delimiters_and_text_is_split_as_rfc_4180_says(spark):
    lines = ["".join(parts) for length in range(1, 9) for parts in itertools.product('x",', repeat=length)]
    wrong = []
    for line, row in zip(lines, parse(spark, lines), strict=True):
        problem, values = expected(line)
        found = [row[name] or "" for name in "abc"]
        if row["_problem"] != problem or (values is not None and found != values):
            wrong.append((line, row["_problem"], found, problem, values))
    assert len(lines) == 9840
    assert not wrong


def test_whatever_a_csv_writer_writes_comes_back(spark):
    # Line breaks do not belong into Bronze, and broken surrogates cannot be written at all. Spark's
    # parser takes U+FFFF, which is no character, for the end of the line: it lands in quarantine.
    characters = st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\x00\uffff")
    cells = st.lists(st.text(characters, max_size=8), min_size=3, max_size=3)
    written = []
    for seed, quoting in ((1, csv.QUOTE_MINIMAL), (2, csv.QUOTE_ALL)):
        for row in _examples(cells, 150, seed):
            buffer = io.StringIO()
            csv.writer(buffer, quoting=quoting, lineterminator="").writerow(row)
            written.append((buffer.getvalue(), row))
    for (line, row), found in zip(written, parse(spark, [line for line, _ in written]), strict=True):
        assert found["_problem"] is None, line
        assert [found[name] or "" for name in "abc"] == row, line


def _examples(strategy, number, seed):
    """A fixed choice of what a strategy gives, to be put into one frame."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    found = []

    @seeded(seed)
    @settings(
        max_examples=number, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1,x\uffff,3", "wrong_column_count"),
        ("1,2", "wrong_column_count"),
        ("1,2,3,4", "wrong_column_count"),
        ("1", "wrong_column_count"),
        (",," * 30_000, "wrong_column_count"),
        ('1,"2,3', "stray_quote"),
        ('1,2"2,3', "stray_quote"),
        ('1,5" pipe,3', "stray_quote"),
        ('1, "2",3', "stray_quote"),
    ],
    ids=["no character", "few", "many", "one", "absurdly many", "unclosed", "odd", "inch", "blank before"],
)
def test_a_line_that_cannot_be_split_says_why_and_is_kept_as_it_is(spark, line, problem):
    (row,) = parse(spark, [line])
    assert (row["_problem"], row["_raw"]) == (problem, line)


def test_a_stray_quote_damages_its_own_line_and_no_other(read):
    found = read({"f.csv": 'a,b,c\n1,x,y\n2,"x,y\n3,x,y\n4,"line\nbreak",y\n5,x,y\n'})
    assert [(line, problem) for _, line, problem, _ in found] == [
        (2, None),
        (3, "stray_quote"),
        (4, None),
        (5, "stray_quote"),
        (6, "stray_quote"),
        (7, None),
    ]


def test_a_field_of_megabytes_and_one_of_a_hundred_thousand_quotes_are_read(read):
    large, quotes = "x" * 10_000_000, '"' * 100_000
    found = read({"f.csv": f'a,b,c\n1,{large},y\n2,"{quotes}",y\n3,x,y\n'})
    assert [(problem, len(values[1])) for _, _, problem, values in found] == [
        (None, 10_000_000),
        (None, 50_000),
        (None, 1),
    ]


BROKEN = [
    b"caf\xe9,x,y",
    b"x,caf\xe9,y",
    b"x,y,caf\xe9",
    b"x,y\x92s,z",
    b"x,\x80 5,z",
    b"x,y,\xff",
    b"x,y,\xf0\x9f\x98",
    b"x,\xc3(,z",
    b"x,\xed\xa0\x80,z",
    b"x,\xc0\xaf,z",
    "ü,é,".encode() + b"\xfc",
]
SOUND = ["caf\u00e9,x,y", "x,\u20ac,\u2019", "\U0001f600,\ue000,\u0080", "\ufffd,x,y", "ascii,x,y"]


def test_a_line_that_is_not_utf_8_is_found_wherever_it_breaks_and_keeps_every_byte(read, spark, tmp_path):
    lines = [*BROKEN, *(text.encode() for text in SOUND)]
    found = read({"f.csv": b"a,b,c\n" + b"\n".join(lines)})
    assert [problem for _, _, problem, _ in found] == ["not_utf8"] * len(BROKEN) + [None] * len(SOUND)
    rows = reader.read_files(spark, {f"file://{tmp_path}/f.csv": ABC}, NAMES).orderBy("_source_row").collect()
    kept = [row["_raw"].encode("latin-1") if row["_problem"] else row["_raw"].encode() for row in rows]
    assert kept == lines


@pytest.mark.parametrize(
    ("encoding", "layout_name"),
    [("cp1252", "windows-1252"), ("cp1250", "windows-1250"), ("utf-16", "UTF-16"), ("latin-1", "ISO-8859-1")],
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_older_encodings_are_decoded_with_the_same_line_numbers_also_in_gzip(
    read, encoding, layout_name, suffix
):
    content = "a,b,c\r\n1,Müller,ß\r\n\r\n2,Größe,é\n3,x,y\r4,end,z".encode(encoding)
    data = gzip.compress(content) if suffix == "csv.gz" else content
    found = read({f"f.{suffix}": data}, Layout(("a", "b", "c"), encoding=layout_name))
    assert [(line, problem, values) for _, line, problem, values in found] == [
        (2, None, ("1", "Müller", "ß")),
        (4, None, ("2", "Größe", "é")),
        (5, None, ("3", "x", "y")),
        (6, None, ("4", "end", "z")),
    ]


def test_a_file_with_an_unusable_header_gives_all_its_lines_with_the_reason(read):
    headless = Layout((), has_header=False, problem="unreadable_header")
    twice = Layout(("a", "a", "b"), problem="ambiguous_header")
    found = read({"1.csv": "x,y\n\n1,2\n", "2.csv": "a,a,b\n1,2,3\n"}, {"1.csv": headless, "2.csv": twice})
    nothing = (None, None, None)
    assert found == [
        ("1.csv", 1, "unreadable_header", nothing),
        ("1.csv", 3, "unreadable_header", nothing),
        ("2.csv", 2, "ambiguous_header", nothing),
    ]


def test_lines_taken_from_quarantine_are_split_like_those_of_the_file(spark, tmp_path):
    (tmp_path / "f.csv").write_text('c;a\n3;"x;y"\n4;z\n')
    layout = Layout(("c", "a"), ";")
    first = reader.read_files(spark, {f"file://{tmp_path}/f.csv": layout}, NAMES)
    again = reader.parse_lines(first.select("_raw", "_source_file", "_source_row"), layout, NAMES)
    assert_df_equality(first, again, ignore_row_order=True)
