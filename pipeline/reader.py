"""Bronze files -> raw strings, one row per line, with lineage. Nothing is dropped, nothing is typed.

Every line is parsed by itself, so that a stray quote damages its own line and no other. RFC 4180
allows line breaks inside quotes; Bronze does not: such a record becomes two bad lines in quarantine.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from string import ascii_letters, digits
from typing import TYPE_CHECKING
from urllib.parse import quote

from pyspark.sql import functions as F  # noqa: N812 - the name everybody uses
from pyspark.sql import types as T  # noqa: N812

from pipeline.layout import Layout

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# monotonically_increasing_id() keeps the row's position in its partition in the lower 33 bits.
POSITION_BITS = (1 << 33) - 1
# univocity stops at 20,480 columns with an error; a line with so many delimiters is never ours.
MOST_DELIMITERS = 20_000
# Each parser takes two megabytes otherwise, and there is one for each place in a plan that splits lines.
PARSER_BUFFER = "16384"
GLOB_CHARACTERS = re.compile(r"([{}\[\]*?\\])")
# Java's URIs keep these ASCII characters, and all others that are neither space nor control.
IN_JAVA_URIS = frozenset(ascii_letters + digits + "_-!.~'()*,;:$&+=@/")

LINEAGE = ("_source_file", "_source_row")
LINE_SCHEMA = T.StructType(
    [
        T.StructField("_raw", T.StringType()),
        T.StructField("_source_file", T.StringType()),
        T.StructField("_source_row", T.LongType()),
    ]
)


def read_files(spark: SparkSession, files: Mapping[str, Layout], names: Sequence[str]) -> DataFrame:
    """Read Bronze files of one entity.

    Args:
        spark: Session; one file must be one task (see ``session.ONE_FILE_PER_TASK``).
        files: URI of each file, and how it is written.
        names: Columns to give back.

    Returns:
        The columns of :func:`parse_lines`.
    """
    groups: dict[Layout, list[str]] = defaultdict(list)
    for uri, layout in files.items():
        groups[layout].append(uri)
    frames = [parse_lines(read_lines(spark, uris, layout), layout, names) for layout, uris in groups.items()]
    return reduce(lambda left, right: left.unionByName(right), frames)


def read_lines(spark: SparkSession, uris: Sequence[str], layout: Layout) -> DataFrame:
    """Data lines of files that share a layout.

    Returns:
        ``_raw`` (the line as it stands), ``_source_file`` (URI) and ``_source_row`` (line number;
        the first line of a file is 1). Header lines and blank lines are left out.
    """
    paths = [GLOB_CHARACTERS.sub(r"\\\1", uri) for uri in uris]
    if layout.encoding == "UTF-8":
        lines = spark.read.text(paths).select(
            F.col("value").alias("_raw"),
            _file_path(uris).alias("_source_file"),
            (F.monotonically_increasing_id().bitwiseAND(F.lit(POSITION_BITS)) + 1).alias("_source_row"),
        )
    else:
        # Spark splits lines before it decodes, so other encodings are decoded whole and split here.
        content = spark.read.text(paths, wholetext=True)
        text = F.split(F.decode(F.col("value").cast("binary"), layout.encoding), "\r\n|\r|\n")
        lines = content.select(
            _file_path(uris).alias("_source_file"), F.posexplode(text).alias("_position", "_raw")
        ).select("_raw", "_source_file", (F.col("_position") + 1).cast("long").alias("_source_row"))
    first = 2 if layout.has_header else 1
    return lines.where((F.col("_source_row") >= first) & (F.trim("_raw") != ""))


def parse_lines(
    lines: DataFrame, layout: Layout, names: Sequence[str], passed: Sequence[str] = LINEAGE
) -> DataFrame:
    """Split lines into columns, by header name and never by position.

    Args:
        lines: ``_raw`` and the columns ``passed``. (Asking the frame for its columns would have Spark
            Connect analyse it.)
        layout: How the lines are written.
        names: Columns to give back.
        passed: Columns to pass through.

    Returns:
        ``_raw`` as valid text, the columns ``passed``, ``_layout`` (how the line is to be
        split if it is read again), ``_problem`` (a reason why the line could not be split, or null)
        and each of ``names`` as a string, null when the file has not got it.
    """
    how = F.struct(
        F.array(*[F.lit(name) for name in layout.header]).cast("array<string>").alias("header"),
        F.lit(layout.delimiter).alias("delimiter"),
    ).alias("_layout")
    if layout.problem:
        nothing = [F.lit(None).cast("string").alias(name) for name in names]
        return lines.select(_text("_raw"), *passed, how, F.lit(layout.problem).alias("_problem"), *nothing)
    fields = [f"c{index}" for index in range(len(layout.header))]
    schema = ", ".join(f"{field} STRING" for field in (*fields, "_corrupt"))
    options = {
        "sep": layout.delimiter,
        "quote": '"',
        "escape": '"',
        "mode": "PERMISSIVE",
        "inputBufferSize": PARSER_BUFFER,
        "columnNameOfCorruptRecord": "_corrupt",
    }
    # Counting takes long, and a line of fewer bytes cannot have so many.
    few = (F.octet_length("_raw") < MOST_DELIMITERS) | (
        _occurrences("_raw", layout.delimiter) < MOST_DELIMITERS
    )
    safe = F.when(few, F.col("_raw"))
    split = lines.withColumn("_fields", F.from_csv(safe, schema, options))
    problem = (
        F.when(_not_utf8("_raw"), "not_utf8")
        .when(F.col("_raw").contains("\x00"), "nul_byte")
        .when(_stray_quote("_raw", layout.delimiter), "stray_quote")
        .when(F.col("_fields").isNull() | F.col("_fields._corrupt").isNotNull(), "wrong_column_count")
    )
    position = {name: field for field, name in zip(fields, layout.header, strict=True)}
    columns = [
        (F.col(f"_fields.{position[name]}") if name in position else F.lit(None).cast("string")).alias(name)
        for name in names
    ]
    return split.select(_text("_raw"), *passed, how, problem.alias("_problem"), *columns)


def _file_path(uris: Iterable[str]) -> Column:
    """URI of the row's file, spelled as it was listed."""
    path = F.col("_metadata.file_path")
    renamed = {spelled: uri for uri in uris if (spelled := spark_spelling(uri)) != uri}
    if not renamed:
        return path
    pairs = [F.lit(text) for pair in renamed.items() for text in pair]
    return F.coalesce(F.element_at(F.create_map(*pairs), path), path)


