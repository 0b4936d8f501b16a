"""Work that is done side by side: by threads of this process, or by processes of their own.

Threads start at once, but only one of them at a time can run Python between two calls of NumPy. Processes
have all processors to themselves, and take half a second to start, so they are for long work.

A process is told what to do on its standard input, and answers on its standard output. So a program that
uses :mod:`datagen` needs no guard around its main part, as it would for :mod:`multiprocessing`.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from datagen.errors import GenerateError

T = TypeVar("T")
Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function, and its arguments."""


class Workers:
    """Call a function for many arguments, side by side, and give the results in order."""

    def __init__(
        self, count: int, *, apart: bool = False, processes: bool = False, start: Call | None = None
    ) -> None:
        """Start the workers.

        Args:
            count: How many.
            apart: Whether a single worker is a thread of its own, and not the caller's.
            processes: Whether each is a process; functions and their arguments are pickled for it.
            start: What each process calls first.
        """
        self.count = count
        self._threads = ThreadPoolExecutor(max_workers=count) if count > 1 or apart else None
        self.processes = [_Process(start) for _ in range(count if processes and count > 1 else 0)]
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for process in self.processes:
            self._idle.put(process)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.stop()
        if self._threads:
            self._threads.shutdown(cancel_futures=True)

    def in_order(
        self, function: Callable[..., T], arguments: Iterable[tuple[Any, ...]], *, ahead: int | None = None
    ) -> Iterator[T]:
        """Results in the order of the arguments.

        Args:
            function: What is called.
            arguments: What it is called with.
            ahead: How many results are made ahead of the one that is asked for; one for each worker if left
                out, so that they stay few.
        """
        if self._threads is None:
            yield from (function(*one) for one in arguments)
            return
        call = self._by_process if self.processes else _by_thread
        pending: deque[Future[T]] = deque()
        for one in arguments:
            pending.append(self._threads.submit(call, function, one))
            if len(pending) > (self.count if ahead is None else ahead):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _by_process(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        process = self._idle.get()
        try:
            return process.call(function, arguments)
        finally:
            self._idle.put(process)


def _by_thread(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    return function(*arguments)


class _Process:
    """A Python process that does what it is told, one call after another."""

    def __init__(self, start: Call | None) -> None:
        # What this process can import, that one can; it works alone, so libraries need no threads in it.
        settings = {"PYTHONPATH": os.pathsep.join(sys.path), "POLARS_MAX_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "datagen.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | settings,
        )
        self._start = start

    def call(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        """Have a function called.

        Raises:
            GenerateError: The process has ended.
        """
        if self._start:
            start, self._start = self._start, None
            self.call(*start)
        told, answers = self._process.stdin, self._process.stdout
        if told is None or answers is None:
            raise ValueError("the process has no pipes")
        try:
            pickle.dump((function, arguments), told)
            told.flush()
            result, error = pickle.load(answers)  # noqa: S301 - from our own process
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as ended:
            code = self._process.wait()
            raise GenerateError(f"a worker process ended with code {code}; try fewer --workers") from ended
        if error is not None:
            raise error
        value: T = result
        return value

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def main() -> None:
    """Do what standard input tells, until it ends."""
    # Whoever started this process decides what becomes of an interrupt; what is half-written is thrown away.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    told, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    while True:
        try:
            function, arguments = pickle.load(told)  # noqa: S301 - from the process that started this one
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = function(*arguments), None
        except Exception as error:
            answer = None, error
        try:
            pickle.dump(answer, answers)
            answers.flush()
        except BrokenPipeError:  # whoever asked is gone
            os._exit(1)


if __name__ == "__main__":
    main()
