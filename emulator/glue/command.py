"""From a job and a run's arguments to a command line: Glue's conventions. No input or output happens here.

Sources: AWS Glue's developer guide, "Using job parameters in AWS Glue jobs" and "AWS Glue worker types".
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.gateway.local import ServiceError

GIB = 1024**3
SPARK = "glueetl"
SHELL = "pythonshell"
FORMATS = frozenset({"delta"})
# DPUs of a worker; a DPU has 16 GB.
WORKERS = {
    "Standard": 1.0,
    "G.025X": 0.25,
    "G.1X": 1.0,
    "G.2X": 2.0,
    "G.4X": 4.0,
    "G.8X": 8.0,
    "G.12X": 12.0,
    "G.16X": 16.0,
    "R.1X": 1.0,
    "R.2X": 2.0,
    "R.4X": 4.0,
    "R.8X": 8.0,
}
DPU_BYTES = 16 * GIB
# Most of a short run's processor time is Java compiling the code that Spark generates. Ten times the usual
# thresholds leave the optimising compiler to code that is really hot.
COMPILER_OPTIONS = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
# An archive that does not fit is no matter for whoever reads a run's log.
QUIET_ARCHIVE = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off")


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        kind: :data:`SPARK` or :data:`SHELL`.
        script: Where the script lies.
        arguments: What the script gets, in the end also the names of job and run.
        modules: Requirements of ``pip``, and wheels in S3.
        files: Modules and archives in S3 that the script imports.
        data_files: Other files in S3 that the script finds in its working directory.
        conf: Settings of Spark.
        formats: Formats of data lakes that the job asked for.
        log_group: Groups of logs are this, with ``/output`` and ``/error``.
        dpus: What AWS would charge for, per second.
        memory: What one worker has on AWS, in bytes.
    """

    kind: str
    script: str
    arguments: tuple[str, ...]
    modules: tuple[str, ...]
    files: tuple[str, ...]
    data_files: tuple[str, ...]
    conf: Mapping[str, str]
    formats: frozenset[str]
    log_group: str
    dpus: float
    memory: int


