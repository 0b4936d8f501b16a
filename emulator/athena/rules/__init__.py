"""What would mean something else in DuckDB becomes one of the macros of :mod:`emulator.athena.functions`.

A rule takes a node and what is known of types, and gives what takes the node's place.
"""

from __future__ import annotations

from sqlglot import exp

from emulator.athena import patterns
from emulator.athena.allowed import NAMED
from emulator.athena.errors import not_supported
from emulator.athena.inference import Types
from emulator.athena.rules.casts import cast
from emulator.athena.rules.nested import bracket, cardinality, json_path, map_agg, of_pairs, sequence
from emulator.athena.rules.nodes import Rule, as_type, call, macro, string, unit
from emulator.athena.rules.numbers import average, division, rounded, sum_
from emulator.athena.rules.operators import comparison, concat, joined, plus_minus
from emulator.athena.rules.strings import (
    concat_ws,
    listagg,
    regexp_extract,
    regexp_like,
    regexp_parts,
    regexp_replace,
    trim,
)
from emulator.athena.rules.times import extract_field, formatted, from_unixtime, parse_datetime, zone

_BINARY = ("varbinary", "binary", "blob")


# Where a list in parentheses is no row.
_SETS = (
    exp.In,
    exp.Values,
    exp.Group,
    exp.GroupingSets,
    exp.Rollup,
    exp.Cube,
    exp.Insert,
    exp.Tuple,
    exp.Distinct,
)


def _named(node: exp.Expr, _types: Types) -> exp.Expr:
    name, arguments = node.name.lower(), node.expressions
    if name == "map_agg" and len(arguments) == 2:
        return map_agg(name, arguments, node)
    if name.startswith("t_") or name not in NAMED:
        return node
    if name == "format_datetime":
        if not isinstance(arguments[1], exp.Literal):
            raise not_supported("format_datetime with a pattern that is no literal")
        return call("strftime", arguments[0], string(patterns.joda(arguments[1].name)))
    if name == "with_timezone":  # the same local time, elsewhere
        if not isinstance(arguments[1], exp.Literal) or arguments[1].name.upper() != "UTC":
            raise not_supported("with_timezone of another zone than UTC")
        return as_type(arguments[0], "TIMESTAMPTZ")
    if name == "at_timezone":
        return zone(node, arguments[0], arguments[1])
    if name in {"zip_with", "map_filter", "transform_keys", "transform_values"}:
        return of_pairs(name, arguments)
    if name in {"any_match", "all_match", "none_match"}:
        tried = exp.Transform(this=arguments[0], expression=arguments[1])
        found = call("t_all" if name == "all_match" else "t_any", tried)
        return exp.Not(this=found) if name == "none_match" else found
    return call(NAMED[name], *arguments)


