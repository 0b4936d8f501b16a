"""The script that every AWS Glue job starts: takes Glue's arguments, runs ``finlake run`` or ``maintain``.

Glue hands over a job's arguments as ``--NAME value`` pairs, mixed with its own (``--JOB_NAME``,
``--TempDir``, ...). ``--layer`` and ``--entity`` say what to run, ``--from`` and ``--to`` (given to a
single run, for a backfill) which days; ``--layer maintenance`` maintains all tables. Each
``--FINLAKE_*`` argument becomes the environment variable of that name, which is where the pipeline
reads its settings, and so does ``--AWS_REGION``: not each library asks Glue where it is. The code itself
comes from the project's wheel, which the job installs first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

SETTINGS = ("--FINLAKE_", "--AWS_REGION")  # how their names begin
MAINTENANCE = "maintenance"
HANDED_ON = ("entity", "from", "to")  # options of `finlake run` that have the same name here


def parse_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split Glue's arguments into those of ``finlake run`` and settings.

    Args:
        arguments: What follows the script's name, as Glue passes it.

    Returns:
        Arguments for ``finlake``, and environment variables. Arguments that are not finlake's are left out.

    >>> parse_arguments(["--TempDir", "t", "--FINLAKE_ENV", "prod", "--layer", "silver", "--entity", "loans"])
    (['run', '--json', '--layer', 'silver', '--entity', 'loans'], {'FINLAKE_ENV': 'prod'})
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--layer", required=True, choices=("silver", "gold", MAINTENANCE))
    for option in HANDED_ON:
        parser.add_argument(f"--{option}")
    names = {argument.split("=")[0] for argument in arguments if argument.startswith(SETTINGS)}
    for name in sorted(names):
        parser.add_argument(name, dest=name.removeprefix("--"))
    known = vars(parser.parse_known_args(arguments)[0])
    layer = known.pop("layer")
    options = {f"--{option}": known.pop(option) for option in HANDED_ON}
    given = [part for option, value in options.items() if value for part in (option, value)]
    if layer != MAINTENANCE:
        return ["run", "--json", "--layer", layer, *given], known
    if given:
        parser.error(f"maintenance is for all tables and days: it takes no {', '.join(given[::2])}")
    return ["maintain"], known


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
