"""The script that every AWS Glue job starts: takes Glue's arguments, runs ``finlake``.

Glue hands over a job's arguments as ``--NAME value`` pairs, mixed with its own (``--JOB_NAME``,
``--TempDir``, ...). ``--layer`` and ``--entity`` say what to run, ``--from`` and ``--to`` (given to a
single run, for a backfill) which days; ``--layer maintenance`` maintains all tables, ``--layer scoring``
scores loans by ``--model`` (on ``--date``, given to a single run). Each ``--FINLAKE_*`` argument becomes the
environment variable of that name, which is where the pipeline reads its settings, and so does
``--AWS_REGION``: not each library asks Glue where it is. The code itself comes from the project's wheel,
which the job installs first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

SETTINGS = ("--FINLAKE_", "--AWS_REGION")  # how their names begin
RUN_OPTIONS = ("entity", "from", "to")
# By layer: the command, and those of its options that have the same names here.
COMMANDS = {
    "silver": (["run", "--json", "--layer", "silver"], RUN_OPTIONS),
    "gold": (["run", "--json", "--layer", "gold"], RUN_OPTIONS),
    "maintenance": (["maintain"], ()),
    "scoring": (["score", "--json"], ("model", "date")),
}


def parse_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split Glue's arguments into those of ``finlake`` and settings.

    Args:
        arguments: What follows the script's name, as Glue passes it.

    Returns:
        Arguments for ``finlake``, and environment variables. Arguments that are not finlake's are left out.

    >>> parse_arguments(["--TempDir", "t", "--FINLAKE_ENV", "prod", "--layer", "silver", "--entity", "loans"])
    (['run', '--json', '--layer', 'silver', '--entity', 'loans'], {'FINLAKE_ENV': 'prod'})
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--layer", required=True, choices=tuple(COMMANDS))
    options = dict.fromkeys(option for _, known in COMMANDS.values() for option in known)
    for option in options:
        parser.add_argument(f"--{option}")
    names = {argument.split("=")[0] for argument in arguments if argument.startswith(SETTINGS)}
    for name in sorted(names):
        parser.add_argument(name, dest=name.removeprefix("--"))
    found = vars(parser.parse_known_args(arguments)[0])
    layer = found.pop("layer")
    command, known = COMMANDS[layer]
    given = {option: value for option in options if (value := found.pop(option))}
    if strange := [f"--{option}" for option in given if option not in known]:
        parser.error(f"--layer {layer} takes no {', '.join(strange)}")
    return [*command, *(part for option, value in given.items() for part in (f"--{option}", value))], found


def main() -> None:
    """Run the pipeline as this job was told to.

    Raises:
        SystemExit: It failed; the code is not 0.
    """
    command, settings = parse_arguments(sys.argv[1:])
    os.environ.update(settings)
    os.environ["FINLAKE_SPARK_MANAGED"] = "1"
    sys.argv = ["finlake", *command]

    from pipeline.cli import main as finlake

    try:
        finlake()
    except SystemExit as ended:
        # A job that went well just returns, so that nothing hangs on what Glue makes of an exit with code 0.
        if ended.code:
            raise


if __name__ == "__main__":
    main()
