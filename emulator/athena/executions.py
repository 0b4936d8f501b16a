"""Query executions: their states, the workers that run them, and what is kept of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from emulator.gateway.local import Context
from emulator.store import Store

EXECUTION = "execution"
KEPT = 5_000  # executions that are remembered
LINE_BYTES = 64 * 1024 * 1024
DONE = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True)
class Limits:
    """What queries may use.

    Attributes:
        concurrent: Queries at the same time; others are queued.
        seconds: Time of one query, from its start on.
        memory: Memory of one query, in DuckDB's words.
        threads: Threads of one query.
    """

    concurrent: int = 4
    seconds: float = 1800
    memory: str = "1GB"
    threads: int = max(1, min(4, os.cpu_count() or 1))

    @classmethod
    def from_environment(cls) -> Limits:
        """Limits from ``FINLAKE_ATHENA_CONCURRENT``, ``_SECONDS``, ``_MEMORY`` and ``_THREADS``."""
        read, plain = os.environ.get, cls()
        return cls(
            int(read("FINLAKE_ATHENA_CONCURRENT") or plain.concurrent),
            float(read("FINLAKE_ATHENA_SECONDS") or plain.seconds),
            read("FINLAKE_ATHENA_MEMORY") or plain.memory,
            int(read("FINLAKE_ATHENA_THREADS") or plain.threads),
        )


@dataclass
class Execution:
    """One query execution.

    Attributes:
        access_key: Whose tables and buckets it sees.
        region: Where it was started.
        token: The client's token, which starts it only once.
        request: Digest of the request.
        sql: As the client has sent it.
        run_sql: What is run: the same, or the prepared statement that it executes.
        reused: Id of the execution whose result this one takes over.
    """

    access_key: str
    region: str
    token: str
    request: str
    sql: str
    run_sql: str
    database: str
    catalog: str
    parameters: list[str]
    given_parameters: list[str]
    output: str
    workgroup: str
    engine: dict[str, str]
    kind: tuple[str, str]
    cutoff: int
    reuse: dict[str, Any]
    configuration: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "QUEUED"
    reason: str | None = None
    error: dict[str, Any] | None = None
    submitted: float = field(default_factory=time.time)
    started: float | None = None
    completed: float | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    reused: str = ""

    @property
    def scope(self) -> str:
        """Account and region that it belongs to."""
        return scope_of(Context(self.access_key, self.region))

    @property
    def is_done(self) -> bool:
        """Whether it has come to an end."""
        return self.state in DONE

    def finish(self, state: str, reason: str | None = None) -> None:
        """Come to an end, if it has not yet."""
        if not self.is_done:
            self.state, self.reason, self.completed = state, reason, time.time()


def scope_of(context: Context) -> str:
    """Account and region, which know nothing of each other's executions."""
    return f"{context.account}/{context.region}"