def spark_spelling(uri: str) -> str:
    """How Spark spells a URI: like Java, with ``file:/`` and with special characters percent-encoded.

    >>> spark_spelling("file:///tmp/a b.csv")
    'file:/tmp/a%20b.csv'
    """
    encoded = "".join(
        character if character in IN_JAVA_URIS or _is_other(character) else quote(character, safe="")
        for character in uri
    )
    return re.sub("^file:///", "file:/", encoded)


def _is_other(character: str) -> bool:
    """Whether it is what Java's URI class calls other: not ASCII, and neither space nor control."""
    return not character.isascii() and unicodedata.category(character) not in ("Zs", "Zl", "Zp", "Cc")


def _occurrences(column: str, character: str) -> Column:
    return F.length(column) - F.length(F.translate(column, character, ""))


def _stray_quote(column: str, delimiter: str) -> Column:
    """A quote that neither encloses a whole value nor is doubled within one: RFC 4180 knows no such."""
    # Possessive quantifiers: Java then matches without recursion, however long the line is.
    value = f'(?:"(?:[^"]++|"")*+"|[^"{re.escape(delimiter)}]*+)'
    whole_line = rf"^{value}(?:{re.escape(delimiter)}{value})*+\z"
    return F.col(column).contains('"') & ~F.col(column).rlike(whole_line)


def _not_utf8(column: str) -> Column:
    """Bytes that are not UTF-8: they do not come back from being decoded and encoded."""
    data = F.col(column).cast("binary")
    return F.encode(F.decode(data, "UTF-8"), "UTF-8") != data


def _text(column: str) -> Column:
    """The line as valid text; one with broken UTF-8 is kept byte by byte as ISO-8859-1."""
    data = F.col(column).cast("binary")
    return F.when(_not_utf8(column), F.decode(data, "ISO-8859-1")).otherwise(F.col(column)).alias(column)
