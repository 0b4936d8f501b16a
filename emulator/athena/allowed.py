"""What of Trino's functions and of SQL may be in a query; all else is refused."""

from __future__ import annotations

from sqlglot import exp

from emulator.athena.errors import function_not_found, not_supported

# Functions whose meaning is the same once sqlglot has written them, or for which there is a rule in
# `emulator.athena.rules`, by sqlglot's names of them.
_CLASSES = frozenset(
    """
    Abs Acos And AnyValue ApproxDistinct ApproxQuantile ArgMax ArgMin Array ArrayAgg ArrayContains
    ArrayDistinct ArrayExcept ArrayFilter ArrayIntersect ArrayMax ArrayMin ArrayPosition ArrayRemove
    ArraySize ArraySlice ArraySort ArrayToString Asin Atan Atan2 AtTimeZone Avg BitwiseAnd
    BitwiseAndAgg BitwiseNot BitwiseOr BitwiseOrAgg BitwiseXor Bracket Case Cast Cbrt Ceil Chr
    Coalesce Concat ConcatWs Corr Cos Cosh Count CountIf CovarPop CovarSamp CumeDist CurrentDate
    CurrentTime CurrentTimestamp CurrentTimezone Date DateAdd DateDiff DateTrunc Day DayOfMonth
    DayOfWeekIso DayOfYear Decode Degrees DenseRank Encode Exists Exp Extract Filter FirstValue
    Flatten Floor FromBase64 FromISO8601Date FromISO8601Timestamp GenerateSeries Greatest
    GroupConcat Grouping Hex Hour If IsNan JSONCast JSONExtract JSONExtractScalar JSONFormat Lag
    LastDay LastValue Lead Least Length Levenshtein Ln Localtimestamp Log LogicalAnd LogicalOr Lower
    Map MapFromEntries MapKeys Max MD5Digest Min Minute Month NthValue Ntile Nullif Or Pad
    ParseDatetime ParseJSON PercentRank Pi Pow Quarter Radians Rand Rank RegexpCount RegexpExtract
    RegexpExtractAll RegexpLike RegexpReplace RegexpSplit RegrIntercept RegrSlope Repeat Replace
    Reverse Round RowNumber Second SHA SHA2Digest Sign Sin Sinh Split SplitPart Sqrt StartsWith
    Stddev StddevPop StddevSamp StrPosition StrToMap StrToTime Struct Substring Sum Tan Tanh
    TimestampTrunc TimeToStr TimeToUnix ToBase64 ToMap Transform Translate Trim Trunc Try TryCast
    Unhex UnixToTime Unnest Upper Uuid Variance VariancePop WeekOfYear Year YearOfWeek YearOfWeekIso
    """.split()  # noqa: SIM905  (a list that is read)
)
# Functions that sqlglot does not know, by what they become.
NAMED: dict[str, str] = {
    "all_match": "", "any_match": "", "array_position": "t_array_position", "array_union": "t_array_union",
    "arrays_overlap": "t_arrays_overlap", "at_timezone": "", "codepoint": "unicode", "e": "t_e",
    "every": "bool_and", "format_datetime": "", "geometric_mean": "geomean", "histogram": "histogram",
    "infinity": "t_infinity", "is_finite": "isfinite", "is_infinite": "isinf",
    "json_array_length": "t_json_array_length",
    "json_size": "t_json_size", "map_agg": "", "map_concat": "map_concat", "map_filter": "",
    "map_values": "map_values", "millisecond": "t_millisecond", "nan": "t_nan", "none_match": "",
    "to_iso8601": "t_to_iso8601", "transform_keys": "",
    "transform_values": "", "url_decode": "t_url_decode", "url_encode": "t_url_encode",
    "with_timezone": "", "yow": "isoyear", "zip_with": "",
}  # fmt: skip
# Names by which Trino has the functions that sqlglot knows. Others that sqlglot takes for the same function
# are of other dialects.
NAMES = frozenset(
    """
    ABS ACOS ANY_VALUE APPROX_DISTINCT APPROX_PERCENTILE ARBITRARY ARRAY ARRAY_AGG ARRAY_DISTINCT
    ARRAY_EXCEPT ARRAY_INTERSECT ARRAY_JOIN ARRAY_MAX ARRAY_MIN ARRAY_POSITION ARRAY_REMOVE
    ARRAY_SORT ASIN ATAN ATAN2 AVG BITWISE_AND BITWISE_AND_AGG BITWISE_NOT BITWISE_OR BITWISE_OR_AGG
    BITWISE_XOR BOOL_AND BOOL_OR CARDINALITY CAST CBRT CEIL CEILING CHR COALESCE CONCAT CONCAT_WS
    CONTAINS CORR COS COSH COUNT COUNT_IF COVAR_POP COVAR_SAMP CUME_DIST CURRENT_DATE CURRENT_TIME
    CURRENT_TIMESTAMP CURRENT_TIMEZONE DATE DATE_ADD DATE_DIFF DATE_FORMAT DATE_PARSE DATE_TRUNC DAY
    DAY_OF_MONTH DAY_OF_WEEK DAY_OF_YEAR DEGREES DENSE_RANK DOW DOY ELEMENT_AT EXISTS EXP EXTRACT
    FILTER FIRST_VALUE FLATTEN FLOOR FROM_BASE64 FROM_HEX FROM_ISO8601_DATE FROM_ISO8601_TIMESTAMP
    FROM_UNIXTIME FROM_UTF8 GREATEST GROUPING HOUR IF IS_NAN JSON_EXTRACT JSON_EXTRACT_SCALAR
    JSON_FORMAT JSON_PARSE LAG LAST_DAY_OF_MONTH LAST_VALUE LEAD LEAST LENGTH LEVENSHTEIN_DISTANCE
    LISTAGG LN LOCALTIMESTAMP LOG LOG10 LOG2 LOWER LPAD LTRIM MAP MAP_FROM_ENTRIES MAP_KEYS MAX
    MAX_BY MD5 MIN MINUTE MIN_BY MOD MONTH NOW NTH_VALUE NTILE NULLIF PARSE_DATETIME PERCENT_RANK PI
    POSITION POW POWER QUARTER RADIANS RAND RANDOM RANK REDUCE REGEXP_COUNT REGEXP_EXTRACT
    REGEXP_EXTRACT_ALL REGEXP_LIKE REGEXP_REPLACE REGEXP_SPLIT REGR_INTERCEPT REGR_SLOPE REPEAT
    REPLACE REVERSE ROUND ROW ROW_NUMBER RPAD RTRIM SECOND SEQUENCE SHA1 SHA256 SIGN SIN SINH SLICE
    SPLIT SPLIT_PART SPLIT_TO_MAP SQRT STARTS_WITH STDDEV STDDEV_POP STDDEV_SAMP STRPOS SUBSTR
    SUBSTRING SUM TAN TANH TO_BASE64 TO_HEX TO_UNIXTIME TO_UTF8 TRANSFORM TRANSLATE TRIM TRUNCATE
    TRY TRY_CAST UNNEST UPPER UUID VARIANCE VAR_POP VAR_SAMP WEEK WEEK_OF_YEAR YEAR YEAR_OF_WEEK
    """.split()  # noqa: SIM905  (a list that is read)
)
_FORBIDDEN = (
    exp.Pragma,
    exp.Copy,
    exp.Attach,
    exp.Detach,
    exp.Install,
    exp.Set,
    exp.Command,
    exp.LoadData,
    exp.Pivot,
    exp.Parameter,
    exp.SessionParameter,
    exp.Into,
    exp.Lock,
    exp.Hint,
    exp.DDL,
    exp.DML,
    exp.MatchRecognize,
    exp.Comprehension,
    exp.SimilarTo,
    exp.ILike,
    exp.Glob,
    exp.IntDiv,
    exp.BitwiseLeftShift,
    exp.BitwiseRightShift,
)