RULES: dict[type[exp.Expr], Rule] = {
    exp.Div: division,
    exp.Mod: macro("t_mod", "this", "expression"),
    exp.Avg: average,
    exp.Sum: sum_,
    exp.Round: rounded,
    exp.Trunc: rounded,
    exp.Ceil: macro("t_ceil", "this"),
    exp.Floor: macro("t_floor", "this"),
    exp.Sign: macro("t_sign", "this"),
    exp.Cbrt: macro("t_cbrt", "this"),
    exp.Log: lambda node, _: call("t_log", node.this, node.expression) if node.expression else node,
    exp.IsNan: macro("isnan", "this"),
    exp.Cast: cast,
    exp.TryCast: cast,
    exp.Date: lambda node, _: call("t_as_date", node.this),
    exp.FromISO8601Date: macro("t_as_date", "this"),
    exp.FromISO8601Timestamp: macro("t_iso_instant", "this"),
    exp.Add: plus_minus,
    exp.Sub: plus_minus,
    exp.DPipe: joined,
    exp.Concat: concat,
    **dict.fromkeys(
        (
            exp.EQ,
            exp.NEQ,
            exp.GT,
            exp.GTE,
            exp.LT,
            exp.LTE,
            exp.In,
            exp.Between,
            exp.NullSafeEQ,
            exp.NullSafeNEQ,
        ),
        comparison,
    ),
    exp.DateAdd: lambda node, _: call("t_date_add", unit(node), node.expression, node.this),
    exp.DateDiff: lambda node, _: call("t_date_diff", unit(node), node.expression, node.this),
    exp.DateTrunc: lambda node, _: call("t_date_trunc", unit(node), node.this),
    exp.TimestampTrunc: lambda node, _: call("t_date_trunc", unit(node), node.this),
    exp.TimeToUnix: macro("t_to_unixtime", "this"),
    exp.UnixToTime: from_unixtime,
    exp.TimeToStr: formatted,
    exp.StrToTime: formatted,
    exp.ParseDatetime: parse_datetime,
    exp.Extract: extract_field,
    exp.YearOfWeek: macro("isoyear", "this"),
    exp.YearOfWeekIso: macro("isoyear", "this"),
    exp.AtTimeZone: lambda node, _: zone(node, node.this, node.args["zone"]),
    exp.CurrentTimezone: lambda node, _: string("UTC"),
    exp.Trim: trim,
    exp.Replace: lambda node, _: call(
        "t_replace", node.this, node.expression, node.args.get("replacement") or string("")
    ),
    exp.Substring: lambda node, _: call(
        "t_substr3" if node.args.get("length") else "t_substr",
        node.this,
        node.args.get("start"),
        node.args.get("length"),
    ),
    exp.Split: macro("t_split", "this", "expression"),
    exp.SplitPart: macro("t_split_part", "this", "delimiter", "part_index"),
    exp.RegexpLike: regexp_like,
    exp.RegexpExtract: regexp_extract,
    exp.RegexpExtractAll: regexp_extract,
    exp.RegexpReplace: regexp_replace,
    exp.RegexpSplit: regexp_parts,
    exp.RegexpCount: regexp_parts,
    exp.StrToMap: macro("t_split_to_map", "this", "pair_delim", "key_value_delim"),
    exp.Reverse: lambda node, types: (
        call("list_reverse", node.this) if types.is_a(node.this, "array") else node
    ),
    exp.Length: lambda node, types: (
        call("octet_length", node.this) if types.is_a(node.this, *_BINARY) else node
    ),
    exp.GroupConcat: listagg,
    exp.ConcatWs: concat_ws,
    exp.SHA: lambda node, _: call("unhex", call("sha1", node.this)),
    exp.Decode: macro("decode", "this"),
    exp.JSONExtract: lambda node, _: json_path(node, "t_json"),
    exp.JSONExtractScalar: lambda node, _: json_path(node, "t_json_scalar"),
    exp.Struct: lambda node, _: call("row", *node.expressions),
    exp.Tuple: lambda node, _: node if isinstance(node.parent, _SETS) else call("row", *node.expressions),
    exp.Bracket: bracket,
    exp.ArraySize: cardinality,
    exp.ArraySlice: macro("t_slice", "this", "start", "end"),
    exp.ArraySort: macro("t_array_sort", "this"),
    exp.ArrayToString: lambda node, _: call(
        "t_array_join3" if node.args.get("null") else "t_array_join",
        node.this,
        node.expression,
        node.args.get("null"),
    ),
    exp.ArrayMax: macro("t_array_max", "this"),
    exp.ArrayMin: macro("t_array_min", "this"),
    exp.ArrayContains: macro("t_contains", "this", "expression"),
    exp.ArrayDistinct: macro("t_array_distinct", "this"),
    exp.ArrayIntersect: lambda node, _: call("t_array_intersect", *node.expressions),
    exp.ArrayExcept: macro("t_array_except", "this", "expression"),
    exp.ArrayPosition: macro("t_array_position", "this", "expression"),
    exp.ArrayRemove: macro("t_array_remove", "this", "expression"),
    exp.Repeat: macro("t_repeat", "this", "times"),
    exp.GenerateSeries: sequence,
    exp.ArgMax: macro("arg_max_null", "this", "expression"),
    exp.ArgMin: macro("arg_min_null", "this", "expression"),
    exp.Anonymous: _named,
}