def digest(request: dict[str, Any]) -> str:
    """What is remembered of a request, to know it again."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class Executions:
    """Runs queries in worker processes and remembers what became of them.

    Args:
        addresses: For the workers: where S3 and Glue are.
        limits: What queries may use.
        folder: Where executions and results are kept; None: in a temporary folder, until :meth:`close`.
    """

    def __init__(self, addresses: dict[str, str], limits: Limits, folder: Path | None = None) -> None:
        self.limits = limits
        self._settings = addresses | {"memory": limits.memory, "threads": limits.threads}
        self._slots = asyncio.Semaphore(limits.concurrent)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._idle: list[tuple[tuple[str, str], asyncio.subprocess.Process]] = []
        self._scratch = Path(tempfile.mkdtemp(prefix="athena-"))
        self._results = (folder or self._scratch) / "results"
        self._results.mkdir(parents=True, exist_ok=True)
        self._store = Store(folder / "athena.sqlite" if folder else None)
        self._all: OrderedDict[str, Execution] = OrderedDict()
        self._tokens: dict[tuple[str, str], str] = {}
        self._recover()

    def _recover(self) -> None:
        """Take up what is kept; what ran when the stack ended so badly that nobody noticed has failed."""
        known = {item.name for item in fields(Execution)}
        for document in self._store.all(EXECUTION):
            execution = Execution(**{name: value for name, value in document.items() if name in known})
            execution.kind = (execution.kind[0], execution.kind[1])
            self._remember(execution)
            if not execution.is_done:
                self._interrupt(execution)

    def _remember(self, execution: Execution) -> None:
        self._all[execution.id] = execution
        if execution.token:
            self._tokens[execution.scope, execution.token] = execution.id
        while len(self._all) > KEPT:
            self._forget(next(iter(self._all.values())))

    def _forget(self, execution: Execution) -> None:
        del self._all[execution.id]
        self._tokens.pop((execution.scope, execution.token), None)
        if task := self._tasks.get(execution.id):
            task.cancel()
        self._store.delete(EXECUTION, execution.scope, execution.id)
        (self._results / execution.id).unlink(missing_ok=True)

    def _keep(self, execution: Execution) -> None:
        if execution.id in self._all:
            self._store.put(EXECUTION, execution.scope, execution.id, "", asdict(execution))

    def _interrupt(self, execution: Execution) -> None:
        self._fail(execution, "Query was interrupted: the local stack was stopped", 1, 1, retryable=True)
        self._keep(execution)

    def get(self, context: Context, id_: str) -> Execution | None:
        """The execution of an id, for whoever may see it."""
        found = self._all.get(id_)
        return found if found and found.scope == scope_of(context) else None

    def of_token(self, context: Context, token: str | None) -> Execution | None:
        """The execution that a client has started by a token."""
        return self._all.get(self._tokens.get((scope_of(context), token or ""), ""))

    def newest_first(self, scope: str) -> list[Execution]:
        """All of an account and region that are remembered."""
        return [execution for execution in reversed(self._all.values()) if execution.scope == scope]

    def spool(self, execution: Execution) -> Path:
        """Where the rows of an execution are."""
        return self._results / (execution.reused or execution.id)

    def start(self, execution: Execution) -> None:
        """Queue an execution."""
        self._remember(execution)
        if execution.reused:
            execution.started = execution.submitted
            execution.finish("SUCCEEDED")
        else:
            task = self._tasks[execution.id] = asyncio.create_task(self._run(execution))
            task.add_done_callback(lambda _: self._tasks.pop(execution.id, None))
        self._keep(execution)

    def stop(self, execution: Execution) -> None:
        """Cancel an execution; nothing happens if it is done."""
        if not execution.is_done:
            execution.finish("CANCELLED", "Query cancelled by user")
            self._keep(execution)
            if task := self._tasks.get(execution.id):
                task.cancel()

    async def close(self) -> None:
        """End all workers; what runs has failed."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, worker in self._idle:
            await _kill(worker)
        self._idle.clear()
        for execution in self._all.values():
            if not execution.is_done:
                self._interrupt(execution)
        self._store.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    async def _run(self, execution: Execution) -> None:
        async with self._slots:
            execution.state, execution.started = "RUNNING", time.time()
            worker = None
            owner = (execution.access_key, execution.region)
            try:
                worker = await self._worker(*owner)
                async with asyncio.timeout(self.limits.seconds):
                    answer = await self._ask(worker, execution)
            except TimeoutError:
                self._fail(
                    execution, f"Query timeout: it ran longer than {self.limits.seconds:g} seconds", 2, 14
                )
            except (OSError, EOFError, ValueError):
                self._fail(execution, "Query exhausted resources at this scale factor", 2, 3)
            else:
                if not answer.pop("spent", False):
                    self._idle.append((owner, worker))
                    worker = None
                execution.answer = answer
                if error := answer.get("error"):
                    execution.error = error
                    execution.finish("FAILED", error["ErrorMessage"])
                else:
                    execution.finish("SUCCEEDED")
            finally:
                if worker is not None:
                    await _kill(worker)
            self._keep(execution)

    def _fail(
        self, execution: Execution, message: str, category: int, kind: int, *, retryable: bool = False
    ) -> None:
        execution.error = {
            "ErrorCategory": category,
            "ErrorType": kind,
            "Retryable": retryable,
            "ErrorMessage": message,
        }
        execution.finish("FAILED", message)

    async def _ask(self, worker: asyncio.subprocess.Process, execution: Execution) -> dict[str, Any]:
        request = {
            "id": execution.id,
            "sql": execution.run_sql,
            "database": execution.database,
            "parameters": execution.parameters,
            "output": execution.output,
            "cutoff": execution.cutoff,
            "spool": str(self.spool(execution)),
        }
        return await _talk(worker, request)

    async def _worker(self, access_key: str, region: str) -> asyncio.subprocess.Process:
        """A worker that sees what this access key sees in this region."""
        self._idle = [(owner, worker) for owner, worker in self._idle if worker.returncode is None]
        for item in reversed(self._idle):
            if item[0] == (access_key, region):
                self._idle.remove(item)
                return item[1]
        if len(self._idle) >= self.limits.concurrent:  # those of others
            await _kill(self._idle.pop(0)[1])
        keep = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and "PROXY" not in k.upper()}
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "AWS_EC2_METADATA_DISABLED": "true",
            "TZ": "UTC",
            "TMPDIR": str(self._scratch),  # a worker that is killed leaves its own folder behind
        }
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "emulator.athena.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=keep | own,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        await _say(worker, self._settings | {"access_key": access_key, "region": region})
        return worker


async def _talk(worker: asyncio.subprocess.Process, request: dict[str, Any]) -> dict[str, Any]:
    await _say(worker, request)
    assert worker.stdout is not None  # noqa: S101  (it was asked for)
    line = await worker.stdout.readline()
    if not line:
        raise EOFError("the worker has ended")
    answer: dict[str, Any] = json.loads(line)
    return answer


async def _say(worker: asyncio.subprocess.Process, message: dict[str, Any]) -> None:
    assert worker.stdin is not None  # noqa: S101  (it was asked for)
    worker.stdin.write(json.dumps(message).encode() + b"\n")
    await worker.stdin.drain()


async def _kill(worker: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        worker.kill()
    await asyncio.shield(worker.wait())
