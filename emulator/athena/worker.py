"""A process that runs one statement after the other: requests on standard input, answers on standard output.

Started by :mod:`emulator.athena.executions`, one line of JSON each way. It ends when it is killed (that is
how a query is cancelled), when its input ends, or when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from emulator.athena import results, sources, statements, syntax
from emulator.athena.catalog import Catalog
from emulator.athena.engine import Engine, Job, connect
from emulator.athena.errors import SYSTEM, USER, QueryFailedError, RequestRefusedError

PARENT_SECONDS = 1.0
EXHAUSTED = "Query exhausted resources at this scale factor"
# What a process may take beside DuckDB's limit: as much again for what DuckDB does not count (values of
# lists, texts that functions make), and this for Python and the rows on their way out.
OVERHEAD_BYTES = 512 * 1024 * 1024
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}


class Worker:
    """Runs jobs in this process.

    Args:
        settings: ``s3`` and ``glue`` (addresses), ``access_key``, ``region``, ``memory`` and ``threads``.
        scratch: A folder for what does not fit into memory.
    """

    def __init__(self, settings: dict[str, Any], scratch: Path) -> None:
        self.scratch = scratch
        self._region = settings["region"]
        self._good_buckets: set[str] = set()
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="uploads")
        key, secret = settings["access_key"], "test"  # emulators take any secret
        session = boto3.Session(
            aws_access_key_id=key, aws_secret_access_key=secret, region_name=settings["region"]
        )
        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard"}, proxies={})
        self.s3 = session.client("s3", endpoint_url=settings["s3"], config=config)
        self.catalog = Catalog(session.client("glue", endpoint_url=settings["glue"], config=config))
        self.connection = connect(
            settings["s3"],
            settings["region"],
            key=key,
            secret=secret,
            scratch=scratch,
            memory=settings["memory"],
            threads=settings["threads"],
        )
        self._enough = limit_memory(settings["memory"])

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one job.

        Returns:
            What came of it, or why it failed; and as ``spent`` whether this process should not be asked
            again, since it may not have given back all the memory that it took.
        """
        answer = self._answer(request)
        return answer | {"spent": peak_bytes() > self._enough or _is_exhausted(answer)}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        spool = Path(request.pop("spool"))
        job = Job(**request)
        # Of its own: the views of one statement are not those of the next.
        connection = self.connection.cursor()
        engine = Engine(connection, self.catalog, self.s3, job)
        try:
            return self._run(engine, job, spool)
        except QueryFailedError as error:
            return _failure(error.message, error.category, error.kind, retryable=error.retryable)
        except RequestRefusedError as error:
            return _failure(error.message, USER, 1006)
        except ClientError as error:
            return self._refused(error, job)
        except MemoryError:
            return _failure(EXHAUSTED, USER, 3)
        except BotoCoreError as error:
            return _failure(f"the stack's own services do not answer: {error}", SYSTEM, 1, retryable=True)
        finally:
            engine.close()
            connection.close()

    def _run(self, engine: Engine, job: Job, spool: Path) -> dict[str, Any]:
        started = time.monotonic()
        bucket, prefix = sources.bucket_and_key(job.output)
        self._require_region(bucket)
        tree = syntax.parse(job.sql)
        planned = time.monotonic()
        if statements.kind_of(tree) == ("DML", "SELECT"):
            outcome = engine.query(tree, job.parameters)
        else:
            outcome = statements.run(engine, tree)
        rows = results.as_texts(outcome.batches, outcome.writers)
        stem = f"{prefix.rstrip('/')}/{job.id}".lstrip("/")
        ending = "" if outcome.update_count is not None else ".csv" if outcome.header else ".txt"
        local = self.scratch / f"{job.id}{ending or '.none'}"
        try:
            count = results.write(rows, outcome.columns, local, spool, header=outcome.header)
            executed = time.monotonic()
            manifest = None
            key, meta = f"{stem}{ending}.metadata", results.metadata(outcome.columns)
            written = self._uploads.submit(lambda: self.s3.put_object(Bucket=bucket, Key=key, Body=meta))
            if outcome.update_count is not None:
                manifest = f"s3://{bucket}/{stem}-manifest.csv"
                text = "".join(f"{uri}\n" for uri in outcome.written)
                self.s3.put_object(Bucket=bucket, Key=f"{stem}-manifest.csv", Body=text.encode())
            else:
                with local.open("rb") as content:
                    self.s3.put_object(Bucket=bucket, Key=stem + ending, Body=content)
            written.result()
        finally:
            local.unlink(missing_ok=True)
        return {
            "columns": [asdict(column) for column in outcome.columns],
            "header": outcome.header,
            "location": f"s3://{bucket}/{stem}{ending}",
            "manifest": manifest,
            "rows": count,
            "update_count": outcome.update_count,
            "scanned": outcome.scanned(),
            "planning_ms": round((planned - started) * 1000),
            "engine_ms": round((executed - started) * 1000),
            "publishing_ms": round((time.monotonic() - executed) * 1000),
        }

    def _require_region(self, bucket: str) -> None:
        """See that the bucket for results is where the query runs, as Athena wants it."""
        if bucket in self._good_buckets:
            return
        region = self.s3.head_bucket(Bucket=bucket).get("BucketRegion")
        if region not in {None, self._region}:
            raise QueryFailedError(
                "The S3 location provided to save your query results is invalid. Please check your S3 "
                f"location is correct and is in the same region and try again: {bucket} is in {region}, and "
                f"the query runs in {self._region}",
                USER,
                1100,
            )
        self._good_buckets.add(bucket)

    def _refused(self, error: ClientError, job: Job) -> dict[str, Any]:
        code = error.response["Error"]["Code"]
        if code in {"NoSuchBucket", "404"}:
            where = error.response["Error"].get("BucketName", "")
            return _failure(
                "The S3 location provided to save your query results is invalid, or a table's bucket is "
                f"not there: {where or job.output}. Please check your S3 location is correct and is in "
                "the same region and try again.",
                USER,
                1100,
            )
        return _failure(f"{code}: {error.response['Error'].get('Message', '')}", USER, 1301)


