"""How a script reads its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

# Arguments that Glue itself gives; a script gets them without asking.
RESERVED = ("JOB_NAME", "JOB_ID", "JOB_RUN_ID", "SECURITY_CONFIGURATION", "TempDir", "encryption_type")


class GlueArgumentError(Exception):
    """Arguments lack something, or cannot be read."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GlueArgumentError(message)


def getResolvedOptions(args: Sequence[str], options: Sequence[str]) -> dict[str, str]:  # noqa: N802 - AWS's name
    """The values of a script's arguments.

    Args:
        args: ``sys.argv``.
        options: Names of the arguments that must be there, without ``--``.

    Returns:
        Values by name, also of those that Glue gives by itself.

    Raises:
        GlueArgumentError: One is missing.

    >>> getResolvedOptions(["a.py", "--day", "2026-01-01", "--JOB_NAME", "load"], ["day"])
    {'day': '2026-01-01', 'JOB_NAME': 'load'}
    """
    parser = _Parser(allow_abbrev=False, add_help=False)
    for name in options:
        parser.add_argument(f"--{name}", required=True)
    for name in RESERVED:
        if name not in options:
            parser.add_argument(f"--{name}")
    found = vars(parser.parse_known_args(list(args[1:]))[0])
    return {name: value for name, value in found.items() if value is not None}
