"""Query executions: their states, and the workers that run them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        sql: As the client has sent it.
        run_sql: What is run: the same, or the prepared statement that it executes.
        reused: The execution whose result this one takes over.
    """

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
    reused: Execution | None = None
    task: asyncio.Task[None] | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has come to an end."""
        return self.state in DONE

    def finish(self, state: str, reason: str | None = None) -> None:
        """Come to an end, if it has not yet."""
        if not self.is_done:
            self.state, self.reason, self.completed = state, reason, time.time()


class Executions:
    """Runs queries in worker processes and remembers what became of them, until the gateway ends.

    Args:
        settings: For the workers: addresses and region.
        limits: What queries may use.
    """

    def __init__(self, settings: dict[str, Any], limits: Limits) -> None:
        self.limits = limits
        self._settings = settings | {"memory": limits.memory, "threads": limits.threads}
        self._all: OrderedDict[str, Execution] = OrderedDict()
        self._slots = asyncio.Semaphore(limits.concurrent)
        self._idle: list[asyncio.subprocess.Process] = []
        self._folder = Path(tempfile.mkdtemp(prefix="athena-results-"))

    def get(self, id_: str) -> Execution | None:
        """The execution of an id."""
        return self._all.get(id_)

    def newest_first(self) -> list[Execution]:
        """All that are remembered."""
        return list(reversed(self._all.values()))

    def spool(self, execution: Execution) -> Path:
        """Where the rows of an execution are."""
        return self._folder / (execution.reused or execution).id

    def start(self, execution: Execution) -> None:
        """Queue an execution."""
        self._all[execution.id] = execution
        while len(self._all) > KEPT:
            _, old = self._all.popitem(last=False)
            if old.task is not None:
                old.task.cancel()
            (self._folder / old.id).unlink(missing_ok=True)
        if execution.reused is not None:
            execution.answer = execution.reused.answer
            execution.started = execution.submitted
            execution.finish("SUCCEEDED")
            return
        execution.task = asyncio.create_task(self._run(execution))

    def stop(self, execution: Execution) -> None:
        """Cancel an execution; nothing happens if it is done."""
        if not execution.is_done:
            execution.finish("CANCELLED", "Query cancelled by user")
            if execution.task is not None:
                execution.task.cancel()

    async def close(self) -> None:
        """End all workers and forget all results."""
        for execution in self._all.values():
            if execution.task is not None and not execution.task.done():
                execution.task.cancel()
        tasks = [execution.task for execution in self._all.values() if execution.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in self._idle:
            await _kill(worker)
        self._idle.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self, execution: Execution) -> None:
        async with self._slots:
            execution.state, execution.started = "RUNNING", time.time()
            worker = None
            try:
                worker = await self._worker()
                async with asyncio.timeout(self.limits.seconds):
                    answer = await self._ask(worker, execution)
            except TimeoutError:
                self._fail(
                    execution, f"Query timeout: it ran longer than {self.limits.seconds:g} seconds", 2, 14
                )
            except (OSError, EOFError, ValueError):
                self._fail(execution, "Query exhausted resources at this scale factor", 2, 3)
            else:
                self._idle.append(worker)
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

    def _fail(self, execution: Execution, message: str, category: int, kind: int) -> None:
        execution.error = {
            "ErrorCategory": category,
            "ErrorType": kind,
            "Retryable": False,
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
            "spool": str(self._folder / execution.id),
        }
        return await _talk(worker, request)

    async def _worker(self) -> asyncio.subprocess.Process:
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
        keep = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and "PROXY" not in k.upper()}
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "AWS_EC2_METADATA_DISABLED": "true",
            "TZ": "UTC",
            "TMPDIR": str(self._folder),  # a worker that is killed leaves its own folder behind
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
        await _say(worker, self._settings)
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