def check(tree: exp.Expr) -> None:
    """See that a query has nothing that is not allowed.

    Raises:
        QueryFailedError: It has.
    """
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN):
            raise not_supported(f"{type(node).__name__.upper()} inside of a query")
        if isinstance(node, exp.Anonymous):
            if node.name.lower() not in NAMED:
                raise function_not_found(node.name, _place(node))
        elif isinstance(node, exp.Func) and type(node).__name__ not in _CLASSES:
            raise not_supported(f"the function {node.sql_name().lower()} is not available here")
        elif what := _refused(node):
            raise not_supported(what)


def _place(function: exp.Func) -> str:
    """Where its name begins; sqlglot says in which line it is, and the column of the name's end."""
    meta = function.meta
    return f"{meta['line']}:{meta['col'] - meta['end'] + meta['start']}" if "line" in meta else "1:1"


def _refused(node: exp.Expr) -> str:  # noqa: PLR0912  (a table of what is refused)
    """Why a node is not allowed for what is in it; empty if it is."""
    if isinstance(node, exp.Max | exp.Min | exp.ArgMax | exp.ArgMin):
        if node.expressions or node.args.get("count"):
            return "max, min, max_by and min_by of several values"
    elif isinstance(node, exp.Split):
        if node.args.get("limit"):
            return "split with a limit"
    elif isinstance(node, exp.ArraySort):
        if node.args.get("expression"):
            return "array_sort with a function that compares"
    elif isinstance(node, exp.ApproxQuantile):
        if node.args.get("weight") or node.args.get("accuracy"):
            return "approx_percentile with weights or an accuracy"
    elif isinstance(node, exp.Unnest):
        if not isinstance(node.parent, exp.From | exp.Join | exp.Table):
            return "UNNEST elsewhere than in FROM"
    elif isinstance(node, exp.Star):
        if any(node.args.get(key) for key in ("except_", "replace", "rename", "except")):
            return "a star without some columns"
    elif isinstance(node, exp.Distinct):
        if node.args.get("on"):
            return "DISTINCT ON"
    elif isinstance(node, exp.Fetch | exp.Limit):
        options = node.args.get("limit_options")
        if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
            return "a limit in percent or WITH TIES"
    elif isinstance(node, exp.SetOperation):
        if node.args.get("by_name"):
            return "BY NAME"
    elif isinstance(node, exp.Join):
        words = {str(node.args.get(key) or "").upper() for key in ("kind", "method", "side")}
        if words & {"SEMI", "ANTI", "ASOF", "POSITIONAL"}:
            return f"joins that are {' '.join(sorted(words)).strip()}"
    elif isinstance(node, exp.TableSample):
        if not node.args.get("method"):
            return "USING SAMPLE"
    elif isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean):
        return "IS TRUE and IS FALSE"
    return ""
