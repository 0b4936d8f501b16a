"""Patterns of Java and MySQL, of times and of texts, as DuckDB has them. Pure functions."""

from __future__ import annotations

import re

from emulator.athena.errors import QueryFailedError, not_supported

_JODA = {
    "yyyy": "%Y", "y": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d",
    "d": "%-d", "EEEE": "%A", "EEE": "%a", "EE": "%a", "E": "%a", "HH": "%H", "H": "%-H", "hh": "%I",
    "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S", "SSS": "%g", "a": "%p", "DDD": "%j",
}  # fmt: skip
# What sqlglot makes of MySQL's specifiers that Trino knows; strftime's others would mean something else.
_MYSQL = re.compile(r"%(?:-[dHImMS]|[aAbBdfGHIjmMpSTyYV%])|[^%]")


def joda(pattern: str) -> str:
    """A pattern of Joda-Time as one of strftime.

    >>> joda("yyyy-MM-dd HH:mm:ss.SSS"), joda("dd'T'MM"), joda("h''")
    ('%Y-%m-%d %H:%M:%S.%g', '%dT%m', "%-I'")

    Raises:
        QueryFailedError: A letter of it is not known.
    """
    out = []
    for found in re.finditer(r"''|'((?:[^']|'')*)'|(([A-Za-z])\3*)|([^A-Za-z'])", pattern):
        letters = found[2] or ""
        if letters:
            if letters not in _JODA:
                raise not_supported(f"the pattern letters {letters!r}")
            out.append(_JODA[letters])
        else:
            plain = "'" if found[0] == "''" else (found[1] or found[4] or "").replace("''", "'")
            out.append(plain.replace("%", "%%"))
    return "".join(out)


def mysql(pattern: str) -> str:
    """A pattern of MySQL, as sqlglot has written it for strftime, for DuckDB.

    Raises:
        QueryFailedError: It has what Trino does not know, or what is not done here.
    """
    pattern = pattern.replace("%v", "%V")
    if "".join(found[0] for found in _MYSQL.finditer(pattern)) != pattern:
        raise not_supported(f"the pattern {pattern!r} for dates and times")
    return pattern


def regexp(pattern: str) -> str:
    """A regular expression of Java as one of RE2, which refuses what it does not know.

    >>> regexp("(?<year>[0-9]+)"), regexp("(?<=a)b")
    ('(?P<year>[0-9]+)', '(?<=a)b')
    """
    return re.sub(r"\(\?<(?![=!])", "(?P<", pattern)


def groups(pattern: str) -> int:
    r"""How many groups a regular expression has.

    >>> groups(r"(a)(?:b)\((?P<c>c)[(]")
    2
    """
    plain = re.sub(r"\\.|\[(?:\\.|[^\]\\])+\]", "", pattern)
    return len(re.findall(r"\((?!\?)|\(\?P<", plain))


def may_have_no_part(pattern: str) -> bool:
    r"""Whether some group of a regular expression may have no part in a match.

    >>> may_have_no_part("(a)?b"), may_have_no_part("(a)|(b)"), may_have_no_part(r"(\d+)-(\d+)")
    (True, True, False)
    """
    plain = re.sub(r"\\.|\[(?:\\.|[^\]\\])+\]", "x", pattern)
    return bool(re.search(r"\)[?*]|\)\{0|\|", plain))


def check_group(pattern: str, group: int) -> None:
    """See that a regular expression has this group.

    Raises:
        QueryFailedError: It has not.
    """
    if group > (there := groups(pattern)):
        raise QueryFailedError(
            f"INVALID_FUNCTION_ARGUMENT: Pattern has {there} groups. Cannot access group {group}"
        )


def replacement(text: str, pattern: str) -> str:
    r"""What Java puts in place of a match, in RE2's words.

    >>> replacement("<$1>", "(X)"), replacement(r"\$\\", "X"), replacement("$12", "(X)")
    ('<\\1>', '$\\\\', '\\12')

    Raises:
        QueryFailedError: It names a group that is not there.
    """
    out, rest = [], text
    while rest:
        found = re.match(r"\\(.)|\$(\d)|([^\\$]+)", rest, re.DOTALL)
        if found is None:
            if rest.startswith("${"):
                raise not_supported("regexp_replace by groups with names")
            raise QueryFailedError(f"INVALID_FUNCTION_ARGUMENT: Illegal replacement sequence: {rest}")
        if found[2]:
            check_group(pattern, int(found[2]))
            out.append(f"\\{found[2]}")
        else:
            out.append((found[1] or found[3]).replace("\\", "\\\\"))
        rest = rest[found.end() :]
        # Java takes as many digits as make the number of a group.
        if found[2] and rest[:1].isdigit() and int(found[2] + rest[0]) <= groups(pattern):
            raise not_supported("regexp_replace with more than nine groups")
    return "".join(out)