def bytes_of(memory: str) -> int:
    """Bytes of a size in DuckDB's words; 0 if it is none, such as a share of the machine's memory.

    >>> bytes_of("1GB"), bytes_of("512 MiB"), bytes_of("80%")
    (1000000000, 536870912, 0)
    """
    found = re.fullmatch(r"([0-9.]+)\s*([kmgt]?)(i?)b?", memory.strip().lower())
    if found is None:
        return 0
    unit = _UNITS[found[2]] if not found[3] else 1024 ** " kmgt".index(found[2])
    return int(float(found[1]) * unit)


def limit_memory(memory: str) -> int:
    """Let this process take no more memory than a query may, and be the first to be ended for want of it.

    Args:
        memory: What DuckDB may take, in its words.

    Returns:
        How many bytes it may have taken to be used again.
    """
    with suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if not (allowed := bytes_of(memory)):
        return sys.maxsize
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])  # data and stacks
    except OSError:
        return allowed
    most = pages * resource.getpagesize() + 2 * allowed + OVERHEAD_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return peak_bytes() + allowed


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _is_exhausted(answer: dict[str, Any]) -> bool:
    return bool(answer.get("error", {}).get("ErrorMessage") == EXHAUSTED)


def _failure(message: str, category: int, kind: int, *, retryable: bool = False) -> dict[str, Any]:
    error = {"ErrorCategory": category, "ErrorType": kind, "Retryable": retryable, "ErrorMessage": message}
    return {"error": error}


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(0)


def main() -> None:
    """Serve until the input ends."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="athena-") as scratch:
        worker = Worker(json.loads(sys.stdin.readline()), Path(scratch))
        for line in sys.stdin:
            try:
                answer = worker.run(json.loads(line))
            except Exception as error:  # a query must not end the worker unheard
                answer = _failure(f"GENERIC_INTERNAL_ERROR: {type(error).__name__}: {error}", SYSTEM, 1)
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
