"""What the local Athena makes of Trino's functions: the right value, or a refusal, never a wrong value.

Values are those of Trino's documentation, https://trino.io/docs/current/functions.html. The table in
``docs/athena.md`` is written from what this test sees (``--write-table``), and compared with it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from containers import ROOT

from emulator.athena import results, syntax
from emulator.athena.engine import Engine, Job, connect
from emulator.athena.errors import QueryFailedError

PAGE = ROOT / "docs" / "athena.md"
BEGIN, END = "<!-- written by `make conformance`, up to the end mark -->\n", "<!-- end -->\n"
REFUSED = "refused"

# By group: an expression, and its value as Athena prints it; REFUSED where it is not available.
CASES: dict[str, dict[str, str | None]] = {
    "numbers": {
        "7 / 2": "3",
        "-7 / 2": "-3",
        "-7 % 3": "-1",
        "7.5 / 2": "3.8",
        "1 / 3.000": "0.333",
        "7e0 / 2": "3.5",
        "1e0 / 0e0": "Infinity",
        "round(2.5e0)": "3.0",
        "round(-2.5e0)": "-3.0",
        "CAST(2.5e0 AS integer)": "3",
        "CAST(3.5 AS bigint)": "4",
        "log(2, 8)": "3.0",
        "power(2, 10)": "1024.0",
        "greatest(1, NULL)": None,
        "width_bucket(1e0, 0e0, 10e0, 5)": REFUSED,
    },
    "text": {
        "concat('a', NULL)": None,
        "'a' || 'b'": "ab",
        "substr('abc', 0)": "",
        "substr('abc', -2)": "bc",
        "split_part('a,b', ',', 3)": None,
        "split('a,b', ',')": "[a, b]",
        "strpos('abc', 'c')": "3",
        "lpad('a', 3, 'x')": "xxa",
        "regexp_extract('ab12', '[0-9]+')": "12",
        "regexp_extract('ab', '[0-9]+')": None,
        "regexp_replace('aXb', '(X)', '<$1>')": "a<X>b",
        "regexp_like('abc', '^a')": "true",
        "levenshtein_distance('ab', 'ac')": "1",
        "CAST('abc' AS varchar(2))": "ab",
        "CAST(1e0 AS varchar)": REFUSED,
        "format('%s', 1)": REFUSED,
        "word_stem('going')": REFUSED,
        "repeat('a', 2)": REFUSED,
        "split('a,b,c', ',', 2)": REFUSED,
    },
    "dates and times": {
        "date_add('day', 1, DATE '2024-02-28')": "2024-02-29",
        "date_add('month', 1, DATE '2024-01-31')": "2024-02-29",
        "DATE '2024-02-28' + INTERVAL '2' DAY": "2024-03-01",
        "date_diff('month', DATE '2024-01-31', DATE '2024-02-28')": "0",
        "date_diff('day', TIMESTAMP '2024-01-01 12:00:00', TIMESTAMP '2024-01-02 11:00:00')": "0",
        "date_trunc('month', DATE '2024-02-29')": "2024-02-01",
        "date_trunc('hour', TIMESTAMP '2024-02-29 01:02:03')": "2024-02-29 01:00:00.000",
        "date_parse('2024-02-29 01:02', '%Y-%m-%d %H:%i')": "2024-02-29 01:02:00.000",
        "date_format(TIMESTAMP '2024-02-29 01:02:03', '%Y/%m/%d')": "2024/02/29",
        "format_datetime(TIMESTAMP '2024-02-29 01:02:03', 'yyyy-MM-dd HH:mm')": "2024-02-29 01:02",
        "from_iso8601_timestamp('2024-02-29T01:02:03Z')": "2024-02-29 01:02:03.000 UTC",
        "from_unixtime(0)": "1970-01-01 00:00:00.000 UTC",
        "to_unixtime(TIMESTAMP '1970-01-02 00:00:00')": "86400.0",
        "day_of_week(DATE '2024-02-25')": "7",
        "EXTRACT(DOW FROM DATE '2024-02-25')": "7",
        "last_day_of_month(DATE '2024-02-01')": "2024-02-29",
        "CAST(TIMESTAMP '2024-02-29 00:00:00' AS varchar)": "2024-02-29 00:00:00.000",
        "at_timezone(TIMESTAMP '2024-02-29 00:00:00 UTC', 'Europe/Vienna')": REFUSED,
    },
    "arrays, maps, rows": {
        "ARRAY[1, 2][2]": "2",
        "element_at(ARRAY[1, 2], 3)": None,
        "cardinality(ARRAY[1, 2])": "2",
        "array_join(ARRAY['a', NULL, 'b'], '-')": "a-b",
        "contains(ARRAY[1], 1)": "true",
        "array_distinct(ARRAY[1, 1])": "[1]",
        "array_sort(ARRAY[2, NULL, 1])": "[1, 2, null]",
        "slice(ARRAY[1, 2, 3], 2, 2)": "[2, 3]",
        "sequence(1, 3)": "[1, 2, 3]",
        "sequence(DATE '2024-02-28', DATE '2024-02-29', INTERVAL '1' DAY)": "[2024-02-28, 2024-02-29]",
        "transform(ARRAY[1, 2], x -> x + 1)": "[2, 3]",
        "filter(ARRAY[1, 2], x -> x > 1)": "[2]",
        "reduce(ARRAY[1, 2], 0, (s, x) -> s + x, s -> s)": REFUSED,
        "map_keys(MAP(ARRAY['a'], ARRAY[1]))": "[a]",
        "CAST(ROW(1, 'a') AS ROW(x integer, y varchar))": "{x=1, y=a}",
    },
    "JSON": {
        """json_extract_scalar('{"a": {"b": 1}}', '$.a.b')""": "1",
        """json_extract_scalar('{"a": {"b": 1}}', '$.a')""": None,
        """json_format(json_parse('{"a": 1}'))""": '{"a":1}',
        "json_array_length('[1, 2]')": "2",
    },
    "conditions and errors": {
        "try(1 / 0)": None,
        "try(CAST('x' AS integer))": None,
        "try_cast('x' AS integer)": None,
        "if(1 = 1, 'a', 'b')": "a",
        "coalesce(NULL, 2)": "2",
        "nullif(1, 1)": None,
    },
    "aggregates (of 1, 2, 4 as x)": {
        "sum(x)": "7",
        "avg(x)": "2.3333333333333335",
        "avg(CAST(x AS decimal(10, 2)))": "2.33",
        "sum(x) / count(*)": "2",
        "max_by(x, -x)": "1",
        "count_if(x > 1)": "2",
        "array_agg(x ORDER BY x DESC)": "[4, 2, 1]",
        "map_agg(x, x + 1)": "{1=2, 2=3, 4=5}",
        "histogram(x)": "{1=1, 2=1, 4=1}",
        "approx_distinct(x)": "3",
        "listagg(CAST(x AS varchar), ',') WITHIN GROUP (ORDER BY x)": "1,2,4",
        "max(x, 2)": REFUSED,
        "checksum(x)": REFUSED,
    },
}  # fmt: skip
WHERE = " FROM (VALUES 1, 2, 4) AS t(x)"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(
        "http://127.0.0.1:9",
        "eu-central-1",
        key="test",
        secret="test",
        scratch=Path(tmp_path_factory.mktemp("athena")),
        memory="500MB",
        threads=1,
    ) as found:
        yield found


def answer(database: duckdb.DuckDBPyConnection, group: str, expression: str) -> str | None:
    """The value of an expression as Athena prints it, or that it is refused."""
    sql = f"SELECT {expression} AS v" + (WHERE if group.startswith("aggregates") else "")
    job = Job("test", sql)
    try:
        outcome = Engine(database.cursor(), None, None, job).query(syntax.parse(sql))  # type: ignore[arg-type]
        [[[value]]] = results.as_texts(outcome.batches, [column.type for column in outcome.columns])
    except QueryFailedError as error:
        assert "GENERIC" not in error.message, error.message
        return REFUSED
    return value


@pytest.mark.parametrize(
    ("group", "expression"), [(group, expression) for group, cases in CASES.items() for expression in cases]
)
def test_an_expression_has_trinos_value_or_is_refused(
    database: duckdb.DuckDBPyConnection, group: str, expression: str
) -> None:
    assert answer(database, group, expression) == CASES[group][expression]


def test_the_page_shows_what_is_supported(writes: bool) -> None:
    lines = ["| Trino | here |", "| --- | --- |"]
    for group, cases in CASES.items():
        lines.append(f"| **{group}** | |")
        for expression, value in cases.items():
            shown = {REFUSED: REFUSED, None: "null", "": "empty text"}.get(value, f"`{value}`")
            lines.append(f"| `{expression.replace('|', chr(92) + '|')}` | {shown} |")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    page = head + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.partition(END)[2]
    if writes:
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page, "run `make conformance`"
