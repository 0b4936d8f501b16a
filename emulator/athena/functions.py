"""Functions of Trino that DuckDB lacks, or that mean something else there, as macros of DuckDB.

A macro is put into the query before types are known, so none of them is chosen by types: where the type
matters, ``typeof`` looks at it, and ``cast_to_type`` gives a result the type of an argument. Semantics:
https://trino.io/docs/current/functions.html
"""

from __future__ import annotations

import re

_ZERO = "error('DIVISION_BY_ZERO: Division by zero')"
_CAST = "cast to DOUBLE or DECIMAL(p, s)"
_FLOATING = "('DOUBLE', 'FLOAT')"

_MACROS = f"""
t_div(a, b) AS CASE
  WHEN typeof(a) LIKE 'DECIMAL%' AND typeof(b) NOT IN {_FLOATING}
    OR typeof(b) LIKE 'DECIMAL%' AND typeof(a) NOT IN {_FLOATING}
  THEN error('NOT_SUPPORTED: the digits of this division of decimals are not known here: {_CAST}')
  WHEN 'HUGEINT' IN (typeof(a), typeof(b)) AND NOT (typeof(a) IN {_FLOATING} OR typeof(b) IN {_FLOATING})
  THEN error('NOT_SUPPORTED: the type of this division is not known here: cast to BIGINT or DOUBLE')
  WHEN typeof(a) IN {_FLOATING} OR typeof(b) IN {_FLOATING} THEN cast_to_type(a / b, coalesce(a, b))
  WHEN b = 0 THEN {_ZERO}
  ELSE cast_to_type(a // b, coalesce(a, b)) END;
t_mod(a, b) AS a % (CASE WHEN b <> 0 OR b IS NULL THEN b ELSE {_ZERO} END);
t_quotient(a, b) AS CASE
  WHEN b = 0 THEN {_ZERO}
  WHEN (a < 0) <> (b < 0) THEN -((2 * abs(a) + abs(b)) // (2 * abs(b)))
  ELSE (2 * abs(a) + abs(b)) // (2 * abs(b)) END;
t_unscaled(a) AS CAST(replace(CAST(a AS VARCHAR), '.', '') AS HUGEINT);
t_avgable(a) AS CASE WHEN typeof(a) LIKE 'DECIMAL%'
  THEN error('NOT_SUPPORTED: the digits of this average are not known here: {_CAST}')
  ELSE a END;
t_text(a) AS CASE
  WHEN typeof(a) LIKE 'TIMESTAMP%' THEN
    substr(CAST(a AS VARCHAR), 1, 19) || '.'
    || rpad(regexp_extract(CAST(a AS VARCHAR), '[.]([0-9]{{1,3}})', 1), 3, '0')
    || CASE WHEN typeof(a) LIKE '%ZONE' THEN ' UTC' ELSE '' END
  WHEN typeof(a) IN {_FLOATING}
  THEN error('NOT_SUPPORTED: a double cast to varchar: cast it to DECIMAL(p, s) first')
  WHEN typeof(a) LIKE '%]' OR typeof(a) LIKE 'STRUCT%' OR typeof(a) LIKE 'MAP%' OR typeof(a) = 'BLOB'
  THEN error('TYPE_MISMATCH: line 1:1: Cannot cast ' || lower(typeof(a)) || ' to varchar')
  ELSE CAST(a AS VARCHAR) END;
t_int(a) AS CASE
  WHEN typeof(a) IN {_FLOATING} THEN CAST(round(TRY_CAST(a AS DOUBLE)) AS BIGINT)
  WHEN typeof(a) = 'VARCHAR' AND NOT regexp_full_match(CAST(a AS VARCHAR), '[+-]?[0-9]+')
  THEN error('INVALID_CAST_ARGUMENT: Cannot cast ''' || CAST(a AS VARCHAR) || ''' to an integer')
  ELSE CAST(a AS BIGINT) END;
t_substr(a, b) AS CASE WHEN b = 0 OR b < -length(a) THEN '' ELSE substr(a, b) END;
t_substr3(a, b, c) AS CASE WHEN b = 0 OR b < -length(a) OR c <= 0 THEN '' ELSE substr(a, b, c) END;
t_date_trunc(unit, a) AS cast_to_type(date_trunc(unit, a), a);
t_interval(unit, n) AS CASE lower(unit)
  WHEN 'millisecond' THEN to_milliseconds(n) WHEN 'second' THEN to_seconds(n) WHEN 'minute' THEN to_minutes(n)
  WHEN 'hour' THEN to_hours(n) WHEN 'day' THEN to_days(CAST(n AS INTEGER))
  WHEN 'week' THEN to_days(CAST(7 * n AS INTEGER))
  WHEN 'month' THEN to_months(CAST(n AS INTEGER)) WHEN 'quarter' THEN to_months(CAST(3 * n AS INTEGER))
  WHEN 'year' THEN to_months(CAST(12 * n AS INTEGER))
  ELSE error('INVALID_FUNCTION_ARGUMENT: ''' || unit || ''' is not a valid field') END;
t_date_add(unit, n, a) AS cast_to_type(a + t_interval(unit, n), a);
t_plus_interval(a, i) AS cast_to_type(a + i, a);
t_minus_interval(a, i) AS cast_to_type(a - i, a);
t_json_scalar(j, p) AS CASE
  WHEN json_type(j, p) IN ('OBJECT', 'ARRAY', 'NULL') THEN NULL ELSE json_extract_string(j, p) END;
t_to_unixtime(a) AS epoch_us(a) / 1e6;
t_extract(s, p, g) AS CASE WHEN regexp_matches(s, p) THEN regexp_extract(s, p, g) END;
t_split_part(s, d, n) AS CASE
  WHEN n <= 0 THEN error('INVALID_FUNCTION_ARGUMENT: Index must be greater than zero')
  WHEN n > len(string_split(s, d)) THEN NULL ELSE split_part(s, d, n) END;
t_join(a, d) AS CASE WHEN a IS NULL OR d IS NULL THEN NULL WHEN len(a) = 0 THEN ''
  ELSE list_reduce(a, lambda x, y: x || d || y) END;
t_array_join(a, d) AS t_join(list_transform(list_filter(a, lambda x: x IS NOT NULL), lambda x: t_text(x)), d);
t_array_join3(a, d, n) AS t_join(list_transform(a, lambda x: coalesce(t_text(x), n)), d);
t_slice(a, s, n) AS CASE
  WHEN s = 0 THEN error('INVALID_FUNCTION_ARGUMENT: SQL array indices start at 1')
  WHEN s < -len(a) OR n <= 0 THEN a[1:0]
  WHEN s < 0 THEN a[len(a) + s + 1:len(a) + s + n] ELSE a[s:s + n - 1] END;
t_subscript(a, i) AS CASE
  WHEN typeof(a) LIKE '%[]' AND (TRY_CAST(i AS BIGINT) < 1 OR TRY_CAST(i AS BIGINT) > len(a))
  THEN error('INVALID_FUNCTION_ARGUMENT: Array subscript must be from 1 to the number of elements')
  ELSE a[i] END;
t_log(b, x) AS ln(CAST(x AS DOUBLE)) / ln(CAST(b AS DOUBLE));
t_sequence(a, b, s) AS list_transform(generate_series(a, b, s), lambda x: cast_to_type(x, a));
t_map_agg(k, v) AS map(list(k), list(v));
t_array_position(a, x) AS CASE
  WHEN a IS NULL OR x IS NULL THEN NULL ELSE coalesce(list_position(a, x), 0) END;
t_nan() AS CAST('nan' AS DOUBLE);
t_infinity() AS CAST('inf' AS DOUBLE);
t_e() AS exp(1);
t_array_sort(a) AS list_sort(a, 'ASC', 'NULLS LAST');
t_array_remove(a, x) AS list_filter(a, lambda y: y <> x);
t_millisecond(a) AS millisecond(a) % 1000;
t_date(a) AS CAST(CAST(a AS VARCHAR) AS DATE);
t_to_iso8601(a) AS CASE WHEN typeof(a) = 'DATE' THEN CAST(a AS VARCHAR)
  ELSE replace(replace(t_text(a), ' UTC', 'Z'), ' ', 'T') END;
"""


def _statements() -> str:
    """Each macro, and its twin that gives null instead of an error, for use inside of TRY."""
    out = []
    for macro in filter(None, (text.strip() for text in _MACROS.split(";\n"))):
        twin = re.sub(r"\bt_", "n_", _without_errors(macro))
        out += [f"CREATE MACRO {macro}", f"CREATE MACRO {twin}"]
    return ";\n".join(out)


def _without_errors(sql: str) -> str:
    """SQL with NULL in place of each call of ``error``.

    >>> _without_errors("a + error('x (' || b) + c")
    'a + NULL + c'
    """
    while (start := sql.find("error(")) >= 0:
        depth, quoted, end = 0, False, start
        for end in range(start + 5, len(sql)):
            char = sql[end]
            quoted ^= char == "'"
            depth += 0 if quoted else (char == "(") - (char == ")")
            if depth == 0 and not quoted:
                break
        sql = sql[:start] + "NULL" + sql[end + 1 :]
    return sql


MACROS = _statements()
