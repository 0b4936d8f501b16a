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

# A point in time as Trino reads it from text; what zone there may be behind it is another question.
_TIME = r"\s*[+-]?\d{4,}-\d{1,2}-\d{1,2}(?: \d{1,2}:\d{1,2}(?::\d{1,2}(?:[.]\d+)?)?)?"

_MACROS = rf"""
t_digits(a) AS CASE WHEN typeof(a) LIKE 'DECIMAL%'
  THEN CAST(regexp_extract(typeof(a), ',([0-9]+)', 1) AS INTEGER) ELSE 0 END;
t_float_div(a, b) AS cast_to_type(a / b, coalesce(a, b));
t_pointed(q, s) AS CASE WHEN s = 0 THEN CAST(q AS VARCHAR)
  ELSE regexp_replace(CASE WHEN q < 0 THEN '-' ELSE '' END
    || lpad(CAST(abs(q) AS VARCHAR), CAST(greatest(s + 1, len(CAST(abs(q) AS VARCHAR))) AS INTEGER), '0'),
    '(\d{{' || s || '}})$', '.\1') END;
t_quotient(a, b) AS CASE
  WHEN b = 0 THEN CASE WHEN a IS NOT NULL THEN {_ZERO} END
  ELSE sign(a) * sign(b) * ((2 * abs(a) + abs(b)) // (2 * abs(b))) END;
t_unscaled(a) AS CAST(replace(CAST(a AS VARCHAR), '.', '') AS HUGEINT);
t_power(s) AS CAST(rpad('1', CAST(s AS INTEGER) + 1, '0') AS HUGEINT);
t_scaled(a, s) AS t_unscaled(a) * t_power(s - t_digits(a));
t_decimal_div(a, b) AS list_transform([struct_pack(a := a, b := b)], lambda p:
  t_pointed(
    t_quotient(
      t_scaled(p.a, greatest(t_digits(p.a), t_digits(p.b))) * t_power(greatest(t_digits(p.a), t_digits(p.b))),
      t_scaled(p.b, greatest(t_digits(p.a), t_digits(p.b)))),
    greatest(t_digits(p.a), t_digits(p.b))))[1];
t_int_div(a, b) AS a // CASE WHEN b = 0 AND a IS NOT NULL THEN {_ZERO} ELSE b END;
t_div(a, b) AS CASE
  WHEN 'HUGEINT' IN (typeof(a), typeof(b)) AND NOT (typeof(a) IN {_FLOATING} OR typeof(b) IN {_FLOATING})
  THEN error('NOT_SUPPORTED: the type of this division is not known here: cast to BIGINT, DECIMAL or DOUBLE')
  WHEN typeof(a) IN {_FLOATING} OR typeof(b) IN {_FLOATING} THEN t_float_div(a, b)
  WHEN typeof(a) LIKE 'DECIMAL%' OR typeof(b) LIKE 'DECIMAL%'
  THEN cast_to_type(t_decimal_div(a, b), coalesce(a, b))
  ELSE cast_to_type(t_int_div(a, b), coalesce(a, b)) END;
t_exact(a, b, s) AS CASE
  WHEN greatest(t_digits(a), t_digits(b)) <> s OR typeof(a) IN {_FLOATING} OR typeof(b) IN {_FLOATING}
  THEN error('NOT_SUPPORTED: the digits of this division of decimals are not known here: {_CAST}')
  ELSE a END;
t_mod(a, b) AS a % (CASE WHEN b = 0 AND a IS NOT NULL THEN {_ZERO} ELSE b END);
t_avgable(a) AS CASE
  WHEN typeof(a) LIKE 'DECIMAL%'
  THEN error('NOT_SUPPORTED: the digits of this average are not known here: {_CAST}')
  WHEN typeof(a) = 'FLOAT'
  THEN error('NOT_SUPPORTED: avg of a real whose type is not known here: cast to DOUBLE')
  WHEN typeof(a) LIKE 'TIMESTAMP%' OR typeof(a) IN ('DATE', 'TIME', 'INTERVAL')
  THEN error('TYPE_MISMATCH: line 1:1: Unexpected parameters (' || lower(typeof(a)) || ') for avg')
  ELSE a END;
t_round(a, n) AS cast_to_type(round(a, n), a + 0);
t_trunc(a, n) AS cast_to_type(trunc(a, n), a);
t_ceil(a) AS cast_to_type(ceil(a), round(a));
t_floor(a) AS cast_to_type(floor(a), round(a));
t_sign(a) AS cast_to_type(sign(a), round(a));
t_cbrt(a) AS CASE WHEN a = 0 THEN CAST(a AS DOUBLE)
  ELSE cbrt(a) - (cbrt(a) * cbrt(a) * cbrt(a) - a) / (3 * cbrt(a) * cbrt(a)) END;
t_text(a) AS CASE
  WHEN typeof(a) LIKE 'TIMESTAMP%' THEN
    substr(CAST(a AS VARCHAR), 1, 19) || '.'
    || rpad(regexp_extract(CAST(a AS VARCHAR), '[.]([0-9]{{1,3}})', 1), 3, '0')
    || CASE WHEN typeof(a) LIKE '%ZONE' THEN ' UTC' ELSE '' END
  WHEN typeof(a) = 'JSON' THEN CASE json_type(CAST(a AS VARCHAR))
    WHEN 'NULL' THEN NULL
    WHEN 'DOUBLE' THEN error('NOT_SUPPORTED: a number of JSON cast to varchar: use json_extract_scalar')
    WHEN 'OBJECT' THEN error('INVALID_CAST_ARGUMENT: Cannot cast an object of JSON to varchar')
    WHEN 'ARRAY' THEN error('INVALID_CAST_ARGUMENT: Cannot cast an array of JSON to varchar')
    ELSE json_extract_string(CAST(a AS VARCHAR), '$') END
  WHEN typeof(a) IN {_FLOATING}
  THEN error('NOT_SUPPORTED: a double cast to varchar: cast it to DECIMAL(p, s) first')
  WHEN typeof(a) LIKE '%]' OR typeof(a) LIKE 'STRUCT%' OR typeof(a) LIKE 'MAP%' OR typeof(a) = 'BLOB'
  THEN error('TYPE_MISMATCH: line 1:1: Cannot cast ' || lower(typeof(a)) || ' to varchar')
  ELSE CAST(a AS VARCHAR) END;
t_nested_text(a) AS CASE
  WHEN regexp_matches(typeof(a), 'DOUBLE|FLOAT|TIMESTAMP|BLOB')
  THEN error('NOT_SUPPORTED: a cast of the values in ' || typeof(a) || ' to varchar')
  ELSE a END;
t_nested_int(a) AS CASE
  WHEN regexp_matches(typeof(a), 'DOUBLE|FLOAT|VARCHAR')
  THEN error('NOT_SUPPORTED: a cast of the values in ' || typeof(a) || ' to integers')
  ELSE a END;
t_no_rows(a) AS CASE
  WHEN contains(typeof(a), 'STRUCT')
  THEN error('NOT_SUPPORTED: a cast of the rows in ' || typeof(a) || ' to other fields')
  ELSE a END;
t_string(a) AS CASE WHEN typeof(a) IN ('VARCHAR', '"NULL"', 'NULL') THEN CAST(a AS VARCHAR)
  ELSE error('TYPE_MISMATCH: line 1:1: Unexpected parameters (' || lower(typeof(a)) || ')')
  END;
t_int(a) AS CASE
  WHEN typeof(a) IN {_FLOATING} THEN CAST(round(TRY_CAST(a AS DOUBLE)) AS BIGINT)
  WHEN typeof(a) = 'VARCHAR' AND NOT regexp_full_match(CAST(a AS VARCHAR), '[+-]?[0-9]+')
  THEN error('INVALID_CAST_ARGUMENT: Cannot cast ''' || CAST(a AS VARCHAR) || ''' to an integer')
  ELSE CAST(a AS BIGINT) END;
t_boolean(a) AS CASE
  WHEN typeof(a) <> 'VARCHAR' THEN CAST(a AS BOOLEAN)
  WHEN lower(CAST(a AS VARCHAR)) IN ('t', 'true', '1') THEN true
  WHEN lower(CAST(a AS VARCHAR)) IN ('f', 'false', '0') THEN false
  WHEN a IS NOT NULL
  THEN error('INVALID_CAST_ARGUMENT: Cannot cast ''' || CAST(a AS VARCHAR) || ''' to BOOLEAN') END;
t_as_date(a) AS CASE
  WHEN typeof(a) = 'VARCHAR'
    AND NOT regexp_full_match(CAST(a AS VARCHAR), '\s*[+-]?\d+-\d{{1,2}}-\d{{1,2}}\s*')
  THEN error('INVALID_CAST_ARGUMENT: Value cannot be cast to date: ' || CAST(a AS VARCHAR))
  ELSE CAST(a AS DATE) END;
t_as_timestamp(a) AS CASE
  WHEN typeof(a) = 'VARCHAR' AND NOT regexp_full_match(CAST(a AS VARCHAR), '{_TIME}')
  THEN error('INVALID_CAST_ARGUMENT: Value cannot be cast to timestamp: ' || CAST(a AS VARCHAR))
  ELSE CAST(a AS TIMESTAMP) END;
t_to_precision(a, n) AS make_timestamp(CAST(floor((epoch_us(a) + n // 2) / n) AS BIGINT) * n);
t_as_instant(a) AS CASE
  WHEN typeof(a) = 'VARCHAR' AND NOT regexp_full_match(CAST(a AS VARCHAR), '{_TIME}\s*(?:UTC|Z|[+-]00:00)?')
  THEN error('NOT_SUPPORTED: time zones other than UTC: ' || CAST(a AS VARCHAR))
  ELSE CAST(a AS TIMESTAMPTZ) END;
t_iso_instant(a) AS CASE
  WHEN regexp_matches(a, 'T.*[+-]\d\d:?\d*$') AND NOT regexp_matches(a, '[+-]00(?::?00)?$')
  THEN error('NOT_SUPPORTED: time zones other than UTC: ' || a)
  ELSE CAST(a AS TIMESTAMPTZ) END;
t_substr(a, b) AS CASE WHEN b = 0 OR b < -length(a) THEN '' ELSE substr(a, b) END;
t_substr3(a, b, c) AS CASE WHEN b = 0 OR b < -length(a) OR c <= 0 THEN '' ELSE substr(a, b, c) END;
t_replace(a, b, c) AS CASE
  WHEN b = '' THEN error('NOT_SUPPORTED: replace of an empty text') ELSE replace(a, b, c) END;
t_split(a, b) AS CASE
  WHEN b = '' THEN error('INVALID_FUNCTION_ARGUMENT: The delimiter may not be the empty string')
  ELSE string_split(a, b) END;
t_url_encode(a) AS replace(replace(replace(url_encode(a), '%20', '+'), '%2A', '*'), '~', '%7E');
t_url_decode(a) AS url_decode(replace(a, '+', '%20'));
t_date_unit(unit, a) AS CASE
  WHEN typeof(a) = 'DATE' AND lower(unit) IN ('millisecond', 'second', 'minute', 'hour')
  THEN error('INVALID_FUNCTION_ARGUMENT: ''' || unit || ''' is not a valid DATE field')
  WHEN lower(unit) NOT IN
    ('millisecond', 'second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year')
  THEN error('INVALID_FUNCTION_ARGUMENT: ''' || unit || ''' is not a valid field')
  ELSE unit END;
t_date_trunc(unit, a) AS cast_to_type(date_trunc(t_date_unit(unit, a), a), a);
t_date_diff(unit, a, b) AS date_sub(
  CASE WHEN typeof(a) = 'DATE' THEN t_date_unit(unit, b) ELSE t_date_unit(unit, CAST(a AS TIMESTAMP)) END,
  a, b);
t_interval(unit, n) AS CASE lower(unit)
  WHEN 'millisecond' THEN to_milliseconds(n) WHEN 'second' THEN to_seconds(n) WHEN 'minute' THEN to_minutes(n)
  WHEN 'hour' THEN to_hours(n) WHEN 'day' THEN to_days(CAST(n AS INTEGER))
  WHEN 'week' THEN to_days(CAST(7 * n AS INTEGER))
  WHEN 'month' THEN to_months(CAST(n AS INTEGER)) WHEN 'quarter' THEN to_months(CAST(3 * n AS INTEGER))
  WHEN 'year' THEN to_months(CAST(12 * n AS INTEGER)) END;
t_date_add(unit, n, a) AS cast_to_type(a + t_interval(t_date_unit(unit, a), n), a);
t_day_interval(a, i) AS CASE
  WHEN typeof(a) = 'DATE' AND (epoch_us(i) % 86400000000) <> 0
  THEN error('INVALID_FUNCTION_ARGUMENT: Cannot add hour, minutes or seconds to a date')
  ELSE i END;
t_plus_interval(a, i) AS cast_to_type(a + t_day_interval(a, i), a);
t_minus_interval(a, i) AS cast_to_type(a - t_day_interval(a, i), a);
t_valid(j) AS CASE WHEN json_valid(j) THEN j END;
t_json_text(j, p) AS CASE
  WHEN json_type(t_valid(j), p) NOT IN ('OBJECT', 'ARRAY', 'NULL')
  THEN json_extract_string(t_valid(j), p) END;
t_json_scalar(j, p) AS CASE
  WHEN json_type(t_valid(j), p) = 'DOUBLE'
    AND NOT regexp_matches(CAST(j AS VARCHAR), regexp_escape(t_json_text(j, p)) || '(?:[^0-9eE]|$)')
  THEN error('NOT_SUPPORTED: a number in JSON that is not written the shortest way: cast it')
  ELSE t_json_text(j, p) END;
t_json(j, p) AS json_extract(t_valid(j), p);
t_json_array_length(j) AS CASE
  WHEN json_type(t_valid(j)) = 'ARRAY' THEN CAST(json_array_length(t_valid(j)) AS BIGINT) END;
t_to_json(a) AS CASE
  WHEN typeof(a) LIKE 'TIMESTAMP%' THEN to_json(t_text(a))
  WHEN regexp_matches(typeof(a), 'TIMESTAMP|BLOB|INTERVAL')
  THEN error('NOT_SUPPORTED: ' || typeof(a) || ' cast to json')
  ELSE to_json(a) END;
t_to_unixtime(a) AS epoch_us(a) / 1e6;
t_extract(s, p, g) AS CASE WHEN regexp_matches(s, p) THEN regexp_extract(s, p, g) END;
t_maybe_extract(s, p, g) AS CASE
  WHEN t_extract(s, p, g) = ''
  THEN error('NOT_SUPPORTED: regexp_extract of a group that is empty or has no part in the match')
  ELSE t_extract(s, p, g) END;
t_split_part(s, d, n) AS CASE
  WHEN n <= 0 THEN error('INVALID_FUNCTION_ARGUMENT: Index must be greater than zero')
  WHEN n > len(string_split(s, d)) THEN NULL ELSE split_part(s, d, n) END;
t_entry(e, d) AS CASE
  WHEN len(string_split(e, d)) = 2 THEN row(split_part(e, d, 1), split_part(e, d, 2))
  ELSE error('INVALID_FUNCTION_ARGUMENT: Key-value delimiter must appear exactly once in each entry') END;
t_split_to_map(a, d, k) AS map_from_entries(list_transform(string_split(a, d), lambda e: t_entry(e, k)));
t_json_size(j, p) AS CASE json_type(t_valid(j), p)
  WHEN 'ARRAY' THEN CAST(json_array_length(t_valid(j), p) AS BIGINT)
  WHEN 'OBJECT' THEN len(json_keys(t_valid(j), p))
  ELSE CASE WHEN json_type(t_valid(j), p) IS NOT NULL THEN 0 END END;
t_join(a, d) AS CASE WHEN a IS NULL OR d IS NULL THEN NULL WHEN len(a) = 0 THEN ''
  ELSE list_reduce(a, lambda x, y: x || d || y) END;
t_array_join(a, d) AS t_join(list_transform(list_filter(a, lambda x: x IS NOT NULL), lambda x: t_text(x)), d);
t_array_join3(a, d, n) AS t_join(list_transform(a, lambda x: coalesce(t_text(x), n)), d);
t_slice(a, s, n) AS CASE
  WHEN s = 0 THEN error('INVALID_FUNCTION_ARGUMENT: SQL array indices start at 1')
  WHEN s < -len(a) OR n <= 0 THEN a[1:0]
  WHEN s < 0 THEN a[len(a) + s + 1:len(a) + s + n] ELSE a[s:s + n - 1] END;
t_subscript(a, i) AS CASE
  WHEN i < 1 OR i > len(a)
  THEN error('INVALID_FUNCTION_ARGUMENT: Array subscript must be from 1 to the number of elements')
  ELSE a[i] END;
t_value(m, k) AS CASE
  WHEN m IS NULL OR k IS NULL OR map_contains(m, k) THEN m[k]
  ELSE error('INVALID_FUNCTION_ARGUMENT: Key not present in map: ' || CAST(k AS VARCHAR)) END;
t_element(a, i) AS CASE
  WHEN typeof(a) LIKE '%[]' AND TRY_CAST(i AS BIGINT) = 0
  THEN error('INVALID_FUNCTION_ARGUMENT: SQL array indices start at 1')
  ELSE a[i] END;
t_log(b, x) AS ln(CAST(x AS DOUBLE)) / ln(CAST(b AS DOUBLE));
t_steps(a) AS CASE WHEN len(a) = 0
  THEN error('INVALID_FUNCTION_ARGUMENT: the step of a sequence must lead from its start to its end')
  ELSE a END;
t_sequence(a, b) AS generate_series(a, b, CASE WHEN a <= b THEN 1 ELSE -1 END);
t_sequence3(a, b, s) AS t_steps(list_transform(generate_series(a, b, s), lambda x: cast_to_type(x, a)));
t_sequence_days(a, b) AS list_transform(
  t_sequence(0, date_sub('day', a, b)), lambda i: cast_to_type(a + to_days(CAST(i AS INTEGER)), a));
t_sequence_months(a, b, n) AS CASE
  WHEN (n > 0 AND b < a) OR (n < 0 AND b > a) OR n = 0
  THEN error('INVALID_FUNCTION_ARGUMENT: the step of a sequence must lead from its start to its end')
  ELSE list_transform(
    range(0, date_sub('month', a, b) // n + 1),
    lambda i: cast_to_type(a + to_months(CAST(i * n AS INTEGER)), a)) END;
t_repeat(x, n) AS list_transform(range(CAST(n AS BIGINT)), lambda i: x);
t_array_position(a, x) AS CASE
  WHEN a IS NULL OR x IS NULL THEN NULL ELSE coalesce(list_position(a, x), 0) END;
t_array_distinct(a) AS list_filter(a, lambda x, i: list_position(a, x) = i);
t_array_union(a, b) AS t_array_distinct(list_concat(a, b));
t_array_intersect(a, b) AS list_filter(t_array_distinct(a), lambda x: list_position(b, x) IS NOT NULL);
t_array_except(a, b) AS list_filter(t_array_distinct(a), lambda x: list_position(b, x) IS NULL);
t_arrays_overlap(a, b) AS CASE
  WHEN list_has_any(list_filter(a, lambda x: x IS NOT NULL), list_filter(b, lambda x: x IS NOT NULL))
  THEN true
  WHEN list_count(a) < len(a) OR list_count(b) < len(b) THEN NULL ELSE false END;
t_array_max(a) AS CASE WHEN list_count(a) = len(a) THEN list_max(a) END;
t_array_min(a) AS CASE WHEN list_count(a) = len(a) THEN list_min(a) END;
t_contains(a, x) AS CASE
  WHEN a IS NULL OR x IS NULL THEN NULL WHEN list_contains(a, x) THEN true
  WHEN list_count(a) < len(a) THEN NULL ELSE false END;
t_any(a) AS CASE
  WHEN list_contains(a, true) THEN true WHEN list_count(a) < len(a) THEN NULL
  WHEN a IS NOT NULL THEN false END;
t_all(a) AS CASE
  WHEN list_contains(a, false) THEN false WHEN list_count(a) < len(a) THEN NULL
  WHEN a IS NOT NULL THEN true END;
t_flat(a) AS CASE
  WHEN typeof(a) LIKE 'STRUCT%[]'
  THEN error('NOT_SUPPORTED: UNNEST of an array of rows without a name for each of their fields')
  ELSE a END;
t_nan() AS CAST('nan' AS DOUBLE);
t_infinity() AS CAST('inf' AS DOUBLE);
t_e() AS exp(1);
t_array_sort(a) AS list_sort(a, 'ASC', 'NULLS LAST');
t_array_remove(a, x) AS CASE WHEN x IS NOT NULL THEN list_filter(a, lambda y: y IS DISTINCT FROM x) END;
t_millisecond(a) AS millisecond(a) % 1000;
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
    """SQL with NULL in place of each call of ``error``, but for what is only not done here.

    >>> _without_errors("a + error('x (' || b) + error('NOT_SUPPORTED: y')")
    "a + NULL + error('NOT_SUPPORTED: y')"
    """
    start = 0
    while (start := sql.find("error(", start)) >= 0:
        depth, quoted, end = 0, False, start
        for end in range(start + 5, len(sql)):
            char = sql[end]
            quoted ^= char == "'"
            depth += 0 if quoted else (char == "(") - (char == ")")
            if depth == 0 and not quoted:
                break
        if sql.startswith(("error('NOT_SUPPORTED", "error('TYPE_MISMATCH"), start):
            start = end
        else:
            sql = sql[:start] + "NULL" + sql[end + 1 :]
    return sql


MACROS = _statements()