def merged(job: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The job's default arguments, over them the run's, over all those that cannot be overridden."""
    return {
        **(job.get("DefaultArguments") or {}),
        **given,
        **(job.get("NonOverridableArguments") or {}),
    }


def plan(job: Mapping[str, Any], run: Mapping[str, Any]) -> Plan:
    """What a run of a job comes to.

    Args:
        job: As ``GetJob`` shows it.
        run: As ``GetJobRun`` will show it; ``Arguments`` are those given to the run.

    Raises:
        ServiceError: The job asks for what is not done here.
    """
    arguments = merged(job, run.get("Arguments") or {})
    command = job.get("Command") or {}
    kind = str(command.get("Name") or "")
    refuse(kind, command, arguments)
    names = {"--JOB_NAME": run["JobName"], "--JOB_RUN_ID": run["Id"]}
    workflow = {
        f"--{name}": str(run[key])
        for name, key in (("WORKFLOW_NAME", "WorkflowName"), ("WORKFLOW_RUN_ID", "WorkflowRunId"))
        if run.get(key)
    }
    given = {**arguments, **names, **workflow}
    group = "/aws-glue/jobs" if kind == SPARK else "/aws-glue/python-jobs"
    worker, count = run.get("WorkerType"), run.get("NumberOfWorkers")
    if kind == SPARK and worker and count:
        dpus, one = WORKERS.get(worker, 1.0) * count, WORKERS.get(worker, 1.0)
    else:
        dpus = one = float(run.get("MaxCapacity") or (0.0625 if kind == SHELL else 10.0))
        one = min(one, 1.0)
    return Plan(
        kind=kind,
        script=str(command.get("ScriptLocation") or ""),
        arguments=tuple(part for name, value in given.items() for part in (name, str(value))),
        modules=names_in(arguments.get("--additional-python-modules")),
        files=names_in(arguments.get("--extra-py-files")),
        data_files=names_in(arguments.get("--extra-files")),
        conf=conf_of(arguments.get("--conf", "")),
        formats=frozenset(names_in(arguments.get("--datalake-formats"))),
        log_group=arguments.get("--custom-logGroup-prefix") or group,
        dpus=dpus,
        memory=int(one * DPU_BYTES),
    )


def refuse(kind: str, command: Mapping[str, Any], arguments: Mapping[str, str]) -> None:
    """Refuse what would otherwise silently be something else than on AWS.

    Raises:
        ServiceError: ``InvalidInputException`` that names the argument.
    """
    problem = None
    if kind not in {SPARK, SHELL}:
        problem = f"jobs of the kind {kind!r} are not run here, only {SPARK} and {SHELL}"
    elif arguments.get("--job-language", "python") != "python" or "--class" in arguments:
        problem = "only Python scripts are run here (--job-language, --class)"
    elif arguments.get("--job-bookmark-option", "job-bookmark-disable") != "job-bookmark-disable":
        problem = "job bookmarks are not kept here (--job-bookmark-option): use job-bookmark-disable"
    elif unknown := set(names_in(arguments.get("--datalake-formats"))) - FORMATS:
        problem = f"--datalake-formats: only delta is there, not {', '.join(sorted(unknown))}"
    elif "--extra-jars" in arguments:
        problem = "--extra-jars is not supported here"
    elif "--python-modules-installer-option" in arguments:
        problem = "--python-modules-installer-option is not supported here"
    elif kind == SPARK and str(command.get("PythonVersion") or "3") != "3":
        problem = f"PythonVersion {command['PythonVersion']!r} is not there: Spark jobs have Python 3"
    elif not command.get("ScriptLocation"):
        problem = "the job has no ScriptLocation"
    if problem:
        raise ServiceError("InvalidInputException", problem)


def names_in(value: str | None) -> tuple[str, ...]:
    """Names separated by commas; commas within brackets (``pkg[a,b]``) separate nothing.

    >>> names_in("rich==15.0.0, pkg[a,b]>=1,s3://b/x.whl")
    ('rich==15.0.0', 'pkg[a,b]>=1', 's3://b/x.whl')
    """
    names, depth, current = [], 0, ""
    for letter in value or "":
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            names.append(current)
            current = ""
        else:
            current += letter
    return tuple(name.strip() for name in (*names, current) if name.strip())


def conf_of(value: str) -> dict[str, str]:
    """Spark's settings in the value of ``--conf``: several follow each other with ``--conf`` in between.

    Raises:
        ServiceError: It is not of that form.

    >>> conf_of("spark.a=1 --conf spark.b=x=y")
    {'spark.a': '1', 'spark.b': 'x=y'}
    """
    try:
        parts = [part for part in shlex.split(value) if part != "--conf"]
    except ValueError as error:
        raise ServiceError("InvalidInputException", f"--conf cannot be read ({error}): {value}") from error
    pairs = [part.partition("=") for part in parts]
    if wrong := [name for name, equals, _ in pairs if not equals or not name.startswith("spark.")]:
        raise ServiceError("InvalidInputException", f"--conf: not of the form spark.name=value: {wrong[0]!r}")
    return {name: text for name, _, text in pairs}


def spark_conf(
    base: Mapping[str, str], given: Mapping[str, str], jars: Sequence[Path], formats: frozenset[str]
) -> dict[str, str]:
    """All of Spark's settings: the machine's, then the job's; Delta's jars only for jobs that asked for it.

    As on AWS, where a job without ``--datalake-formats delta`` has no Delta either.
    """
    there = [jar for jar in jars if "delta" in formats or not jar.name.startswith("delta-")]
    path = ":".join(str(jar) for jar in there)
    more = given.get("spark.driver.extraClassPath")
    return {**base, **given, "spark.driver.extraClassPath": f"{path}:{more}" if more else path}


def java_options(jars: Path) -> list[str]:
    """Options of a run's Java: in UTC, as on AWS, and quick for what runs a minute, in a JVM of its own.

    Args:
        jars: The folder of the jars beside Spark's own. An archive of Spark's classes in it, ``spark-*.jsa``
            (Java's class-data sharing), is used by runs that have the class path it was made with: all
            these jars in the order of their names.
    """
    archives = sorted(jars.glob("spark-*.jsa"))
    return [
        "-Duser.timezone=UTC",
        "-XX:-UsePerfData",
        "-XX:+UseParallelGC",
        # Otherwise Java searches all jars for an XML parser, for each listing that S3 answers with.
        "-Dorg.xml.sax.driver=com.sun.org.apache.xerces.internal.parsers.SAXParser",
        *COMPILER_OPTIONS,
        *([f"-XX:SharedArchiveFile={archives[0]}", *QUIET_ARCHIVE] if archives else []),
    ]


def submit_arguments(conf: Mapping[str, str]) -> str:
    """``PYSPARK_SUBMIT_ARGS``: what PySpark hands to ``spark-submit`` when the script starts its session."""
    options = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    return shlex.join([*options, "pyspark-shell"])


def error_message(code: int, said: str, *, out_of_memory: bool = False) -> str:
    r"""``ErrorMessage`` of a run that failed.

    Args:
        code: Exit code of the script.
        said: The end of its standard error.
        out_of_memory: It was ended for the memory it took.

    Returns:
        The last line of the last traceback, or how it ended.

    >>> error_message(1, "Traceback (most recent call last):\n  File x\nValueError: no\n")
    'ValueError: no'
    >>> error_message(3, "")
    'Command failed with exit code 3'
    """
    if out_of_memory:
        return "Command failed out of memory"
    lines = said.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call")]
    if starts:
        for line in lines[starts[-1] + 1 :]:
            if line.strip() and not line.startswith((" ", "\t")):
                return line.strip()
    return f"Command failed with exit code {code}"
