"""Runs of jobs: started, watched, stopped, tried again, and told about."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from emulator.gateway.local import Context, ServiceError
from emulator.glue import runner
from emulator.glue.clients import SECRET, Clients, code_of, split_uri
from emulator.glue.command import (
    SPARK,
    Plan,
    error_message,
    java_options,
    plan,
    spark_conf,
    submit_arguments,
)
from emulator.glue.logs import LogStream
from emulator.glue.modules import FAILED, InstallError, Modules
from emulator.glue.settings import MIB, GlueSettings
from emulator.store import Store

RUN = "job-run"
GOING = frozenset({"STARTING", "RUNNING", "STOPPING", "WAITING"})
POLL_SECONDS = 0.05
SEND_SECONDS = 1.0
TAIL = 64 * 1024
DEFAULT_TIMEOUT = 480  # minutes, of Glue 5.0 and later
CREDENTIALS = "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"
RUNTIME = Path(__file__).parent / "runtime"
# Nothing of the gateway's own settings, of the user's AWS account or of its Python may reach a script.
FOREIGN = ("AWS_", "FINLAKE_", "PYTHON", "PYSPARK_", "SPARK_REMOTE", "SPARK_HOME", "VIRTUAL_ENV")

logger = logging.getLogger(__name__)


@dataclass
class Active:
    """A run that has not ended.

    Attributes:
        stop: Set when it shall end.
        thread: Takes care of it.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Jobs:
    """All runs of all jobs.

    Args:
        settings: How jobs are run here.
        endpoint: Address at which they find AWS.
        s3_endpoint: Address at which they find S3.
        clients: Clients of the emulators behind.
        store: Keeps the runs.
        folder: For scripts, modules and output of runs.
        job: Brings a job's definition, or raises EntityNotFoundException.
        ended: Is told of each run that has ended and is not tried again.
    """

    def __init__(
        self,
        settings: GlueSettings,
        *,
        endpoint: str,
        s3_endpoint: str,
        clients: Clients,
        store: Store,
        folder: Path,
        job: Callable[[Context, str], dict[str, Any]],
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._s3_endpoint = s3_endpoint
        self._clients = clients
        self._store = store
        self._folder = folder
        self._job = job
        self.ended: Callable[[Context, dict[str, Any]], None] = lambda _context, _run: None
        self._modules = Modules(settings.python, folder / "modules")
        self._slots = threading.Semaphore(settings.parallel_runs)
        self._lock = threading.RLock()
        self._active: dict[str, Active] = {}
        self._closing = False

    def recover(self) -> None:
        """Runs that were going on when the gateway ended can only be told to have been stopped."""
        shutil.rmtree(self._folder / "runs", ignore_errors=True)
        for scope, _, _, run in self._store.rows(RUN):
            if run["JobRunState"] in GOING:
                run |= {"JobRunState": "STOPPED", "ErrorMessage": "The gateway was stopped during this run"}
                run["CompletedOn"] = run["LastModifiedOn"] = time.time()
                self._store.put(RUN, scope, run["JobName"], run["Id"], run)

    def close(self) -> None:
        """Stop all runs, and wait until nothing of them is left."""
        with self._lock:
            self._closing = True
            active = list(self._active.values())
        for one in active:
            one.stop.set()
        for one in active:
            if one.thread:
                one.thread.join()

    # --- what clients ask for ------------------------------------------------------------------------

    def start(self, context: Context, request: Mapping[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Start a run; returns it.

        Args:
            context: Whose job it is.
            request: As of ``StartJobRun``.
            more: Fields of the run, such as ``TriggerName``.

        Raises:
            ServiceError: There is no such job, it runs as often as it may, or it asks for what is not here.
        """
        name = str(request.get("JobName") or "")
        job = self._job(context, name)
        run = new_run(job, request, str(request.get("JobRunId") or "")) | more
        if earlier := request.get("JobRunId"):  # try an earlier run again
            past = self.run(context, name, str(earlier))
            run = new_run(job, {"Arguments": past.get("Arguments"), **request}, str(earlier)) | more
        plan(job, run)  # what it asks for must be there
        if job.get("Command", {}).get("Name") == SPARK and self._settings.spark_home is None:
            raise ServiceError("InvalidInputException", "there is no Spark here: install pyspark 3.5.6")
        with self._lock:
            if self._closing:
                raise ServiceError("OperationTimeoutException", "the gateway is being stopped")
            most = int((job.get("ExecutionProperty") or {}).get("MaxConcurrentRuns") or 1)
            going = [one for one in self._store.all(RUN, scope_of(context), name) if is_going(one)]
            if len(going) >= most:
                raise ServiceError(
                    "ConcurrentRunsExceededException",
                    f"Concurrent runs exceeded for {name}: {len(going)} of {most} (MaxConcurrentRuns)",
                )
            self._begin(context, job, run)
        return run

    def run(self, context: Context, name: str, identity: str) -> dict[str, Any]:
        """A run.

        Raises:
            ServiceError: ``EntityNotFoundException``.
        """
        found = self._store.get(RUN, scope_of(context), name, identity)
        if found is None:
            self._job(context, name)
            raise ServiceError("EntityNotFoundException", f"Job Run {identity} of the job {name} not found")
        return shown(found)

    def runs(self, context: Context, name: str) -> list[dict[str, Any]]:
        """All runs of a job, the newest first."""
        self._job(context, name)
        return [shown(run) for run in reversed(self._store.all(RUN, scope_of(context), name))]

    def stop(self, context: Context, name: str, identities: list[str]) -> dict[str, Any]:
        """Stop runs; the answer of ``BatchStopJobRun``."""
        submitted, errors = [], []
        for identity in identities:
            names = {"JobName": name, "JobRunId": identity}
            with self._lock:
                run = self._store.get(RUN, scope_of(context), name, identity)
                active = self._active.get(identity)
                if run is None or active is None or run["JobRunState"] not in {"STARTING", "RUNNING"}:
                    state = f"is {run['JobRunState']}" if run else "not found"
                    code = "InvalidInputException" if run else "EntityNotFoundException"
                    detail = {"ErrorCode": code, "ErrorMessage": f"Job Run {identity} {state}"}
                    errors.append(names | {"ErrorDetail": detail})
                    continue
                self._keep(context, run, JobRunState="STOPPING")
                active.stop.set()
            submitted.append(names)
        return {"SuccessfulSubmissions": submitted, "Errors": errors}

    def forget(self, context: Context, name: str) -> None:
        """A job was deleted: stop its runs and forget them."""
        for run in self._store.all(RUN, scope_of(context), name):
            active = self._active.get(run["Id"])
            if active and active.thread:
                active.stop.set()
                active.thread.join()
        self._store.delete(RUN, scope_of(context), name)

    # --- one run -------------------------------------------------------------------------------------

    def _begin(self, context: Context, job: dict[str, Any], run: dict[str, Any]) -> None:
        active = Active()
        active.thread = threading.Thread(target=self._care, args=(context, job, run, active), daemon=True)
        self._active[run["Id"]] = active
        self._store.put(RUN, scope_of(context), run["JobName"], run["Id"], run)
        active.thread.start()

    def _keep(self, context: Context, run: dict[str, Any], **changes: Any) -> None:  # noqa: ANN401
        run |= {**changes, "LastModifiedOn": time.time()}
        self._store.put(RUN, scope_of(context), run["JobName"], run["Id"], run)

    def _care(self, context: Context, job: dict[str, Any], run: dict[str, Any], active: Active) -> None:
        """From the start to the end of a run; in a thread of its own."""
        try:
            with self._slot(active) as has_slot:
                state, message = ("STOPPED", None) if not has_slot else self._work(context, job, run, active)
        except Exception as error:
            logger.exception("the run %s of %s failed", run["Id"], run["JobName"])
            state, message = "FAILED", f"Internal service error: {error}"
        with self._lock:
            self._end(context, job, run, state, message)
        try:
            if not run.get("_again") and not self._closing:
                self.ended(context, run)
        except Exception:
            logger.exception("what follows the run %s of %s failed", run["Id"], run["JobName"])

    def _end(
        self, context: Context, job: dict[str, Any], run: dict[str, Any], state: str, message: str | None
    ) -> None:
        """Keep how a run has ended, and try it again if the job says so."""
        now = time.time()
        seconds = round(now - run["_began"]) if "_began" in run else 0
        if message:
            run["ErrorMessage"] = message
        run["ExecutionTime"] = seconds
        run["DPUSeconds"] = round(seconds * run["_dpus"], 1)
        tries = int(job.get("MaxRetries") or 0)
        again = state == "FAILED" and run["Attempt"] < tries and not self._closing
        run["_again"] = again
        self._keep(context, run, JobRunState=state, CompletedOn=now)
        del self._active[run["Id"]]
        if again:
            attempt = run["Attempt"] + 1
            first = run["Id"].partition("_attempt_")[0]
            fresh = {key: value for key, value in run.items() if key in RETRIED}
            fresh |= {
                "Id": f"{first}_attempt_{attempt}",
                "Attempt": attempt,
                "PreviousRunId": run["Id"],
                "StartedOn": now,
                "LastModifiedOn": now,
                "JobRunState": "STARTING",
                "ExecutionTime": 0,
                "PredecessorRuns": run.get("PredecessorRuns", []),
            }
            self._begin(context, job, fresh)

    def _slot(self, active: Active) -> _Slot:
        return _Slot(self._slots, active.stop)

    def _work(
        self, context: Context, job: dict[str, Any], run: dict[str, Any], active: Active
    ) -> tuple[str, str | None]:
        """Run the script to its end; returns the state, and the message of an error."""
        what = plan(job, run)
        folder = self._folder / "runs" / run["Id"]
        (folder / "work").mkdir(parents=True)
        output, errors = folder / "stdout", folder / "stderr"
        output.touch()
        errors.touch()
        logs = self._clients.get(context, "logs")
        streams = [
            LogStream(logs, f"{what.log_group}/{name}", run["Id"], path)
            for name, path in (("output", output), ("error", errors))
        ]
        try:
            try:
                command, environment = self._prepare(context, what, run, folder)
            except InstallError as error:
                errors.write_text(f"{error}\n", encoding="utf-8")
                return "FAILED", f"{FAILED}: {str(error).splitlines()[-1]}"
            except (ClientError, ServiceError) as error:
                return "FAILED", f"LAUNCH ERROR | {error}"
            run["_began"] = time.time()
            with self._lock:
                if not active.stop.is_set():
                    self._keep(context, run, JobRunState="RUNNING")
            seconds = float(run["Timeout"]) * self._settings.minute_seconds
            code = self._watch(
                command, environment, folder=folder, streams=streams, active=active, seconds=seconds
            )
        finally:
            for stream in streams:
                _send(stream, last=True)
            said = _tail(errors)
            out_of_memory = (folder / runner.OUT_OF_MEMORY).exists()
            shutil.rmtree(folder, ignore_errors=True)
        if code is None:
            return ("STOPPED", None) if active.stop.is_set() else ("TIMEOUT", "Job run exceeded its timeout")
        if code == 0:
            return "SUCCEEDED", None
        return "FAILED", error_message(code, said, out_of_memory=out_of_memory)

    def _watch(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        folder: Path,
        streams: list[LogStream],
        active: Active,
        seconds: float,
    ) -> int | None:
        """Wait for the process; its exit code, or None if it was ended before."""
        with (folder / "stdout").open("wb") as output, (folder / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=folder / "work",
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        until = time.monotonic() + seconds
        sent = time.monotonic()
        ended_early = False
        while process.poll() is None:
            if not ended_early and (active.stop.is_set() or time.monotonic() > until):
                ended_early = True
                if process.stdin:
                    process.stdin.close()  # the runner then ends all that it has started
            if time.monotonic() - sent > SEND_SECONDS:
                for stream in streams:
                    _send(stream)
                sent = time.monotonic()
            time.sleep(POLL_SECONDS)
        if process.stdin:
            process.stdin.close()
        return None if ended_early else process.returncode

    def _prepare(
        self, context: Context, what: Plan, run: dict[str, Any], folder: Path
    ) -> tuple[list[str], dict[str, str]]:
        """Fetch all that the script needs; returns the command line and its environment.

        Raises:
            ServiceError: Something is not in S3.
            InstallError: Modules cannot be installed.
        """
        s3 = self._clients.get(context, "s3")

        def fetch(uri: str, into: Path) -> Path:
            bucket, key = split_uri(uri)
            path = into / key.rpartition("/")[2]
            try:
                s3.download_file(bucket, key, str(path))
            except ClientError as error:
                if code_of(error) in {"404", "NoSuchKey", "NoSuchBucket"}:
                    raise ServiceError("EntityNotFoundException", f"{uri} does not exist") from error
                raise
            return path

        script = fetch(what.script, folder)
        extra = folder / "extra"
        extra.mkdir()
        files = [fetch(uri, extra) for uri in what.files]
        for uri in what.data_files:
            fetch(uri, folder / "work")
        modules = self._modules.install(what.modules, fetch)
        archives = [path for path in files if path.suffix in {".zip", ".whl", ".egg"}]
        found = [*([modules] if modules else []), *archives, extra, RUNTIME]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        environment |= {
            "PYTHONPATH": os.pathsep.join(map(str, found)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_ENDPOINT_URL_S3": self._s3_endpoint,
            "AWS_ACCESS_KEY_ID": context.access_key,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": context.region,
            "AWS_DEFAULT_REGION": context.region,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if what.kind == SPARK:
            environment |= self._spark_environment(context, what, run, folder)
        memory = min(what.memory, self._settings.memory_mb * MIB)
        command = [sys.executable, runner.__file__, str(memory), str(folder)]
        return [*command, str(self._settings.python), str(script), *what.arguments], environment

    def _spark_environment(
        self, context: Context, what: Plan, run: dict[str, Any], folder: Path
    ) -> dict[str, str]:
        scratch = folder / "spark"
        base = {
            "spark.master": f"local[{self._settings.cores}]",
            "spark.app.name": f"{run['JobName']}-{run['Id']}",
            "spark.driver.memory": self._settings.driver_memory,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.local.dir": str(scratch),
            "spark.hadoop.hadoop.tmp.dir": str(scratch),
            "spark.driver.extraJavaOptions": " ".join(
                [*java_options(self._settings.jars), f"-Djava.io.tmpdir={scratch}"]
            ),
            "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
            "spark.hadoop.fs.s3a.endpoint": self._s3_endpoint,
            "spark.hadoop.fs.s3a.endpoint.region": context.region,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": str(self._s3_endpoint.startswith("https")).lower(),
            "spark.hadoop.fs.s3a.directory.marker.retention": "keep",
            "spark.hadoop.fs.s3a.aws.credentials.provider": CREDENTIALS,
        }
        scratch.mkdir()
        jars = sorted(self._settings.jars.glob("*.jar"))
        conf = spark_conf(base, what.conf, jars, what.formats)
        return {
            "SPARK_HOME": str(self._settings.spark_home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(scratch),
            "PYSPARK_PYTHON": str(self._settings.python),
            "PYSPARK_SUBMIT_ARGS": submit_arguments(conf),
            "TMPDIR": str(scratch),
        }


class _Slot:
    """A place among the runs that work at a time; it may be waited for, until the run is stopped."""

    def __init__(self, slots: threading.Semaphore, stop: threading.Event) -> None:
        self._slots = slots
        self._stop = stop
        self._has = False

    def __enter__(self) -> bool:
        while not self._has and not self._stop.is_set():
            self._has = self._slots.acquire(timeout=POLL_SECONDS)
        return self._has

    def __exit__(self, *_: object) -> None:
        if self._has:
            self._slots.release()


# What another attempt has in common with the one before.
RETRIED = frozenset(
    {
        "JobName",
        "Arguments",
        "TriggerName",
        "WorkflowName",
        "WorkflowRunId",
        "Timeout",
        "WorkerType",
        "NumberOfWorkers",
        "MaxCapacity",
        "AllocatedCapacity",
        "GlueVersion",
        "LogGroupName",
        "SecurityConfiguration",
        "JobMode",
        "ExecutionClass",
        "_dpus",
    }
)


def new_run(job: Mapping[str, Any], request: Mapping[str, Any], previous: str = "") -> dict[str, Any]:
    """A run as ``GetJobRun`` shows it, just started."""
    now = time.time()
    worker = request.get("WorkerType") or job.get("WorkerType")
    count = request.get("NumberOfWorkers") or job.get("NumberOfWorkers")
    capacity = request.get("MaxCapacity") or job.get("MaxCapacity")
    if job.get("Command", {}).get("Name") != SPARK or capacity:
        worker = count = None
    run: dict[str, Any] = {
        "Id": f"jr_{secrets.token_hex(32)}",
        "Attempt": 0,
        "JobName": job["Name"],
        "JobMode": job.get("JobMode") or "SCRIPT",
        "StartedOn": now,
        "LastModifiedOn": now,
        "JobRunState": "STARTING",
        "Arguments": dict(request.get("Arguments") or {}),
        "PredecessorRuns": [],
        "ExecutionTime": 0,
        "Timeout": int(request.get("Timeout") or job.get("Timeout") or DEFAULT_TIMEOUT),
        "GlueVersion": job.get("GlueVersion") or "5.1",
        "ExecutionClass": request.get("ExecutionClass") or job.get("ExecutionClass") or "STANDARD",
    }
    if previous:
        run["PreviousRunId"] = previous
    if worker and count:
        run |= {"WorkerType": worker, "NumberOfWorkers": count}
    else:
        run["MaxCapacity"] = float(capacity or (10.0 if job["Command"].get("Name") == SPARK else 0.0625))
    if security := request.get("SecurityConfiguration") or job.get("SecurityConfiguration"):
        run["SecurityConfiguration"] = security
    what = plan(job, run)
    run |= {"_dpus": what.dpus, "LogGroupName": what.log_group}
    run["MaxCapacity"] = float(what.dpus)
    run["AllocatedCapacity"] = int(what.dpus)
    return run


def shown(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run without what only we know, its seconds going on while it runs."""
    seen = {key: value for key, value in run.items() if not key.startswith("_")}
    if is_going(run) and "_began" in run:
        seen["ExecutionTime"] = round(time.time() - run["_began"])
    return seen


def is_going(run: Mapping[str, Any]) -> bool:
    """Whether a run has not ended."""
    return run["JobRunState"] in GOING


def scope_of(context: Context) -> str:
    """Account and region, which the store keeps apart."""
    return f"{context.account}/{context.region}"


def context_of_scope(scope: str) -> Context:
    """The other way round."""
    account, _, region = scope.partition("/")
    return Context(account, region)


def _send(stream: LogStream, *, last: bool = False) -> None:
    with suppress(ClientError, BotoCoreError):  # a run does not fail since its logs cannot be kept
        stream.send(last=last)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read().decode("utf-8", "replace")
